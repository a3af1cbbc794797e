//! The event stream of one replica, of what another one writes.

use std::time::Duration;

use atproto::event::{AccountStatus, Event};
use futures_util::future::{join_all, try_join_all};

use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::consumer::{Consumer, Received, assert_unbroken_chain};

const LIMIT: Duration = Duration::from_mins(1);
/// Identity, account, commit and sync.
const SIGN_UP_EVENTS: usize = 4;

fn seqs(events: &[Received]) -> Vec<i64> {
    events.iter().map(|received| received.seq).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_elsewhere_is_seen_in_order() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let mut consumer = Consumer::connect(cluster.api(1).origin(), Some(0)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let key = alice.signing_key(cluster.plc());
    let events = consumer.until(4, LIMIT).await.unwrap();
    assert_eq!(seqs(&events), [1, 2, 3, 4]);
    let events: Vec<Event> = events.into_iter().map(|received| received.event).collect();
    assert!(events.iter().all(|event| *event.did() == alice.did));
    let [Event::Identity(identity), Event::Account(account), Event::Commit(commit), Event::Sync(sync)] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(identity.handle, Some("alice.test".parse().unwrap()));
    assert_eq!(account.status, AccountStatus::Active);
    let first = commit.verify(Some(&key)).unwrap();
    assert_eq!((commit.since, commit.prev_data, commit.ops.len()), (None, None, 0));
    assert_eq!(sync.verify(Some(&key)).unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_elsewhere_are_seen_live_in_order_and_once() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let mut consumer = Consumer::connect(cluster.api(0).origin(), Some(4)).await.unwrap();
    let elsewhere = cluster.api(1);
    for number in 0..20 {
        let written = alice.post(&elsewhere, "hi", None).await.unwrap();
        let received = consumer.next(LIMIT).await.unwrap();
        assert_eq!(received.seq, 5 + number);
        let Event::Commit(commit) = received.event else { panic!("{received:?}") };
        assert_eq!(written["commit"]["cid"], commit.commit.to_string());
        assert_eq!(written["uri"], format!("at://{}/{}", alice.did, commit.ops[0].key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_join_under_load_without_gap_or_repeat() {
    const ACCOUNTS: usize = 5;
    const WRITES: usize = 100;
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
    let reading = join_all((0..10).map(|turn| {
        let (origin, start) = (apis[turn % 2].origin(), i64::try_from(turn * 40).unwrap());
        async move {
            // One that is always there tells when it is time to join.
            let mut pacemaker = Consumer::connect(origin, Some(0)).await.unwrap();
            pacemaker.until(start.max(1), LIMIT).await.unwrap();
            Consumer::connect(origin, Some(0)).await.unwrap().until(newest, LIMIT).await.unwrap()
        }
    }));
    let (streams, written) = tokio::join!(reading, writing);
    written.unwrap();
    assert_eq!(seqs(&streams[0]), (1..=newest).collect::<Vec<_>>());
    assert!(streams.iter().all(|stream| *stream == streams[0]), "all replicas send the same bytes to everybody");
    for account in &accounts {
        assert_unbroken_chain(&streams[0], &account.did, &account.signing_key(cluster.plc()));
    }

    for cursor in (0..newest).step_by(17) {
        let api = &apis[usize::try_from(cursor).unwrap() % 2];
        let mut consumer = Consumer::connect(api.origin(), Some(cursor)).await.unwrap();
        let rest = consumer.until(newest, LIMIT).await.unwrap();
        assert!(rest == streams[0][usize::try_from(cursor).unwrap()..], "after {cursor} comes exactly the rest");
    }
}
