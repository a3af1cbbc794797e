//! `com.atproto.sync.listReposByCollection`: the repos that have records in a collection.

use atproto::syntax::{Did, Nsid};
use axum::extract::State;
use common::account::AccountId;
use common::repo::Repos;
use serde::{Deserialize, Serialize};

use crate::xrpc::{Limit, Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.listReposByCollection");

/// Which page for which collection.
#[derive(Deserialize)]
pub struct Params {
    collection: Nsid,
    #[serde(default)]
    limit: Limit<1, 2000, 500>,
    /// The number of the last repo's account.
    cursor: Option<String>,
}

/// A page, in the order in which the accounts were made.
#[derive(Serialize)]
pub struct Output {
    /// There on every page that is not empty: the end is an empty page.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    repos: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    did: Did,
}

/// Answers with active repos only: nobody may read the records of the others.
pub async fn handle(
    State(repos): State<Repos>,
    XrpcQuery(Params { collection, limit, cursor }): XrpcQuery<Params>,
) -> XrpcResult<Output> {
    let after = cursor.map(|cursor| parse_cursor(&cursor)).transpose()?;
    let page = repos.list_with_collection(&collection, after, limit.get()).await.map_err(XrpcError::internal)?;
    let cursor = page.last().map(|(account, _)| account.get().to_string());
    Ok(XrpcJson(Output { cursor, repos: page.into_iter().map(|(_, did)| Entry { did }).collect() }))
}

fn parse_cursor(text: &str) -> Result<AccountId, XrpcError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.map(AccountId::new).ok_or_else(|| XrpcError::invalid_request("Malformed cursor"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::TestAccount;
    use crate::xrpc::com::atproto::repo::{apply_writes, create_record, delete_record};
    use crate::xrpc::sync_scene::{COLLECTION, Scene};

    async fn call(scene: &Scene, account: &TestAccount, method: Method, mut input: Value) {
        input["repo"] = account.did.as_str().into();
        scene.api.call(method).bearer(&account.access).json(&input).send().await.expect_ok();
    }

    async fn create(scene: &Scene, account: &TestAccount, collection: &str, rkey: &str) {
        let input = json!({ "collection": collection, "rkey": rkey, "record": {} });
        call(scene, account, create_record::METHOD, input).await;
    }

    /// The DIDs of a page, and its cursor.
    async fn page(scene: &Scene, params: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
        let page = scene.api.call(METHOD).query(&[("collection", COLLECTION)]).query(params).send().await.expect_ok();
        let dids = page["repos"].as_array().unwrap().iter().map(|repo| repo["did"].as_str().unwrap().to_owned());
        (dids.collect(), page["cursor"].as_str().map(str::to_owned))
    }

    #[tokio::test]
    async fn a_repo_is_listed_while_it_has_a_record() {
        let scene = Scene::start().await;
        let (alice, bob) = (scene.alice.clone(), scene.api.create_account("bob").await);
        assert_eq!(page(&scene, &[]).await, (vec![], None));
        create(&scene, &bob, COLLECTION, "a").await;
        create(&scene, &alice, "com.example.notes", "a").await;
        create(&scene, &alice, "com.example.not", "a").await;
        assert_eq!(page(&scene, &[]).await.0, [&*bob.did], "a name that begins alike is another one");
        create(&scene, &alice, COLLECTION, "a").await;
        create(&scene, &alice, COLLECTION, "b").await;
        assert_eq!(page(&scene, &[]).await.0, [alice.did.clone(), bob.did.clone()]);

        let delete = json!({ "collection": COLLECTION, "rkey": "a" });
        call(&scene, &alice, delete_record::METHOD, delete.clone()).await;
        assert_eq!(page(&scene, &[]).await.0.len(), 2, "one is left");
        let write = |action: &str, rkey: &str| {
            let action = format!("com.atproto.repo.applyWrites#{action}");
            json!({ "$type": action, "collection": COLLECTION, "rkey": rkey, "value": {} })
        };
        let exchange = json!({ "writes": [write("delete", "b"), write("create", "c")] });
        call(&scene, &alice, apply_writes::METHOD, exchange).await;
        assert_eq!(page(&scene, &[]).await.0.len(), 2, "another came for it");
        call(&scene, &alice, apply_writes::METHOD, json!({ "writes": [write("delete", "c")] })).await;
        assert_eq!(page(&scene, &[]).await.0, [&*bob.did]);
        call(&scene, &bob, delete_record::METHOD, delete).await;
        assert_eq!(page(&scene, &[]).await, (vec![], None));
    }

    #[tokio::test]
    async fn pages_have_every_active_repo_once() {
        let scene = Scene::start().await;
        let mut dids = Vec::new();
        for name in ["bob", "carol", "dan", "eve", "fay"] {
            let account = scene.api.create_account(name).await;
            create(&scene, &account, COLLECTION, "a").await;
            dids.push(account.did);
        }
        let hidden = dids.remove(3);
        common::testing::seed::set_taken_down(&scene.api.db.pool(), &hidden, true).await;
        let hidden = dids.remove(1);
        common::testing::seed::set_deactivated(&scene.api.db.pool(), &hidden, true).await;
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let mut params = vec![("limit", "2")];
            params.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let (found, next) = page(&scene, &params).await;
            assert!(found.len() <= 2);
            listed.extend(found);
            let Some(next) = next else { break };
            cursor = Some(next);
        }
        assert_eq!(listed, dids);
    }

    #[tokio::test]
    async fn wrong_parameters_are_refused() {
        let scene = Scene::start().await;
        for cursor in ["x", "+1", "-1", "1.0", "99999999999999999999", "1::did:plc:abc"] {
            let reply = scene.api.call(METHOD).query(&[("collection", COLLECTION), ("cursor", cursor)]).send().await;
            let message = "Malformed cursor".to_owned();
            assert_eq!(reply.error_with_message(), (400, "InvalidRequest".to_owned(), message), "{cursor}");
        }
        for params in [&[][..], &[("collection", "notes")], &[("collection", COLLECTION), ("limit", "2001")]] {
            let reply = scene.api.call(METHOD).query(params).send().await;
            assert_eq!(reply.error(), (400, "InvalidRequest".to_owned()), "{params:?}");
        }
    }
}
