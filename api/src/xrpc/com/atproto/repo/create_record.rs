//! `com.atproto.repo.createRecord`: adds a record to the caller's repo.

use atproto::data::{Cid, Ipld};
use atproto::syntax::{AtIdentifier, Nsid, RecordKey};
use axum::extract::State;
use common::account::Accounts;
use common::repo::{PreparedRecord, PreparedWrite, RecordPath, Repos};
use serde::Deserialize;

use super::{Written, own_repo};
use crate::auth::AccessAuth;
use crate::xrpc::{Method, RECORD_BODY_LIMIT, XrpcBody, XrpcJson, XrpcResult, present};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.repo.createRecord").body_limit(RECORD_BODY_LIMIT);

/// The record, and where it goes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    repo: AtIdentifier,
    collection: Nsid,
    /// A fresh TID stands for an absent one.
    #[serde(default, deserialize_with = "present")]
    rkey: Option<RecordKey>,
    #[serde(default, deserialize_with = "present")]
    validate: Option<bool>,
    #[serde(with = "atproto::data::json")]
    record: Ipld,
    #[serde(default, deserialize_with = "present")]
    swap_commit: Option<Cid>,
}

/// Writes the record as one commit; earlier links to the same target go in the same commit.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(repos): State<Repos>,
    auth: AccessAuth,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<Written> {
    let account = own_repo(&accounts, &auth, &input.repo).await?;
    let rkey = input.rkey.unwrap_or_else(|| repos.next_tid().into());
    let path = RecordPath { collection: input.collection, rkey };
    let record = PreparedRecord::new(&path, input.record, input.validate)?;
    // Reference: a record that nobody checked replaces nothing.
    let replace_links = input.validate != Some(false);
    let written = Written::new(&account.did, &path, &record);
    let write = PreparedWrite::Create { path, record, replace_links };
    let commit = repos.apply_writes(account.id, &account.did, [write], input.swap_commit).await?;
    Ok(XrpcJson(written.in_commit(commit)))
}

#[cfg(test)]
mod tests {
    use atproto::data::{cbor, json};
    use atproto::syntax::{AtUri, Tid};
    use serde_json::{Value, json};

    use super::*;
    use crate::xrpc::repo_scene::{CUSTOM, FOLLOW, LIKE, POST, Scene, deep, follow, like, post, with, without};

    fn input() -> Value {
        json!({ "repo": "alice.test", "collection": POST, "record": post("hi") })
    }

    fn custom(record: &Value) -> Value {
        json!({ "repo": "alice.test", "collection": CUSTOM, "record": record })
    }

    #[tokio::test]
    async fn a_record_without_key_gets_a_fresh_one_and_can_be_read() {
        let scene = Scene::start().await;
        let before = scene.head().await;
        let written = scene.call(METHOD, &input()).await.unwrap();
        let after = scene.head().await;
        assert!(after.rev > before.rev);

        let uri: AtUri = written["uri"].as_str().unwrap().parse().unwrap();
        let rkey = uri.rkey().unwrap().as_str();
        assert!(Tid::is_valid(rkey), "{uri}");
        let cid = Cid::dag_cbor(&cbor::encode(&json::from_json(&post("hi")).unwrap()).unwrap());
        let expected = json!({
            "uri": format!("at://{}/{POST}/{rkey}", scene.alice.did),
            "cid": cid,
            "commit": { "cid": after.head, "rev": after.rev },
            "validationStatus": "valid",
        });
        assert_eq!(written, expected);
        assert_eq!(scene.value(POST, rkey).await, Some(post("hi")));
    }

    #[tokio::test]
    async fn a_missing_type_is_the_collection() {
        let scene = Scene::start().await;
        let record = without(&post("hi"), "$type");
        let rkey = "3lcmzabcdefg2";
        let input = with(&input(), json!({ "rkey": rkey, "record": record }));
        scene.call(METHOD, &input).await.unwrap();
        assert_eq!(scene.value(POST, rkey).await, Some(post("hi")));
    }

