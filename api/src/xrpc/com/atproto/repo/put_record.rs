//! `com.atproto.repo.putRecord`: writes a record of the caller's repo, whether it exists or not.

use atproto::data::{BlobRef, Cid, Ipld, LegacyBlobRef};
use atproto::syntax::{AtIdentifier, Nsid, RecordKey};
use axum::extract::State;
use common::account::Accounts;
use common::blob::Blobs;
use common::db::AccountId;
use common::repo::{PreparedRecord, PreparedWrite, RecordPath, Repos, SwapRecord};
use serde::{Deserialize, Deserializer};

use super::{Written, own_repo};
use crate::auth::AccessAuth;
use crate::xrpc::{Method, RECORD_BODY_LIMIT, XrpcBody, XrpcError, XrpcJson, XrpcResult, present};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.repo.putRecord").body_limit(RECORD_BODY_LIMIT);

const PROFILE: &str = "app.bsky.actor.profile";
/// Its fields that refer to blobs.
const PICTURES: [&str; 2] = ["avatar", "banner"];

/// The record, and where it goes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: RecordKey,
    #[serde(default, deserialize_with = "present")]
    validate: Option<bool>,
    #[serde(with = "atproto::data::json")]
    record: Ipld,
    #[serde(default, deserialize_with = "swap_record")]
    swap_record: SwapRecord,
    #[serde(default, deserialize_with = "present")]
    swap_commit: Option<Cid>,
}

/// `null` says that there must be no record; an absent field says nothing.
fn swap_record<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SwapRecord, D::Error> {
    let cid = Option::deserialize(deserializer)?;
    Ok(cid.map_or(SwapRecord::Absent, SwapRecord::At))
}

/// Writes the record as one commit, or nothing if it is there already.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(repos): State<Repos>,
    State(blobs): State<Blobs>,
    auth: AccessAuth,
    XrpcBody(mut input): XrpcBody<Input>,
) -> XrpcResult<Written> {
    let account = own_repo(&accounts, &auth, &input.repo).await?;
    let path = RecordPath { collection: input.collection, rkey: input.rkey };
    if path.collection.as_str() == PROFILE && has_old_pictures(&input.record) {
        // Reference: only where a profile is changed, not where one is made.
        let profile = repos.find_record(account.id, &path.collection, &path.rkey).await.map_err(XrpcError::internal)?;
        if profile.is_some() {
            renew_pictures(&blobs, account.id, &mut input.record).await?;
        }
    }
    let record = PreparedRecord::new(&path, input.record, input.validate)?;
    let written = Written::new(&account.did, &path, &record);
    let write = PreparedWrite::Put { path, record, swap: input.swap_record };
    let commit = repos.apply_writes(account.id, &account.did, [write], input.swap_commit).await?;
    Ok(XrpcJson(written.in_commit(commit)))
}

/// Whether references to a profile's pictures have the form that was given up in 2023.
fn has_old_pictures(profile: &Ipld) -> bool {
    let Ipld::Map(fields) = profile else { return false };
    PICTURES.iter().any(|name| fields.get(*name).is_some_and(|picture| LegacyBlobRef::from_ipld(picture).is_some()))
}

