//! Methods that a token for another service must not be had for, or not with every session.
//!
//! Compared without regard to case, as methods are when they are called.

/// Only the account's own server may be asked for these: they change the account itself.
const PROTECTED: [&str; 16] = [
    "com.atproto.admin.sendEmail",
    "com.atproto.identity.requestPlcOperationSignature",
    "com.atproto.identity.signPlcOperation",
    "com.atproto.identity.updateHandle",
    "com.atproto.server.activateAccount",
    "com.atproto.server.confirmEmail",
    "com.atproto.server.createAppPassword",
    "com.atproto.server.deactivateAccount",
    "com.atproto.server.getAccountInviteCodes",
    "com.atproto.server.getSession",
    "com.atproto.server.listAppPasswords",
    "com.atproto.server.requestAccountDelete",
    "com.atproto.server.requestEmailConfirmation",
    "com.atproto.server.requestEmailUpdate",
    "com.atproto.server.revokeAppPassword",
    "com.atproto.server.updateEmail",
];

/// Direct messages, and moving away: not for every app.
const PRIVILEGED: [&str; 15] = [
    "chat.bsky.actor.deleteAccount",
    "chat.bsky.actor.exportAccountData",
    "chat.bsky.convo.deleteMessageForSelf",
    "chat.bsky.convo.getConvo",
    "chat.bsky.convo.getConvoForMembers",
    "chat.bsky.convo.getLog",
    "chat.bsky.convo.getMessages",
    "chat.bsky.convo.leaveConvo",
    "chat.bsky.convo.listConvos",
    "chat.bsky.convo.muteConvo",
    "chat.bsky.convo.sendMessage",
    "chat.bsky.convo.sendMessageBatch",
    "chat.bsky.convo.unmuteConvo",
    "chat.bsky.convo.updateRead",
    "com.atproto.server.createAccount",
];

/// True for a method that nobody gets a token for, and that is not forwarded.
pub fn is_protected(nsid: &str) -> bool {
    PROTECTED.iter().any(|method| method.eq_ignore_ascii_case(nsid))
}

/// True for a method that takes the main password, or an app password that may use direct messages.
pub fn is_privileged(nsid: &str) -> bool {
    PRIVILEGED.iter().any(|method| method.eq_ignore_ascii_case(nsid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_opens_no_way_around() {
        assert!(is_protected("com.atproto.server.updateemail") && !is_protected("com.atproto.server.createSession"));
        assert!(is_privileged("CHAT.bsky.convo.getlog") && !is_privileged("app.bsky.feed.getTimeline"));
    }
}
