//! `com.atproto.repo.listRecords`: a page of one collection of a repo on this server.

use atproto::data::{CborAsJson, Cid};
use atproto::syntax::{AtIdentifier, AtUri, Did, Nsid, RecordKey};
use axum::extract::State;
use common::account::Accounts;
use common::repo::{self, Page, Repos};
use serde::{Deserialize, Serialize};

use super::{open_repo, still_open};
use crate::xrpc::{Limit, Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.repo.listRecords");

/// Which part of which collection.
#[derive(Deserialize)]
pub struct Params {
    repo: AtIdentifier,
    collection: Nsid,
    #[serde(default)]
    limit: Limit<1, 100, 50>,
    /// The last key of the page before.
    cursor: Option<RecordKey>,
    /// Lowest key first. The usual order is highest first: for keys that are TIDs, newest first.
    #[serde(default)]
    reverse: bool,
}

/// The page.
#[derive(Serialize)]
pub struct Output {
    /// Reference: there whenever the page has a record, so that the end is an empty page.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<RecordKey>,
    records: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    uri: AtUri,
    cid: Cid,
    value: CborAsJson<Vec<u8>>,
}

/// Answers from the repos of active accounts here, without records that are taken down.
///
/// A page of large records has fewer than `limit` of them; its cursor leads to the rest.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(repos): State<Repos>,
    XrpcQuery(params): XrpcQuery<Params>,
) -> XrpcResult<Output> {
    let Params { repo, collection, limit, cursor, reverse } = params;
    let closed = || XrpcError::invalid_request(format_args!("Could not find repo: {repo}"));
    let account = open_repo(&accounts, &repo).await?.ok_or_else(closed)?;
    let page = Page { limit: limit.get(), cursor: cursor.as_ref(), reverse };
    let records = repos.list_records(account.id, &collection, page).await.map_err(XrpcError::internal)?;
    if records.is_empty() && !still_open(&accounts, &account).await? {
        return Err(closed());
    }
    let cursor = records.last().map(|record| record.rkey.clone());
    let records = records.into_iter().map(|record| Record::new(&account.did, &collection, record));
    Ok(XrpcJson(Output { cursor, records: records.collect() }))
}

