//! `com.atproto.admin.getAccountInfo`: an account as operators see it.

use atproto::syntax::Did;
use axum::extract::State;
use common::account::{Accounts, Invites};
use serde::Deserialize;

use super::{AccountView, account_views};
use crate::auth::ModeratorAuth;
use crate::xrpc::{Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.admin.getAccountInfo");

/// Which account.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
}

/// Answers for accounts in any state.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(invites): State<Invites>,
    XrpcQuery(Params { did }): XrpcQuery<Params>,
    _auth: ModeratorAuth,
) -> XrpcResult<AccountView> {
    let details = accounts.find_details(&did).await.map_err(XrpcError::internal)?;
    let views = account_views(&invites, details.into_iter().collect()).await?;
    // Reference: the lexicon declares no name for it.
    let view = views.into_iter().next().ok_or_else(|| XrpcError::bad_request("NotFound", "Account not found"))?;
    Ok(XrpcJson(view))
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::{Value, json};

    use super::super::{get_account_infos, search_accounts};
    use super::*;
    use crate::testing::TestApi;
    use crate::xrpc::com::atproto::server::create_invite_code;

    #[tokio::test]
    async fn an_account_is_seen_with_its_invitations() {
        let api = TestApi::start().await;
        let (alice, bob) = (api.create_account("alice").await, api.create_account("bob").await);
        let input = json!({ "useCount": 1, "forAccount": alice.did });
        let made = api.call(create_invite_code::METHOD).admin().json(&input).send().await.expect_ok();
        let code = made["code"].as_str().unwrap();
        let bob_id = api.app().accounts.find_by_did(&bob.did.parse().unwrap()).await.unwrap().unwrap().id;
        seed::use_invite(&api.db.pool(), code, bob_id).await;
        seed::set_deactivated(&api.db.pool(), &bob.did, true).await;

        let info = async |did: &str| api.call(METHOD).admin().query(&[("did", did)]).send().await.expect_ok();
        let (of_alice, of_bob) = (info(&alice.did).await, info(&bob.did).await);
        assert_eq!((&of_alice["handle"], &of_alice["email"]), (&json!("alice.test"), &json!("alice@mail.test")));
        assert_eq!((&of_alice["invitesDisabled"], of_alice.get("invitedBy")), (&json!(false), None));
        assert!(of_alice.get("deactivatedAt").is_none() && of_alice["indexedAt"].is_string());
        let invite = &of_alice["invites"][0];
        assert_eq!((&invite["code"], &invite["available"]), (&json!(code), &json!(1)));
        assert_eq!((&invite["forAccount"], &invite["createdBy"]), (&json!(alice.did), &json!("admin")));
        assert_eq!(invite["uses"][0]["usedBy"], json!(bob.did));
        assert_eq!((&of_bob["invitedBy"], &of_bob["invites"]), (invite, &json!([])));
        assert!(of_bob["deactivatedAt"].is_string());

        let unknown = api.call(METHOD).admin().query(&[("did", "did:plc:unknown")]).send().await;
        assert_eq!(unknown.error(), (400, "NotFound".to_owned()));
        let dids = [("dids", bob.did.as_str()), ("dids", "did:plc:unknown"), ("dids", &alice.did)];
        let infos = api.call(get_account_infos::METHOD).admin().query(&dids).send().await.expect_ok();
        assert_eq!(infos["infos"], json!([of_bob, of_alice]), "in the order they were asked for");
    }

    #[tokio::test]
    async fn accounts_are_found_by_their_address() {
        let api = TestApi::start().await;
        for name in ["alice", "alicia", "bob"] {
            api.create_account(name).await;
        }
        let search = async |params: &[(&str, &str)]| {
            api.call(search_accounts::METHOD).admin().query(params).send().await.expect_ok()
        };
        let handles = |page: &Value| -> Vec<String> {
            let accounts = page["accounts"].as_array().unwrap();
            accounts.iter().map(|account| account["handle"].as_str().unwrap().to_owned()).collect()
        };
        let first = search(&[("email", "ALI"), ("limit", "1")]).await;
        assert_eq!(handles(&first), ["alice.test"]);
        let next = search(&[("email", "ali"), ("limit", "1"), ("cursor", first["cursor"].as_str().unwrap())]).await;
        assert_eq!((handles(&next), next.get("cursor")), (vec!["alicia.test".to_owned()], None));
        assert_eq!(handles(&search(&[("email", "@mail.test")]).await).len(), 3);
        assert_eq!(handles(&search(&[]).await), ["alice.test", "alicia.test", "bob.test"]);
        let malformed = api.call(search_accounts::METHOD).admin().query(&[("cursor", "x")]).send().await;
        assert_eq!(malformed.error(), (400, "InvalidRequest".to_owned()));
        let too_many = api.call(search_accounts::METHOD).admin().query(&[("limit", "101")]).send().await;
        assert_eq!(too_many.error(), (400, "InvalidRequest".to_owned()));
    }

    #[tokio::test]
    async fn only_moderators_look() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let did = [("did", alice.did.as_str())];
        let call = || api.call(METHOD).query(&did);
        let refused = (401, "AuthenticationRequired".to_owned());
        assert_eq!(call().send().await.error(), refused);
        assert_eq!(call().bearer(&alice.access).send().await.error(), (401, "BadJwtType".to_owned()));
        assert_eq!(call().header("authorization", "Basic YWRtaW46eA==").send().await.error(), refused);
        assert_eq!(api.call(METHOD).send().await.error(), (400, "InvalidRequest".to_owned()), "the query comes first");
    }
}
