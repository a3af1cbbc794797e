//! A replica is killed in the middle of concurrent writes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::account::Account;
use crate::harness::archive;
use crate::harness::client::Client;
use crate::harness::consumer::{Consumer, Received, assert_unbroken_chain};
use anyhow::{Result, ensure};
use atproto::crypto::PublicKey;
use atproto::syntax::Tid;
use common::config::Config;
use common::testing::{FakePlc, TestDb};
use futures_util::future::try_join_all;
use nix::sys::signal::Signal;
use tests::stack::{Programs, Server, Settings, free_ports};
use tokio::sync::Notify;

const ACCOUNTS: usize = 4;
const WRITERS_PER_ACCOUNT: usize = 3;
const WRITES_PER_WRITER: usize = 25;
/// Events of a sign-up: identity, account, commit, sync.
const SIGN_UP_EVENTS: usize = 4;
const LIMIT: Duration = Duration::from_mins(1);
/// Some moment, for record keys.
const EPOCH_MICROS: u64 = 1_700_000_000_000_000;

/// Two replicas as processes of their own.
struct Replicas {
    programs: Programs,
    settings: Settings,
    ports: Vec<u16>,
    folder: tempfile::TempDir,
}

impl Replicas {
    fn new(db: &TestDb, plc: &FakePlc) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ports = free_ports(2)?;
        let blobs = folder.path().join("blobs").to_string_lossy().into_owned();
        let mut settings = Settings::new();
        for (name, value) in Config::TEST_VARIABLES {
            settings.insert(name.to_owned(), value.to_owned());
        }
        for (name, value) in [
            ("PDS_DATABASE_URL", db.url()),
            ("PDS_DID_PLC_URL", plc.url().to_string()),
            ("PDS_DEV_MODE", "true".to_owned()),
            ("PDS_PORT", ports[0].to_string()),
            ("PDS_BLOBSTORE_DISK_LOCATION", blobs),
        ] {
            settings.insert(name.to_owned(), value);
        }
        Ok(Self { programs: Programs::built()?, settings, ports, folder })
    }

    async fn start(&self, index: usize) -> Result<Server> {
        let (name, port) = (format!("api-{index}"), self.ports[index]);
        let mut settings = self.settings.clone();
        settings.insert("PDS_LISTEN_PORT".to_owned(), port.to_string());
        self.programs.start_api(&name, port, &settings, &self.folder.path().join(&name)).await
    }

    fn client(&self, index: usize) -> Client {
        Client::new(format!("http://127.0.0.1:{}", self.ports[index]))
    }
}

/// Counts acknowledged writes, so that the test can act in their middle.
#[derive(Default)]
struct Progress {
    acknowledged: AtomicUsize,
    changed: Notify,
}

impl Progress {
    fn count(&self) {
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    async fn reaches(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.acknowledged.load(Ordering::SeqCst) >= count {
                return;
            }
            changed.await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_loses_nothing_and_repeats_nothing() {
    let (db, plc) = (TestDb::create().await, FakePlc::start().await);
    let replicas = Replicas::new(&db, &plc).unwrap();
    let survivor = replicas.start(0).await.unwrap();
    let victim = replicas.start(1).await.unwrap();
    let sign_ups = (0..ACCOUNTS).map(|index| {
        let api = replicas.client(0);
        async move { Account::create(&api, &format!("user{index}.test")).await }
    });
    let accounts: Vec<Account> = try_join_all(sign_ups).await.unwrap();

    let progress = Progress::default();
    let total = ACCOUNTS * WRITERS_PER_ACCOUNT * WRITES_PER_WRITER;
    let killing = async {
        progress.reaches(total / 3).await;
        victim.signal(Signal::SIGKILL);
        drop(victim);
        progress.reaches(total * 2 / 3).await;
        replicas.start(1).await
    };
    let (written, restarted) = tokio::join!(write_all(&replicas, &accounts, &progress), killing);
    let (written, restarted) = (written.unwrap(), restarted.unwrap());

    let newest = ACCOUNTS * SIGN_UP_EVENTS + total;
    let streams = both_streams(&replicas, newest).await.unwrap();
    assert_streams_agree(&streams, newest);
    for (account, expected) in accounts.iter().zip(&written) {
        let key = account.signing_key(&plc);
        assert_repo_holds(&replicas, account, expected, &key).await.unwrap();
        assert_unbroken_chain(&streams[0], &account.did, &key);
    }
    survivor.stop(LIMIT).await.unwrap();
    restarted.stop(LIMIT).await.unwrap();
}

/// Writes with every writer of every account at once; gives the paths each account must have in the end.
async fn write_all(replicas: &Replicas, accounts: &[Account], progress: &Progress) -> Result<Vec<BTreeSet<String>>> {
    let writing = accounts.iter().map(|account| async move {
        let writers = (0..WRITERS_PER_ACCOUNT).map(|writer| write(replicas, account, writer, progress));
        let written = try_join_all(writers).await?;
        anyhow::Ok(written.into_iter().flatten().collect())
    });
    try_join_all(writing).await
}

async fn write(replicas: &Replicas, account: &Account, writer: usize, progress: &Progress) -> Result<Vec<String>> {
    let clients = [replicas.client(0), replicas.client(1)];
    let mut written = Vec::with_capacity(WRITES_PER_WRITER);
    for number in 0..WRITES_PER_WRITER {
        let place = u64::try_from(writer * WRITES_PER_WRITER + number)?;
        let rkey = Tid::from_micros(EPOCH_MICROS + place, 0).to_string();
        account.post_once(&clients, &rkey, writer + number).await?;
        progress.count();
        written.push(format!("app.bsky.feed.post/{rkey}"));
    }
    Ok(written)
}

async fn both_streams(replicas: &Replicas, newest: usize) -> Result<[Vec<Received>; 2]> {
    let read = |index: usize| async move {
        let mut consumer = Consumer::connect(replicas.client(index).origin(), Some(0)).await?;
        let events = consumer.until(i64::try_from(newest)?, LIMIT).await?;
        consumer.close().await;
        anyhow::Ok(events)
    };
    let (first, second) = tokio::try_join!(read(0), read(1))?;
    Ok([first, second])
}

fn assert_streams_agree(streams: &[Vec<Received>; 2], newest: usize) {
    let seqs: Vec<i64> = streams[0].iter().map(|event| event.seq).collect();
    let expected: Vec<i64> = (1..=i64::try_from(newest).unwrap()).collect();
    assert_eq!(seqs, expected, "seqs have neither gap nor repeat, and there is one event for each write");
    assert!(streams[0] == streams[1], "both replicas send the same bytes");
}

async fn assert_repo_holds(
    replicas: &Replicas,
    account: &Account,
    expected: &BTreeSet<String>,
    key: &PublicKey,
) -> Result<()> {
    for index in 0..2 {
        let params = [("did", account.did.as_str())];
        let archive = replicas.client(index).get_bytes("com.atproto.sync.getRepo", &params).await?;
        let repo = archive::verify(&archive, &account.did, key)?;
        let found: BTreeSet<String> = repo.records.into_keys().collect();
        ensure!(found == *expected, "the repo holds exactly what was acknowledged");
    }
    Ok(())
}
