//! `com.atproto.repo.deleteRecord`: removes a record from the caller's repo, if it is there.

use atproto::data::Cid;
use atproto::syntax::{AtIdentifier, Nsid, RecordKey};
use axum::extract::State;
use common::account::Accounts;
use common::repo::{PreparedWrite, RecordPath, Repos, SwapRecord};
use serde::{Deserialize, Serialize};

use super::{CommitMeta, own_repo};
use crate::auth::AccessAuth;
use crate::xrpc::{Method, XrpcBody, XrpcJson, XrpcResult, present};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.repo.deleteRecord");

/// Which record goes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: RecordKey,
    #[serde(default, deserialize_with = "present")]
    swap_record: Option<Cid>,
    #[serde(default, deserialize_with = "present")]
    swap_commit: Option<Cid>,
}

/// The commit without it.
#[derive(Serialize)]
pub struct Output {
    /// Absent if there was nothing to remove.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<CommitMeta>,
}

/// Removes the record as one commit, or does nothing if there is none.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(repos): State<Repos>,
    auth: AccessAuth,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<Output> {
    let account = own_repo(&accounts, &auth, &input.repo).await?;
    let path = RecordPath { collection: input.collection, rkey: input.rkey };
    let swap = input.swap_record.map_or(SwapRecord::Any, SwapRecord::At);
    let write = PreparedWrite::Remove { path, swap };
    let commit = repos.apply_writes(account.id, &account.did, [write], input.swap_commit).await?;
    Ok(XrpcJson(Output { commit: commit.map(CommitMeta::from) }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::xrpc::com::atproto::repo::create_record;
    use crate::xrpc::repo_scene::{CUSTOM, Scene, with};

    fn input(rkey: &str) -> Value {
        json!({ "repo": "alice.test", "collection": CUSTOM, "rkey": rkey })
    }

    #[tokio::test]
    async fn a_record_goes_in_a_commit() {
        let scene = Scene::start().await;
        scene.create(&with(&input("one"), json!({ "record": {} }))).await;
        let answer = scene.call(METHOD, &input("one")).await.unwrap();
        let head = scene.head().await;
        assert_eq!(answer, json!({ "commit": { "cid": head.head, "rev": head.rev } }));
        assert_eq!(scene.value(CUSTOM, "one").await, None);
    }

    #[tokio::test]
    async fn a_missing_record_is_no_error_whatever_the_swaps() {
        let scene = Scene::start().await;
        let head = scene.head().await;
        for swaps in [json!({}), json!({ "swapRecord": Cid::raw(b"") }), json!({ "swapCommit": Cid::raw(b"") })] {
            assert_eq!(scene.call(METHOD, &with(&input("none"), swaps)).await.unwrap(), json!({}));
        }
        assert_eq!(scene.head().await, head);
    }

    #[tokio::test]
    async fn swaps_guard_what_is_there() {
        let scene = Scene::start().await;
        let create = with(&input("one"), json!({ "record": {} }));
        let created = scene.call(create_record::METHOD, &create).await.unwrap();
        let (cid, head) = (created["cid"].as_str().unwrap(), created["commit"]["cid"].as_str().unwrap());
        let other = Cid::raw(b"");
        for (swaps, message) in [
            (json!({ "swapRecord": other }), format!("Record was at {cid}")),
            (json!({ "swapCommit": other }), format!("Commit was at {head}")),
            (json!({ "swapCommit": head, "swapRecord": other }), format!("Record was at {cid}")),
        ] {
            scene.assert_refused(METHOD, &with(&input("one"), swaps), (400, "InvalidSwap", &message)).await;
        }
        scene.call(METHOD, &with(&input("one"), json!({ "swapCommit": head, "swapRecord": cid }))).await.unwrap();
        assert_eq!(scene.value(CUSTOM, "one").await, None);
    }

    #[tokio::test]
    async fn bad_input_is_refused_and_writes_nothing() {
        let scene = Scene::start().await;
        scene.create(&with(&input("one"), json!({ "record": {} }))).await;
        for patch in [
            json!({ "repo": "Alice" }),
            json!({ "collection": "things" }),
            json!({ "rkey": "." }),
            json!({ "rkey": 1 }),
            json!({ "swapRecord": "x" }),
            json!({ "swapRecord": null }),
            json!({ "swapCommit": "x" }),
        ] {
            let expected = (400, "InvalidRequest", "Invalid com.atproto.repo.deleteRecord input: ");
            scene.assert_refused(METHOD, &with(&input("one"), patch), expected).await;
        }
        let foreign = with(&input("one"), json!({ "repo": "bob.test" }));
        scene.assert_refused(METHOD, &foreign, (401, "AuthenticationRequired", "")).await;
    }
}
