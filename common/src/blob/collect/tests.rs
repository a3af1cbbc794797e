//! What goes, what stays, and who may come between.

use std::path::Path;

use atproto::data::Cid;
use atproto::syntax::Tid;
use tempfile::TempDir;

use super::*;
use crate::audit::Actor;
use crate::blob::store::upsert_deletion;
use crate::blob::{Blobs, ObjectId, Reference, UploadError, delete_references, insert_references};
use crate::config::BlobstoreConfig;
use crate::testing::{FakeS3, S3Fault, TestDb, blobs, seed};

const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);
const WEEK: Duration = Duration::from_hours(7 * 24);
/// After which bytes may go.
const MINUTES: Duration = Duration::from_mins(4);
/// After which nothing is left of it.
const END: Duration = Duration::from_mins(11);

pub(super) struct Scene {
    pub(super) db: TestDb,
    blobs: Blobs,
    pub(super) collector: Collector,
    alice: AccountId,
    did: Did,
}

impl Scene {
    pub(super) async fn start(store: &BlobstoreConfig) -> Self {
        let db = TestDb::create().await;
        let objects = Objects::from_config(store);
        objects.check().await.unwrap();
        let alice = seed::account(&db.pool(), "alice.test").await;
        let grace = Grace { unreferenced: DAY, dereferenced: HOUR * 6, quarantine: WEEK };
        Self {
            blobs: Blobs::new(db.pool(), objects.clone()),
            collector: Collector::new(db.pool(), objects, grace),
            alice,
            did: seed::did_of("alice.test").parse().unwrap(),
            db,
        }
    }

    pub(super) async fn upload(&self, bytes: &[u8]) -> Result<Cid, UploadError> {
        let mut spool = self.blobs.spool();
        spool.push(bytes).await.unwrap();
        let content = spool.finish().await.unwrap();
        Ok(self.blobs.upload(self.alice, &self.did, content, "image/png").await?.cid)
    }

    pub(super) async fn refer(&self, cid: Cid) {
        let reference = Reference { cid, collection: "com.example.note".parse().unwrap(), rkey: "a".parse().unwrap() };
        let rev: Tid = "3jzfcijpj2z2a".parse().unwrap();
        let conn = &mut *self.db.pool().acquire().await.unwrap();
        insert_references(conn, self.alice, rev, &[reference]).await.unwrap();
        blobs::make_blob_permanent(&self.db.pool(), cid).await;
    }

    pub(super) async fn let_go(&self, cid: Cid) {
        let reference = ("com.example.note".to_owned(), "a".to_owned(), cid);
        let conn = &mut *self.db.pool().acquire().await.unwrap();
        assert_eq!(delete_references(conn, self.alice, &[reference]).await.unwrap(), 1);
    }

    pub(super) async fn has_bytes(&self, bytes: &[u8]) -> bool {
        let id = ObjectId { did: &self.did, cid: Cid::raw(bytes) };
        self.blobs.has_bytes(id, bytes.len() as u64).await.unwrap()
    }

    async fn is_readable(&self, bytes: &[u8]) -> bool {
        self.blobs.find_readable(self.alice, Cid::raw(bytes)).await.unwrap().is_some()
    }

    /// Everything becomes so much older.
    pub(super) async fn pass(&self, time: Duration) {
        seed::age_blobs(&self.db.pool(), time).await;
    }

    /// Blobs quarantined, blobs given up, objects deleted.
    pub(super) async fn collect(&self) -> [u64; 3] {
        let Collected { quarantined, given_up, objects } = self.collector.collect().await.unwrap();
        [quarantined.blobs, given_up.blobs, objects]
    }

    /// All the way to the end of what is not needed.
    pub(super) async fn collect_all(&self) {
        for time in [DAY, WEEK, MINUTES, END] {
            self.pass(time).await;
            self.collect().await;
        }
    }

    async fn deletions(&self) -> i64 {
        seed::blob_deletions(&self.db.pool()).await
    }
}

pub(super) fn on_disk(folder: &Path) -> BlobstoreConfig {
    BlobstoreConfig::on_disk(folder.to_owned())
}

