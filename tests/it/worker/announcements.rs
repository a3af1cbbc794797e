//! Changes of DIDs whose replica died before it could tell anybody.

use std::time::Duration;

use atproto::event::Event;
use common::testing::seed;

use super::stage::Stage;
use crate::harness::consumer::Consumer;

const LIMIT: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_announces_what_a_dead_replica_did_not() {
    let stage = Stage::new("smtp://localhost:9").await;
    let (cluster, pool) = (&stage.cluster, stage.cluster.db().pool());
    let accounts = &cluster.replica(0).ctx().accounts;
    let alice = accounts.find_principal(&stage.alice.did).await.unwrap().unwrap();
    seed::plc_submission(&pool, alice.id).await;
    seed::age_plc_submissions(&pool, Duration::from_mins(3)).await;
    let mut events = Consumer::connect(cluster.api(1).origin(), None).await.unwrap();
    let worker = stage.worker("one").await;
    let Event::Identity(event) = events.next(LIMIT).await.unwrap().event else { panic!("no #identity") };
    assert_eq!((event.did, event.handle), (stage.alice.did.clone(), None));
    worker.stop(LIMIT).await.unwrap();
}
