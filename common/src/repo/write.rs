//! The write path: from prepared writes to a stored commit.

use std::time::Duration;

use atproto::crypto::SigningKey;
use atproto::data::Cid;
use atproto::syntax::{Datetime, Did, Tid};
use tokio::time::Instant;

use super::Repos;
use super::commit::{self, CommitError, Verdict};
use super::nodes::NodeError;
use super::plan::{Draft, Plan, PlanError, PlannedCommit, Refusal};
use super::prepare::{PreparedWrite, RecordPath};
use super::store::{self, Head};
use crate::db::{self, AccountId};
use crate::keys::KeyError;

/// How long a write runs against other replicas before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause after the first lost race; it grows with each further one, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

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

/// What a caller wants written.
struct Request<'a> {
    account: AccountId,
    did: &'a Did,
    key: &'a SigningKey,
    writes: &'a [PreparedWrite],
    swap_commit: Option<Cid>,
}

/// Where to look for the repo's head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// In memory, if it is there.
    Cached,
    /// In Postgres.
    Fresh,
    /// In Postgres, reserving the next commit for this replica: a busy one, whose caches are warm, would win every race.
    Reserved,
}

impl Look {
    /// The way to take when this one failed.
    fn closer(self) -> Self {
        match self {
            Self::Cached => Self::Fresh,
            Self::Fresh | Self::Reserved => Self::Reserved,
        }
    }
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
        let request = Request { account, did, key: &key, writes, swap_commit };
        let mut look = Look::Cached;
        let outcome = self.race(&request, &mut look).await;
        if look == Look::Reserved && !matches!(outcome, Ok(Some(_))) {
            self.end_turn(account).await;
        }
        outcome
    }

    /// Tries until the commit stands, or it is certain that there is none. `look` is left at the last way tried.
    async fn race(&self, request: &Request<'_>, look: &mut Look) -> Result<Option<CommitRef>, WriteError> {
        let deadline = Instant::now() + PATIENCE;
        let (mut lost, mut gone_under) = (0, None);
        while Instant::now() < deadline {
            let Some((head, fresh)) = self.head(request.account, *look).await? else {
                lost += 1;
                pause(lost).await;
                continue;
            };
            match self.draft(request, head).await {
                Ok(Plan::Commit(commit)) => {
                    if let Some(commit) = self.commit(*commit).await? {
                        return Ok(Some(commit));
                    }
                    lost += 1;
                    pause(lost).await;
                }
                Ok(Plan::Nothing) if fresh => return Ok(None),
                // A newer commit may have dropped the node, but not while the head is what it was.
                Err(DraftError::Nodes(NodeError::Gone(_))) if gone_under != Some(head.cid) => {
                    gone_under = Some(head.cid);
                }
                Err(error) if fresh => return Err(error.into()),
                // Judged by a head that may be out of date.
                Ok(Plan::Nothing) | Err(_) => {}
            }
            *look = look.closer();
        }
        Err(WriteError::Contended)
    }

    /// The repo's head, and whether it was read just now. `None` if it is another replica's turn.
    async fn head(&self, account: AccountId, look: Look) -> Result<Option<(Head, bool)>, WriteError> {
        if look == Look::Cached
            && let Some(head) = self.heads.get(account)
        {
            return Ok(Some((head, false)));
        }
        let mut conn = self.pool.acquire().await?;
        if look == Look::Reserved {
            match commit::update_turn(&mut conn, account, self.writer).await {
                Ok(Some(head)) => return Ok(Some((head, true))),
                Ok(None) => {}
                Err(error) if db::is_lock_timeout(&error) => return Err(WriteError::Contended),
                Err(error) => return Err(error.into()),
            }
        }
        let head = store::find_head(&mut conn, account).await?.ok_or(WriteError::RepoNotFound)?;
        if look == Look::Reserved {
            return Ok(None);
        }
        self.heads.insert(account, head);
        Ok(Some((head, true)))
    }

    /// Lets other replicas write the repo again at once. If that fails, they wait until the turn runs out.
    async fn end_turn(&self, account: AccountId) {
        if let Ok(mut conn) = self.pool.acquire().await {
            let _ = commit::update_turn_ended(&mut conn, account, self.writer).await;
        }
    }

    async fn draft(&self, request: &Request<'_>, head: Head) -> Result<Plan, DraftError> {
        let Request { account, did, key, writes, swap_commit } = *request;
        let replaced = self.replaced_links(account, writes).await?;
        let (rev, time) = (self.next_rev(head.rev), &Datetime::from_unix_millis(self.now_micros() / 1000));
        self.plan(&Draft { account, did, head, key, replaced: &replaced, writes, swap_commit, rev, time }).await
    }

    /// The records that the creates among `writes` replace: those that link to the same target.
    async fn replaced_links(&self, account: AccountId, writes: &[PreparedWrite]) -> sqlx::Result<Vec<RecordPath>> {
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
        // Unless the commit is known to stand, what is known of the head is worth nothing. First, for the caller may go away
        // while it waits.
        self.heads.forget(account);
        match self.committer.submit(commit).await? {
            Verdict::Applied => {
                for node in nodes {
                    self.nodes.insert(node.cid, node.node, &node.bytes);
                }
                self.heads.insert(account, head);
                Ok(Some(CommitRef { cid: head.cid, rev: head.rev }))
            }
            Verdict::LostRace => Ok(None),
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
    #[error("repo storage failed")]
    Storage(#[from] sqlx::Error),
}

impl From<DraftError> for WriteError {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Refused(refusal) => Self::Refused(refusal),
            DraftError::Storage(error) | DraftError::Nodes(NodeError::Storage(error)) => Self::Storage(error),
            DraftError::Bug(_) | DraftError::Nodes(_) => Self::Damaged(error.to_string()),
        }
    }
}

/// Pauses for a random while, longer with each lost race, so that replicas do not keep step.
async fn pause(lost: u32) {
    let longest = (PAUSE * lost).min(LONGEST_PAUSE);
    let part: f64 = rand::random();
    tokio::time::sleep(longest.mul_f64(part)).await;
}
