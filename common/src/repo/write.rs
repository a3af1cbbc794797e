//! The write path: from prepared writes to a stored commit.

use std::slice;
use std::sync::Arc;

use atproto::data::Cid;
use atproto::syntax::{Did, Tid};

use super::Repos;
use super::blobs::BlobDiffers;
use super::commit::CommitError;
use super::plan::Refusal;
use super::prepare::PreparedWrite;
use super::queue::{Outcome, Request, Service};
use crate::db::AccountId;
use crate::keys::KeyError;

/// Where a repo stands after a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitRef {
    /// CID of the commit.
    pub cid: Cid,
    /// Its rev.
    pub rev: Tid,
}

/// Why nothing was written. Writes that were to be stored together share it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// No account has this repo any more.
    #[error("Could not find repo")]
    RepoNotFound,
    /// The account is deactivated.
    #[error("Account is deactivated")]
    Deactivated,
    /// The account is taken down.
    #[error("Account has been taken down")]
    Takendown,
    /// A record refers to a blob that nobody uploaded to this account, or that is taken down.
    #[error("Could not find blob: {0}")]
    BlobNotFound(Cid),
    /// A record says something else of a blob than was uploaded.
    #[error(transparent)]
    BlobDiffers(#[from] BlobDiffers),
    /// The writes do not fit the repo's state, or are too many for one commit.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Other replicas won the race for this repo every time.
    #[error("the repo is too busy")]
    Contended,
    /// The commit has no verdict.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The account's signing key cannot be used.
    #[error("signing key unavailable")]
    Key(#[source] Arc<KeyError>),
    /// The stored tree is damaged, or the commit does not verify.
    #[error("repo is damaged: {0}")]
    Damaged(String),
    /// Postgres failed.
    #[error("repo storage failed")]
    Storage(#[source] Arc<sqlx::Error>),
}

impl WriteError {
    /// True if any other write of the repo would fail of the same right now.
    fn is_of_the_server(&self) -> bool {
        match self {
            Self::Contended | Self::Commit(CommitError::Unavailable | CommitError::Unknown) | Self::Storage(_) => true,
            Self::RepoNotFound
            | Self::Deactivated
            | Self::Takendown
            | Self::BlobNotFound(_)
            | Self::BlobDiffers(_)
            | Self::Refused(_)
            | Self::Commit(CommitError::Refused(_))
            | Self::Key(_)
            | Self::Damaged(_) => false,
        }
    }
}

impl From<KeyError> for WriteError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Storage(error) => error.into(),
            KeyError::Sealed(_) => Self::Key(Arc::new(error)),
        }
    }
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(Arc::new(error))
    }
}

impl Repos {
    /// Applies writes to a repo as one commit and waits until it is stored and numbered.
    ///
    /// Gives `None` if the writes change nothing. An empty list still makes a commit. `swap_commit` is the commit the
    /// client saw last; without it, a race with other writers is won by trying again. If the caller goes away, the commit
    /// may be stored all the same.
    pub async fn apply_writes(
        &self,
        account: AccountId,
        did: &Did,
        writes: impl Into<Arc<[PreparedWrite]>>,
        swap_commit: Option<Cid>,
    ) -> Result<Option<CommitRef>, WriteError> {
        let writes = writes.into();
        self.check_references(account, &writes).await?;
        let (request, outcome) = Request::new(did.clone(), writes, swap_commit);
        if let Some(service) = self.queues.push(account, request) {
            // A task of its own: the caller may go away, and with it the answers of those who wait.
            tokio::spawn(self.clone().serve(service));
        }
        outcome.await.unwrap_or(Err(CommitError::Unknown.into()))
    }

    /// Serves a repo's queue until it is empty.
    async fn serve(self, mut service: Service) {
        while let Some(requests) = service.next() {
            match self.write(service.account(), &requests).await {
                Ok(outcomes) => {
                    for (request, outcome) in requests.into_iter().zip(outcomes) {
                        request.answer(outcome);
                    }
                }
                // One of them is to blame, and must not fail the others.
                Err(
                    WriteError::Commit(CommitError::Refused(_)) | WriteError::Damaged(_) | WriteError::BlobNotFound(_),
                ) if requests.len() > 1 => {
                    for request in requests {
                        let outcome = self.write_one(service.account(), &request).await;
                        request.answer(outcome);
                    }
                }
                Err(error) => {
                    let waiting = if error.is_of_the_server() { service.take_rest() } else { Vec::new() };
                    for request in requests {
                        request.answer(Err(error.clone()));
                    }
                    for request in waiting {
                        request.answer(Err(CommitError::Unavailable.into()));
                    }
                }
            }
        }
    }

    /// Gives what became of each request, if that can be said of each.
    async fn write(&self, account: AccountId, requests: &[Request]) -> Result<Vec<Outcome>, WriteError> {
        let Some(first) = requests.first() else { return Ok(Vec::new()) };
        let key = self.keys.find_signing_key(account, &first.did).await?.ok_or(WriteError::RepoNotFound)?;
        self.race(account, &key, requests).await
    }

    async fn write_one(&self, account: AccountId, request: &Request) -> Outcome {
        let outcomes = self.write(account, slice::from_ref(request)).await?;
        outcomes.into_iter().next().unwrap_or(Ok(None))
    }
}
