//! All SQL of an account's status.

use atproto::syntax::{Did, Handle};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Announcement;
use crate::account::AccountStatus;
use crate::audit::{Action, Actor};
use crate::db::TextColumn;

/// What the public sees of an account, as of a moment.
#[derive(Clone, Debug)]
pub(super) struct Presence {
    pub(super) handle: Option<Handle>,
    /// CID of the newest commit, in binary.
    pub(super) head: Vec<u8>,
    pub(super) commit_block: Vec<u8>,
}

/// A change, as `account_status_change_v2` takes it.
pub(super) struct Change<'a> {
    pub(super) name: &'static str,
    pub(super) takedown_ref: Option<String>,
    pub(super) delete_after: Option<DateTime<Utc>>,
    /// Bodies of `#account`, one for each status that the account may turn out to have.
    pub(super) active: Vec<u8>,
    pub(super) deactivated: Vec<u8>,
    pub(super) takendown: Vec<u8>,
    /// Of an activation.
    pub(super) announcement: Option<&'a Announcement>,
    /// What to note, if anything.
    pub(super) act: Option<(&'a Actor, Action)>,
}

/// What became of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It is done; the account is now active or deactivated.
    Status(AccountStatus),
    /// The account is taken down; an activation has changed nothing.
    Takendown,
    NoAccount,
    /// Handle or head are no longer as the caller saw them; nothing was changed.
    Moved,
}

/// Handle and newest commit of an account.
pub(super) async fn find_presence(conn: &mut PgConnection, did: &Did) -> sqlx::Result<Option<Presence>> {
    let row = sqlx::query!(
        r#"
            SELECT a.handle AS "handle: TextColumn<Handle>", r.head, r.commit_block
            FROM account a
            JOIN repo r ON r.account_id = a.id
            WHERE a.did = $1
        "#,
        did.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Presence {
        handle: row.handle.map(|handle| handle.0),
        head: row.head,
        commit_block: row.commit_block,
    }))
}

/// Changes an account's status, announces it and notes who did it, in one statement.
pub(super) async fn change(conn: &mut PgConnection, did: &Did, change: &Change<'_>) -> sqlx::Result<Outcome> {
    let announcement = change.announcement;
    let presence = announcement.map(|announcement| &announcement.presence);
    let outcome = sqlx::query_scalar!(
        r#"
            SELECT account_status_change_v2(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
            ) AS "outcome!"
        "#,
        change.act.map(|(actor, _)| actor.to_string()),
        change.act.map(|(_, action)| action.name()),
        did.as_str(),
        change.name,
        change.takedown_ref,
        change.delete_after,
        change.active,
        change.deactivated,
        change.takendown,
        presence.and_then(|presence| presence.handle.as_ref()).map(Handle::as_str),
        presence.map(|presence| presence.head.as_slice()),
        announcement.map(|announcement| announcement.identity.as_slice()),
        announcement.map(|announcement| announcement.sync.as_slice()),
    )
    .fetch_one(conn)
    .await?;
    parse_outcome(&outcome)
}

fn parse_outcome(text: &str) -> sqlx::Result<Outcome> {
    Ok(match text {
        "active" => Outcome::Status(AccountStatus::Active),
        "deactivated" => Outcome::Status(AccountStatus::Deactivated),
        "takendown" => Outcome::Takendown,
        "no_account" => Outcome::NoAccount,
        "moved" => Outcome::Moved,
        other => return Err(sqlx::Error::Decode(format!("unknown outcome {other}").into())),
    })
}
