//! Getting a chain of commits stored while other replicas write the same repo.

use std::time::Duration;

use atproto::crypto::SigningKey;
use tokio::time::Instant;

use super::Repos;
use super::chain::{DraftError, Drafted, PlannedChain};
use super::commit::{self, Verdict};
use super::nodes::NodeError;
use super::queue::{Outcome, Request};
use super::store::{self, Head};
use super::write::WriteError;
use crate::blob;
use crate::db::{self, AccountId};

/// How long writes run against other replicas before they give up.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause after the first lost race; it grows with each further one, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

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
    /// Tries until the commits that `requests` ask for stand, or it is certain that there are none. Gives what became of
    /// each request.
    pub(super) async fn race(
        &self,
        account: AccountId,
        key: &SigningKey,
        requests: &[Request],
    ) -> Result<Vec<Outcome>, WriteError> {
        let mut look = Look::Cached;
        let raced = self.run_races(account, key, requests, &mut look).await;
        // A commit ends the turn itself.
        let committed =
            raced.as_ref().is_ok_and(|outcomes| outcomes.iter().any(|outcome| matches!(outcome, Ok(Some(_)))));
        if look == Look::Reserved && !committed {
            self.end_turn(account).await;
        }
        raced
    }

    /// `look` is left at the last way tried.
    async fn run_races(
        &self,
        account: AccountId,
        key: &SigningKey,
        requests: &[Request],
        look: &mut Look,
    ) -> Result<Vec<Outcome>, WriteError> {
        let deadline = Instant::now() + PATIENCE;
        let (mut lost, mut gone_under) = (0, None);
        while Instant::now() < deadline {
            let Some((head, fresh)) = self.head(account, *look).await? else {
                lost += 1;
                pause(lost).await;
                continue;
            };
            match self.draft_chain(account, key, requests, head).await {
                Ok(Drafted { chain: Some(chain), outcomes }) => {
                    if self.store_chain(chain).await? {
                        return Ok(outcomes);
                    }
                    lost += 1;
                    pause(lost).await;
                }
                Ok(Drafted { chain: None, outcomes }) if fresh => return Ok(outcomes),
                // A newer commit may have dropped the node, but not while the head is what it was.
                Err(DraftError::Nodes(NodeError::Gone(_))) if gone_under != Some(head.cid) => {
                    gone_under = Some(head.cid);
                }
                Err(error) if fresh => return Err(error.into()),
                // Judged by a head that may be out of date.
                Ok(_) | Err(_) => {}
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

    /// Stores the chain; false if another commit came first.
    async fn store_chain(&self, chain: PlannedChain) -> Result<bool, WriteError> {
        let (account, head, nodes, blobs) = (chain.account, chain.head, chain.added_nodes.clone(), chain.blobs.clone());
        // Unless the chain is known to stand, what is known of the head is worth nothing.
        self.heads.forget(account);
        match self.committer.submit(chain).await? {
            Verdict::Applied => {
                for (_, node) in nodes {
                    self.nodes.insert(node.cid, node.node);
                }
                self.heads.insert(account, head);
                Ok(true)
            }
            Verdict::LostRace => Ok(false),
            Verdict::BlobMissing => {
                match blob::find_missing(&mut *self.pool.acquire().await?, account, &blobs).await? {
                    Some(missing) => Err(WriteError::BlobNotFound(missing)),
                    // It was held for a moment, or has come meanwhile.
                    None => Ok(false),
                }
            }
            Verdict::NoRepo => Err(WriteError::RepoNotFound),
            Verdict::Deactivated => Err(WriteError::Deactivated),
            Verdict::Takendown => Err(WriteError::Takendown),
        }
    }
}

/// Pauses for a random while, longer with each lost race, so that replicas do not keep step.
pub(super) async fn pause(lost: u32) {
    let longest = (PAUSE * lost).min(LONGEST_PAUSE);
    let part: f64 = rand::random();
    tokio::time::sleep(longest.mul_f64(part)).await;
}