    #[tokio::test]
    async fn validation_has_three_ways() {
        let scene = Scene::start().await;
        let no_post = json!({ "text": "no date" });
        let cases = [
            (POST, post("hi"), json!({}), Ok(Some("valid"))),
            (POST, post("hi"), json!({ "validate": true }), Ok(Some("valid"))),
            (POST, post("hi"), json!({ "validate": false }), Ok(None)),
            (POST, no_post.clone(), json!({}), Err("Invalid app.bsky.feed.post record: ")),
            (POST, no_post.clone(), json!({ "validate": true }), Err("Invalid app.bsky.feed.post record: ")),
            (POST, no_post.clone(), json!({ "validate": false }), Ok(None)),
            (CUSTOM, no_post.clone(), json!({}), Ok(Some("unknown"))),
            (CUSTOM, no_post.clone(), json!({ "validate": true }), Err("Unknown lexicon type: com.example.thing")),
            (CUSTOM, no_post, json!({ "validate": false }), Ok(None)),
        ];
        for (collection, record, validate, expected) in cases {
            let input = json!({ "repo": "alice.test", "collection": collection, "record": record });
            let input = with(&input, validate);
            match (scene.call(METHOD, &input).await, expected) {
                (Ok(written), Ok(expected)) => assert_eq!(written["validationStatus"].as_str(), expected, "{input}"),
                (Err(failure), Err(expected)) => assert!(failure.message.starts_with(expected), "{input}: {failure:?}"),
                (found, expected) => panic!("{input}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn bad_input_is_refused_and_writes_nothing() {
        let scene = Scene::start().await;
        let cid = Cid::raw(b"");
        let invalid = |input, message| (input, "InvalidRequest", message);
        let malformed = |patch| invalid(with(&input(), patch), "Invalid com.atproto.repo.createRecord input: ");
        let blob = json!({ "$type": "blob", "ref": { "$link": cid }, "mimeType": "image/png", "size": 1 });
        let mut cases = vec![
            malformed(json!({ "repo": "nobody" })),
            malformed(json!({ "repo": "did:plc:" })),
            malformed(json!({ "repo": null })),
            malformed(json!({ "collection": "posts" })),
            malformed(json!({ "collection": "app.bsky.feed.post#main" })),
            malformed(json!({ "collection": 1 })),
            malformed(json!({ "rkey": "" })),
            malformed(json!({ "rkey": ".." })),
            malformed(json!({ "rkey": "a/b" })),
            malformed(json!({ "rkey": "a".repeat(513) })),
            malformed(json!({ "rkey": null })),
            malformed(json!({ "validate": "true" })),
            malformed(json!({ "validate": null })),
            malformed(json!({ "swapCommit": "head" })),
            malformed(json!({ "swapCommit": "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR" })),
            malformed(json!({ "swapCommit": null })),
            malformed(json!({ "record": { "n": 1.5 } })),
            malformed(json!({ "record": { "n": 1_u64 << 53 } })),
            malformed(json!({ "record": deep(101) })),
            invalid(without(&input(), "repo"), "Invalid com.atproto.repo.createRecord input: missing field `repo`"),
            invalid(without(&input(), "collection"), "Invalid com.atproto.repo.createRecord input: "),
            invalid(without(&input(), "record"), "Invalid com.atproto.repo.createRecord input: "),
            invalid(with(&input(), json!({ "rkey": "self" })), "Invalid record key for app.bsky.feed.post: "),
            invalid(
                with(&input(), json!({ "record": { "$type": LIKE } })),
                "Invalid $type: expected app.bsky.feed.post, got app.bsky.feed.like",
            ),
            invalid(with(&input(), json!({ "record": { "$type": 1 } })), "Invalid $type: "),
            invalid(
                with(&input(), json!({ "record": post(&"a".repeat(3001)) })),
                "Invalid app.bsky.feed.post record: ",
            ),
            (custom(&json!({ "blob": blob })), "BlobNotFound", "Could not find blob: "),
            invalid(
                custom(&json!({ "list": [{ "cid": cid, "mimeType": "image/png" }] })),
                "Legacy blobs are not allowed",
            ),
            invalid(custom(&json!({ "list": vec![0; 140_000] })), "value has too many items"),
            (with(&input(), json!({ "swapCommit": cid })), "InvalidSwap", "Commit was at "),
        ];
        for record in [json!("text"), json!(["list"]), json!(1), json!(null), json!({ "$link": cid })] {
            cases.push(invalid(custom(&record), "Record must be an object"));
        }
        for (input, name, message) in cases {
            scene.assert_refused(METHOD, &input, (400, name, message)).await;
        }
        let legacy = custom(&json!({ "avatar": { "cid": cid, "mimeType": "image/png" } }));
        let unchecked = with(&legacy, json!({ "validate": false }));
        scene.assert_refused(METHOD, &unchecked, (400, "InvalidRequest", "Legacy blobs are not allowed")).await;
    }

    #[tokio::test]
    async fn a_body_that_is_no_json_object_is_refused() {
        let scene = Scene::start().await;
        let too_deep = format!(r#"{{"record":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for (body, status, message) in [
            (&br#"{"repo":"#[..], 400, "Malformed JSON: "),
            (b"[]", 400, "Invalid com.atproto.repo.createRecord input: "),
            (b"\"\xff\"", 400, "Malformed JSON: "),
            (br#"{"record":{"n":1e400}}"#, 400, "Malformed JSON: "),
            (br#"{"record":{"text":"\ud800"}}"#, 400, "Malformed JSON: "),
            (too_deep.as_bytes(), 400, "Invalid com.atproto.repo.createRecord input: value is nested too deeply"),
            (&vec![b' '; 1_000_001], 413, "request entity too large"),
        ] {
            let failure = scene.call_raw(METHOD, body.to_vec()).await.unwrap_err();
            assert_eq!(failure.status, status, "{failure:?}");
            assert!(failure.message.starts_with(message), "{failure:?}");
        }
    }

    #[tokio::test]
    async fn a_record_may_fill_the_body() {
        let scene = Scene::start().await;
        let text = "a".repeat(990_000);
        let input = with(&custom(&json!({ "text": text })), json!({ "rkey": "big" }));
        scene.call(METHOD, &input).await.unwrap();
        let record = json!({ "$type": CUSTOM, "text": text });
        assert_eq!(scene.value(CUSTOM, "big").await, Some(record));
    }

    #[tokio::test]
    async fn a_key_in_use_is_refused() {
        let scene = Scene::start().await;
        let input = with(&custom(&json!({ "n": 1 })), json!({ "rkey": "one" }));
        scene.call(METHOD, &input).await.unwrap();
        // Reference: answers 500.
        let expected = (400, "InvalidRequest", "Record already exists at com.example.thing/one");
        scene.assert_refused(METHOD, &input, expected).await;
        scene.assert_refused(METHOD, &with(&input, json!({ "record": { "n": 2 } })), expected).await;
    }

    #[tokio::test]
    async fn a_swap_demands_the_newest_commit() {
        let scene = Scene::start().await;
        let first = scene.head().await.head;
        let swap = with(&input(), json!({ "swapCommit": first }));
        let written = scene.call(METHOD, &swap).await.unwrap();
        let second = written["commit"]["cid"].as_str().unwrap();
        let message = format!("Commit was at {second}");
        scene.assert_refused(METHOD, &swap, (400, "InvalidSwap", &message)).await;
    }

    #[tokio::test]
    async fn a_second_link_to_a_target_replaces_the_first() {
        let scene = Scene::start().await;
        let target = "at://did:plc:z72i7hdynmk6r22z27h6tvur/app.bsky.feed.post/3jt5tsfbx2s2a";
        let other = "at://did:plc:z72i7hdynmk6r22z27h6tvur/app.bsky.feed.post/3jt5tsfbx2s2b";
        // As long as addresses get, which is longer than Postgres indexes, and not to be compressed.
        let noise = |range: std::ops::Range<u8>| range.map(|n| Cid::raw(&[n]).to_string());
        let nsid = format!("com.{}", noise(0..5).collect::<Vec<_>>().join("."));
        let (did, rkey) = (noise(10..44).collect::<String>(), noise(50..58).collect::<String>());
        let far = format!("at://did:web:{did}/{nsid}/{rkey}");
        let cases = [
            (LIKE, like(target), like(other), like(target)),
            (LIKE, like(&far), like(other), like(&far)),
            (FOLLOW, follow(&scene.bob.did), follow("did:web:other.test"), follow(&scene.bob.did)),
        ];
        for (collection, first, other, second) in cases {
            let input = json!({ "repo": "alice.test", "collection": collection, "record": first });
            let first = scene.create(&input).await;
            let other = scene.create(&with(&input, json!({ "record": other }))).await;
            let second = scene.create(&with(&input, json!({ "record": second }))).await;
            assert_eq!(scene.keys(collection).await, [other.as_str(), &second], "{first} is replaced");
            let third = scene.create(&with(&input, json!({ "validate": false }))).await;
            assert_eq!(scene.keys(collection).await, [other.as_str(), &second, &third], "nobody checked it");
            let last = scene.create(&input).await;
            assert_eq!(scene.keys(collection).await, [other.as_str(), &last], "both are replaced");
            for rkey in [other, last] {
                scene.delete(collection, &rkey).await;
            }
        }
    }

    #[tokio::test]
    async fn a_hidden_link_is_replaced_as_well() {
        let scene = Scene::start().await;
        let input = json!({ "repo": "alice.test", "collection": FOLLOW, "record": follow(&scene.bob.did) });
        let first = scene.create(&input).await;
        scene.take_record_down(FOLLOW, &first).await;
        scene.create(&input).await;
        // Were it still there, its key could not be had.
        scene.create(&with(&input, json!({ "rkey": first, "validate": false }))).await;
    }

    #[tokio::test]
    async fn a_link_may_replace_the_one_under_its_own_key() {
        let scene = Scene::start().await;
        let input = json!({ "repo": "alice.test", "collection": FOLLOW, "rkey": "3jt5tsfbx2s2a", "record": follow(&scene.bob.did) });
        scene.create(&input).await;
        let second = follow(&scene.bob.did);
        let second = with(&second, json!({ "createdAt": "2026-12-01T00:00:00.000Z" }));
        scene.create(&with(&input, json!({ "record": second }))).await;
        assert_eq!(scene.value(FOLLOW, "3jt5tsfbx2s2a").await, Some(second));
    }

    #[tokio::test]
    async fn only_the_owner_of_an_active_account_writes() {
        let scene = Scene::start().await;
        let bob = &scene.bob.did;
        scene.set_deactivated(&scene.bob, true).await;
        // Reference: the state of the named account counts before its owner does.
        for repo in [bob, "bob.test"] {
            let expected = (401, "AccountDeactivated", "");
            scene.assert_refused(METHOD, &with(&input(), json!({ "repo": repo })), expected).await;
        }
        scene.set_deactivated(&scene.bob, false).await;
        for (repo, status, name) in [
            ("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", 403, "AccountNotFound"),
            ("nobody.test", 403, "AccountNotFound"),
            (bob, 401, "AuthenticationRequired"),
            ("bob.test", 401, "AuthenticationRequired"),
        ] {
            scene.assert_refused(METHOD, &with(&input(), json!({ "repo": repo })), (status, name, "")).await;
        }
        for repo in [scene.alice.did.as_str(), "alice.test"] {
            scene.create(&with(&input(), json!({ "repo": repo }))).await;
        }
        // Who is calling comes before what they say.
        for input in [input(), json!([])] {
            let failure = scene.call_anonymous(METHOD, &input).await.unwrap_err();
            assert_eq!((failure.status, failure.error.as_str()), (401, "AuthMissing"));
        }
    }

    #[tokio::test]
    async fn a_closed_account_cannot_write() {
        let scene = Scene::start().await;
        scene.create(&input()).await;
        scene.set_deactivated(&scene.alice, true).await;
        scene.assert_refused(METHOD, &input(), (401, "AccountDeactivated", "")).await;
        scene.set_taken_down(&scene.alice, true).await;
        scene.assert_refused(METHOD, &input(), (401, "AccountTakedown", "")).await;
    }
}