/// Gives them today's form: an app that changes an old profile sends them back as it found them.
///
/// Reference: here and in no other record, with the size of the stored blob.
async fn renew_pictures(blobs: &Blobs, account: AccountId, profile: &mut Ipld) -> Result<(), XrpcError> {
    let Ipld::Map(fields) = profile else { return Ok(()) };
    for name in PICTURES {
        let Some(picture) = fields.get_mut(name) else { continue };
        let Some(LegacyBlobRef { cid, mime_type }) = LegacyBlobRef::from_ipld(picture) else { continue };
        if let Some(stored) = blobs.find_readable(account, cid).await.map_err(XrpcError::internal)? {
            *picture = BlobRef { cid, mime_type, size: Some(stored.size) }.to_ipld();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::xrpc::repo_scene::{CUSTOM, FOLLOW, Scene, follow, with, without};

    fn input(n: u8) -> Value {
        json!({ "repo": "alice.test", "collection": CUSTOM, "rkey": "one", "record": { "$type": CUSTOM, "n": n } })
    }

    #[test]
    fn null_and_absent_swaps_differ() {
        let read = |patch| serde_json::from_value::<Input>(with(&input(1), patch)).unwrap().swap_record;
        let cid = Cid::raw(b"");
        assert_eq!(read(json!({})), SwapRecord::Any);
        assert_eq!(read(json!({ "swapRecord": null })), SwapRecord::Absent);
        assert_eq!(read(json!({ "swapRecord": cid })), SwapRecord::At(cid));
    }

    #[tokio::test]
    async fn a_record_is_created_and_then_updated() {
        let scene = Scene::start().await;
        for n in [1, 2] {
            let written = scene.call(METHOD, &input(n)).await.unwrap();
            let head = scene.head().await;
            assert_eq!(written["uri"], format!("at://{}/{CUSTOM}/one", scene.alice.did));
            assert_eq!(written["commit"], json!({ "cid": head.head, "rev": head.rev }));
            assert_eq!(written["validationStatus"], "unknown");
            assert_eq!(scene.value(CUSTOM, "one").await, Some(input(n)["record"].clone()));
        }
        assert_eq!(scene.keys(CUSTOM).await, ["one"]);
    }

    #[tokio::test]
    async fn the_same_record_again_makes_no_commit_whatever_the_swaps() {
        let scene = Scene::start().await;
        let first = scene.call(METHOD, &input(1)).await.unwrap();
        let head = scene.head().await;
        let expected = without(&first, "commit");
        for swaps in [
            json!({}),
            json!({ "swapRecord": null }),
            json!({ "swapRecord": Cid::raw(b"") }),
            json!({ "swapCommit": Cid::raw(b"") }),
        ] {
            assert_eq!(scene.call(METHOD, &with(&input(1), swaps)).await.unwrap(), expected);
        }
        assert_eq!(scene.head().await, head);
    }

    #[tokio::test]
    async fn swaps_guard_what_is_there() {
        let scene = Scene::start().await;
        let other = Cid::raw(b"");
        let put = |n, swap: Value| with(&input(n), json!({ "swapRecord": swap }));
        scene.assert_refused(METHOD, &put(1, json!(other)), (400, "InvalidSwap", "Record was at null")).await;
        let first = scene.call(METHOD, &put(1, json!(null))).await.unwrap()["cid"].clone();
        let message = format!("Record was at {}", first.as_str().unwrap());
        scene.assert_refused(METHOD, &put(2, json!(null)), (400, "InvalidSwap", &message)).await;
        scene.assert_refused(METHOD, &put(2, json!(other)), (400, "InvalidSwap", &message)).await;
        let head = scene.head().await.head;
        let message = format!("Commit was at {head}");
        let stale = with(&put(2, first.clone()), json!({ "swapCommit": other }));
        scene.assert_refused(METHOD, &stale, (400, "InvalidSwap", &message)).await;
        scene.call(METHOD, &with(&put(2, first), json!({ "swapCommit": head }))).await.unwrap();
    }

    #[tokio::test]
    async fn bad_input_is_refused_and_writes_nothing() {
        let scene = Scene::start().await;
        let malformed = "Invalid com.atproto.repo.putRecord input: ";
        for (patch, message) in [
            (json!({ "rkey": null }), malformed),
            (json!({ "rkey": "a b" }), malformed),
            (json!({ "swapRecord": "null" }), malformed),
            (json!({ "swapRecord": 1 }), malformed),
            (json!({ "swapCommit": null }), malformed),
            (json!({ "record": { "n": 0.1 } }), malformed),
            (json!({ "record": [] }), "Record must be an object"),
            (json!({ "validate": true }), "Unknown lexicon type: com.example.thing"),
            (
                json!({ "collection": "app.bsky.actor.profile", "record": {} }),
                "Invalid record key for app.bsky.actor.profile: ",
            ),
            (json!({ "repo": "bob.test" }), ""),
        ] {
            let (status, name) =
                if message.is_empty() { (401, "AuthenticationRequired") } else { (400, "InvalidRequest") };
            scene.assert_refused(METHOD, &with(&input(1), patch), (status, name, message)).await;
        }
        scene.assert_refused(METHOD, &without(&input(1), "rkey"), (400, "InvalidRequest", malformed)).await;
    }

    #[tokio::test]
    async fn a_hidden_record_stays_hidden_until_it_is_deleted() {
        let scene = Scene::start().await;
        scene.call(METHOD, &input(1)).await.unwrap();
        scene.take_record_down(CUSTOM, "one").await;
        let again = scene.call(METHOD, &input(1)).await.unwrap();
        assert_eq!(again.get("commit"), None, "it is there, though nobody sees it");
        let absent = with(&input(2), json!({ "swapRecord": null }));
        scene.assert_refused(METHOD, &absent, (400, "InvalidSwap", "Record was at ")).await;
        scene.call(METHOD, &input(2)).await.unwrap();
        assert_eq!(scene.value(CUSTOM, "one").await, None);
        scene.delete(CUSTOM, "one").await;
        scene.call(METHOD, &input(2)).await.unwrap();
        assert_eq!(scene.value(CUSTOM, "one").await, Some(input(2)["record"].clone()));
    }

    #[tokio::test]
    async fn links_are_not_replaced() {
        let scene = Scene::start().await;
        let link = follow(&scene.bob.did);
        let input = json!({ "repo": "alice.test", "collection": FOLLOW, "record": link });
        for rkey in ["3jt5tsfbx2s2a", "3jt5tsfbx2s2b"] {
            scene.call(METHOD, &with(&input, json!({ "rkey": rkey }))).await.unwrap();
        }
        assert_eq!(scene.keys(FOLLOW).await, ["3jt5tsfbx2s2a", "3jt5tsfbx2s2b"]);
    }

    #[tokio::test]
    async fn pictures_of_an_old_profile_get_the_form_of_today() {
        let scene = Scene::start().await;
        let cid = scene.blob(b"picture").await;
        let typed = json!({ "$type": "blob", "ref": { "$link": cid }, "mimeType": "image/png", "size": 7 });
        let put = |collection: &str, rkey: &str, record: Value| json!({ "repo": "alice.test", "collection": collection, "rkey": rkey, "record": record });
        // As after a move to this server, a record refers to it.
        scene.call(METHOD, &put(CUSTOM, "one", json!({ "picture": typed }))).await.unwrap();
        let legacy = json!({ "cid": cid, "mimeType": "image/png" });
        let profile = json!({ "avatar": legacy, "banner": legacy, "displayName": "Alice" });
        let refused = (400, "InvalidRequest", "Invalid app.bsky.actor.profile record: Expected blob value");
        scene.assert_refused(METHOD, &put(PROFILE, "self", profile.clone()), refused).await;
        scene.call(METHOD, &put(PROFILE, "self", json!({ "displayName": "Alice" }))).await.unwrap();
        scene.call(METHOD, &put(PROFILE, "self", profile)).await.unwrap();
        let stored = scene.value(PROFILE, "self").await.unwrap();
        assert_eq!((&stored["avatar"], &stored["banner"]), (&typed, &typed));
        let unknown = json!({ "avatar": { "cid": Cid::raw(b"another"), "mimeType": "image/png" } });
        scene.assert_refused(METHOD, &put(PROFILE, "self", unknown), refused).await;
        let refused = (400, "InvalidRequest", "Legacy blobs are not allowed");
        scene.assert_refused(METHOD, &put(CUSTOM, "two", json!({ "avatar": legacy })), refused).await;
    }
}
