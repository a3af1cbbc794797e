//! Whether an account may be used: its owner closes and opens it, a moderator takes it down and restores it.
//!
//! Each change is one statement, `account_status_change_v2`. It holds the repo's row while it changes the account's and
//! numbers the event, so no commit is numbered behind the event that forbids it, on whatever replica it was made.
//! Replicas remember for some seconds who was active; a write is refused all the same, by the statement that would store
//! it.
//!
//! Every change may be repeated, also after its answer got lost. The stream is told each time.
//!
//! What an operator or moderator changes is in the audit log, by the same statement; what an owner does is not.
//!
//! | Change | Events |
//! |---|---|
//! | [`Deactivate`](StatusChange::Deactivate), [`TakeDown`](StatusChange::TakeDown), [`Restore`](StatusChange::Restore), [`Announce`](StatusChange::Announce) | `#account` |
//! | [`Activate`](StatusChange::Activate) | `#account`, `#identity`, `#sync` |

mod store;
#[cfg(test)]
mod tests;

use atproto::commit::{Commit, CommitError};
use atproto::event::{AccountEvent, AccountStatus as EventStatus, IdentityEvent, SyncEvent};
use atproto::syntax::{Datetime, Did, Handle};
use chrono::{DateTime, SecondsFormat, Utc};

use super::{Lifecycle, Workflows};
use crate::account::AccountStatus;
use crate::audit::{Action, Actor};

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
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StatusChange {
    /// The account is closed for its owner, who may still sign in, take data along and open it again. Sessions live on.
    Deactivate {
        /// When the account may be deleted; `None` means never.
        delete_after: Option<DateTime<Utc>>,
    },
    /// An account that its owner closed, or that moved here, is opened. Not if it is taken down.
    ///
    /// Whether its DID points here is for the caller to look at first, with [`Lifecycle::check_standing`].
    Activate,
    /// The account is closed by a moderator. All its sessions end; access tokens that are out stay good until they expire,
    /// for methods that do not look at the account.
    TakeDown {
        /// Why; the time if there is no reference. Has no NUL.
        reference: Option<String>,
    },
    /// A takedown is taken back; an account that its owner had closed is then closed by its owner again. Sessions that were
    /// opened meanwhile end.
    Restore,
    /// Nothing but that the stream is told once more.
    Announce,
}

impl StatusChange {
    /// What the audit log calls it.
    fn action(&self) -> Action {
        match self {
            Self::Deactivate { .. } => Action::DeactivateAccount,
            Self::Activate => Action::ActivateAccount,
            Self::TakeDown { .. } => Action::TakeDownAccount,
            Self::Restore => Action::RestoreAccount,
            Self::Announce => Action::AnnounceAccount,
        }
    }

    /// What `account_status_change_v2` calls it.
    fn name(&self) -> &'static str {
        match self {
            Self::Deactivate { .. } => "deactivate",
            Self::Activate => "activate",
            Self::TakeDown { .. } => "take_down",
            Self::Restore => "restore",
            Self::Announce => "announce",
        }
    }

    fn delete_after(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Deactivate { delete_after } => *delete_after,
            _ => None,
        }
    }
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
    /// Closes an account for its owner: [`StatusChange::Deactivate`]. Gives its status then, which is another if it is taken
    /// down.
    pub async fn deactivate(
        &self,
        did: &Did,
        delete_after: Option<DateTime<Utc>>,
    ) -> Result<AccountStatus, StatusError> {
        self.0.change_status(did, &StatusChange::Deactivate { delete_after }, None).await
    }

    /// Opens an account for its owner: [`StatusChange::Activate`].
    pub async fn activate(&self, did: &Did) -> Result<AccountStatus, StatusError> {
        self.0.change_status(did, &StatusChange::Activate, None).await
    }

    /// Changes an account's status for an operator or moderator, who is noted. Gives the status that it then has.
    pub async fn change_status(
        &self,
        actor: &Actor,
        did: &Did,
        change: &StatusChange,
    ) -> Result<AccountStatus, StatusError> {
        self.0.change_status(did, change, Some(actor)).await
    }
}

impl Workflows {
    async fn change_status(
        &self,
        did: &Did,
        change: &StatusChange,
        actor: Option<&Actor>,
    ) -> Result<AccountStatus, StatusError> {
        for _ in 0..ATTEMPTS {
            let announcement = match change {
                StatusChange::Activate => Some(self.announcement_of(did).await?),
                _ => None,
            };
            match self.try_change(did, change, announcement.as_ref(), actor).await? {
                store::Outcome::Status(status) => return Ok(status),
                store::Outcome::Takendown if announcement.is_some() => return Err(StatusError::Takendown),
                store::Outcome::Takendown => return Ok(AccountStatus::Takendown),
                store::Outcome::NoAccount => return Err(StatusError::NotFound),
                store::Outcome::Moved => {}
            }
        }
        Err(StatusError::Contended)
    }

    /// What there is to announce of an account that is about to be opened.
    async fn announcement_of(&self, did: &Did) -> Result<Announcement, StatusError> {
        let presence = store::find_presence(&mut *self.services.pool.acquire().await?, did).await?;
        let presence = presence.ok_or(StatusError::NotFound)?;
        let commit = Commit::decode(&presence.commit_block)?;
        let time = self.event_time();
        let identity =
            IdentityEvent { did: did.clone(), handle: announced(presence.handle.as_ref()), time: time.clone() };
        let sync = SyncEvent::new(&commit, time).encode();
        Ok(Announcement { presence, identity: identity.encode(), sync })
    }

    async fn try_change(
        &self,
        did: &Did,
        change: &StatusChange,
        announcement: Option<&Announcement>,
        actor: Option<&Actor>,
    ) -> Result<store::Outcome, StatusError> {
        let time = self.event_time();
        let event = |status| AccountEvent { did: did.clone(), status, time: time.clone() }.encode();
        let change = store::Change {
            name: change.name(),
            takedown_ref: self.takedown_ref(change),
            delete_after: change.delete_after(),
            active: event(EventStatus::Active),
            deactivated: event(EventStatus::Deactivated),
            takendown: event(EventStatus::Takendown),
            announcement,
            act: actor.map(|actor| (actor, change.action())),
        };
        let outcome = store::change(&mut *self.services.pool.acquire().await?, did, &change).await?;
        self.services.accounts.forget(did).await;
        Ok(outcome)
    }

    /// The reference of a takedown: the given one, or the time.
    fn takedown_ref(&self, change: &StatusChange) -> Option<String> {
        let StatusChange::TakeDown { reference } = change else { return None };
        let now = || self.services.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        Some(reference.clone().unwrap_or_else(now))
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
