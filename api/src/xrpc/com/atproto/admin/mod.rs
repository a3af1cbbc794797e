//! `com.atproto.admin.*`: what operators and moderators do. Each act is in the audit log.
//!
//! Some methods are for the operator alone, the others for a moderation service too.

pub mod delete_account;
pub mod disable_account_invites;
pub mod disable_invite_codes;
pub mod enable_account_invites;
pub mod get_account_info;
pub mod get_account_infos;
pub mod get_invite_codes;
pub mod get_subject_status;
pub mod search_accounts;
pub mod send_email;
pub mod update_account_email;
pub mod update_account_handle;
pub mod update_account_password;
pub mod update_account_signing_key;
pub mod update_subject_status;

use std::collections::{HashMap, HashSet};

use atproto::syntax::{AtUri, Datetime, Did};
use chrono::{DateTime, Utc};
use common::account::{AccountDetails, Invite, Invites};
use common::lifecycle::StatusError;
use common::repo::RecordPath;
use serde::{Deserialize, Serialize};

use crate::auth::ModeratorAuth;
use crate::state::AppState;
use crate::xrpc::{PlainText, Routes, XrpcError};

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(delete_account::METHOD, delete_account::handle);
    routes.add(disable_account_invites::METHOD, disable_account_invites::handle);
    routes.add(disable_invite_codes::METHOD, disable_invite_codes::handle);
    routes.add(enable_account_invites::METHOD, enable_account_invites::handle);
    routes.add(get_account_info::METHOD, get_account_info::handle);
    routes.add(get_account_infos::METHOD, get_account_infos::handle);
    routes.add(get_invite_codes::METHOD, get_invite_codes::handle);
    routes.add(get_subject_status::METHOD, get_subject_status::handle);
    routes.add(search_accounts::METHOD, search_accounts::handle);
    routes.add(send_email::METHOD, send_email::handle);
    routes.add(update_account_email::METHOD, update_account_email::handle);
    routes.add(update_account_handle::METHOD, update_account_handle::handle);
    routes.add(update_account_password::METHOD, update_account_password::handle);
    routes.add(update_account_signing_key::METHOD, update_account_signing_key::handle);
    routes.add(update_subject_status::METHOD, update_subject_status::handle);
}

/// `com.atproto.server.defs#inviteCode`.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InviteView {
    code: String,
    available: i32,
    disabled: bool,
    for_account: String,
    created_by: String,
    created_at: Datetime,
    uses: Vec<InviteUseView>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct InviteUseView {
    used_by: Did,
    used_at: Datetime,
}

impl From<Invite> for InviteView {
    fn from(invite: Invite) -> Self {
        let uses = invite.uses.into_iter();
        Self {
            code: invite.code,
            available: invite.available,
            disabled: invite.disabled,
            for_account: invite.for_account,
            created_by: invite.created_by,
            created_at: datetime(invite.created_at),
            uses: uses.map(|one| InviteUseView { used_by: one.used_by, used_at: datetime(one.used_at) }).collect(),
        }
    }
}

/// `com.atproto.admin.defs#accountView`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    did: Did,
    handle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// When the account was made.
    indexed_at: Datetime,
    #[serde(skip_serializing_if = "Option::is_none")]
    invited_by: Option<InviteView>,
    invites: Vec<InviteView>,
    invites_disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_confirmed_at: Option<Datetime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deactivated_at: Option<Datetime>,
}

/// Types of subjects.
const REPO: &str = "com.atproto.admin.defs#repoRef";
const RECORD: &str = "com.atproto.repo.strongRef";
const BLOB: &str = "com.atproto.admin.defs#repoBlobRef";

/// `com.atproto.admin.defs#statusAttr`.
#[derive(Clone, Serialize, Deserialize)]
pub struct StatusAttr {
    applied: bool,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<PlainText>,
}

impl StatusAttr {
    /// A takedown as it is stored.
    fn under(reference: Option<String>) -> Self {
        Self { applied: reference.is_some(), reference: reference.map(PlainText) }
    }
}

