//! What moderators write to owners of accounts.

use atproto::syntax::Did;
use serde::{Deserialize, Serialize};

use crate::jobs::{Job, Policy};

/// Mails a moderator's words to an account's owner, at the address it has then. Not done for an account without one.
///
/// The words are in the job itself: they are no secret, and nobody else needs them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SendModerationMail {
    /// The account.
    pub did: Did,
    /// One line.
    pub subject: String,
    /// HTML, sent as it is.
    pub content: String,
    /// Tells this mail from another with the same words; in its `Message-ID`, so that a repeat is recognised.
    pub number: u64,
}

impl SendModerationMail {
    /// A new mail. The subject is `Message via your PDS` if there is none.
    ///
    /// Reference: the same default.
    pub fn new(did: Did, subject: Option<String>, content: String) -> Self {
        let subject = subject.unwrap_or_else(|| "Message via your PDS".to_owned());
        // JSON carries no larger numbers everywhere.
        Self { did, subject, content, number: rand::random_range(0..1 << 53) }
    }
}

impl Job for SendModerationMail {
    const KIND: &'static str = "send_moderation_mail";
    const POLICY: Policy = Policy::MAIL;
}
