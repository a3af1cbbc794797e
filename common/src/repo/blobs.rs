//! What records say of the blobs they refer to.

use atproto::data::{BlobRef, Cid};

use super::Repos;
use super::prepare::PreparedWrite;
use super::write::WriteError;
use crate::blob::{self, StoredBlob};
use crate::db::AccountId;

/// A record says something else of a blob than was uploaded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BlobDiffers {
    /// Another media type.
    #[error("Blob {cid} is {stored}, not {claimed}")]
    MimeType {
        /// The blob.
        cid: Cid,
        /// What it is.
        stored: String,
        /// What the record says.
        claimed: String,
    },
    /// Another size.
    #[error("Blob {cid} has {stored} bytes, not {}", .claimed.map_or_else(|| "-1".to_owned(), |size| size.to_string()))]
    Size {
        /// The blob.
        cid: Cid,
        /// What it has, in bytes.
        stored: u64,
        /// What the record says; `None` for the −1 of references that were upgraded.
        claimed: Option<u64>,
    },
}

impl Repos {
    /// Checks what writes say of blobs that no record has referred to yet. Whether a blob is there at all, the commit finds
    /// out.
    ///
    /// Reference: what is said of other blobs is not looked at. An imported record may say anything of them, and its owner
    /// goes on using the reference in new versions of it.
    pub(super) async fn check_references(
        &self,
        account: AccountId,
        writes: &[PreparedWrite],
    ) -> Result<(), WriteError> {
        let records = writes.iter().filter_map(PreparedWrite::record);
        let references: Vec<&BlobRef> = records.flat_map(|record| &record.blobs).collect();
        if references.is_empty() {
            return Ok(());
        }
        let cids: Vec<Cid> = references.iter().map(|reference| reference.cid).collect();
        let uploads = blob::list_unreferenced(&mut *self.pool.acquire().await?, account, &cids).await?;
        for reference in references {
            if let Some(upload) = uploads.iter().find(|upload| upload.cid == reference.cid) {
                compare(upload, reference)?;
            }
        }
        Ok(())
    }
}

fn compare(upload: &StoredBlob, reference: &BlobRef) -> Result<(), BlobDiffers> {
    let cid = upload.cid;
    if upload.mime_type != reference.mime_type {
        let (stored, claimed) = (upload.mime_type.clone(), reference.mime_type.clone());
        return Err(BlobDiffers::MimeType { cid, stored, claimed });
    }
    if Some(upload.size) != reference.size {
        return Err(BlobDiffers::Size { cid, stored: upload.size, claimed: reference.size });
    }
    Ok(())
}
