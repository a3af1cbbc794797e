//! `com.atproto.server.getAccountInviteCodes`: the caller's invitation codes.

use axum::extract::State;
use common::account::{AccountStatus, Invites};
use serde::{Deserialize, Serialize};

use super::super::admin::InviteView;
use crate::auth::{Checked, FullAuth};
use crate::xrpc::{Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.server.getAccountInviteCodes");

/// Which codes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    #[serde(default = "yes")]
    include_used: bool,
    #[serde(default = "yes")]
    create_available: bool,
}

fn yes() -> bool {
    true
}

/// The codes, the oldest first.
#[derive(Serialize)]
pub struct Output {
    codes: Vec<InviteView>,
}

/// Makes those that the caller has earned since the last time, unless asked not to. Stopped codes are not shown.
pub async fn handle(
    State(invites): State<Invites>,
    XrpcQuery(params): XrpcQuery<Params>,
    Checked { account, .. }: Checked<FullAuth>,
) -> XrpcResult<Output> {
    if account.status == AccountStatus::Deactivated {
        return Err(XrpcError::bad_request("NotFound", "Account not found"));
    }
    let mut codes = invites.list_of(&account, params.create_available).await.map_err(XrpcError::internal)?;
    codes.retain(|code| !code.disabled && (params.include_used || !code.is_used_up()));
    Ok(XrpcJson(Output { codes: codes.into_iter().map(InviteView::from).collect() }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::testing::seed;
    use serde_json::json;

    use super::*;
    use crate::auth::AccessScope;
    use crate::testing::TestApi;
    use crate::xrpc::com::atproto::admin::{disable_account_invites, enable_account_invites};
    use crate::xrpc::com::atproto::server::create_invite_code;

    const DAY: Duration = Duration::from_hours(24);

    /// Accounts are made by Postgres's clock; none of this test is younger than the test thinks.
    fn set_clock(api: &TestApi) {
        api.clock.set(common::clock::Clock::system().now() + Duration::from_mins(10));
    }

    /// Two replicas where a code is earned each day, and Alice.
    async fn scene() -> (TestApi, crate::testing::TestAccount) {
        let api = TestApi::start_with(2, |config| config.invites.interval = Some(DAY)).await;
        set_clock(&api);
        let alice = api.create_account("alice").await;
        (api, alice)
    }

    /// Codes need a session no older than its life.
    fn token(api: &TestApi, did: &str, scope: AccessScope) -> String {
        api.app().tokens.issue_access(&did.parse().unwrap(), scope).unwrap()
    }

    #[tokio::test]
    async fn codes_are_shown_as_asked() {
        let (api, alice) = scene().await;
        let input = json!({ "useCount": 1, "forAccount": alice.did });
        let gift = api.call(create_invite_code::METHOD).admin().json(&input).send().await.expect_ok();
        let list = async |replica: usize, params: &[(&str, &str)]| {
            let token = token(&api, &alice.did, AccessScope::Full);
            let output = api.call_on(replica, METHOD).bearer(&token).query(params).send().await.expect_ok();
            output["codes"].as_array().unwrap().clone()
        };
        assert_eq!(list(0, &[]).await.len(), 1, "not required, so nothing is earned");
        let bob = api.create_account("bob").await;
        let bob = api.app().accounts.find_by_did(&bob.did.parse().unwrap()).await.unwrap().unwrap().id;
        seed::use_invite(&api.db.pool(), gift["code"].as_str().unwrap(), bob).await;
        assert_eq!(list(1, &[]).await.len(), 1);
        assert_eq!(list(1, &[("includeUsed", "false")]).await.len(), 0);
        seed::disable_invite(&api.db.pool(), gift["code"].as_str().unwrap()).await;
        assert_eq!(list(0, &[]).await.len(), 0);
    }

    #[tokio::test]
    async fn codes_are_earned_where_they_are_needed() {
        let api = TestApi::start_with(2, |config| {
            config.invites.required = true;
            config.invites.interval = Some(DAY);
        });
        let api = api.await;
        set_clock(&api);
        let sign_up = async |name: &str, code: &str| {
            let method = Method::procedure("com.atproto.server.createAccount");
            let input =
                json!({ "handle": format!("{name}.test"), "email": format!("{name}@mail.test"), "inviteCode": code });
            api.call(method).json(&input).send().await.expect_ok()["did"].as_str().unwrap().to_owned()
        };
        seed::invite_code(&api.db.pool(), "first", 1).await;
        let alice = sign_up("alice", "first").await;
        let list = async |replica: usize, params: &[(&str, &str)]| {
            let token = token(&api, &alice, AccessScope::Full);
            let output = api.call_on(replica, METHOD).bearer(&token).query(params).send().await.expect_ok();
            output["codes"].as_array().unwrap().clone()
        };
        api.clock.advance(DAY * 2);
        assert_eq!(list(0, &[("createAvailable", "false")]).await.len(), 0);
        let codes = list(0, &[]).await;
        assert_eq!(codes.len(), 2);
        assert_eq!(list(1, &[]).await, codes);
        assert_eq!(codes[0]["createdBy"], json!(alice));
        sign_up("bob", codes[0]["code"].as_str().unwrap()).await;

        let account = json!({ "account": alice, "note": "sells them" });
        api.call(disable_account_invites::METHOD).admin().json(&account).send().await.expect_ok();
        api.clock.advance(DAY);
        assert_eq!(list(0, &[]).await.len(), 2, "the third is made, but stopped");
        api.call(enable_account_invites::METHOD).admin().json(&account).send().await.expect_ok();
        api.clock.advance(DAY);
        assert_eq!(list(1, &[]).await.len(), 3);
    }

    #[tokio::test]
    async fn who_may_see_codes() {
        let (api, alice) = scene().await;
        let call = |token: &str| api.call(METHOD).bearer(token).send();
        let app = token(&api, &alice.did, AccessScope::AppPassPrivileged);
        assert_eq!(call(&app).await.error(), (400, "InvalidToken".to_owned()));
        seed::set_deactivated(&api.db.pool(), &alice.did, true).await;
        assert_eq!(call(&alice.access).await.error(), (400, "NotFound".to_owned()));
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        assert_eq!(call(&alice.access).await.error(), (401, "AccountTakedown".to_owned()));
        seed::delete_account(&api.db.pool(), &alice.did).await;
        assert_eq!(call(&alice.access).await.error(), (403, "AccountNotFound".to_owned()));
    }
}
