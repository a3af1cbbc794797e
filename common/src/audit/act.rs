//! What an entry says.

use std::fmt;
use std::str::FromStr;

use atproto::data::Cid;
use atproto::syntax::{AtUri, Did};
use serde_json::Value;

/// Who acts. As text: `admin`, a DID, or `command:` and a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Actor {
    /// Whoever knows the operator's password.
    Admin,
    /// A moderation service.
    Service(Did),
    /// A command of `pds-worker`, run by this user of the operating system.
    Command(String),
}

/// The text names nobody who acts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an actor is `admin`, a DID, or `command:` and a user's name")]
pub struct ActorError;

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
            Self::Service(did) => did.fmt(f),
            Self::Command(user) => write!(f, "command:{user}"),
        }
    }
}

impl FromStr for Actor {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Self, ActorError> {
        match text.strip_prefix("command:") {
            Some(user) if !user.is_empty() && !user.contains('\0') => Ok(Self::Command(user.to_owned())),
            None if text == "admin" => Ok(Self::Admin),
            None => text.parse().map(Self::Service).map_err(|_| ActorError),
            Some(_) => Err(ActorError),
        }
    }
}

/// What it is done to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// The server as a whole. As text `server`.
    Server,
    /// An account. As text its DID.
    Account(Did),
    /// A record, by an address that begins with a DID. As text that address.
    Record(AtUri),
    /// A blob of an account. As text `<did>/blobs/<cid>`.
    Blob(Did, Cid),
    /// An invitation code. As text the code.
    Invite(String),
}

impl Subject {
    /// The account concerned.
    pub fn did(&self) -> Option<&Did> {
        match self {
            Self::Account(did) | Self::Blob(did, _) => Some(did),
            Self::Record(uri) => uri.authority().as_did(),
            Self::Server | Self::Invite(_) => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Account(did) => did.fmt(f),
            Self::Record(uri) => uri.fmt(f),
            Self::Blob(did, cid) => write!(f, "{did}/blobs/{cid}"),
            Self::Invite(code) => f.write_str(code),
        }
    }
}

/// One act.
#[derive(Clone, PartialEq, Debug)]
pub struct Act {
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// To what.
    pub subject: Subject,
    /// How it was, without secrets.
    pub before: Option<Value>,
    /// How it is after that, without secrets.
    pub after: Option<Value>,
}

impl Act {
    /// An act of which there is nothing more to say.
    pub fn new(actor: Actor, action: Action, subject: Subject) -> Self {
        Self { actor, action, subject, before: None, after: None }
    }

    /// The same act, with how it was.
    #[must_use]
    pub fn from(self, before: Value) -> Self {
        Self { before: Some(before), ..self }
    }

    /// The same act, with how it is after that.
    #[must_use]
    pub fn to(self, after: Value) -> Self {
        Self { after: Some(after), ..self }
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// What can be done.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Action {
            $($(#[$doc])* $variant,)+
        }

        impl Action {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in the log.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

actions! {
    /// An account was made.
    CreateAccount = "account.create",
    /// An account was closed by a moderator.
    TakeDownAccount = "account.takedown",
    /// An account was opened again by a moderator.
    RestoreAccount = "account.restore",
    /// An account was closed for its owner.
    DeactivateAccount = "account.deactivate",
    /// An account was opened again for its owner.
    ActivateAccount = "account.activate",
    /// An account was deleted.
    DeleteAccount = "account.delete",
    /// An account got another handle.
    UpdateHandle = "account.update_handle",
    /// An account got another e-mail address.
    UpdateEmail = "account.update_email",
    /// An account got another main password.
    UpdatePassword = "account.update_password",
    /// The DID of an account got another signing key.
    UpdateSigningKey = "account.update_signing_key",
    /// An account may have more, or fewer, blobs.
    SetBlobQuota = "account.set_blob_quota",
    /// An account's invitations were stopped.
    DisableInvites = "account.disable_invites",
    /// An account's invitations were allowed again.
    EnableInvites = "account.enable_invites",
    /// A message was sent to an account's owner.
    SendEmail = "account.send_email",
    /// The status of an account was announced again.
    AnnounceAccount = "account.announce",
    /// The identity of an account was announced again.
    AnnounceIdentity = "identity.announce",
    /// Invitation codes were made.
    CreateInvites = "invite.create",
    /// Invitation codes were stopped.
    DisableCodes = "invite.disable",
    /// A record was hidden.
    TakeDownRecord = "record.takedown",
    /// A record was shown again.
    RestoreRecord = "record.restore",
    /// A blob was hidden.
    TakeDownBlob = "blob.takedown",
    /// A blob was shown again.
    RestoreBlob = "blob.restore",
    /// A blob that was about to be deleted was kept.
    KeepBlob = "blob.keep",
    /// Relays were asked to come.
    RequestCrawl = "crawl.request",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_read_as_they_are_written() {
        for actor in
            [Actor::Admin, Actor::Service("did:web:mod.test".parse().unwrap()), Actor::Command("root".to_owned())]
        {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        for bad in ["", "root", "command:", "did:", "admin\0", "command:a\0"] {
            assert_eq!(bad.parse::<Actor>(), Err(ActorError), "{bad:?}");
        }
    }

    #[test]
    fn subjects_name_the_account_they_belong_to() {
        let did: Did = "did:plc:alice".parse().unwrap();
        let record = format!("at://{did}/com.example.note/a");
        let cid = Cid::raw(b"picture");
        let cases = [
            (Subject::Server, "server".to_owned(), None),
            (Subject::Account(did.clone()), did.to_string(), Some(&did)),
            (Subject::Record(record.parse().unwrap()), record, Some(&did)),
            (Subject::Blob(did.clone(), cid), format!("{did}/blobs/{cid}"), Some(&did)),
            (Subject::Invite("code".to_owned()), "code".to_owned(), None),
        ];
        for (subject, text, account) in cases {
            assert_eq!((subject.to_string(), subject.did()), (text, account));
        }
    }
}
