//! Consumers that lose their connection again and again, while two replicas write and old events are dropped.

use std::time::Duration;

use common::clock::Clock;
use common::sequencer::Sequencer;
use futures_util::future::{join_all, try_join_all};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::harness::client::Client;
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::consumer::{Consumer, Received, assert_unbroken_chain};

const LIMIT: Duration = Duration::from_mins(1);
const ACCOUNTS: usize = 4;
const WRITES: usize = 60;
/// Identity, account, commit and sync.
const SIGN_UP_EVENTS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_anywhere_with_its_cursor_misses_and_repeats_nothing() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let apis = [cluster.api(0), cluster.api(1)];
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        accounts.push(cluster.create_account(&format!("user{number}.test")).await.unwrap());
    }
    let newest = i64::try_from(ACCOUNTS * (SIGN_UP_EVENTS + WRITES)).unwrap();
    let writing = try_join_all(accounts.iter().map(|account| async {
        for number in 0..WRITES {
            account.post(&apis[number % 2], "hi", None).await?;
        }
        anyhow::Ok(())
    }));
    let retaining = async {
        // It makes partitions and finds nothing old, all under the same locks as when it does.
        let sequencer = Sequencer::new(&cluster.db().other_pool());
        for _ in 0..5 {
            sequencer.retain(Clock::system().now(), LIMIT).await.unwrap();
        }
    };
    let reading = join_all((0..8).map(|seed| resume(&apis, seed, newest)));
    let (written, (), streams) = tokio::join!(writing, retaining, reading);
    written.unwrap();
    assert!(streams[0].iter().map(|received| received.seq).eq(1..=newest), "neither gap nor repeat");
    assert!(streams.iter().all(|stream| *stream == streams[0]), "all replicas send the same bytes to everybody");
    for account in &accounts {
        assert_unbroken_chain(&streams[0], &account.did, &account.signing_key(cluster.plc()));
    }
}

/// Reads the whole stream in pieces of any length, each from either replica.
async fn resume(apis: &[Client; 2], seed: u64, newest: i64) -> Vec<Received> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut events: Vec<Received> = Vec::new();
    loop {
        let position = events.last().map_or(0, |last| last.seq);
        if position == newest {
            return events;
        }
        let api = &apis[random.random_range(0..apis.len())];
        let mut consumer = Consumer::connect(api.origin(), Some(position)).await.unwrap();
        let until = random.random_range(position + 1..=newest.min(position + 40));
        events.extend(consumer.until(until, LIMIT).await.unwrap());
        // Some say goodbye, others are just gone.
        if random.random() {
            consumer.close().await;
        }
    }
}
