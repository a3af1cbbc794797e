//! `com.atproto.server.requestAccountDelete`: mails the code that deleteAccount asks for.

use axum::extract::State;
use common::account::{Accounts, CodePurpose};

use super::send_code;
use crate::{
    auth::{Checked, FullAuth},
    http::PreferredLanguages,
    xrpc::{Method, NoInput, XrpcError},
};

/// The method. How many mails an account may ask for is limited: see [`limit`](crate::limit).
pub const METHOD: Method = Method::procedure("com.atproto.server.requestAccountDelete");

/// Answers before the mail is sent.
pub async fn handle(
    State(accounts): State<Accounts>,
    Checked { account, .. }: Checked<FullAuth>,
    languages: PreferredLanguages,
    _: NoInput,
) -> Result<(), XrpcError> {
    send_code(&accounts, &account, CodePurpose::DeleteAccount, languages).await
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::json;

    use super::super::{request_email_confirmation, request_email_update};
    use super::*;
    use crate::auth::AccessScope;
    use crate::testing::TestApi;

    /// The methods that mail a code to their caller, with whether an app password may call them.
    const METHODS: [(Method, bool); 3] =
        [(METHOD, false), (request_email_update::METHOD, false), (request_email_confirmation::METHOD, true)];

    #[tokio::test]
    async fn a_code_is_mailed_and_replaced_when_asked_again() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let mut codes = Vec::new();
        for _ in 0..2 {
            api.call(METHOD).bearer(&alice.access).header("accept-language", "de").send().await.expect_ok();
            codes.push(api.mailed_code(&alice, CodePurpose::DeleteAccount).await);
        }
        assert_ne!(codes[0], codes[1]);
    }

    #[tokio::test]
    async fn who_may_not_have_a_code_mailed_is_told_why() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let did = alice.did.parse().unwrap();
        let app_password = api.app().tokens.issue_access(&did, AccessScope::AppPassPrivileged).unwrap();
        let takendown = api.app().tokens.issue_access(&did, AccessScope::Takendown).unwrap();
        let bad_scope = (400, "InvalidToken".to_owned());
        for (method, app_password_may) in METHODS {
            assert_eq!(api.call(method).send().await.error(), (401, "AuthMissing".to_owned()));
            assert_eq!(api.call(method).bearer(&takendown).send().await.error(), bad_scope, "{method:?}");
            let reply = api.call(method).bearer(&app_password).send().await;
            assert!(if app_password_may { reply.status == 200 } else { reply.error() == bad_scope }, "{method:?}");
            let with_input = api.call(method).bearer(&alice.access).json(&json!({})).send().await;
            assert_eq!(with_input.error(), (400, "InvalidRequest".to_owned()), "{method:?}");
        }
        let refusals = async |expected: (u16, &str)| {
            for (method, _) in METHODS {
                let reply = api.call(method).bearer(&alice.access).send().await;
                assert_eq!(reply.error(), (expected.0, expected.1.to_owned()), "{method:?}");
            }
        };
        seed::remove_email(&api.db.pool(), &alice.did).await;
        refusals((400, "InvalidRequest")).await;
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        refusals((401, "AccountTakedown")).await;
        seed::delete_account(&api.db.pool(), &alice.did).await;
        refusals((403, "AccountNotFound")).await;
    }

    #[tokio::test]
    async fn a_deactivated_account_may_be_deleted() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        seed::set_deactivated(&api.db.pool(), &alice.did, true).await;
        api.call(METHOD).bearer(&alice.access).send().await.expect_ok();
    }
}
