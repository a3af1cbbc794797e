//! What one write costs in statements.

use api::Pds;
use common::config::Config;
use common::testing::{FakePlc, TestDb};

use crate::harness::account::Account;
use crate::harness::client::Client;
use crate::harness::tap::Tap;

/// What the tail of the event stream runs, whenever it is told of an event.
const TAIL: &str = "FROM repo_event";

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_create_record_runs_one_statement() {
    let (db, plc) = (TestDb::create().await, FakePlc::start().await);
    let tap = Tap::start(&db.url()).await.unwrap();
    let mut config = Config::for_tests();
    config.identity.plc_url = plc.url();
    config.database.url = tap.url().into();
    let mut pds = Pds::create(config, api::Overrides::default()).await.unwrap();
    pds.start();
    let api = Client::new(pds.local_url());
    let alice = Account::create(&api, "alice.test").await.unwrap();
    alice.post(&api, "warms the caches", None).await.unwrap();

    tap.take();
    alice.post(&api, "one", None).await.unwrap();
    let mut statements = tap.take();
    statements.retain(|statement| !statement.contains(TAIL));
    // The account-state check may be another one; it is remembered for a few seconds.
    statements.retain(|statement| !statement.contains("FROM account"));
    assert_eq!(statements.len(), 1, "{statements:#?}");
    assert!(statements[0].contains("repo_commit_batch_v2"), "{statements:#?}");
    pds.destroy().await.unwrap();
}
