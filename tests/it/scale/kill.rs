//! A replica is killed in the middle of concurrent writes.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use atproto::crypto::PublicKey;
use atproto::syntax::Tid;
use common::testing::{FakePlc, TestDb};
use futures_util::future::try_join_all;
use nix::sys::signal::Signal;

use crate::harness::account::Account;
use crate::harness::archive;
use crate::harness::consumer::{Consumer, Received, assert_unbroken_chain};
use crate::harness::processes::Processes;
use crate::harness::progress::Progress;

const ACCOUNTS: usize = 4;
const WRITERS_PER_ACCOUNT: usize = 3;
const WRITES_PER_WRITER: usize = 25;
/// Events of a sign-up: identity, account, commit, sync.
const SIGN_UP_EVENTS: usize = 4;
const LIMIT: Duration = Duration::from_mins(1);
/// Some moment, for record keys.
const EPOCH_MICROS: u64 = 1_700_000_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_loses_nothing_and_repeats_nothing() {
    let (db, plc) = (TestDb::create().await, FakePlc::start().await);
    let folder = tempfile::tempdir().unwrap();
    let replicas = Processes::new(2, db.url(), &plc, folder.path()).unwrap();
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
async fn write_all(replicas: &Processes, accounts: &[Account], progress: &Progress) -> Result<Vec<BTreeSet<String>>> {
    let writing = accounts.iter().map(|account| async move {
        let writers = (0..WRITERS_PER_ACCOUNT).map(|writer| write(replicas, account, writer, progress));
        let written = try_join_all(writers).await?;
        anyhow::Ok(written.into_iter().flatten().collect())
    });
    try_join_all(writing).await
}

async fn write(replicas: &Processes, account: &Account, writer: usize, progress: &Progress) -> Result<Vec<String>> {
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

async fn both_streams(replicas: &Processes, newest: usize) -> Result<[Vec<Received>; 2]> {
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
    replicas: &Processes,
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