/// The record that an address names, by the DID of its account.
async fn record_of(app: &AppState, uri: &AtUri) -> Result<(Did, RecordPath), XrpcError> {
    let (Some(collection), Some(rkey)) = (uri.collection(), uri.rkey()) else {
        return Err(XrpcError::invalid_request("The subject is not the address of a record"));
    };
    let path = RecordPath { collection: collection.clone(), rkey: rkey.clone() };
    if let Some(did) = uri.authority().as_did() {
        return Ok((did.clone(), path));
    }
    let account = app.accounts.find_by_identifier(uri.authority()).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(|| XrpcError::bad_request("NotFound", "Subject not found"))?;
    Ok((account.did, path))
}

/// Accounts as operators see them, in their order, with the codes they have and the one they came with.
async fn account_views(invites: &Invites, accounts: Vec<AccountDetails>) -> Result<Vec<AccountView>, XrpcError> {
    let dids: Vec<&Did> = accounts.iter().map(|details| &details.account.did).collect();
    let owned = invites.list_of_all(&dids).await.map_err(XrpcError::internal)?;
    let used = invites.list_used_by(&dids).await.map_err(XrpcError::internal)?;
    let mut by_owner: HashMap<String, Vec<InviteView>> = HashMap::new();
    for invite in owned {
        by_owner.entry(invite.for_account.clone()).or_default().push(invite.into());
    }
    let mut by_user: HashMap<Did, InviteView> = HashMap::new();
    let asked: HashSet<Did> = dids.into_iter().cloned().collect();
    for invite in used {
        // A code may have a hundred thousand users.
        let users = invite.uses.iter().map(|one| &one.used_by).filter(|user| asked.contains(user));
        let users: Vec<Did> = users.cloned().collect();
        let view = InviteView::from(invite);
        by_user.extend(users.into_iter().map(|user| (user, view.clone())));
    }
    let view = |details: AccountDetails| AccountView {
        handle: details.account.shown_handle().to_owned(),
        email: details.account.email,
        indexed_at: datetime(details.account.created_at),
        invited_by: by_user.remove(&details.account.did),
        invites: by_owner.remove(details.account.did.as_str()).unwrap_or_default(),
        invites_disabled: details.invites_disabled,
        email_confirmed_at: details.account.email_confirmed_at.map(datetime),
        deactivated_at: details.deactivated_at.map(datetime),
        did: details.account.did,
    };
    Ok(accounts.into_iter().map(view).collect())
}

/// Whose invitations, and why: the note is kept in the audit log.
#[derive(Deserialize)]
pub struct InvitesInput {
    account: Did,
    note: Option<PlainText>,
}

/// Says whether the codes that an account earns from now on may be used. Does nothing, and says nothing, for an account that
/// is not here.
async fn allow_invites(
    invites: &Invites,
    auth: &ModeratorAuth,
    input: &InvitesInput,
    allowed: bool,
) -> Result<(), XrpcError> {
    let note = input.note.as_ref().map(|note| note.0.as_str());
    invites.set_allowed(auth.actor(), &input.account, allowed, note).await.map_err(XrpcError::internal)?;
    Ok(())
}

/// 400 for an account that is not here. No lexicon of these methods declares a name for it.
fn account_not_found() -> XrpcError {
    XrpcError::invalid_request("Account not found")
}

/// A time as the wire has it; nothing here is older than 1970.
pub(super) fn datetime(at: DateTime<Utc>) -> Datetime {
    Datetime::from_unix_millis(u64::try_from(at.timestamp_millis()).unwrap_or_default())
}

impl From<StatusError> for XrpcError {
    fn from(error: StatusError) -> Self {
        match error {
            StatusError::NotFound => Self::bad_request("NotFound", "Account not found"),
            StatusError::Takendown => Self::invalid_request(error),
            StatusError::Contended => Self::unavailable(error),
            StatusError::Damaged(_) | StatusError::Storage(_) => Self::internal(error),
        }
    }
}
