//! `com.atproto.server.createAppPassword`: a password for one app.

use axum::extract::State;
use common::account::{Accounts, CreateAppPasswordError};
use serde::{Deserialize, Serialize};

use super::AppPasswordView;
use crate::{
    auth::{Checked, FullAuth},
    xrpc::{Method, XrpcBody, XrpcError, XrpcJson, XrpcResult},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.createAppPassword");

/// What it is called, and whether it may use direct messages.
#[derive(Deserialize)]
pub struct Input {
    name: String,
    #[serde(default)]
    privileged: Option<bool>,
}

/// The app password, with its text: it is shown this once.
#[derive(Serialize)]
pub struct Output {
    password: String,
    #[serde(flatten)]
    view: AppPasswordView,
}

/// Reference: a name that is there already is a 500 there, and names and their number have no limit.
pub async fn handle(
    State(accounts): State<Accounts>,
    Checked { account, .. }: Checked<FullAuth>,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<Output> {
    let (made, text) = accounts.create_app_password(&account, &input.name, input.privileged.unwrap_or(false)).await?;
    Ok(XrpcJson(Output { password: text.expose().to_owned(), view: made.into() }))
}

impl From<CreateAppPasswordError> for XrpcError {
    fn from(error: CreateAppPasswordError) -> Self {
        match error {
            CreateAppPasswordError::Name | CreateAppPasswordError::NameTaken | CreateAppPasswordError::TooMany => {
                Self::invalid_request(error)
            }
            CreateAppPasswordError::Storage(error) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::{Value, json};

    use super::super::{list_app_passwords, revoke_app_password};
    use super::*;
    use crate::auth::AccessScope;
    use crate::testing::TestApi;

    #[tokio::test]
    async fn a_password_is_shown_once_and_listed_without_until_it_is_revoked() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let create = async |input: Value| api.call(METHOD).bearer(&alice.access).json(&input).send().await.expect_ok();
        let list = async || {
            let reply = api.call(list_app_passwords::METHOD).bearer(&alice.access).send().await;
            reply.expect_ok()["passwords"].clone()
        };
        assert_eq!(list().await, json!([]));
        let mut phone = create(json!({ "name": "phone" })).await;
        let mut chat = create(json!({ "name": "chat", "privileged": true })).await;
        for made in [&mut phone, &mut chat] {
            let password = made.as_object_mut().unwrap().remove("password").unwrap();
            assert_eq!(password.as_str().unwrap().len(), 19);
            assert_eq!(made["createdAt"].as_str().unwrap().len(), "2026-11-21T00:00:00.000Z".len());
        }
        assert_eq!((&phone["name"], &phone["privileged"]), (&json!("phone"), &json!(false)));
        assert_eq!((&chat["name"], &chat["privileged"]), (&json!("chat"), &json!(true)));
        assert_eq!(list().await, json!([phone, chat]));
        for _ in 0..2 {
            let call = api.call(revoke_app_password::METHOD).bearer(&alice.access);
            call.json(&json!({ "name": "phone" })).send().await.expect_ok();
        }
        assert_eq!(list().await, json!([chat]));
    }

    #[tokio::test]
    async fn bad_names_are_refused_with_what_is_wrong() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let create = async |input: Value| api.call(METHOD).bearer(&alice.access).json(&input).send().await;
        create(json!({ "name": "phone" })).await.expect_ok();
        let taken = "There is an app password with this name already".to_owned();
        let refused = create(json!({ "name": "phone", "privileged": true })).await.error_with_message();
        assert_eq!(refused, (400, "InvalidRequest".to_owned(), taken));
        for input in [
            json!({}),
            json!({ "name": "" }),
            json!({ "name": " " }),
            json!({ "name": "x".repeat(129) }),
            json!({ "name": "a\0b" }),
            json!({ "name": 7 }),
            json!({ "name": "tablet", "privileged": "yes" }),
        ] {
            assert_eq!(create(input.clone()).await.error(), (400, "InvalidRequest".to_owned()), "{input}");
        }
    }

    #[tokio::test]
    async fn who_may_do_what_with_app_passwords() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let did = alice.did.parse().unwrap();
        let name = json!({ "name": "phone" });
        let refusals = async |token: &str| {
            let calls = [
                api.call(METHOD).bearer(token).json(&name),
                api.call(revoke_app_password::METHOD).bearer(token).json(&name),
                api.call(list_app_passwords::METHOD).bearer(token),
            ];
            let mut refusals = Vec::new();
            for call in calls {
                let reply = call.send().await;
                refusals.push((!reply.status.is_success()).then(|| reply.error()));
            }
            refusals
        };
        let error = |status: u16, name: &str| Some((status, name.to_owned()));
        let bad_scope = error(400, "InvalidToken");
        for (scope, expected) in [
            (AccessScope::AppPassPrivileged, [bad_scope.clone(), bad_scope.clone(), None]),
            (AccessScope::AppPass, [bad_scope.clone(), bad_scope.clone(), None]),
            (AccessScope::Takendown, [bad_scope.clone(), bad_scope.clone(), bad_scope.clone()]),
        ] {
            assert_eq!(refusals(&api.app().tokens.issue_access(&did, scope).unwrap()).await, expected, "{scope:?}");
        }
        seed::set_deactivated(&api.db.pool(), &alice.did, true).await;
        assert_eq!(refusals(&alice.access).await, [None, None, None]);
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        assert_eq!(refusals(&alice.access).await, [0; 3].map(|_| error(401, "AccountTakedown")));
        seed::delete_account(&api.db.pool(), &alice.did).await;
        assert_eq!(refusals(&alice.access).await, [0; 3].map(|_| error(403, "AccountNotFound")));
    }
}
