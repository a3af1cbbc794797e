//! `pds-worker sequencer`.

use std::time::Duration;

use common::testing::damage;
use serde_json::Value;

use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::consumer::{Consumer, assert_unbroken_chain};
use crate::harness::operator::Operator;

const LIMIT: Duration = Duration::from_secs(30);
/// Events of a sign-up: identity, account, commit, sync.
const SIGN_UP_EVENTS: i64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_the_log_holds() {
    let cluster = Cluster::start(Replicas(1)).await.unwrap();
    let operator = Operator::of(&cluster).unwrap();
    let empty = operator.run(&["sequencer", "status"]).await.unwrap();
    assert_eq!(empty.code, 0, "{empty:?}");
    assert!(empty.out.contains("newest seq       0\nnewest event     none\noldest event     none\n"), "{empty:?}");

    let alice = cluster.create_account("alice.test").await.unwrap();
    alice.post(&cluster.api(0), "hi", None).await.unwrap();
    let newest = SIGN_UP_EVENTS + 1;
    let told = operator.run(&["sequencer", "status"]).await.unwrap();
    assert!(told.out.contains(&format!("newest seq       {newest}\n")), "{told:?}");
    assert!(told.out.contains(&format!("lately           {newest} in 1 min, ")), "{told:?}");
    let json = operator.run(&["sequencer", "status", "--json"]).await.unwrap();
    let [status] = &json.json()[..] else { panic!("{json:?}") };
    assert_eq!((&status["lastSeq"], &status["events"], &status["oldest"]["seq"]), (&5.into(), &5.into(), &1.into()));
    assert_eq!((&status["newest"]["seq"], &status["windowStart"]), (&newest.into(), &1.into()));
    let partitions = status["partitions"].as_array().unwrap();
    let in_partitions: i64 = partitions.iter().map(|partition| partition["events"].as_i64().unwrap()).sum();
    assert_eq!(in_partitions, newest);
    assert!(partitions.last().unwrap()["lower"].is_null());
    assert!(status["room"].as_i64().unwrap() > 0);

    let away = operator.with("PDS_DATABASE_URL", "postgres://postgres@127.0.0.1:1/none");
    assert_eq!(away.run(&["sequencer", "status"]).await.unwrap().code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_bump_everybody_goes_on() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let operator = Operator::of(&cluster).unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let mut live = Consumer::connect(cluster.api(1).origin(), Some(0)).await.unwrap();

    let by = operator.run(&["sequencer", "bump", "--by", "1000"]).await.unwrap();
    assert_eq!(by.code, 0, "{by:?}");
    assert!(by.out.starts_with("The newest seq was 4 and is 1004 now; the next event has 1005.\n"), "{by:?}");
    alice.post(&cluster.api(0), "after a small jump", None).await.unwrap();
    // Far beyond every partition there is.
    let to = operator.run(&["sequencer", "bump", "--to", "900000000000", "--json"]).await.unwrap();
    assert_eq!(to.json(), [serde_json::json!({"before": 1005, "after": 900_000_000_000_i64})], "{to:?}");
    alice.post(&cluster.api(1), "after a large one", None).await.unwrap();

    let last = 900_000_000_001;
    let mut seen = live.until(last, LIMIT).await.unwrap();
    live.close().await;
    assert_eq!(seen.iter().map(|received| received.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 1005, last]);
    assert_unbroken_chain(&seen, &alice.did, &alice.signing_key(cluster.plc()));
    // From the log, at the other replica.
    let mut later = Consumer::connect(cluster.api(0).origin(), Some(1004)).await.unwrap();
    assert!(later.until(last, LIMIT).await.unwrap() == seen.split_off(4));
    later.close().await;

    let status = operator.run(&["sequencer", "status", "--json"]).await.unwrap().json().remove(0);
    let default = status["partitions"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&default["lower"], &default["events"]),
        (&Value::Null, &0.into()),
        "the jump got a partition of its own"
    );
    assert!(status["room"].as_i64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bump_never_goes_back_or_too_far() {
    let cluster = Cluster::start(Replicas(1)).await.unwrap();
    let operator = Operator::of(&cluster).unwrap();
    cluster.create_account("alice.test").await.unwrap();
    let bump = async |arguments: &[&str]| operator.run(&[&["sequencer", "bump"], arguments].concat()).await.unwrap();
    for (arguments, reason) in [
        (&["--to", "4"][..], "the newest seq is 4 already: it may only be moved ahead, never back to 4"),
        (&["--to", "3"], "never back to 3"),
        (&["--to", "9007199254740992"], "too large"),
        (&["--by", "9223372036854775807"], "too large"),
        (&["--by", "0"], "0 is not in"),
        (&["--by", "-1"], "-1"),
        (&[], "--by <N>|--to <SEQ>"),
        (&["--by", "1", "--to", "9"], "cannot be used with"),
    ] {
        let refused = bump(arguments).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains(reason), "{refused:?}");
    }
    assert_eq!(damage::last_seq(&cluster.db().pool()).await, SIGN_UP_EVENTS);
}
