//! A store that takes no more.

use common::testing::{FakePlc, TestDb};

use crate::harness::account::Account;
use crate::harness::processes::Processes;

const MEGABYTE: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_uploads_and_nothing_else() {
    let (db, plc) = (TestDb::create().await, FakePlc::start().await);
    let folder = tempfile::tempdir().unwrap();
    let mut replicas = Processes::new(1, db.url(), &plc, folder.path()).unwrap();
    replicas.set("PDS_BLOB_UPLOAD_LIMIT", (8 * MEGABYTE).to_string());
    let _replica = replicas.start_cramped(0, 3 * MEGABYTE).await.unwrap();
    let api = replicas.client(0);
    let alice = Account::create(&api, "alice.test").await.unwrap();
    // Each on a connection of its own: one whose request was refused halfway is over.
    let upload = async |size: usize| replicas.client(0).upload(&alice.token, "image/png", vec![7; size]).await;
    for _ in 0..3 {
        // The server does not read to the end what it cannot keep, so its answer may be lost on the way.
        let refused = upload(4 * MEGABYTE).await.unwrap_err().to_string();
        assert!(refused.starts_with("503 ") || refused.starts_with("error sending request"), "{refused}");
    }
    let uploads = folder.path().join("blobs").join("tempt");
    assert_eq!(std::fs::read_dir(&uploads).unwrap().count(), 0, "nothing is left of them");
    upload(2 * MEGABYTE).await.unwrap();
    upload(10).await.unwrap();
}