#[tokio::test]
async fn an_upload_that_nothing_refers_to_goes_in_its_time() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    let used = scene.upload(b"used").await.unwrap();
    scene.upload(b"unused").await.unwrap();
    let hidden = scene.upload(b"hidden").await.unwrap();
    seed::take_blob_down(&scene.db.pool(), hidden).await;
    scene.refer(used).await;
    scene.pass(HOUR * 23).await;
    assert_eq!(scene.collect().await, [0, 0, 0], "too early");
    scene.upload(b"fresh").await.unwrap();
    scene.pass(HOUR).await;
    let forecast = scene.collector.forecast().await.unwrap();
    assert_eq!((forecast.unreferenced, forecast.quarantined.blobs), (Tally { blobs: 1, bytes: 6 }, 0));
    let collected = scene.collector.collect().await.unwrap();
    assert_eq!(collected.quarantined, Tally { blobs: 1, bytes: 6 });
    let forecast = scene.collector.forecast().await.unwrap();
    assert_eq!([forecast.unreferenced.blobs, forecast.quarantined.blobs, forecast.expired.blobs], [0, 1, 0]);

    scene.refer(Cid::raw(b"fresh")).await;
    scene.pass(HOUR * 167).await;
    assert_eq!(scene.collect().await, [0, 0, 0], "it could still be brought back");
    scene.pass(HOUR).await;
    assert_eq!(scene.collector.forecast().await.unwrap().expired, Tally { blobs: 1, bytes: 6 });
    assert_eq!(scene.collect().await, [0, 1, 0], "its bytes not yet");
    assert!(scene.has_bytes(b"unused").await);
    assert!(matches!(scene.upload(b"unused").await, Err(UploadError::BeingDeleted)));

    scene.pass(MINUTES).await;
    assert_eq!(scene.collect().await, [0, 0, 1]);
    assert!(!scene.has_bytes(b"unused").await);
    for stays in [&b"used"[..], b"hidden", b"fresh"] {
        assert!(scene.has_bytes(stays).await, "{stays:?}");
    }
    assert!(matches!(scene.upload(b"unused").await, Err(UploadError::BeingDeleted)), "a late request may come");
    scene.pass(END).await;
    assert_eq!((scene.collect().await, scene.deletions().await), ([0, 0, 0], 0));
    scene.upload(b"unused").await.unwrap();
    assert!(scene.has_bytes(b"unused").await);
    scene.collect_all().await;
    let left = [scene.has_bytes(b"used").await, scene.has_bytes(b"fresh").await, scene.has_bytes(b"unused").await];
    assert_eq!(left, [true, true, false], "what a record refers to never goes");
}

#[tokio::test]
async fn what_lost_its_last_reference_goes_in_its_time() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    let cid = scene.upload(b"post").await.unwrap();
    scene.refer(cid).await;
    scene.pass(DAY * 30).await;
    scene.let_go(cid).await;
    scene.pass(HOUR * 5).await;
    assert_eq!(scene.collect().await, [0, 0, 0], "too early");
    // Lost once more, its time begins anew.
    scene.refer(cid).await;
    scene.let_go(cid).await;
    scene.pass(HOUR * 5).await;
    assert_eq!(scene.collect().await, [0, 0, 0]);
    scene.pass(HOUR).await;
    assert_eq!(scene.collector.forecast().await.unwrap().dereferenced, Tally { blobs: 1, bytes: 4 });
    assert_eq!(scene.collect().await, [1, 0, 0]);
    assert!(scene.has_bytes(b"post").await);
    scene.pass(WEEK).await;
    assert_eq!(scene.collect().await, [0, 1, 0]);
    scene.pass(MINUTES).await;
    assert_eq!(scene.collect().await, [0, 0, 1]);
    assert!(!scene.has_bytes(b"post").await);
}

#[tokio::test]
async fn a_reference_or_an_upload_brings_it_back_from_quarantine() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    for bytes in [&b"referred to"[..], b"uploaded", b"kept", b"lost"] {
        let cid = scene.upload(bytes).await.unwrap();
        scene.refer(cid).await;
        scene.let_go(cid).await;
    }
    scene.pass(DAY).await;
    assert_eq!(scene.collect().await, [4, 0, 0]);
    scene.refer(Cid::raw(b"referred to")).await;
    assert!(scene.is_readable(b"referred to").await);
    scene.upload(b"uploaded").await.unwrap();
    let operator = Actor::Command("root".to_owned());
    let kept = Cid::raw(b"kept");
    assert_eq!(scene.blobs.list_quarantined(&scene.did, None, 10).await.unwrap().len(), 2);
    assert!(scene.blobs.keep(&operator, &scene.did, kept).await.unwrap());
    assert!(!scene.blobs.keep(&operator, &scene.did, kept).await.unwrap(), "it is not there any more");
    let left = scene.blobs.list_quarantined(&scene.did, None, 10).await.unwrap();
    assert_eq!(left.iter().map(|blob| (blob.cid, blob.size)).collect::<Vec<_>>(), [(Cid::raw(b"lost"), 4)]);

    scene.pass(HOUR * 23).await;
    assert_eq!(scene.collect().await, [0, 0, 0], "both are as if just uploaded");
    scene.refer(Cid::raw(b"uploaded")).await;
    scene.pass(WEEK).await;
    assert_eq!(scene.collect().await, [1, 1, 0]);
    scene.collect_all().await;
    let has = async |bytes: &'static [u8]| scene.has_bytes(bytes).await;
    assert_eq!([has(b"referred to").await, has(b"uploaded").await, has(b"kept").await], [true, true, false]);
}

