//! `com.atproto.repo.getRecord`: one record of a repo on this server.

use atproto::data::{CborAsJson, Cid};
use atproto::syntax::{AtIdentifier, AtUri, Nsid, RecordKey};
use axum::extract::State;
use common::account::Accounts;
use common::repo::Repos;
use serde::{Deserialize, Serialize};

use super::{open_repo, still_open};
use crate::xrpc::{Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult, xrpc_errors};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.repo.getRecord");

/// Which record.
#[derive(Deserialize)]
pub struct Params {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: RecordKey,
    /// The version wanted; any if absent.
    cid: Option<Cid>,
}

/// The record.
#[derive(Serialize)]
pub struct Output {
    uri: AtUri,
    cid: Cid,
    value: CborAsJson<Vec<u8>>,
}

/// Errors the lexicon declares; the variant is the wire name.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Could not locate record: {0}")]
    RecordNotFound(AtUri),
}

/// Answers from the repos of active accounts here.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(repos): State<Repos>,
    XrpcQuery(Params { repo, collection, rkey, cid }): XrpcQuery<Params>,
) -> XrpcResult<Output> {
    let closed = || XrpcError::invalid_request("Could not locate record");
    let account = open_repo(&accounts, &repo).await?.ok_or_else(closed)?;
    let uri = AtUri::record(&account.did, &collection, &rkey);
    let record = repos.find_record(account.id, &collection, &rkey).await.map_err(XrpcError::internal)?;
    if record.is_none() && !still_open(&accounts, &account).await? {
        return Err(closed());
    }
    // Reference: what a moderator took down looks as if it never was, and so does another version.
    let Some(record) = record.filter(|found| !found.taken_down && cid.is_none_or(|cid| cid == found.cid)) else {
        return Err(Error::RecordNotFound(uri).into());
    };
    Ok(XrpcJson(Output { uri, cid: record.cid, value: CborAsJson(record.value) }))
}

xrpc_errors!(Error: RecordNotFound);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::xrpc::repo_scene::{CUSTOM, Scene, with};

    fn input(record: &Value) -> Value {
        json!({ "repo": "alice.test", "collection": CUSTOM, "rkey": "one", "record": record })
    }

    #[tokio::test]
    async fn a_record_has_its_json_form() {
        let scene = Scene::start().await;
        let record = json!({
            "$type": CUSTOM,
            "link": { "$link": Cid::raw(b"") },
            "bytes": { "$bytes": "AQI" },
            "no link": { "$link": "nowhere" },
            "nested": [{ "null": null, "true": true, "max": (1_i64 << 53) - 1, "text": "\u{0}é\u{1f600}" }],
        });
        scene.create(&input(&record)).await;
        let did = &scene.alice.did;
        for repo in [did.as_str(), "alice.test", "ALICE.TEST"] {
            let read = scene.query(METHOD, &[("repo", repo), ("collection", CUSTOM), ("rkey", "one")]).await.unwrap();
            assert_eq!(read["uri"], format!("at://{did}/{CUSTOM}/one"));
            assert_eq!(read["value"], record);
            let cid = read["cid"].as_str().unwrap();
            let params = [("repo", repo), ("collection", CUSTOM), ("rkey", "one"), ("cid", cid)];
            assert_eq!(scene.query(METHOD, &params).await.unwrap(), read);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_has_its_error() {
        let scene = Scene::start().await;
        scene.create(&input(&json!({ "n": 1 }))).await;
        let other = Cid::raw(b"").to_string();
        let malformed = "Invalid com.atproto.repo.getRecord params: ";
        let missing = |repo: &str, rkey: &str| format!("Could not locate record: at://{repo}/{CUSTOM}/{rkey}");
        let did = scene.alice.did.as_str();
        for (patch, name, message) in [
            (json!({ "rkey": "two" }), "RecordNotFound", missing(did, "two")),
            (json!({ "cid": other }), "RecordNotFound", missing(did, "one")),
            (json!({ "repo": "nobody.test" }), "InvalidRequest", "Could not locate record".to_owned()),
            (json!({ "repo": "did:web:nobody.test" }), "InvalidRequest", "Could not locate record".to_owned()),
            (json!({ "repo": "nobody" }), "InvalidRequest", format!("{malformed}repo: ")),
            (json!({ "repo": "" }), "InvalidRequest", format!("{malformed}missing field `repo`")),
            (json!({ "collection": "things" }), "InvalidRequest", format!("{malformed}collection: ")),
            (json!({ "rkey": "a/b" }), "InvalidRequest", format!("{malformed}rkey: ")),
            (json!({ "cid": "x" }), "InvalidRequest", format!("{malformed}cid: ")),
        ] {
            let params = with(&json!({ "repo": "alice.test", "collection": CUSTOM, "rkey": "one" }), patch);
            let failure = scene.query_json(METHOD, &params).await.unwrap_err();
            assert_eq!((failure.status, failure.error.as_str()), (400, name), "{params}");
            assert!(failure.message.starts_with(&message), "{params}: {failure:?}");
        }
    }

    #[tokio::test]
    async fn closed_repos_and_hidden_records_are_not_shown() {
        let scene = Scene::start().await;
        scene.create(&input(&json!({ "n": 1 }))).await;
        let params = [("repo", "alice.test"), ("collection", CUSTOM), ("rkey", "one")];
        scene.take_record_down(CUSTOM, "one").await;
        let failure = scene.query(METHOD, &params).await.unwrap_err();
        assert_eq!((failure.status, failure.error.as_str()), (400, "RecordNotFound"));
        scene.set_deactivated(&scene.alice, true).await;
        let failure = scene.query(METHOD, &params).await.unwrap_err();
        assert_eq!((failure.error.as_str(), failure.message.as_str()), ("InvalidRequest", "Could not locate record"));
    }
}
