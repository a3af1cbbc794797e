//! Uploads.

use common::blob::{BlobUsage, QuotaExceeded, UploadError};
use common::config::BlobQuota;
use rand::RngExt as _;

use super::super::cut::Cut;
use super::super::ledger::{self, MEDIA_TYPE, Picture};
use super::super::stage::Replica;
use super::{Account, Actor};

/// After so many steps at most an upload that is cut off is.
const STEPS: u32 = 25;

/// How an upload ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Upload {
    Done,
    Not,
}

impl Actor {
    pub(super) async fn upload(&mut self, account: usize) {
        let (picture, replica) = (self.picture(), self.replica());
        let outcome = self.upload_at(&replica, account, picture).await;
        self.note_upload(account, picture, outcome);
    }

    pub(super) fn note_upload(&mut self, account: usize, picture: Picture, outcome: Upload) {
        if outcome == Upload::Done {
            let ledger = &mut self.accounts[account].ledger;
            ledger.fresh.insert(picture);
            ledger.doubtful.remove(&picture);
        }
    }

    pub(super) async fn upload_at(&self, replica: &Replica, account: usize, picture: Picture) -> Upload {
        let Account { repo, ledger, .. } = &self.accounts[account];
        let mut spool = replica.blobs.spool();
        spool.push(&ledger::bytes(picture)).await.unwrap();
        let content = spool.finish().await.unwrap();
        let (tally, is_hidden) = (&self.stage.tally, ledger.hidden.contains(&picture));
        match replica.blobs.upload(repo.account, &repo.did, content, MEDIA_TYPE).await {
            Ok(_) => {
                assert!(!is_hidden, "picture {picture} is taken down");
                self.assert_within_quota(account).await;
                tally.uploads.increment();
                return Upload::Done;
            }
            Err(UploadError::Takendown) => {
                assert!(is_hidden, "picture {picture} is not taken down");
                tally.hidden_uploads.increment();
            }
            Err(UploadError::BeingDeleted) => {
                assert!(!ledger.is_in_use(picture), "picture {picture} is being deleted");
                tally.barred_uploads.increment();
            }
            Err(UploadError::Quota(exceeded)) => {
                assert!(!ledger.is_there(picture), "picture {picture} is there already: {exceeded}");
                self.assert_exceeds_quota(account, picture, exceeded);
                tally.uploads_beyond_quota.increment();
            }
            Err(UploadError::Store(_)) => tally.failed_uploads.increment(),
            Err(error) => panic!("{error:?}"),
        }
        Upload::Not
    }

    /// The replica dies in the middle of it.
    pub(super) async fn begin_upload(&mut self, account: usize) {
        let (picture, replica, steps) = (self.picture(), self.replica(), self.random.random_range(1..STEPS));
        match Cut::after(steps, self.upload_at(&replica, account, picture)).await {
            Some(outcome) => self.note_upload(account, picture, outcome),
            None => self.stage.tally.cut_uploads.increment(),
        }
    }

    /// No account ever has more than it may, whatever its uploads do at the same time.
    async fn assert_within_quota(&self, account: usize) {
        let Account { repo, quota, .. } = &self.accounts[account];
        let BlobUsage { bytes, count } = self.stage.replicas[0].blobs.quotas().usage(repo.account).await.unwrap();
        let &BlobQuota { bytes: max_bytes, count: max_count } = quota;
        assert!(
            max_bytes.is_none_or(|max| bytes <= max) && max_count.is_none_or(|max| count <= max),
            "{bytes} {count}"
        );
    }

    fn assert_exceeds_quota(&self, account: usize, picture: Picture, exceeded: QuotaExceeded) {
        let (quota, size) = (self.accounts[account].quota, ledger::bytes(picture).len() as u64);
        match exceeded {
            QuotaExceeded::Bytes { used, limit } => {
                assert!(quota.bytes == Some(limit) && used <= limit && used + size > limit, "{exceeded}");
            }
            QuotaExceeded::Count { used, limit } => assert!(quota.count == Some(limit) && used == limit, "{exceeded}"),
        }
    }
}