#[tokio::test]
async fn what_was_quarantined_though_a_record_refers_to_it_is_never_given_up() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    let cid = scene.upload(b"imported").await.unwrap();
    scene.pass(DAY).await;
    assert_eq!(scene.collect().await, [1, 0, 0]);
    // As an import leaves it whose look at the blob was older than this.
    let reference = Reference { cid, collection: "com.example.note".parse().unwrap(), rkey: "b".parse().unwrap() };
    let rev: Tid = "3jzfcijpj2z2a".parse().unwrap();
    let conn = &mut *scene.db.pool().acquire().await.unwrap();
    insert_references(conn, scene.alice, rev, &[reference]).await.unwrap();
    scene.collect_all().await;
    assert!(scene.is_readable(b"imported").await && scene.has_bytes(b"imported").await);
    assert_eq!(blobs::quarantined_blobs(&scene.db.pool()).await, 0);
}

#[tokio::test]
async fn what_two_commits_of_one_chain_took_and_let_go_goes_as_well() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    let cid = scene.upload(b"between").await.unwrap();
    // A reference was never stored, as for a post that was deleted at the same moment.
    blobs::make_blob_permanent(&scene.db.pool(), cid).await;
    scene.collect_all().await;
    assert!(!scene.has_bytes(b"between").await);
}

#[tokio::test]
async fn an_upload_anew_begins_a_new_time() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    let cid = scene.upload(b"twice").await.unwrap();
    scene.pass(DAY).await;
    scene.upload(b"twice").await.unwrap();
    assert_eq!(scene.collect().await, [0, 0, 0]);
    scene.refer(cid).await;
    scene.let_go(cid).await;
    scene.pass(DAY).await;
    scene.upload(b"twice").await.unwrap();
    assert_eq!(scene.collect().await, [0, 0, 0], "though it lost its last reference long ago");
    scene.pass(DAY).await;
    assert_eq!(scene.collect().await, [1, 0, 0]);
}

#[tokio::test]
async fn what_is_shown_again_begins_a_new_time() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    for bytes in [&b"never used"[..], b"used once", b"in quarantine"] {
        let cid = scene.upload(bytes).await.unwrap();
        if bytes == b"used once" {
            scene.refer(cid).await;
            scene.let_go(cid).await;
        }
    }
    let mark = async |bytes: &[u8], reference| {
        let marked = scene.blobs.mark(&Actor::Admin, &scene.did, Cid::raw(bytes), reference).await;
        assert!(marked.unwrap());
    };
    mark(b"never used", Some("x")).await;
    mark(b"used once", Some("x")).await;
    scene.pass(DAY).await;
    assert_eq!(scene.collect().await, [1, 0, 0]);
    mark(b"in quarantine", Some("x")).await;
    scene.pass(WEEK).await;
    assert_eq!(scene.collect().await, [0, 0, 0], "hidden ones stay");
    for bytes in [&b"never used"[..], b"used once", b"in quarantine"] {
        mark(bytes, None).await;
    }
    assert_eq!(scene.collect().await, [0, 0, 0]);
    scene.pass(DAY).await;
    assert_eq!(scene.collect().await, [3, 0, 0]);
}

#[tokio::test]
async fn who_uploads_or_commits_at_the_same_moment_wins() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    for bytes in [&b"held"[..], b"held and lost", b"unused"] {
        scene.upload(bytes).await.unwrap();
    }
    scene.refer(Cid::raw(b"held and lost")).await;
    scene.let_go(Cid::raw(b"held and lost")).await;
    scene.pass(DAY).await;
    let pool = scene.db.pool();
    let mut conn = pool.acquire().await.unwrap();
    let mut writer = conn.begin().await.unwrap();
    seed::lock_blob(&mut writer, Cid::raw(b"held")).await;
    seed::lock_blob(&mut writer, Cid::raw(b"held and lost")).await;
    assert_eq!(scene.collect().await, [1, 0, 0], "what somebody holds is left alone");
    writer.rollback().await.unwrap();
    scene.pass(WEEK).await;
    assert_eq!(scene.collect().await, [2, 1, 0], "for as long as they do");

    // An upload that looked before the row was given up stores its own all the same.
    seed::blob(&pool, scene.did.as_str(), b"unused").await;
    scene.pass(MINUTES).await;
    assert_eq!((scene.collect().await, scene.deletions().await), ([0, 0, 0], 0));
    assert!(scene.has_bytes(b"unused").await, "the account has it again");
}

