//! `com.atproto.server.*`: the server itself, accounts and sessions.

pub mod activate_account;
pub mod check_account_status;
pub mod confirm_email;
pub mod create_account;
pub mod create_app_password;
pub mod create_invite_code;
pub mod create_invite_codes;
pub mod create_session;
pub mod deactivate_account;
pub mod delete_account;
pub mod delete_session;
pub mod describe_server;
pub mod get_account_invite_codes;
pub mod get_service_auth;
pub mod get_session;
pub mod list_app_passwords;
pub mod refresh_session;
pub mod request_account_delete;
pub mod request_email_confirmation;
pub mod request_email_update;
pub mod request_password_reset;
pub mod reserve_signing_key;
pub mod reset_password;
pub mod revoke_app_password;
pub mod update_email;

use atproto::{
    identity::DidDocument,
    syntax::{Datetime, Did},
};
use common::{
    account::{Account, Accounts, AppPassword, CodeError, CodePurpose, LoginError, PasswordError, SendCode},
    lifecycle::SetPasswordError,
};
use serde::Serialize;

use crate::{
    auth::account_not_found,
    http::PreferredLanguages,
    limit::{Admission, PasswordTry},
    state::AppState,
    xrpc::{Routes, Shared, XrpcError},
};

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(confirm_email::METHOD, confirm_email::handle);
    routes.add(activate_account::METHOD, activate_account::handle);
    routes.add(check_account_status::METHOD, check_account_status::handle);
    routes.add(create_account::METHOD, create_account::handle);
    routes.add(create_app_password::METHOD, create_app_password::handle);
    routes.add(create_invite_code::METHOD, create_invite_code::handle);
    routes.add(create_invite_codes::METHOD, create_invite_codes::handle);
    routes.add(create_session::METHOD, create_session::handle);
    routes.add(deactivate_account::METHOD, deactivate_account::handle);
    routes.add(delete_account::METHOD, delete_account::handle);
    routes.add(delete_session::METHOD, delete_session::handle);
    routes.add(describe_server::METHOD, describe_server::handle);
    routes.add(get_account_invite_codes::METHOD, get_account_invite_codes::handle);
    routes.add(get_service_auth::METHOD, get_service_auth::handle);
    routes.add(get_session::METHOD, get_session::handle);
    routes.add(list_app_passwords::METHOD, list_app_passwords::handle);
    routes.add(refresh_session::METHOD, refresh_session::handle);
    routes.add(request_account_delete::METHOD, request_account_delete::handle);
    routes.add(request_email_confirmation::METHOD, request_email_confirmation::handle);
    routes.add(request_email_update::METHOD, request_email_update::handle);
    routes.add(request_password_reset::METHOD, request_password_reset::handle);
    routes.add(reset_password::METHOD, reset_password::handle);
    routes.add(revoke_app_password::METHOD, revoke_app_password::handle);
    routes.add(update_email::METHOD, update_email::handle);
    routes.add(reserve_signing_key::METHOD, reserve_signing_key::handle);
}

/// A session: its tokens, and whose it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionOutput {
    access_jwt: String,
    refresh_jwt: String,
    #[serde(flatten)]
    view: SessionView,
}

/// Whose a session is, as they may see it themselves.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    handle: String,
    did: Did,
    #[serde(skip_serializing_if = "Option::is_none")]
    did_doc: Option<Shared<DidDocument>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    email_confirmed: bool,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

impl SessionView {
    /// The DID document is there if the operator wants it (`PDS_ENABLE_DID_DOC_WITH_SESSION`) and it can be had.
    async fn new(app: &AppState, account: Account) -> Self {
        let document = if app.config.identity.did_doc_with_session {
            app.resolver.find_document(&account.did).await.ok().flatten()
        } else {
            None
        };
        Self {
            handle: account.shown_handle().to_owned(),
            did_doc: document.map(Shared),
            email_confirmed: account.email_confirmed_at.is_some(),
            active: account.status.is_active(),
            status: account.status.wire_name(),
            did: account.did,
            email: account.email,
        }
    }
}

/// An app password as its owner sees it later.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppPasswordView {
    name: String,
    created_at: Datetime,
    privileged: bool,
}

impl From<AppPassword> for AppPasswordView {
    fn from(password: AppPassword) -> Self {
        let millis = u64::try_from(password.created_at.timestamp_millis()).unwrap_or_default();
        Self { name: password.name, created_at: Datetime::from_unix_millis(millis), privileged: password.privileged }
    }
}

/// Lets somebody show a password for `name`, within the limits.
///
/// # Errors
/// 429 if one is used up that counts for them.
async fn admit_password(app: &AppState, admission: &Admission, name: &str) -> Result<(), XrpcError> {
    let PasswordTry::IfKnown(used_up) = admission.charge_password(name).await? else { return Ok(()) };
    // As many questions for a name that nobody has.
    let account = app.accounts.find_signing_in(name).await.map_err(XrpcError::internal)?;
    let address = admission.address().unwrap_or_default();
    let is_known = app.sessions.know_address(account, address).await.map_err(XrpcError::internal)?;
    if is_known { Ok(()) } else { Err(used_up.refuse()) }
}

/// Has a code mailed to the caller.
pub(super) async fn send_code(
    accounts: &Accounts,
    account: &Account,
    purpose: CodePurpose,
    PreferredLanguages(locale): PreferredLanguages,
) -> Result<(), XrpcError> {
    require_email(account)?;
    let request = SendCode { did: account.did.clone(), purpose, locale };
    accounts.request_code(&request).await.map_err(XrpcError::internal)
}

/// 400 for an account that nothing can be mailed to.
fn require_email(account: &Account) -> Result<(), XrpcError> {
    match account.email {
        Some(_) => Ok(()),
        None => Err(XrpcError::invalid_request("account does not have an email address")),
    }
}

/// 400 for a token whose account is not there, or not to be seen.
fn no_user_info(did: &Did) -> XrpcError {
    XrpcError::invalid_request(format_args!("Could not find user info for account: {did}"))
}

/// A number of the wire as the state counts; what is out of range stays out of every range there.
fn saturated(number: i64) -> i32 {
    i32::try_from(number.clamp(i32::MIN.into(), i32::MAX.into())).unwrap_or_default()
}

impl From<CodeError> for XrpcError {
    fn from(error: CodeError) -> Self {
        match error {
            CodeError::Invalid => Self::bad_request("InvalidToken", error),
            CodeError::Expired => Self::bad_request("ExpiredToken", error),
            CodeError::Storage(error) => Self::internal(error),
        }
    }
}

impl From<PasswordError> for XrpcError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::unavailable(error),
            PasswordError::Hash(_) | PasswordError::Interrupted => Self::internal(error),
        }
    }
}

impl From<LoginError> for XrpcError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Password(error) => error.into(),
            LoginError::Storage(error) => Self::internal(error),
        }
    }
}

impl From<SetPasswordError> for XrpcError {
    fn from(error: SetPasswordError) -> Self {
        match error {
            SetPasswordError::Length => Self::invalid_request(error),
            SetPasswordError::Code(error) => error.into(),
            SetPasswordError::AccountNotFound => account_not_found(),
            SetPasswordError::Hash(error) => error.into(),
            SetPasswordError::Storage(error) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_logins_is_told_to_come_back() {
        for error in [XrpcError::from(PasswordError::Busy), LoginError::Password(PasswordError::Busy).into()] {
            assert_eq!((error.status.as_u16(), &*error.name), (503, "NotEnoughResources"));
        }
        assert_eq!(XrpcError::from(PasswordError::Interrupted).status, 500);
    }
}
