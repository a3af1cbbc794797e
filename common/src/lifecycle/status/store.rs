//! All SQL of an account's status.

use atproto::syntax::{Did, Handle};
use sqlx::PgConnection;

use super::Change;
use crate::account::AccountStatus;
use crate::db::TextColumn;

/// What the public sees of an account, as of a moment.
#[derive(Clone, Debug)]
pub(super) struct Presence {
    pub(super) handle: Option<Handle>,
    /// CID of the newest commit, in binary.
    pub(super) head: Vec<u8>,
    pub(super) commit_block: Vec<u8>,
}

/// Bodies of `#account`, one for each status that the account may turn out to have.
pub(super) struct StatusEvents {
    pub(super) active: Vec<u8>,
    pub(super) deactivated: Vec<u8>,
    pub(super) takendown: Vec<u8>,
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

/// Changes an account's status and announces it, in one statement.
pub(super) async fn change(
    conn: &mut PgConnection,
    did: &Did,
    change: &Change,
    events: &StatusEvents,
) -> sqlx::Result<Outcome> {
    let (name, reference, delete_after, announcement) = match change {
        Change::Deactivate { delete_after } => ("deactivate", None, *delete_after, None),
        Change::Activate(announcement) => ("activate", None, None, Some(announcement)),
        Change::TakeDown { reference } => ("take_down", Some(reference.as_str()), None, None),
        Change::Restore => ("restore", None, None, None),
        Change::Announce => ("announce", None, None, None),
    };
    let presence = announcement.map(|announcement| &announcement.presence);
    let outcome = sqlx::query_scalar!(
        r#"
            SELECT account_status_change_v1(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
            ) AS "outcome!"
        "#,
        did.as_str(),
        name,
        reference,
        delete_after,
        events.active,
        events.deactivated,
        events.takendown,
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