#[tokio::test]
async fn bytes_that_came_while_they_were_being_deleted_go_as_well() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    let cid = scene.upload(b"late").await.unwrap();
    scene.collect_all().await;
    assert!(!scene.has_bytes(b"late").await);
    // What an upload does that looked before the blob was given up, and whose row would come after.
    let mut spool = scene.blobs.spool();
    spool.push(b"late").await.unwrap();
    let (id, content) = (ObjectId { did: &scene.did, cid }, spool.finish().await.unwrap());
    scene.blobs.objects.put(id, content).await.unwrap();
    let mut conn = scene.db.pool().acquire().await.unwrap();
    upsert_deletion(&mut conn, &scene.did, cid).await.unwrap();
    assert!(scene.has_bytes(b"late").await);
    scene.pass(MINUTES).await;
    assert_eq!(scene.collect().await, [0, 0, 1]);
    scene.pass(END).await;
    scene.collect().await;
    scene.upload(b"late").await.unwrap();
    assert!(scene.has_bytes(b"late").await);
    assert_eq!(cid, Cid::raw(b"late"));
}

#[tokio::test]
async fn the_blobs_of_a_deleted_account_go_but_not_those_of_one_that_came_back() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    let pool = scene.db.pool();
    for bytes in [&b"1"[..], b"2", b"3"] {
        scene.upload(bytes).await.unwrap();
    }
    scene.refer(Cid::raw(b"1")).await;
    let conn = &mut *pool.acquire().await.unwrap();
    assert_eq!(give_up(conn, scene.alice, &scene.did, 10).await.unwrap(), 0, "it is not deleted");
    seed::delete_account(&pool, scene.did.as_str()).await;
    assert_eq!(give_up(conn, scene.alice, &scene.did, 2).await.unwrap(), 2);
    assert_eq!(give_up(conn, scene.alice, &scene.did, 2).await.unwrap(), 1);

    seed::account(&pool, "alice.test").await;
    seed::blob(&pool, scene.did.as_str(), b"2").await;
    scene.pass(MINUTES).await;
    assert_eq!(scene.collect().await, [0, 0, 2]);
    let left = [scene.has_bytes(b"1").await, scene.has_bytes(b"2").await, scene.has_bytes(b"3").await];
    assert_eq!(left, [false, true, false]);
}

#[tokio::test]
async fn a_store_that_fails_is_asked_again() {
    let s3 = FakeS3::start().await;
    let scene = Scene::start(&s3.config()).await;
    for bytes in [&b"1"[..], b"2"] {
        scene.upload(bytes).await.unwrap();
    }
    scene.pass(DAY).await;
    assert_eq!(scene.collect().await, [2, 0, 0]);
    scene.pass(WEEK).await;
    assert_eq!(scene.collect().await, [0, 2, 0]);
    scene.pass(MINUTES).await;
    s3.set_fault(Some(S3Fault::Down));
    assert!(matches!(scene.collector.collect().await, Err(CollectError::Store { failed: 2, .. })));
    s3.set_fault(None);
    assert_eq!(scene.collect().await, [0, 0, 0], "others come first");
    scene.pass(MINUTES).await;
    assert_eq!(scene.collect().await, [0, 0, 2]);
    assert!(!scene.has_bytes(b"1").await && !scene.has_bytes(b"2").await);
    let mut text = crate::telemetry::metrics::Exposition::default();
    scene.collector.counts().write(&mut text);
    let text = text.finish();
    for line in [
        "pds_blobs_collected_total{state=\"quarantined\"} 2",
        "pds_blob_collected_bytes_total{state=\"given_up\"} 2",
        "pds_blob_objects_deleted_total{outcome=\"done\"} 2",
        "pds_blob_objects_deleted_total{outcome=\"failed\"} 2",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test]
async fn who_comes_back_may_upload_what_the_first_account_had() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    let pool = scene.db.pool();
    for bytes in [&b"before"[..], b"after"] {
        scene.upload(bytes).await.unwrap();
    }
    seed::delete_account(&pool, scene.did.as_str()).await;
    let back = seed::account(&pool, "alice.test").await;
    let upload = async |bytes: &[u8]| {
        let mut spool = scene.blobs.spool();
        spool.push(bytes).await.unwrap();
        scene.blobs.upload(back, &scene.did, spool.finish().await.unwrap(), "image/png").await
    };
    upload(b"before").await.unwrap();
    let conn = &mut *pool.acquire().await.unwrap();
    assert_eq!(give_up(conn, scene.alice, &scene.did, 10).await.unwrap(), 2);
    assert_eq!(scene.deletions().await, 1, "only of what the second one does not have");
    upload(b"before").await.unwrap();
    assert!(matches!(upload(b"after").await, Err(UploadError::BeingDeleted)));
    // Also if both came at the same moment.
    seed::blob(&pool, scene.did.as_str(), b"after").await;
    upload(b"after").await.unwrap();
    scene.pass(MINUTES).await;
    assert_eq!(scene.collect().await, [0, 0, 0]);
    assert!(scene.has_bytes(b"before").await && scene.has_bytes(b"after").await);
}
