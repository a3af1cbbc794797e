//! `com.atproto.admin.updateAccountEmail`: gives an account an e-mail address.

use atproto::syntax::AtIdentifier;
use axum::extract::State;
use common::account::{Accounts, ChangeEmailError, EmailAddress};
use common::admin::Administration;
use common::audit::Actor;
use serde::Deserialize;

use super::account_not_found;
use crate::auth::AdminAuth;
use crate::xrpc::{Method, XrpcBody, XrpcError};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.admin.updateAccountEmail");

/// Whose, and which. Of throw-away mail services too, if the operator wants that.
#[derive(Deserialize)]
pub struct Input {
    account: AtIdentifier,
    email: String,
}

/// The owner has to confirm it again.
///
/// Reference: it takes any text for an address, and fails with 500 if another account has it.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(admin): State<Administration>,
    _auth: AdminAuth,
    XrpcBody(input): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    let email: EmailAddress = input.email.parse().map_err(|_| {
        XrpcError::invalid_request("This email address is not supported, please use a different email.")
    })?;
    let account = accounts.find_by_identifier(&input.account).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(account_not_found)?;
    match admin.update_email(&Actor::Admin, &account.did, &email).await {
        Err(ChangeEmailError::AccountNotFound) => Err(account_not_found()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::get_account_info;
    use super::*;
    use crate::testing::TestApi;

    #[tokio::test]
    async fn an_address_is_given_by_did_or_handle() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        api.create_account("bob").await;
        let update = async |input: Value| api.call(METHOD).admin().json(&input).send().await;
        let email = async || {
            let info =
                api.call(get_account_info::METHOD).admin().query(&[("did", &alice.did)]).send().await.expect_ok();
            info["email"].as_str().unwrap().to_owned()
        };
        update(json!({ "account": alice.did, "email": "New@mail.test" })).await.expect_ok();
        assert_eq!(email().await, "new@mail.test");
        update(json!({ "account": "alice.test", "email": "newer@mail.test" })).await.expect_ok();
        assert_eq!(email().await, "newer@mail.test");
        for input in [
            json!({ "account": alice.did, "email": "bob@mail.test" }),
            json!({ "account": alice.did, "email": "alice" }),
            json!({ "account": "carol.test", "email": "carol@mail.test" }),
            json!({ "account": "did:plc:unknown", "email": "carol@mail.test" }),
            json!({ "account": alice.did }),
        ] {
            assert_eq!(update(input.clone()).await.error(), (400, "InvalidRequest".to_owned()), "{input}");
        }
        assert_eq!(email().await, "newer@mail.test");
        let input = json!({ "account": alice.did, "email": "new@mail.test" });
        let refused = api.call(METHOD).bearer(&alice.access).json(&input).send().await;
        assert_eq!(refused.error(), (401, "AuthenticationRequired".to_owned()));
    }
}
