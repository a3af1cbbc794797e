//! Pictures that say more than they show.
//!
//! A picture is inspected before it is stored, because the CID is that of the stored bytes. What a record refers to already
//! stays as it is, whatever it says: its account moved in with that record, the picture is known under its CID, and
//! neither refusing nor changing it would take anything back.

use std::io;

use picture::{Format, InspectError, Inspection, Piece};
use tokio::task::spawn_blocking;

use super::object::{Content, Spool, StoreError};
use super::{Blobs, UploadError, store};
use crate::config::MetadataPolicy;
use crate::db::AccountId;
use crate::telemetry::metrics::{Counter, Exposition};

/// Zeros that are written at once.
const ZEROS: [u8; 4096] = [0; 4096];

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
        Ok(_) => None,
    })
}

async fn inspect(content: &Content) -> Result<Option<Inspection>, InspectError> {
    let reader = content.open()?;
    spawn_blocking(|| picture::inspect(reader)).await.map_err(io::Error::from)?
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
    use picture::testing::{self, Block, device, gps};

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
        let (collection, rkey) = ("com.example.note".parse().unwrap(), "a".parse().unwrap());
        let reference = Reference { cid: Cid::raw(&picture), collection, rkey };
        let conn = &mut *db.pool().acquire().await.unwrap();
        insert_references(conn, alice, "3jzfcijpj2z2a".parse().unwrap(), &[reference]).await.unwrap();
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
}
