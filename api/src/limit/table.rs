//! Every limit there is, by method.
//!
//! Points and windows are the reference's unless a row says otherwise. `PDS_RATE_LIMIT_POINTS` changes points by a limit's
//! name. The table is also in the README, for operators; a test holds the two together.

use std::time::Duration;

use common::rate_limit::Limit;

const FIVE_MINUTES: Duration = Duration::from_mins(5);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// What a limit counts by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    /// The client's address; a network of version 6.
    Address,
    /// The account of the session.
    Account,
    /// The name that somebody signs in with, or has mail sent to, whoever they are.
    Name,
    /// That name, for each address.
    NameAndAddress,
}

/// A limit, and what it counts by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rule {
    pub(super) limit: Limit,
    pub(super) by: By,
}

/// When all is known that the limits of a method count by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// As soon as the request comes in.
    AtOnce,
    /// Once the caller's token was read.
    WithCaller,
    /// Once the input was read: the handler says so.
    WithInput,
}

/// The limits of a method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) method: &'static str,
    /// Besides the global one.
    pub(super) rules: &'static [Rule],
    /// What a call takes from each of these.
    pub(super) cost: u32,
    pub(super) due: Due,
    /// Whether the global limit counts, too.
    pub(super) global: bool,
}

/// The limit of all requests under `/xrpc/`, those for other servers too.
pub(super) const GLOBAL: Rule = by_address("global", 3000, FIVE_MINUTES);

const REPO_WRITES: &[Rule] = &[by_account("repo-write-hour", 5000, HOUR), by_account("repo-write-day", 35_000, DAY)];

/// Whoever guesses passwords, wherever: with one name, the reference counts only for each address, so that many addresses
/// have no limit; with many names, it counts only the requests.
const LOGIN_BY_NAME: Rule = rule("login-name-5min", 150, FIVE_MINUTES, By::Name);
const LOGIN_BY_NAME_DAY: Rule = rule("login-name-day", 1500, DAY, By::Name);
const LOGIN_BY_ADDRESS: Rule = by_address("login-address-5min", 300, FIVE_MINUTES);
const LOGIN_BY_ADDRESS_DAY: Rule = by_address("login-address-day", 3000, DAY);

const LOGIN_HERE: Rule = rule("create-session-5min", 30, FIVE_MINUTES, By::NameAndAddress);
const LOGIN_HERE_DAY: Rule = rule("create-session-day", 300, DAY, By::NameAndAddress);

/// The methods with limits of their own.
pub(super) const METHODS: &[Row] = &[
    // Repositories.
    row("com.atproto.repo.createRecord", REPO_WRITES).with_caller(3),
    row("com.atproto.repo.putRecord", REPO_WRITES).with_caller(2),
    row("com.atproto.repo.deleteRecord", REPO_WRITES).with_caller(1),
    // As many points as its writes would take one by one.
    row("com.atproto.repo.applyWrites", REPO_WRITES).with_input(),
    // Reference: for each address, whosever accounts are behind it.
    row("com.atproto.repo.uploadBlob", &[by_account("upload-blob-day", 1000, DAY)]).with_caller(1),
    row("com.atproto.sync.getRepo", &[by_address("get-repo-5min", 6000, FIVE_MINUTES)]).without_global(),
    // Passwords.
    row(
        "com.atproto.server.createSession",
        &[LOGIN_HERE, LOGIN_HERE_DAY, LOGIN_BY_NAME, LOGIN_BY_NAME_DAY, LOGIN_BY_ADDRESS, LOGIN_BY_ADDRESS_DAY],
    )
    .with_input(),
    // It tells whether a password is right, as signing in does.
    row(
        "com.atproto.server.deleteAccount",
        &[
            by_address("delete-account-5min", 50, FIVE_MINUTES),
            // Else one address alone could use up what a name has.
            LOGIN_HERE,
            LOGIN_HERE_DAY,
            LOGIN_BY_NAME,
            LOGIN_BY_NAME_DAY,
            LOGIN_BY_ADDRESS,
            LOGIN_BY_ADDRESS_DAY,
        ],
    )
    .with_input(),
    // Accounts.
    row("com.atproto.server.createAccount", &[by_address("create-account-5min", 100, FIVE_MINUTES)]),
    row(
        "com.atproto.identity.updateHandle",
        &[by_account("update-handle-5min", 10, FIVE_MINUTES), by_account("update-handle-day", 50, DAY)],
    )
    .with_caller(1),
    // Mail.
    row(
        "com.atproto.server.requestAccountDelete",
        &[by_account("request-account-delete-hour", 5, HOUR), by_account("request-account-delete-day", 15, DAY)],
    )
    .with_caller(1),
    row(
        "com.atproto.server.requestEmailConfirmation",
        &[by_account("request-confirmation-hour", 5, HOUR), by_account("request-confirmation-day", 15, DAY)],
    )
    .with_caller(1),
    row(
        "com.atproto.server.requestEmailUpdate",
        &[by_account("request-email-update-hour", 5, HOUR), by_account("request-email-update-day", 15, DAY)],
    )
    .with_caller(1),
    // Reference: none.
    row(
        "com.atproto.identity.requestPlcOperationSignature",
        &[by_account("request-signature-hour", 5, HOUR), by_account("request-signature-day", 15, DAY)],
    )
    .with_caller(1),
    // Reference: not by the name, so that many addresses can fill somebody's mailbox.
    row(
        "com.atproto.server.requestPasswordReset",
        &[
            by_address("request-reset-hour", 15, HOUR),
            by_address("request-reset-day", 50, DAY),
            rule("request-reset-name-hour", 5, HOUR, By::NameAndAddress),
            rule("request-reset-name-day", 15, DAY, By::NameAndAddress),
            rule("request-reset-mailbox-day", 50, DAY, By::Name),
        ],
    )
    .with_input(),
    // Codes that were mailed, which somebody may guess. Reference: the last three have none.
    row("com.atproto.server.resetPassword", &[by_address("reset-password-5min", 50, FIVE_MINUTES)]),
    row("com.atproto.server.confirmEmail", &[by_account("confirm-email-5min", 50, FIVE_MINUTES)]).with_caller(1),
    row("com.atproto.server.updateEmail", &[by_account("update-email-5min", 50, FIVE_MINUTES)]).with_caller(1),
    row("com.atproto.identity.signPlcOperation", &[by_account("sign-operation-5min", 50, FIVE_MINUTES)]).with_caller(1),
];

