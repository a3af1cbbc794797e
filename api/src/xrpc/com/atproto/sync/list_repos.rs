//! `com.atproto.sync.listRepos`: every repo of this server, inactive ones too, in the order their accounts were made.

use std::fmt;
use std::str::FromStr;

use atproto::data::Cid;
use atproto::syntax::{Did, Tid};
use axum::extract::State;
use chrono::{DateTime, Utc};
use common::repo::{ListedRepo, RepoStatus, Repos};
use serde::{Deserialize, Serialize};

use super::status_name;
use crate::xrpc::{Limit, Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.listRepos");

/// Which page.
#[derive(Deserialize)]
pub struct Params {
    #[serde(default)]
    limit: Limit<1, 1000, 500>,
    cursor: Option<String>,
}

/// A page.
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
    head: Cid,
    rev: Tid,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

/// The place of a repo in the list, `<ms>::<did>`.
struct Cursor {
    created_at: DateTime<Utc>,
    did: Did,
}

impl FromStr for Cursor {
    type Err = XrpcError;

    fn from_str(text: &str) -> Result<Self, XrpcError> {
        let parse = || {
            let (millis, did) = text.split_once("::")?;
            let created_at = DateTime::from_timestamp_millis(millis.parse::<u64>().ok()?.try_into().ok()?)?;
            Some(Self { created_at, did: did.parse().ok()? })
        };
        parse().ok_or_else(|| XrpcError::invalid_request("Malformed cursor"))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.created_at.timestamp_millis(), self.did)
    }
}

/// Answers a page after the cursor.
pub async fn handle(
    State(repos): State<Repos>,
    XrpcQuery(Params { limit, cursor }): XrpcQuery<Params>,
) -> XrpcResult<Output> {
    let cursor = cursor.map(|cursor| cursor.parse::<Cursor>()).transpose()?;
    let after = cursor.as_ref().map(|cursor| (cursor.created_at, cursor.did.as_str()));
    let page = repos.list(after, limit.get()).await.map_err(XrpcError::internal)?;
    let cursor = page.last().map(|last| Cursor { created_at: last.created_at, did: last.did.clone() }.to_string());
    Ok(XrpcJson(Output { cursor, repos: page.into_iter().map(Entry::from).collect() }))
}

impl From<ListedRepo> for Entry {
    fn from(repo: ListedRepo) -> Self {
        let active = repo.status == RepoStatus::Active;
        Self { did: repo.did, head: repo.head, rev: repo.rev, active, status: status_name(repo.status) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::TestApi;
    use crate::xrpc::sync_scene::Scene;

    #[test]
    fn cursors_round_trip_and_others_are_refused() {
        let text = "1700000000123::did:plc:abc";
        assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        for bad in [
            "",
            "x",
            "1",
            "::",
            "x::did:plc:abc",
            "1::",
            "1::\0",
            "-1::did:plc:abc",
            "9223372036854775807::did:plc:abc",
        ] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_cursor(text in "([0-9]{0,20}|.{0,4})(::)?(did:[a-z]{0,4}:[a-z0-9.:%]{0,9}|.{0,4})") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                let again: Cursor = cursor.to_string().parse().unwrap();
                prop_assert_eq!((again.created_at, again.did), (cursor.created_at, cursor.did));
            }
        }
    }

    async fn page(api: &TestApi, params: &[(&str, &str)]) -> (Vec<Value>, Option<String>) {
        let page = api.call(METHOD).query(params).send().await.expect_ok();
        (page["repos"].as_array().unwrap().clone(), page["cursor"].as_str().map(str::to_owned))
    }

    #[tokio::test]
    async fn pages_have_every_repo_once_in_the_order_of_sign_up() {
        let Scene { api, alice } = Scene::start().await;
        let mut dids = vec![alice.did];
        for name in ["bob", "carol", "dan", "eve"] {
            dids.push(api.create_account(name).await.did);
        }
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let mut params = vec![("limit", "2")];
            params.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let (repos, next) = page(&api, &params).await;
            assert!(repos.len() <= 2);
            if repos.is_empty() {
                assert_eq!(next, None, "the end is an empty page without cursor");
                break;
            }
            assert!(next.is_some(), "every other page has one");
            listed.extend(repos.into_iter().map(|repo| repo["did"].as_str().unwrap().to_owned()));
            cursor = next;
        }
        assert_eq!(listed, dids);
        assert_eq!(page(&api, &[]).await.0.len(), 5);
    }

    #[tokio::test]
    async fn inactive_repos_are_listed_too() {
        let scene = Scene::start().await;
        let archive = scene.export().await;
        let (head, rev) = (archive.root.to_string(), archive.commit().rev);
        let entry = async || page(&scene.api, &[]).await.0.remove(0);
        let did = &scene.alice.did;
        assert_eq!(entry().await, json!({ "did": did, "head": head, "rev": rev, "active": true }));
        scene.set_deactivated(true).await;
        let expected = json!({ "did": did, "head": head, "rev": rev, "active": false, "status": "deactivated" });
        assert_eq!(entry().await, expected);
        scene.set_taken_down(true).await;
        assert_eq!(entry().await["status"], "takendown");
    }

    #[tokio::test]
    async fn wrong_parameters_are_refused() {
        let api = TestApi::start().await;
        let reply = api.call(METHOD).query(&[("cursor", "yesterday")]).send().await;
        let message = "Malformed cursor".to_owned();
        assert_eq!(reply.error_with_message(), (400, "InvalidRequest".to_owned(), message));
        for limit in ["0", "1001", "many"] {
            let reply = api.call(METHOD).query(&[("limit", limit)]).send().await;
            assert_eq!(reply.error(), (400, "InvalidRequest".to_owned()), "{limit}");
        }
    }
}
