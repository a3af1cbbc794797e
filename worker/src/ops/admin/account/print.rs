//! Accounts as lines.

use atproto::syntax::{Did, Handle};
use chrono::{DateTime, SecondsFormat, Utc};
use common::account::AccountDetails;
use serde::Serialize;

use super::super::super::console::Console;

/// An account for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountLine<'a> {
    did: &'a Did,
    handle: Option<&'a str>,
    email: Option<&'a str>,
    email_confirmed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    status: &'static str,
    takedown_ref: Option<&'a str>,
    deactivated_at: Option<DateTime<Utc>>,
    delete_after: Option<DateTime<Utc>>,
    invites_disabled: bool,
}

impl<'a> AccountLine<'a> {
    pub(super) fn of(details: &'a AccountDetails) -> Self {
        let account = &details.account;
        Self {
            did: &account.did,
            handle: account.handle.as_ref().map(Handle::as_str),
            email: account.email.as_deref(),
            email_confirmed_at: account.email_confirmed_at,
            created_at: account.created_at,
            status: account.status.wire_name().unwrap_or("active"),
            takedown_ref: details.takedown_ref.as_deref(),
            deactivated_at: details.deactivated_at,
            delete_after: details.delete_after,
            invites_disabled: details.invites_disabled,
        }
    }
}

/// Heads the columns of [`row`].
pub(super) fn heading(console: Console) -> anyhow::Result<()> {
    console.say(format_args!("{:<34}{:<30}{:<13}{:<22}E-MAIL", "DID", "HANDLE", "STATUS", "CREATED"))
}

/// Prints an account as a row.
pub(super) fn row(details: &AccountDetails, console: Console) -> anyhow::Result<()> {
    let line = AccountLine::of(details);
    console.tell(&line)?;
    console.say(format_args!(
        "{:<34}{:<30}{:<13}{:<22}{}",
        line.did,
        details.account.shown_handle(),
        line.status,
        time(line.created_at),
        line.email.unwrap_or("-"),
    ))
}

/// A time for people.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
