//! Replicas that are killed in the middle of importRepo.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use atproto::data::json;
use bytes::Bytes;
use common::sequencer::Sequencer;
use common::testing::{self, FakePlc, RepoArchive, TestDb};
use futures_util::{StreamExt as _, stream};
use nix::sys::signal::Signal;
use reqwest::Body;
use tests::stack::Server;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::account::Account;
use crate::harness::archive;
use crate::harness::client::{Client, Refusal};
use crate::harness::consumer::{Consumer, assert_unbroken_chain};
use crate::harness::processes::Processes;

const IMPORT: &str = "com.atproto.repo.importRepo";
/// More than fit into one chunk that is loaded.
const RECORDS: usize = 2000;
const LIMIT: Duration = Duration::from_mins(1);
/// Record keys of posts that are no part of the archive.
const BEFORE: &str = "3jzfcijpj2z2a";
const AFTER: &str = "3jzfcijpj2z2b";

/// Two replicas as processes; the second is the one that dies.
struct Stage {
    db: TestDb,
    plc: FakePlc,
    replicas: Processes,
    survivor: Server,
    victim: Option<Server>,
}

impl Stage {
    async fn start(folder: &std::path::Path) -> Self {
        let (db, plc) = (TestDb::create().await, FakePlc::start().await);
        let mut replicas = Processes::new(2, db.url(), &plc, folder).unwrap();
        replicas.set("PDS_MAX_REPO_IMPORT_SIZE", (16 << 20).to_string());
        let survivor = replicas.start(0).await.unwrap();
        Self { db, plc, replicas, survivor, victim: None }
    }

    /// Somebody with a post, and the archive that she is about to import at the replica that dies.
    async fn account(&mut self, handle: &str) -> (Account, RepoArchive) {
        self.victim = Some(self.replicas.start(1).await.unwrap());
        let account = Account::create(&self.here(), handle).await.unwrap();
        account.post(&self.here(), "before", Some(BEFORE)).await.unwrap();
        let record = |number: usize| {
            let post = serde_json::json!({ "$type": "app.bsky.feed.post", "text": format!("post {number}") });
            (format!("app.bsky.feed.post/{number:04}"), json::from_json(&post).unwrap())
        };
        let archive = RepoArchive::new(&account.did, (0..RECORDS).map(record));
        (account, archive)
    }

    /// The replica that lives.
    fn here(&self) -> Client {
        self.replicas.client(0)
    }

    /// Begins to import at the other one.
    fn import(&self, account: &Account, archive: impl Into<Body>) -> JoinHandle<anyhow::Result<()>> {
        let (there, token, archive) = (self.replicas.client(1), account.token.clone(), archive.into());
        tokio::spawn(async move { there.post_archive(IMPORT, &token, archive).await })
    }

    /// Kills the other one.
    async fn kill(&mut self) {
        let mut victim = self.victim.take().unwrap();
        victim.signal(Signal::SIGKILL);
        victim.ended().await.unwrap();
    }

    /// What the account's repo holds, verified.
    async fn paths(&self, account: &Account) -> BTreeSet<String> {
        let params = [("did", account.did.as_str())];
        let car = self.here().get_bytes("com.atproto.sync.getRepo", &params).await.unwrap();
        archive::verify(&car, &account.did, &account.signing_key(&self.plc)).unwrap().records.into_keys().collect()
    }

    /// Whatever the killed import came to, the account works, and the next import does.
    async fn assert_goes_on(&self, account: &Account, archive: &RepoArchive) {
        let here = self.here();
        account.post(&here, "after", Some(AFTER)).await.unwrap();
        assert!(self.paths(account).await.contains(&format!("app.bsky.feed.post/{AFTER}")));
        // The killed one holds its claim for a minute at most.
        if let Err(error) = here.post_archive(IMPORT, &account.token, archive.to_car()).await {
            let refusal: Refusal = error.downcast().unwrap();
            assert!(refusal.status < 500, "{refusal}");
            testing::lapse_imports(&self.db.pool()).await;
            here.post_archive(IMPORT, &account.token, archive.to_car()).await.unwrap();
        }
        assert_eq!(self.paths(account).await, imported(archive));
        assert_eq!(testing::claimed_imports(&self.db.pool()).await, 0, "nothing is left of either");
        account.post(&here, "in the end", None).await.unwrap();
        assert_eq!(self.paths(account).await.len(), RECORDS + 1);
    }

    async fn assert_stream_is_whole(&self, accounts: &[Account]) {
        let mut consumer = Consumer::connect(self.here().origin(), Some(0)).await.unwrap();
        let newest = Sequencer::new(&self.db.pool()).newest().await.unwrap();
        let events = consumer.until(newest, LIMIT).await.unwrap();
        for account in accounts {
            assert_unbroken_chain(&events, &account.did, &account.signing_key(&self.plc));
        }
        consumer.close().await;
    }
}

fn before() -> BTreeSet<String> {
    [format!("app.bsky.feed.post/{BEFORE}")].into()
}

fn imported(archive: &RepoArchive) -> BTreeSet<String> {
    archive.records.keys().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_whose_replica_is_killed_is_whole_or_was_never() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(folder.path()).await;

    // While the archive arrives: the second half never comes.
    let (alice, archive) = stage.account("alice.test").await;
    let car = archive.to_car();
    let half = stream::iter([Ok::<Bytes, Infallible>(car.slice(..car.len() / 2))]).chain(stream::pending());
    let import = stage.import(&alice, Body::wrap_stream(half));
    let begun = async {
        while testing::claimed_imports(&stage.db.pool()).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, begun).await.expect("it begins");
    stage.kill().await;
    import.await.unwrap().unwrap_err();
    assert_eq!(stage.paths(&alice).await, before());
    stage.assert_goes_on(&alice, &archive).await;

    // While what was checked is loaded: the statement that loads it is cut off from the one who sent it.
    let (bob, archive) = stage.account("bob.test").await;
    let held = stage.db.hold_table("repo_import_record").await;
    let import = stage.import(&bob, archive.to_car());
    timeout(LIMIT, stage.db.until_blocked()).await.expect("it loads");
    stage.kill().await;
    held.release().await;
    import.await.unwrap().unwrap_err();
    assert_eq!(stage.paths(&bob).await, before());
    stage.assert_goes_on(&bob, &archive).await;

    // In the last statement: Postgres may see it through without the one who sent it.
    let (carol, archive) = stage.account("carol.test").await;
    let held = stage.db.hold_table("record").await;
    let import = stage.import(&carol, archive.to_car());
    timeout(LIMIT, stage.db.until_blocked()).await.expect("it comes to its end");
    assert_eq!(stage.paths(&carol).await, before(), "readers see the old one until then");
    stage.kill().await;
    held.release().await;
    import.await.unwrap().unwrap_err();
    stage.db.until_idle().await;
    let found = stage.paths(&carol).await;
    assert!(found == before() || found == imported(&archive), "{} records", found.len());
    stage.assert_goes_on(&carol, &archive).await;

    stage.assert_stream_is_whole(&[alice, bob, carol]).await;
    stage.survivor.stop(LIMIT).await.unwrap();
}
