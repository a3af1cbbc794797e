//! The write path: from prepared writes to a stored commit.

use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::{Datetime, Did, Tid};

use super::Repos;
use super::committer::{CommitError, Verdict};
use super::nodes::NodeError;
use super::plan::{Draft, Plan, PlanError, PlannedCommit, Refusal};
use super::prepare::{PreparedWrite, RecordPath};
use super::store::{self, Head};
use crate::db::AccountId;
use crate::keys::KeyError;

/// Tries of one write. Another replica may win the race for the repo, many times if its caches are warmer; each lost race
/// costs one. All of them together take some two seconds.
const ATTEMPTS: u32 = 40;
/// The longest pause before the second try; it grows with each further one.
const PAUSE: Duration = Duration::from_millis(4);

/// Where a repo stands after a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitRef {
    /// CID of the commit.
    pub cid: Cid,
    /// Its rev.
    pub rev: Tid,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
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
    Key(#[from] KeyError),
    /// The stored tree is damaged, or the commit does not verify.
    #[error("repo is damaged: {0}")]
    Damaged(String),
    /// Postgres failed.
    #[error("repo storage failed")]
    Storage(#[from] sqlx::Error),
}

impl Repos {
    /// Applies writes to a repo as one commit and waits until it is stored and numbered.
    ///
    /// Gives `None` if the writes change nothing. An empty list still makes a commit. `swap_commit` is the commit the
    /// client saw last; without it, a race with other writers is won by trying again.
    pub async fn apply_writes(
        &self,
        account: AccountId,
        did: &Did,
        writes: &[PreparedWrite],
        swap_commit: Option<Cid>,
    ) -> Result<Option<CommitRef>, WriteError> {
        let key = self.keys.find_signing_key(account, did).await?.ok_or(WriteError::RepoNotFound)?;
        // Writers of one repo take turns here, so that they do not race each other; other replicas are not bound by it.
        let _turn = self.heads.turn(account).await;
        let mut fresh_only = false;
        for attempt in 0..ATTEMPTS {
            let (head, fresh) = self.head(account, fresh_only).await?;
            let replaced = self.replaced_links(account, writes).await?;
            let draft = Draft {
                account,
                did,
                head,
                key: &key,
                replaced: &replaced,
                writes,
                swap_commit,
                rev: self.next_rev(head.rev),
                time: &Datetime::from_unix_millis(self.now_micros() / 1000),
            };
            match self.plan(&draft).await {
                Ok(Plan::Commit(commit)) => {
                    if let Some(commit) = self.commit(*commit).await? {
                        return Ok(Some(commit));
                    }
                    fresh_only = true;
                    pause(attempt).await;
                }
                Ok(Plan::Nothing) if fresh => return Ok(None),
                Err(error) if fresh && error.is_final(attempt) => return Err(error.into()),
                // Judged by a head that may be out of date: look again.
                Ok(Plan::Nothing) | Err(_) => fresh_only = true,
            }
        }
        Err(WriteError::Contended)
    }

    /// The repo's head, and whether it was read just now.
    async fn head(&self, account: AccountId, fresh_only: bool) -> Result<(Head, bool), WriteError> {
        if !fresh_only && let Some(head) = self.heads.get(account) {
            return Ok((head, false));
        }
        let head = store::find_head(&mut *self.pool.acquire().await?, account).await?;
        Ok((head.ok_or(WriteError::RepoNotFound)?, true))
    }

    /// The records that the creates among `writes` replace: those that link to the same target.
    async fn replaced_links(
        &self,
        account: AccountId,
        writes: &[PreparedWrite],
    ) -> Result<Vec<RecordPath>, WriteError> {
        let mut replaced = Vec::new();
        for write in writes {
            let PreparedWrite::Create { path, record, replace_links: true } = write else { continue };
            let Some(target) = &record.target else { continue };
            let mut conn = self.pool.acquire().await?;
            let rkeys = store::list_linking(&mut conn, account, &path.collection, target).await?;
            replaced.extend(rkeys.into_iter().map(|rkey| RecordPath { collection: path.collection.clone(), rkey }));
        }
        Ok(replaced)
    }

    async fn plan(&self, draft: &Draft<'_>) -> Result<Plan, DraftError> {
        let mut refused = None;
        let planned = self
            .nodes
            .run(draft.account, |source| match draft.plan(source) {
                Ok(plan) => Ok(Some(plan)),
                Err(PlanError::Tree(error)) => Err(error),
                Err(error) => {
                    refused = Some(error);
                    Ok(None)
                }
            })
            .await?;
        match (planned, refused) {
            (Some(plan), _) => Ok(plan),
            (None, Some(PlanError::Refused(refusal))) => Err(DraftError::Refused(refusal)),
            (None, error) => Err(DraftError::Bug(error.map_or_else(String::new, |error| error.to_string()))),
        }
    }

    /// Sends the commit; `None` if another one came first.
    async fn commit(&self, commit: PlannedCommit) -> Result<Option<CommitRef>, WriteError> {
        let (account, head, nodes) = (commit.account, commit.head, commit.added_nodes.clone());
        let verdict = self.committer.submit(commit).await;
        // Unless the commit stands, what is known of the head is worth nothing.
        self.heads.forget(account);
        match verdict? {
            Verdict::Applied => {
                for node in nodes {
                    self.nodes.insert(node.cid, node.node, &node.bytes);
                }
                self.heads.insert(account, head);
                Ok(Some(CommitRef { cid: head.cid, rev: head.rev }))
            }
            Verdict::HeadMoved => Ok(None),
            Verdict::NoRepo => Err(WriteError::RepoNotFound),
            Verdict::Deactivated => Err(WriteError::Deactivated),
            Verdict::Takendown => Err(WriteError::Takendown),
        }
    }
}

/// Why a draft came to no commit.
#[derive(Debug, thiserror::Error)]
enum DraftError {
    #[error(transparent)]
    Refused(Refusal),
    #[error("{0}")]
    Bug(String),
    #[error(transparent)]
    Nodes(#[from] NodeError),
}

impl DraftError {
    /// True if a newer head would not help. A node may be gone even under a fresh head, if a commit came in between.
    fn is_final(&self, attempt: u32) -> bool {
        !matches!(self, Self::Nodes(NodeError::Gone(_))) || attempt + 1 == ATTEMPTS
    }
}

impl From<DraftError> for WriteError {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Refused(refusal) => Self::Refused(refusal),
            DraftError::Nodes(NodeError::Storage(error)) => Self::Storage(error),
            DraftError::Bug(_) | DraftError::Nodes(_) => Self::Damaged(error.to_string()),
        }
    }
}

/// Pauses for a random while, longer with each attempt, so that replicas that race do not keep step.
async fn pause(attempt: u32) {
    let longest = PAUSE * (attempt + 1);
    let part: f64 = rand::random();
    tokio::time::sleep(longest.mul_f64(part)).await;
}
