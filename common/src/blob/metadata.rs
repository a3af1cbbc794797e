//! Pictures that say more than they show.
//!
//! A picture is inspected before it is stored, because the CID is that of the stored bytes. What a record refers to already
//! stays as it is, whatever it says: its account moved in with that record, the picture is known under its CID, and
//! neither refusing nor changing it would take anything back.

use std::io::{self, Read, Seek};
use std::sync::LazyLock;
use std::thread::available_parallelism;

use picture::{Format, InspectError, Inspection, Piece};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::object::{Content, Spool, StoreError};
use super::{Blobs, UploadError, store};
use crate::config::MetadataPolicy;
use crate::db::AccountId;
use crate::telemetry::metrics::{Counter, Exposition};

/// Zeros that are written at once.
const ZEROS: [u8; 4096] = [0; 4096];

/// Pictures of this process that may be inspected at once: on half of the processors, so that requests have the others.
///
/// One takes a fraction of a millisecond. Files made to be slow take up to 30 ms a megabyte, what is packed counted unpacked,
/// of which no more than 32 MB are read: 3 s for one of 100 MB.
static PLACES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))));

/// What became of pictures in which something was found.
static REFUSED: Counter = Counter::new();
static UNREADABLE: Counter = Counter::new();
static STRIPPED: Counter = Counter::new();
static REFERENCED: Counter = Counter::new();

/// Writes what was counted.
pub fn expose(text: &mut Exposition) {
    let name = "pds_blob_pictures_total";
    let help = "Uploaded pictures that the metadata policy concerned: refused because they name a place or cannot be read, \
                stripped, or let through because a record refers to them already.";
    text.counters(name, help);
    let outcomes = [("refused", &REFUSED), ("unreadable", &UNREADABLE), ("stripped", &STRIPPED)];
    for (outcome, counter) in outcomes.into_iter().chain([("referenced", &REFERENCED)]) {
        text.sample(name, &[("outcome", outcome)], counter.get());
    }
}

/// What a policy asks for.
enum Demand {
    Refusal(UploadError),
    Removal(Vec<Piece>),
}

impl Blobs {
    /// What is to be stored of a blob under this policy: itself, unless it is a picture with metadata that must go.
    ///
    /// # Errors
    /// [`UploadError::Location`] and [`UploadError::Unreadable`] say that the picture must not be stored.
    pub async fn screen(
        &self,
        account: AccountId,
        content: Content,
        policy: MetadataPolicy,
    ) -> Result<Content, UploadError> {
        let Some(demand) = demand(&content, policy).await? else { return Ok(content) };
        if store::is_referenced(&mut *self.pool.acquire().await?, account, content.cid()).await? {
            REFERENCED.increment();
            return Ok(content);
        }
        match demand {
            Demand::Refusal(error) => {
                let counter = if matches!(error, UploadError::Location) { &REFUSED } else { &UNREADABLE };
                counter.increment();
                Err(error)
            }
            Demand::Removal(pieces) => {
                STRIPPED.increment();
                Ok(rewrite(self.spool(), &content, pieces).await?)
            }
        }
    }
}

async fn demand(content: &Content, policy: MetadataPolicy) -> Result<Option<Demand>, StoreError> {
    if policy == MetadataPolicy::Allow || Format::of(content.front()).is_none() {
        return Ok(None);
    }
    Ok(match inspect(content).await {
        Err(InspectError::Io(error)) => return Err(error.into()),
        Err(error) => Some(Demand::Refusal(UploadError::Unreadable(error))),
        Ok(Some(found)) if policy == MetadataPolicy::Strip => found.stripped().map(Demand::Removal),
        Ok(Some(found)) if found.carries_location() => Some(Demand::Refusal(UploadError::Location)),
        Ok(found) => {
            let opaque = found.and_then(|found| found.opaque()).map(InspectError::Unreadable);
            opaque.map(|error| Demand::Refusal(UploadError::Unreadable(error)))
        }
    })
}

async fn inspect(content: &Content) -> Result<Option<Inspection>, InspectError> {
    inspect_in_turn(&PLACES, content.open()?).await
}

/// Inspects a picture where it keeps no request waiting, as soon as there is a place.
async fn inspect_in_turn(
    places: &'static Semaphore,
    file: impl Read + Seek + Send + 'static,
) -> Result<Option<Inspection>, InspectError> {
    let place = places.acquire().await.map_err(io::Error::other)?;
    let inspection = spawn_blocking(move || {
        // It goes on if nobody waits for it any more.
        let _place = place;
        picture::inspect(file)
    });
    inspection.await.map_err(io::Error::from)?
}