impl Record {
    fn new(did: &Did, collection: &Nsid, record: repo::Record) -> Self {
        let uri = AtUri::record(did, collection, &record.rkey);
        Self { uri, cid: record.cid, value: CborAsJson(record.value) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::xrpc::com::atproto::repo::get_record;
    use crate::xrpc::repo_scene::{CUSTOM, Scene, with};

    /// A server whose Alice has records under these keys.
    async fn scene(rkeys: &[&str]) -> Scene {
        let scene = Scene::start().await;
        for rkey in rkeys {
            let input = json!({ "repo": "alice.test", "collection": CUSTOM, "rkey": rkey, "record": { "key": rkey } });
            scene.create(&input).await;
        }
        scene
    }

    /// The keys of a page, and its cursor.
    async fn page(scene: &Scene, params: Value) -> (Vec<String>, Option<String>) {
        let params = with(&json!({ "repo": "alice.test", "collection": CUSTOM }), params);
        let answer = scene.query_json(METHOD, &params).await.unwrap();
        let keys = answer["records"].as_array().unwrap().iter().map(|record| record["value"]["key"].as_str().unwrap());
        (keys.map(str::to_owned).collect(), answer["cursor"].as_str().map(str::to_owned))
    }

    #[tokio::test]
    async fn pages_follow_each_other_in_both_directions() {
        // In the order of their bytes.
        let keys = ["-", "1", "10", "2", "A", "B", "_", "a", "~"];
        let scene = scene(&keys).await;
        for (reverse, keys) in [("true", keys.to_vec()), ("false", keys.into_iter().rev().collect())] {
            assert_eq!(page(&scene, json!({ "reverse": reverse })).await.0, keys);
            let mut cursor = String::new();
            for expected in keys.chunks(4) {
                let params = json!({ "reverse": reverse, "limit": "4", "cursor": cursor });
                let (found, next) = page(&scene, params).await;
                assert_eq!(found, expected);
                cursor = next.unwrap();
                assert_eq!(cursor, *expected.last().unwrap());
            }
            let params = json!({ "reverse": reverse, "limit": "4", "cursor": cursor });
            assert_eq!(page(&scene, params).await, (vec![], None), "the end is an empty page");
        }
    }

    #[tokio::test]
    async fn a_record_has_its_address_and_cid() {
        let scene = scene(&["one"]).await;
        let collection = [("repo", "alice.test"), ("collection", CUSTOM)];
        let answer = scene.query(METHOD, &collection).await.unwrap();
        let record = [collection[0], collection[1], ("rkey", "one")];
        let record = scene.query(get_record::METHOD, &record).await.unwrap();
        assert_eq!(answer, json!({ "cursor": "one", "records": [record] }));
    }

    #[tokio::test]
    async fn a_cursor_need_not_exist_and_other_collections_do_not_count() {
        let scene = scene(&["a", "c"]).await;
        assert_eq!(page(&scene, json!({ "cursor": "b" })).await.0, ["a"]);
        assert_eq!(page(&scene, json!({ "cursor": "b", "reverse": "true" })).await.0, ["c"]);
        assert_eq!(page(&scene, json!({ "collection": "com.example.things" })).await, (vec![], None));
        assert_eq!(page(&scene, json!({ "collection": "com.example.thin" })).await, (vec![], None));
    }

    #[tokio::test]
    async fn pages_of_large_records_end_early() {
        let scene = Scene::start().await;
        // In kilobytes: many that fit together, some that do not, and ordinary ones among them.
        let sizes = [1, 900, 900, 30, 900, 900, 900, 900, 1, 900];
        for (n, kilobytes) in sizes.iter().enumerate() {
            let record = json!({ "key": n.to_string(), "filling": "x".repeat(kilobytes * 1000) });
            let rkey = n.to_string();
            scene.create(&json!({ "repo": "alice.test", "collection": CUSTOM, "rkey": rkey, "record": record })).await;
        }
        let bytes = |keys: &[String]| keys.iter().map(|key| sizes[key.parse::<usize>().unwrap()] * 1000).sum::<usize>();
        for reverse in ["true", "false"] {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let params = json!({ "reverse": reverse, "limit": "100", "cursor": cursor.unwrap_or_default() });
                let (keys, next) = page(&scene, params).await;
                assert!(bytes(&keys) <= 4 * 1024 * 1024, "{keys:?}");
                assert!(keys.len() < sizes.len(), "{keys:?}");
                found.extend(keys);
                let Some(next) = next else { break };
                cursor = Some(next);
            }
            if reverse == "false" {
                found.reverse();
            }
            assert_eq!(found, (0..sizes.len()).map(|n| n.to_string()).collect::<Vec<_>>());
        }
        scene.take_record_down(CUSTOM, "1").await;
        assert_eq!(page(&scene, json!({ "reverse": "true", "limit": "2" })).await.0, ["0", "2"]);
    }

    #[tokio::test]
    async fn hidden_records_are_left_out() {
        let scene = scene(&["a", "b", "c"]).await;
        scene.take_record_down(CUSTOM, "b").await;
        assert_eq!(page(&scene, json!({ "limit": "2" })).await.0, ["c", "a"]);
        assert_eq!(page(&scene, json!({ "limit": "2", "reverse": "true" })).await.0, ["a", "c"]);
    }

    #[tokio::test]
    async fn bad_parameters_and_closed_repos_are_refused() {
        let scene = scene(&[]).await;
        scene.set_deactivated(&scene.bob, true).await;
        let malformed = "Invalid com.atproto.repo.listRecords params: ";
        for (patch, message) in [
            (json!({ "limit": "0" }), format!("{malformed}limit: must not be less than 1")),
            (json!({ "limit": "101" }), format!("{malformed}limit: must not be greater than 100")),
            (json!({ "limit": "many" }), format!("{malformed}limit: must be an integer")),
            (json!({ "reverse": "1" }), format!("{malformed}reverse: must be true or false")),
            (json!({ "cursor": "a/b" }), format!("{malformed}cursor: ")),
            (json!({ "collection": "things" }), format!("{malformed}collection: ")),
            (json!({ "repo": "Alice" }), format!("{malformed}repo: ")),
            (json!({ "repo": "nobody.test" }), "Could not find repo: nobody.test".to_owned()),
            (json!({ "repo": "bob.test" }), "Could not find repo: bob.test".to_owned()),
        ] {
            let params = with(&json!({ "repo": "alice.test", "collection": CUSTOM }), patch);
            let failure = scene.query_json(METHOD, &params).await.unwrap_err();
            assert_eq!((failure.status, failure.error.as_str()), (400, "InvalidRequest"), "{params}");
            assert!(failure.message.starts_with(&message), "{params}: {failure:?}");
        }
    }
}