const fn rule(name: &'static str, points: u32, window: Duration, by: By) -> Rule {
    Rule { limit: Limit { name, points, window }, by }
}

const fn by_address(name: &'static str, points: u32, window: Duration) -> Rule {
    rule(name, points, window, By::Address)
}

const fn by_account(name: &'static str, points: u32, window: Duration) -> Rule {
    rule(name, points, window, By::Account)
}

const fn row(method: &'static str, rules: &'static [Rule]) -> Row {
    Row { method, rules, cost: 1, due: Due::AtOnce, global: true }
}

impl Row {
    const fn with_caller(self, cost: u32) -> Self {
        Self { cost, due: Due::WithCaller, ..self }
    }

    const fn with_input(self) -> Self {
        Self { due: Due::WithInput, ..self }
    }

    const fn without_global(self) -> Self {
        Self { global: false, ..self }
    }
}

/// All else: methods without limits of their own, and what is no method of ours.
pub(super) const OTHERS: Row = row("", &[]);

/// All rules, each once.
pub(super) fn rules() -> Vec<Rule> {
    let mut rules = vec![GLOBAL];
    for rule in METHODS.iter().flat_map(|row| row.rules) {
        if !rules.contains(rule) {
            rules.push(*rule);
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::xrpc;

    #[test]
    fn every_row_is_of_a_method_and_every_limit_has_a_name_of_its_own() {
        let served: HashSet<_> = xrpc::routes().methods().map(|method| method.nsid()).collect();
        let mut seen = HashSet::new();
        for row in METHODS {
            assert!(served.contains(row.method) && seen.insert(row.method), "{}", row.method);
            let known_at_once = row.rules.iter().all(|rule| rule.by == By::Address);
            let needs_input = row.rules.iter().any(|rule| matches!(rule.by, By::Name | By::NameAndAddress));
            assert!(known_at_once || row.due != Due::AtOnce, "{}", row.method);
            assert!(!needs_input || row.due == Due::WithInput, "{}", row.method);
        }
        let names: HashSet<_> = rules().iter().map(|rule| rule.limit.name).collect();
        assert_eq!(names.len(), rules().len());
    }

    /// The README has one line for each limit: name, points, window.
    #[test]
    fn operators_read_of_every_limit() {
        let readme = include_str!("../../../README.md");
        for Rule { limit, .. } in rules() {
            let window = match limit.window {
                FIVE_MINUTES => "5 min",
                HOUR => "hour",
                _ => "day",
            };
            let cells = format!("| `{}` | {} / {window} |", limit.name, limit.points);
            assert!(readme.contains(&cells), "no {cells}");
        }
    }
}
