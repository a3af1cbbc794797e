//! Writes at different replicas.

use std::time::Duration;

use futures_util::future::try_join_all;

use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::consumer::{Consumer, assert_unbroken_chain};

const WRITES: usize = 40;
/// Identity, account, commit and sync of the sign-up come first.
const SIGN_UP_EVENTS: usize = 4;
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn writes_on_two_replicas_form_one_chain() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let apis = [cluster.api(0), cluster.api(1)];
    // One repo, all at once, on both: nobody is told of the races.
    try_join_all((0..WRITES).map(|index| alice.post(&apis[index % 2], "hi", None))).await.unwrap();

    let newest = i64::try_from(SIGN_UP_EVENTS + WRITES).unwrap();
    let mut streams = Vec::new();
    for api in &apis {
        let mut consumer = Consumer::connect(api.origin(), Some(0)).await.unwrap();
        streams.push(consumer.until(newest, LIMIT).await.unwrap());
        consumer.close().await;
    }
    assert!(streams[0] == streams[1], "both replicas send the same bytes");
    assert!(streams[0].iter().map(|received| received.seq).eq(1..=newest), "neither gap nor repeat");

    assert_unbroken_chain(&streams[0], &alice.did, &alice.signing_key(cluster.plc()));
}
