//! What is found without a note, in steps.

use std::time::Duration;

use tempfile::TempDir;

use super::super::tests::{Scene, on_disk};
use crate::testing::blobs;

const HOUR: Duration = Duration::from_hours(1);

/// Blobs that lost their references before anybody noted that, and one that a record refers to yet.
async fn scene_without_notes(folder: &TempDir, lost: u8) -> Scene {
    let scene = Scene::start(&on_disk(folder.path())).await;
    for number in 0..lost {
        let cid = scene.upload(&[number]).await.unwrap();
        scene.refer(cid).await;
        scene.let_go(cid).await;
    }
    let cid = scene.upload(b"used").await.unwrap();
    scene.refer(cid).await;
    blobs::forget_dereferences(&scene.db.pool()).await;
    scene.pass(HOUR * 1000).await;
    scene
}

#[tokio::test]
async fn what_nobody_noted_is_found_and_has_its_time() {
    let folder = TempDir::new().unwrap();
    let scene = scene_without_notes(&folder, 3).await;
    assert_eq!(scene.collect().await, [0, 0, 0], "its time begins now");
    scene.pass(HOUR * 6).await;
    assert_eq!(scene.collect().await, [3, 0, 0]);
    scene.collect_all().await;
    assert!(!scene.has_bytes(&[0]).await && scene.has_bytes(b"used").await);
}

#[tokio::test]
async fn each_run_goes_on_where_the_last_one_ended_and_then_begins_anew() {
    let folder = TempDir::new().unwrap();
    let scene = scene_without_notes(&folder, 5).await;
    // Of six blobs one is used; a page that is empty is the end.
    let mut found = Vec::new();
    for _ in 0..4 {
        found.push(scene.collector.sweep_page(2).await.unwrap());
    }
    assert_eq!((found.iter().sum::<i64>(), found[3]), (5, 0), "{found:?}");
    assert!(found[..3].iter().all(|noted| *noted > 0), "{found:?}");
    assert_eq!(scene.collector.sweep_page(2).await.unwrap(), 0, "they are noted");
    blobs::forget_dereferences(&scene.db.pool()).await;
    let mut again = 0;
    for _ in 0..4 {
        again += scene.collector.sweep_page(2).await.unwrap();
    }
    assert_eq!(again, 5);
}

#[tokio::test]
async fn one_sweeps_at_a_time() {
    let folder = TempDir::new().unwrap();
    let scene = scene_without_notes(&folder, 3).await;
    let pool = scene.db.pool();
    let mut conn = pool.acquire().await.unwrap();
    let mut other = conn.begin().await.unwrap();
    assert!(super::store::lock_place(&mut other).await.unwrap().is_some());
    assert_eq!(scene.collector.sweep_page(10).await.unwrap(), 0);
    other.rollback().await.unwrap();
    assert_eq!(scene.collector.sweep_page(10).await.unwrap(), 3);
}
