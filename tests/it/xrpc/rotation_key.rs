//! A rotation key that no replica has in its hands.

use common::testing::{FakeKms, FakePlc, TestDb};

use crate::harness::account::Account;
use crate::harness::client::Refusal;
use crate::harness::processes::Processes;

/// Replicas whose rotation key is in `kms`, told of it as operators do.
fn replicas(db: &TestDb, plc: &FakePlc, kms: &FakeKms, folder: &std::path::Path) -> Processes {
    let mut replicas = Processes::new(2, db.url(), plc, folder).unwrap();
    for (name, value) in [
        ("PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX", ""),
        ("PDS_PLC_ROTATION_KEY_KMS_KEY_ID", FakeKms::KEY_ID),
        ("AWS_REGION", FakeKms::REGION),
        ("AWS_ENDPOINT_URL_KMS", kms.url()),
        ("AWS_ACCESS_KEY_ID", FakeKms::ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", FakeKms::SECRET_ACCESS_KEY),
        ("AWS_MAX_ATTEMPTS", "1"),
    ] {
        replicas.set(name, value);
    }
    replicas
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rotation_key_may_be_in_a_key_management_service() {
    let (db, plc, kms) = (TestDb::create().await, FakePlc::start().await, FakeKms::start().await);
    let folder = tempfile::tempdir().unwrap();
    let replicas = replicas(&db, &plc, &kms, folder.path());
    // It need not be there when a server starts.
    kms.set_down(true);
    let (one, other) = tokio::join!(replicas.start(0), replicas.start(1));
    let _running = [one.unwrap(), other.unwrap()];
    let refused = Account::create(&replicas.client(0), "alice.test").await.unwrap_err();
    let refused: Refusal = refused.downcast().unwrap();
    assert_eq!((refused.status, refused.name.as_str()), (503, "NotEnoughResources"));
    assert!(plc.dids().is_empty());

    kms.set_down(false);
    for (replica, name) in ["alice", "bob"].into_iter().enumerate() {
        let account = Account::create(&replicas.client(replica), &format!("{name}.test")).await.unwrap();
        assert_eq!(plc.state(&account.did).unwrap().rotation_keys, [kms.public_key().to_string()]);
        account.post(&replicas.client(1 - replica), "hi", None).await.unwrap();
    }
}
