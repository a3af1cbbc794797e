//! `com.atproto.server.updateEmail`: gives the account another address.

use axum::extract::State;
use common::account::{Accounts, ChangeEmailError};
use serde::Deserialize;

use crate::{
    auth::{Checked, FullAuth, account_not_found},
    xrpc::{Method, XrpcBody, XrpcError},
};

/// The method. How often codes may be tried is limited: see [`limit`](crate::limit).
pub const METHOD: Method = Method::procedure("com.atproto.server.updateEmail");

/// The new address, and the code that was sent to the present one. `emailAuthFactor` is ignored: there is no second factor.
#[derive(Deserialize)]
pub struct Input {
    email: String,
    token: Option<String>,
}

/// The new address is not confirmed, and all codes that were sent to the one before are void.
///
/// Reference: a code that is given though none is needed is not looked at there; here it must be good.
pub async fn handle(
    State(accounts): State<Accounts>,
    Checked { account, .. }: Checked<FullAuth>,
    XrpcBody(input): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    let email = accounts.emails().check(&input.email).map_err(XrpcError::invalid_request)?;
    let code = input.token.filter(|code| !code.is_empty());
    Ok(accounts.change_email(account.id, &email, code.as_deref()).await?)
}

impl From<ChangeEmailError> for XrpcError {
    fn from(error: ChangeEmailError) -> Self {
        match error {
            ChangeEmailError::AccountNotFound => account_not_found(),
            ChangeEmailError::TokenRequired => Self::bad_request("TokenRequired", error),
            ChangeEmailError::Code(error) => error.into(),
            ChangeEmailError::Taken => Self::invalid_request(error),
            ChangeEmailError::Storage(error) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::account::{CODE_LIFETIME, CodePurpose};
    use common::testing::seed;
    use serde_json::{Value, json};

    use super::super::{confirm_email, get_session, request_email_confirmation, request_email_update};
    use super::*;
    use crate::auth::AccessScope;
    use crate::testing::{Reply, TestAccount, TestApi};

    struct Scene {
        api: TestApi,
        alice: TestAccount,
    }

    impl Scene {
        async fn start() -> Self {
            let api = TestApi::start_with(1, |config| {
                config.email.disposable_domains = "throw-away.test".parse().unwrap();
            });
            let api = api.await;
            Self { alice: api.create_account("alice").await, api }
        }

        async fn confirm(&self) {
            let Self { api, alice } = self;
            api.call(request_email_confirmation::METHOD).bearer(&alice.access).send().await.expect_ok();
            let code = api.mailed_code(alice, CodePurpose::ConfirmEmail).await;
            let input = json!({ "email": "alice@mail.test", "token": code });
            api.call(confirm_email::METHOD).bearer(&alice.access).json(&input).send().await.expect_ok();
        }

        async fn request(&self) -> Value {
            let call = self.api.call(request_email_update::METHOD).bearer(&self.alice.access);
            call.send().await.expect_ok()["tokenRequired"].clone()
        }

        async fn update(&self, input: Value) -> Reply {
            self.api.call(METHOD).bearer(&self.alice.access).json(&input).send().await
        }

        async fn email(&self) -> (Value, Value) {
            let session = self.api.call(get_session::METHOD).bearer(&self.alice.access).send().await.expect_ok();
            (session["email"].clone(), session["emailConfirmed"].clone())
        }
    }

    #[tokio::test]
    async fn an_address_that_nobody_confirmed_is_changed_at_once() {
        let scene = Scene::start().await;
        assert_eq!(scene.request().await, false);
        // Some clients send an empty code where none is needed.
        scene.update(json!({ "email": "New@Mail.test", "token": "", "emailAuthFactor": true })).await.expect_ok();
        assert_eq!(scene.email().await, (json!("new@mail.test"), json!(false)));
    }

    #[tokio::test]
    async fn a_confirmed_address_is_changed_with_the_code_that_was_sent_there() {
        let scene = Scene::start().await;
        scene.confirm().await;
        assert_eq!(scene.request().await, true);
        let refused = scene.update(json!({ "email": "new@mail.test" })).await;
        assert_eq!(refused.error(), (400, "TokenRequired".to_owned()));
        let code = scene.api.mailed_code(&scene.alice, CodePurpose::UpdateEmail).await;
        scene.update(json!({ "email": "new@mail.test", "token": code })).await.expect_ok();
        assert_eq!(scene.email().await, (json!("new@mail.test"), json!(false)));
        let again = scene.update(json!({ "email": "other@mail.test", "token": code })).await;
        assert_eq!(again.error(), (400, "InvalidToken".to_owned()));
    }

    #[tokio::test]
    async fn every_refusal_has_its_status_and_name_and_leaves_the_code_good() {
        let scene = Scene::start().await;
        scene.api.create_account("bob").await;
        scene.confirm().await;
        scene.request().await;
        let code = scene.api.mailed_code(&scene.alice, CodePurpose::UpdateEmail).await;
        let unsupported = "This email address is not supported, please use a different email.";
        let in_use = "This email address is already in use, please use a different email.";
        let long = format!("{}@mail.test", "x".repeat(255));
        for (email, token, name, message) in [
            ("new", code.as_str(), "InvalidRequest", unsupported),
            ("", &code, "InvalidRequest", unsupported),
            ("\"new\"@mail.test", &code, "InvalidRequest", unsupported),
            ("n\u{435}w@mail.test", &code, "InvalidRequest", unsupported),
            ("new@mail.test\0", &code, "InvalidRequest", unsupported),
            (&long, &code, "InvalidRequest", unsupported),
            ("new@throw-away.test", &code, "InvalidRequest", unsupported),
            ("new@eu.Throw-Away.test", &code, "InvalidRequest", unsupported),
            ("Bob@mail.test", &code, "InvalidRequest", in_use),
            ("new@mail.test", "AAAAA-AAAAA", "InvalidToken", "Token is invalid"),
        ] {
            let expected = (400, name.to_owned(), message.to_owned());
            let reply = scene.update(json!({ "email": email, "token": token })).await;
            assert_eq!(reply.error_with_message(), expected, "{email}");
        }
        assert_eq!(scene.email().await, (json!("alice@mail.test"), json!(true)));
        seed::age_codes(&scene.api.db.pool(), CODE_LIFETIME).await;
        let expired = scene.update(json!({ "email": "new@mail.test", "token": code })).await;
        assert_eq!(expired.error(), (400, "ExpiredToken".to_owned()));
    }

    #[tokio::test]
    async fn it_takes_the_main_password_and_an_account_that_stands() {
        let Scene { api, alice } = Scene::start().await;
        let app_password = api.app().tokens.issue_access(&alice.did.parse().unwrap(), AccessScope::AppPass).unwrap();
        let call = async |token: &str| {
            api.call(METHOD).bearer(token).json(&json!({ "email": "new@mail.test" })).send().await.error()
        };
        assert_eq!(call(&app_password).await, (400, "InvalidToken".to_owned()));
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        assert_eq!(call(&alice.access).await, (401, "AccountTakedown".to_owned()));
        seed::delete_account(&api.db.pool(), &alice.did).await;
        assert_eq!(call(&alice.access).await, (403, "AccountNotFound".to_owned()));
    }
}
