//! `#identity` and `#account`.

use super::frame::{FrameError, parse};
use crate::syntax::{Datetime, Did, Handle};
use crate::wire::{Reader, WireError, Writer};

/// The account's handle or DID document may have changed: readers should resolve them again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityEvent {
    /// The account.
    pub did: Did,
    /// The current handle, [`Handle::INVALID`] if it does not resolve; `None` if nothing is said about it.
    pub handle: Option<Handle>,
    /// When the event was made.
    pub time: Datetime,
}

/// The account's status on this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountEvent {
    /// The account.
    pub did: Did,
    /// Its status.
    pub status: AccountStatus,
    /// When the event was made.
    pub time: Datetime,
}

/// Whether an account's repo is to be had, and if not, why.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AccountStatus {
    /// It is to be had. On the wire `active` is true and there is no `status`.
    Active,
    /// Taken down by this host's moderators.
    Takendown,
    /// Suspended for a time by this host's moderators.
    Suspended,
    /// Deleted by its owner or this host.
    Deleted,
    /// Paused by its owner.
    Deactivated,
}

impl AccountStatus {
    const INACTIVE: [Self; 4] = [Self::Takendown, Self::Suspended, Self::Deleted, Self::Deactivated];

    /// The name on the wire; `None` for an active account, whose status has none.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Active => None,
            Self::Takendown => Some("takendown"),
            Self::Suspended => Some("suspended"),
            Self::Deleted => Some("deleted"),
            Self::Deactivated => Some("deactivated"),
        }
    }
}

impl IdentityEvent {
    /// The body without `seq`: `{did, time, handle?}`.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(192);
        writer.map(2 + usize::from(self.handle.is_some()));
        writer.text("did").text(self.did.as_str()).text("time").text(self.time.as_str());
        if let Some(handle) = &self.handle {
            writer.text("handle").text(handle.as_str());
        }
        writer.finish()
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<(i64, Self), FrameError> {
        let has_handle = reader.optional_field(3)?;
        let did = parse("did", reader.key("did")?.text()?)?;
        let seq = reader.key("seq")?.int()?;
        let time = parse("time", reader.key("time")?.text()?)?;
        let handle = if has_handle { Some(parse("handle", reader.key("handle")?.text()?)?) } else { None };
        Ok((seq, Self { did, handle, time }))
    }
}

impl AccountEvent {
    /// The body without `seq`: `{did, time, active, status?}`.
    pub fn encode(&self) -> Vec<u8> {
        let status = self.status.name();
        let mut writer = Writer::with_capacity(192);
        writer.map(3 + usize::from(status.is_some()));
        writer.text("did").text(self.did.as_str()).text("time").text(self.time.as_str());
        writer.text("active").bool(status.is_none());
        if let Some(status) = status {
            writer.text("status").text(status);
        }
        writer.finish()
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<(i64, Self), FrameError> {
        let has_status = reader.optional_field(4)?;
        let did = parse("did", reader.key("did")?.text()?)?;
        let seq = reader.key("seq")?.int()?;
        let time = parse("time", reader.key("time")?.text()?)?;
        let active = reader.key("active")?.bool()?;
        let status = if has_status { Some(reader.key("status")?.text()?) } else { None };
        let status = match (active, status) {
            (true, None) => Some(AccountStatus::Active),
            (false, Some(name)) => AccountStatus::INACTIVE.into_iter().find(|status| status.name() == Some(name)),
            _ => None,
        };
        let status = status.ok_or(WireError::Expected("account status"))?;
        Ok((seq, Self { did, status, time }))
    }
}
