//! `com.atproto.server.createInviteCodes`: invitation codes, as many for each of some accounts.

use atproto::syntax::Did;
use axum::extract::State;
use common::account::{AccountInvites, Invites, NewInvites};
use common::audit::Actor;
use serde::{Deserialize, Serialize};

use crate::auth::AdminAuth;
use crate::xrpc::{Method, XrpcBody, XrpcJson, XrpcResult};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.createInviteCodes");

/// How many for each, how often each may be used, and whose they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    #[serde(default = "one")]
    code_count: i64,
    use_count: i64,
    #[serde(default)]
    for_accounts: Vec<Did>,
}

fn one() -> i64 {
    1
}

/// The codes of each account.
#[derive(Serialize)]
pub struct Output {
    codes: Vec<AccountCodes>,
}

#[derive(Serialize)]
struct AccountCodes {
    account: String,
    codes: Vec<String>,
}

/// Makes them all, or none.
pub async fn handle(
    State(invites): State<Invites>,
    _auth: AdminAuth,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<Output> {
    let new = NewInvites {
        codes: usize::try_from(input.code_count).unwrap_or(0),
        uses: super::saturated(input.use_count),
        accounts: input.for_accounts,
    };
    let made = invites.create(&Actor::Admin, &new).await?;
    let codes = made.into_iter().map(|AccountInvites { account, codes }| AccountCodes { account, codes });
    Ok(XrpcJson(Output { codes: codes.collect() }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::create_invite_code;
    use super::*;
    use crate::testing::{Reply, TestApi};
    use crate::xrpc::com::atproto::admin::{disable_invite_codes, get_invite_codes};

    async fn create(api: &TestApi, input: Value) -> Reply {
        api.call(METHOD).admin().json(&input).send().await
    }

    #[tokio::test]
    async fn codes_are_made_for_everybody_named() {
        let api = TestApi::start().await;
        let made = create(&api, json!({ "codeCount": 2, "useCount": 3 })).await.expect_ok();
        assert_eq!((&made["codes"][0]["account"], made["codes"].as_array().unwrap().len()), (&json!("admin"), 1));
        assert_eq!(made["codes"][0]["codes"].as_array().unwrap().len(), 2);
        let accounts = ["did:plc:alice", "did:plc:bob"];
        let made = create(&api, json!({ "useCount": 1, "forAccounts": accounts })).await.expect_ok();
        for (number, account) in accounts.iter().enumerate() {
            assert_eq!(made["codes"][number]["account"], json!(account));
            assert_eq!(made["codes"][number]["codes"].as_array().unwrap().len(), 1);
        }
        let page = api.call(get_invite_codes::METHOD).admin().query(&[("limit", "3")]).send().await.expect_ok();
        assert_eq!(page["codes"].as_array().unwrap().len(), 3);
        let cursor = page["cursor"].as_str().unwrap();
        let rest = api.call(get_invite_codes::METHOD).admin().query(&[("cursor", cursor)]).send().await.expect_ok();
        assert_eq!(rest["codes"].as_array().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn numbers_that_make_no_sense_are_refused() {
        let api = TestApi::start().await;
        for input in [
            json!({ "useCount": 0 }),
            json!({ "useCount": -1 }),
            json!({ "useCount": 9_007_199_254_740_991_i64 }),
            json!({ "useCount": "1" }),
            json!({ "codeCount": 0, "useCount": 1 }),
            json!({ "codeCount": -5, "useCount": 1 }),
            json!({ "codeCount": 10_001, "useCount": 1 }),
            json!({ "codeCount": 5001, "useCount": 1, "forAccounts": ["did:plc:alice", "did:plc:bob"] }),
            json!({ "useCount": 1, "forAccounts": ["alice"] }),
            json!({}),
        ] {
            assert_eq!(create(&api, input.clone()).await.error(), (400, "InvalidRequest".to_owned()), "{input}");
        }
        for query in [[("cursor", "x")], [("cursor", "-1::a")], [("sort", "best")], [("limit", "501")]] {
            let refused = api.call(get_invite_codes::METHOD).admin().query(&query).send().await;
            assert_eq!(refused.error(), (400, "InvalidRequest".to_owned()), "{query:?}");
        }
        let empty = api.call(get_invite_codes::METHOD).admin().send().await.expect_ok();
        assert_eq!(empty, json!({ "codes": [] }), "nothing was made");
    }

    #[tokio::test]
    async fn a_stopped_code_lets_nobody_in() {
        let api = TestApi::start_with(1, |config| config.invites.required = true).await;
        let made = api.call(create_invite_code::METHOD).admin().json(&json!({ "useCount": 2 })).send().await;
        let code = made.expect_ok()["code"].take();
        let sign_up = async |name: &str| {
            let method = Method::procedure("com.atproto.server.createAccount");
            let input =
                json!({ "handle": format!("{name}.test"), "email": format!("{name}@mail.test"), "inviteCode": code });
            api.call(method).json(&input).send().await
        };
        sign_up("alice").await.expect_ok();
        let stop = |input: Value| api.call(disable_invite_codes::METHOD).admin().json(&input).send();
        stop(json!({ "codes": [code, "unknown"] })).await.expect_ok();
        assert_eq!(sign_up("bob").await.error(), (400, "InvalidInviteCode".to_owned()));
        let all = stop(json!({ "accounts": ["admin"] })).await.error_with_message();
        assert_eq!(all, (400, "InvalidRequest".to_owned(), "cannot disable admin invite codes".to_owned()));
    }

    #[tokio::test]
    async fn only_the_operator_makes_codes() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        for method in [METHOD, create_invite_code::METHOD] {
            let call = || api.call(method).json(&json!({ "useCount": 1 }));
            assert_eq!(call().send().await.error(), (401, "AuthenticationRequired".to_owned()));
            assert_eq!(call().bearer(&alice.access).send().await.error(), (401, "AuthenticationRequired".to_owned()));
        }
    }
}
