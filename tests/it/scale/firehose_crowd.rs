//! Who may subscribe, from where on, and how many at once: at each of two replicas.

use std::time::Duration;

use common::testing::log;
use futures_util::future::{join_all, try_join_all};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::consumer::Consumer;

const LIMIT: Duration = Duration::from_mins(2);
/// Subscribers of one replica.
const CROWD: usize = 1_000;
/// Events of a sign-up.
const SIGN_UP: i64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_subscribers_of_one_replica_see_what_another_one_writes() {
    const WRITES: i64 = 5;
    // Both ends of each connection are files of this process.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let crowded = cluster.api(0);
    let mut crowd = Vec::with_capacity(CROWD);
    while crowd.len() < CROWD {
        let group = (0..50).map(|_| Consumer::connect(crowded.origin(), Some(SIGN_UP)));
        crowd.extend(try_join_all(group).await.unwrap());
    }
    for _ in 0..WRITES {
        alice.post(&cluster.api(1), "hi", None).await.unwrap();
    }
    let streams = join_all(crowd.iter_mut().map(|consumer| consumer.until(SIGN_UP + WRITES, LIMIT))).await;
    let mut reference = Consumer::connect(cluster.api(1).origin(), Some(SIGN_UP)).await.unwrap();
    let expected = reference.until(SIGN_UP + WRITES, LIMIT).await.unwrap();
    assert_eq!(expected.len(), 5);
    for stream in streams {
        assert!(stream.unwrap() == expected, "everybody gets the same bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_outside_of_the_log_is_told_so_by_every_replica() {
    let window = Duration::from_hours(1);
    let cluster = Cluster::start_with(Replicas(2), |config| config.subscription.backfill_limit = window).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    log::age(&cluster.db().pool(), SIGN_UP, window * 2).await;
    alice.post(&cluster.api(1), "hi", None).await.unwrap();
    for replica in 0..2 {
        let origin = cluster.replica(replica).local_url();
        let refused = async |cursor| {
            let mut consumer = Consumer::connect(&origin, Some(cursor)).await.unwrap();
            let told = consumer.next(LIMIT).await.unwrap_err().to_string();
            (told, consumer)
        };
        let (told, mut consumer) = refused(1).await;
        assert!(told.contains("OutdatedCursor"), "{told}");
        assert_eq!(consumer.next(LIMIT).await.unwrap().seq, SIGN_UP + 1, "what is within the window follows");
        let (told, _) = refused(SIGN_UP + 2).await;
        assert!(told.contains("FutureCursor"), "{told}");
    }
}
