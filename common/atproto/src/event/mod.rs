//! Events of `com.atproto.sync.subscribeRepos`: what happened to an account, as its host tells the network.
//!
//! An [`Event`] is stored as an encoded body without `seq`, since its number is known only once it is stored. [`frame()`]
//! puts the number in when it is sent; [`Frame::decode`] reads what was sent, and [`CommitEvent::verify`] checks it as
//! a relay does.
//!
//! Source: atproto.com/specs/event-stream, atproto.com/specs/sync; lexicon `com.atproto.sync.subscribeRepos`.

mod account;
mod commit;
mod frame;
mod sync;
mod verify;

pub use account::{AccountEvent, AccountStatus, IdentityEvent};
pub use commit::{CommitEvent, CommitParts, MAX_BLOCKS_LEN, MAX_OPS, TooBig};
pub use frame::{Frame, FrameError, MAX_FRAME_LEN, error_frame, frame, info_frame};
pub use sync::{MAX_SYNC_BLOCKS_LEN, SyncEvent};
pub use verify::VerifyError;

use crate::syntax::Did;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Records were changed.
    Commit(CommitEvent),
    /// The repo is now at this commit, whatever came before.
    Sync(SyncEvent),
    /// The account's handle or DID document may have changed.
    Identity(IdentityEvent),
    /// The account's status on this host.
    Account(AccountEvent),
}

/// The kinds of events that are numbered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// See [`Event::Commit`].
    Commit,
    /// See [`Event::Sync`].
    Sync,
    /// See [`Event::Identity`].
    Identity,
    /// See [`Event::Account`].
    Account,
}

impl Kind {
    /// The name in frame headers, `#commit` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "#commit",
            Self::Sync => "#sync",
            Self::Identity => "#identity",
            Self::Account => "#account",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Commit, Self::Sync, Self::Identity, Self::Account].into_iter().find(|kind| kind.name() == name)
    }
}

impl Event {
    /// The event's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Commit(_) => Kind::Commit,
            Self::Sync(_) => Kind::Sync,
            Self::Identity(_) => Kind::Identity,
            Self::Account(_) => Kind::Account,
        }
    }

    /// The account it happened to.
    pub fn did(&self) -> &Did {
        match self {
            Self::Commit(event) => &event.repo,
            Self::Sync(event) => &event.did,
            Self::Identity(event) => &event.did,
            Self::Account(event) => &event.did,
        }
    }

    /// The body in canonical DAG-CBOR, without `seq`: what [`frame()`] takes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Commit(event) => event.encode(),
            Self::Sync(event) => event.encode(),
            Self::Identity(event) => event.encode(),
            Self::Account(event) => event.encode(),
        }
    }
}

#[cfg(test)]
mod tests;
