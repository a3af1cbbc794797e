//! Whether an account may be used: its owner closes and opens it, a moderator takes it down and restores it.
//!
//! Each change is one statement, `account_status_change_v1`. It holds the repo's row while it changes the account's and
//! numbers the event, so no commit is numbered behind the event that forbids it, on whatever replica it was made.
//! Replicas remember for some seconds who was active; a write is refused all the same, by the statement that would store
//! it.
//!
//! Every change may be repeated, also after its answer got lost. The stream is told each time.
//!
//! | Change | Events |
//! |---|---|
//! | [`deactivate`](Lifecycle::deactivate), [`take_down`](Lifecycle::take_down), [`restore`](Lifecycle::restore), [`announce_status`](Lifecycle::announce_status) | `#account` |
//! | [`activate`](Lifecycle::activate) | `#account`, `#identity`, `#sync` |

mod store;
#[cfg(test)]
mod tests;

use atproto::commit::{Commit, CommitError};
use atproto::event::{AccountEvent, AccountStatus as EventStatus, IdentityEvent, SyncEvent};
use atproto::syntax::{Datetime, Did, Handle};
use chrono::{DateTime, SecondsFormat, Utc};

use super::{Lifecycle, Workflows};
use crate::account::AccountStatus;

/// Tries to announce an account as it is, while its handle or its repo changes.
const ATTEMPTS: usize = 20;

/// Why an account's status was not changed.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is no such account.
    #[error("Account not found")]
    NotFound,
    /// It is taken down, so that its owner cannot open it.
    #[error("Account has been taken down")]
    Takendown,
    /// Its repo or its handle changed each time.
    #[error("the account is too busy")]
    Contended,
    /// The stored commit is damaged.
    #[error("repo is damaged")]
    Damaged(#[from] CommitError),
    /// Postgres failed.
    #[error("account storage failed")]
    Storage(#[from] sqlx::Error),
}

/// What is to change.
#[derive(Clone, Debug)]
enum Change {
    Deactivate { delete_after: Option<DateTime<Utc>> },
    Activate(Box<Announcement>),
    TakeDown { reference: String },
    Restore,
    Announce,
}

/// What an activation announces, and for which handle and head.
#[derive(Clone, Debug)]
struct Announcement {
    presence: store::Presence,
    /// Body of `#identity`.
    identity: Vec<u8>,
    /// Body of `#sync`.
    sync: Vec<u8>,
}

impl Lifecycle {
    /// Closes an account for its owner, who may still sign in, take data along and open it again. Gives its status then,
    /// which is another if it is taken down.
    ///
    /// `delete_after` is when the account may be deleted; `None` means never. Sessions live on.
    pub async fn deactivate(
        &self,
        did: &Did,
        delete_after: Option<DateTime<Utc>>,
    ) -> Result<AccountStatus, StatusError> {
        self.0.change(did, Change::Deactivate { delete_after }).await
    }

    /// Opens an account that its owner closed, or that moved here; announces its handle and its repo.
    ///
    /// Whether its DID points here is for the caller to look at first, with [`Lifecycle::check_standing`].
    pub async fn activate(&self, did: &Did) -> Result<AccountStatus, StatusError> {
        for _ in 0..ATTEMPTS {
            match self.0.try_activate(did).await? {
                store::Outcome::Status(_) => return Ok(AccountStatus::Active),
                store::Outcome::Takendown => return Err(StatusError::Takendown),
                store::Outcome::NoAccount => return Err(StatusError::NotFound),
                store::Outcome::Moved => {}
            }
        }
        Err(StatusError::Contended)
    }

    /// Closes an account for a moderator, under their reference or else the time. All its sessions end; access tokens
    /// that are out stay good until they expire, for methods that do not look at the account.
    pub async fn take_down(&self, did: &Did, reference: Option<&str>) -> Result<AccountStatus, StatusError> {
        let now = || self.0.services.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let reference = reference.map_or_else(now, str::to_owned);
        self.0.change(did, Change::TakeDown { reference }).await
    }

    /// Takes a takedown back; an account that its owner had closed is then closed by its owner again. Sessions that were
    /// opened meanwhile end.
    pub async fn restore(&self, did: &Did) -> Result<AccountStatus, StatusError> {
        self.0.change(did, Change::Restore).await
    }

    /// Tells the stream once more what status an account has.
    pub async fn announce_status(&self, did: &Did) -> Result<AccountStatus, StatusError> {
        self.0.change(did, Change::Announce).await
    }
}

impl Workflows {
    async fn change(&self, did: &Did, change: Change) -> Result<AccountStatus, StatusError> {
        match self.try_change(did, &change).await? {
            store::Outcome::Status(status) => Ok(status),
            store::Outcome::Takendown => Ok(AccountStatus::Takendown),
            store::Outcome::NoAccount => Err(StatusError::NotFound),
            store::Outcome::Moved => Err(StatusError::Contended),
        }
    }

    async fn try_activate(&self, did: &Did) -> Result<store::Outcome, StatusError> {
        let presence = store::find_presence(&mut *self.services.pool.acquire().await?, did).await?;
        let presence = presence.ok_or(StatusError::NotFound)?;
        let commit = Commit::decode(&presence.commit_block)?;
        let time = self.event_time();
        let identity =
            IdentityEvent { did: did.clone(), handle: announced(presence.handle.as_ref()), time: time.clone() };
        let sync = SyncEvent::new(&commit, time).encode();
        let announcement = Announcement { presence, identity: identity.encode(), sync };
        self.try_change(did, &Change::Activate(announcement.into())).await
    }

    async fn try_change(&self, did: &Did, change: &Change) -> Result<store::Outcome, StatusError> {
        let time = self.event_time();
        let event = |status| AccountEvent { did: did.clone(), status, time: time.clone() }.encode();
        let events = store::StatusEvents {
            active: event(EventStatus::Active),
            deactivated: event(EventStatus::Deactivated),
            takendown: event(EventStatus::Takendown),
        };
        let outcome = store::change(&mut *self.services.pool.acquire().await?, did, change, &events).await?;
        self.services.accounts.forget(did).await;
        Ok(outcome)
    }

    /// The present, as events tell it.
    pub(super) fn event_time(&self) -> Datetime {
        let millis = self.services.clock.now().timestamp_millis();
        Datetime::from_unix_millis(u64::try_from(millis).unwrap_or_default())
    }
}

/// The handle that an `#identity` tells.
fn announced(handle: Option<&Handle>) -> Option<Handle> {
    handle.cloned().or_else(|| Handle::INVALID.parse().ok())
}
