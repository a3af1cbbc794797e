//! Postgres goes away under replicas that write and stream.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, anyhow};
use atproto::syntax::{Did, Tid};
use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::harness::account::Account;
use crate::harness::archive;
use crate::harness::client::{Client, Refusal};
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::consumer::{Consumer, assert_unbroken_chain};

const LIMIT: Duration = Duration::from_mins(1);
const ACCOUNTS: usize = 3;
const WRITES: usize = 60;
/// Tries of one read: the first may be who finds that the idle connections are broken.
const READ_TRIES: usize = 10;
/// Identity, account, commit and sync.
const SIGN_UP_EVENTS: usize = 4;
/// Some moment, for record keys.
const EPOCH_MICROS: u64 = 1_700_000_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_lose_nothing_and_repeat_nothing() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let apis = [cluster.api(0), cluster.api(1)];
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        accounts.push(cluster.create_account(&format!("user{number}.test")).await.unwrap());
    }
    let newest = i64::try_from(ACCOUNTS * (SIGN_UP_EVENTS + WRITES)).unwrap();
    let mut consumers = Vec::new();
    for api in &apis {
        consumers.push(Consumer::connect(api.origin(), Some(0)).await.unwrap());
    }

    let writing = async {
        try_join_all(accounts.iter().map(|account| write_all(&apis, account))).await.unwrap();
    };
    let breaking = async {
        let mut pacemaker = Consumer::connect(apis[0].origin(), Some(0)).await.unwrap();
        for seq in (1..newest).step_by(15) {
            pacemaker.until(seq, LIMIT).await.unwrap();
            cluster.db().break_connections().await;
        }
    };
    let reading = try_join_all(consumers.iter_mut().map(|consumer| consumer.until(newest, LIMIT)));
    let ((), (), streams) = tokio::join!(writing, breaking, reading);
    let streams = streams.unwrap();

    assert!(streams[0].iter().map(|received| received.seq).eq(1..=newest), "neither gap nor repeat");
    assert!(streams[0] == streams[1], "both replicas send the same bytes");
    let expected: BTreeSet<String> = (0..WRITES).map(|number| format!("app.bsky.feed.post/{}", rkey(number))).collect();
    for account in &accounts {
        let key = account.signing_key(cluster.plc());
        assert_unbroken_chain(&streams[0], &account.did, &key);
        let repo = read_repo(&apis[1], &account.did).await.unwrap();
        let repo = archive::verify(&repo, &account.did, &key).unwrap();
        assert_eq!(repo.records.into_keys().collect::<BTreeSet<_>>(), expected);
    }
}

fn rkey(number: usize) -> String {
    Tid::from_micros(EPOCH_MICROS + u64::try_from(number).unwrap(), 0).to_string()
}

async fn write_all(apis: &[Client; 2], account: &Account) -> Result<()> {
    for number in 0..WRITES {
        account.post_once(apis, &rkey(number), number).await?;
    }
    Ok(())
}

async fn read_repo(api: &Client, did: &Did) -> Result<Bytes> {
    let mut last = anyhow!("no try");
    for _ in 0..READ_TRIES {
        match api.get_bytes("com.atproto.sync.getRepo", &[("did", did.as_str())]).await {
            Ok(repo) => return Ok(repo),
            Err(error) if error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status == 503) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}