/// Content that is made of pieces of another.
async fn rewrite(mut spool: Spool, content: &Content, pieces: Vec<Piece>) -> Result<Content, StoreError> {
    for piece in pieces {
        match piece {
            Piece::Kept(range) => spool.copy(content, range).await?,
            Piece::New(bytes) => spool.push(&bytes).await?,
            Piece::Zeros(mut left) => {
                while left > 0 {
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
                    spool.push(&ZEROS[..len]).await?;
                    left -= len as u64;
                }
            }
        }
    }
    spool.finish().await
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use atproto::data::Cid;
    use picture::testing::{self, Block, Heif, Item, device, gps};
    use tokio::sync::oneshot;

    use super::*;
    use crate::blob::{Objects, Reference, insert_references};
    use crate::config::BlobstoreConfig;
    use crate::testing::{TestDb, seed};

    async fn content(blobs: &Blobs, bytes: &[u8]) -> Content {
        let mut spool = blobs.spool();
        spool.push(bytes).await.unwrap();
        spool.finish().await.unwrap()
    }

    fn bytes(content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut content.open().unwrap(), &mut bytes).unwrap();
        bytes
    }

    async fn blobs(db: &TestDb, folder: &Path) -> Blobs {
        let objects = Objects::from_config(&BlobstoreConfig::on_disk(folder.to_owned()));
        objects.check().await.unwrap();
        Blobs::new(db.pool(), objects)
    }

    /// A picture that names a place, and without what is personal; in memory, and in a file.
    fn pictures() -> Vec<(Vec<u8>, Vec<u8>)> {
        let block = Block { values: device(), gps: gps(), ..Block::default() };
        let formats = [Format::Jpeg, Format::Png, Format::WebP, Format::Heif];
        let mut pictures: Vec<_> = formats.map(|format| testing::picture(format, &block)).into();
        let end = pictures[0].len() - 2;
        let large = [&pictures[0][..end], &vec![0x55; 2 << 20], b"\xff\xd9"].concat();
        pictures.push(large);
        let stripped = |bytes: &[u8]| testing::assemble(bytes, testing::inspect(bytes).unwrap().stripped());
        pictures.into_iter().map(|bytes| (stripped(&bytes), bytes)).map(|(clean, bytes)| (bytes, clean)).collect()
    }

    /// Lets a record refer to a picture.
    async fn show(db: &TestDb, account: AccountId, cid: Cid) {
        let (collection, rkey) = ("com.example.note".parse().unwrap(), "a".parse().unwrap());
        let conn = &mut *db.pool().acquire().await.unwrap();
        let references = [Reference { cid, collection, rkey }];
        insert_references(conn, account, "3jzfcijpj2z2a".parse().unwrap(), &references).await.unwrap();
    }

    #[tokio::test]
    async fn a_policy_says_what_is_stored() {
        let (db, folder) = (TestDb::create().await, tempfile::tempdir().unwrap());
        let (alice, blobs) = (seed::account(&db.pool(), "alice.test").await, blobs(&db, folder.path()).await);
        for (picture, clean) in pictures() {
            assert!(clean != picture);
            let content = async |bytes: &[u8]| content(&blobs, bytes).await;
            let refused = blobs.screen(alice, content(&picture).await, MetadataPolicy::Reject).await;
            assert!(matches!(refused, Err(UploadError::Location)), "{refused:?}");
            let stripped = blobs.screen(alice, content(&picture).await, MetadataPolicy::Strip).await.unwrap();
            assert!(bytes(&stripped) == clean);
            assert_eq!((stripped.cid(), stripped.size()), (Cid::raw(&clean), clean.len() as u64));
            assert_eq!(stripped.front(), &clean[..stripped.front().len()]);
            let allowed = blobs.screen(alice, content(&picture).await, MetadataPolicy::Allow).await.unwrap();
            assert_eq!(allowed.cid(), Cid::raw(&picture));
            for policy in [MetadataPolicy::Reject, MetadataPolicy::Strip] {
                let kept = blobs.screen(alice, content(&clean).await, policy).await.unwrap();
                assert_eq!(kept.cid(), Cid::raw(&clean));
            }
        }
        let left = std::fs::read_dir(folder.path().join("tempt")).unwrap().count();
        assert_eq!(left, 0, "nothing is left of what was refused or replaced");
    }

    #[tokio::test]
    async fn what_a_record_refers_to_stays_as_it_is() {
        let (db, folder) = (TestDb::create().await, tempfile::tempdir().unwrap());
        let (alice, bob) = (seed::account(&db.pool(), "alice.test").await, seed::account(&db.pool(), "bob.test").await);
        let blobs = blobs(&db, folder.path()).await;
        let (picture, _) = pictures().remove(0);
        show(&db, alice, Cid::raw(&picture)).await;
        for policy in [MetadataPolicy::Reject, MetadataPolicy::Strip] {
            let kept = blobs.screen(alice, content(&blobs, &picture).await, policy).await.unwrap();
            assert_eq!(kept.cid(), Cid::raw(&picture));
        }
        let refused = blobs.screen(bob, content(&blobs, &picture).await, MetadataPolicy::Reject).await;
        assert!(matches!(refused, Err(UploadError::Location)), "it is Alice's record");
    }

    #[tokio::test]
    async fn what_cannot_be_inspected_is_refused_and_what_is_no_picture_is_not() {
        let (db, folder) = (TestDb::create().await, tempfile::tempdir().unwrap());
        let (alice, blobs) = (seed::account(&db.pool(), "alice.test").await, blobs(&db, folder.path()).await);
        let large = testing::png(&[(*b"eXIf", vec![0; 2 << 20])]);
        for policy in [MetadataPolicy::Reject, MetadataPolicy::Strip] {
            let refused = blobs.screen(alice, content(&blobs, &large).await, policy).await;
            assert!(matches!(refused, Err(UploadError::Unreadable(_))), "{refused:?}");
            for other in [&b"a text"[..], b"GIF89a", testing::XMP] {
                assert!(blobs.screen(alice, content(&blobs, other).await, policy).await.is_ok());
            }
        }
        assert!(blobs.screen(alice, content(&blobs, &large).await, MetadataPolicy::Allow).await.is_ok());
    }

    #[tokio::test]
    async fn what_cannot_be_looked_into_is_refused_and_can_be_removed() {
        let (db, folder) = (TestDb::create().await, tempfile::tempdir().unwrap());
        let (alice, blobs) = (seed::account(&db.pool(), "alice.test").await, blobs(&db, folder.path()).await);
        let sealed = Item { coding: "br", ..Item::new(*b"mime", vec![7; 50]) };
        let picture = Heif { items: vec![Item::new(*b"hvc1", vec![1; 9]), sealed], boxes: Vec::new() }.to_bytes();
        let refused = blobs.screen(alice, content(&blobs, &picture).await, MetadataPolicy::Reject).await;
        assert!(matches!(refused, Err(UploadError::Unreadable(_))), "{refused:?}");
        let stripped = blobs.screen(alice, content(&blobs, &picture).await, MetadataPolicy::Strip).await.unwrap();
        let kept = blobs.screen(alice, stripped, MetadataPolicy::Reject).await.unwrap();
        assert!(kept.size() == picture.len() as u64 && kept.cid() != Cid::raw(&picture));
    }

    /// What was counted so far.
    fn counted(outcome: &str) -> u64 {
        let mut text = Exposition::default();
        expose(&mut text);
        let name = format!("pds_blob_pictures_total{{outcome=\"{outcome}\"}} ");
        let text = text.finish();
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn what_the_policy_does_is_counted() {
        let (db, folder) = (TestDb::create().await, tempfile::tempdir().unwrap());
        let (alice, blobs) = (seed::account(&db.pool(), "alice.test").await, blobs(&db, folder.path()).await);
        let (picture, clean) = pictures().remove(0);
        let large = testing::png(&[(*b"eXIf", vec![0; 2 << 20])]);
        for (outcome, bytes, policy) in [
            ("refused", &picture, MetadataPolicy::Reject),
            ("unreadable", &large, MetadataPolicy::Reject),
            ("stripped", &picture, MetadataPolicy::Strip),
        ] {
            let before = counted(outcome);
            drop(blobs.screen(alice, content(&blobs, bytes).await, policy).await);
            // Other tests may run in this process.
            assert!(counted(outcome) > before, "{outcome}");
        }
        show(&db, alice, Cid::raw(&picture)).await;
        let before = counted("referenced");
        for bytes in [&picture, &clean] {
            blobs.screen(alice, content(&blobs, bytes).await, MetadataPolicy::Reject).await.unwrap();
        }
        assert!(counted("referenced") > before);
    }

    /// A file that lets nobody look at it before it is told to.
    struct Held {
        begun: oneshot::Sender<()>,
        go_on: std::sync::mpsc::Receiver<()>,
    }

    fn held() -> (HeldFile, oneshot::Receiver<()>, std::sync::mpsc::Sender<()>) {
        let ((begun, has_begun), (go, go_on)) = (oneshot::channel(), std::sync::mpsc::channel());
        (HeldFile(Some(Held { begun, go_on })), has_begun, go)
    }

    struct HeldFile(Option<Held>);

    impl Seek for HeldFile {
        fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
            if let Some(Held { begun, go_on }) = self.0.take() {
                begun.send(()).unwrap();
                go_on.recv().unwrap();
            }
            Ok(0)
        }
    }

    impl Read for HeldFile {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }

    #[tokio::test]
    async fn pictures_wait_for_their_turn_and_keep_nobody_waiting() {
        static ONE: Semaphore = Semaphore::const_new(1);
        let ((first, first_begun, first_go), (second, second_begun, second_go)) = (held(), held());
        let first = tokio::spawn(inspect_in_turn(&ONE, first));
        first_begun.await.unwrap();
        // This thread, the only one for requests, is free. Who uploads goes away; the place stays taken.
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let second = tokio::spawn(inspect_in_turn(&ONE, second));
        assert_eq!(ONE.available_permits(), 0);
        first_go.send(()).unwrap();
        second_begun.await.unwrap();
        assert_eq!(ONE.available_permits(), 0);
        second_go.send(()).unwrap();
        assert!(second.await.unwrap().unwrap().is_none(), "it is no picture");
        assert_eq!(ONE.available_permits(), 1);
    }
}
