//! `com.atproto.repo.applyWrites`: several writes to the caller's repo as one commit, all or none.

use std::sync::Arc;

use atproto::data::{Cid, Ipld};
use atproto::syntax::{AtIdentifier, Did, Nsid, RecordKey};
use axum::extract::State;
use common::account::Accounts;
use common::repo::{PreparedRecord, PreparedWrite, RecordError, RecordPath, Repos};
use serde::{Deserialize, Serialize};

use super::{CommitMeta, Written, own_repo};
use crate::auth::AccessAuth;
use crate::limit::Admission;
use crate::xrpc::{Method, RECORD_BODY_LIMIT, XrpcBody, XrpcError, XrpcJson, XrpcResult, present};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.repo.applyWrites").body_limit(RECORD_BODY_LIMIT);

/// The writes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    repo: AtIdentifier,
    #[serde(default, deserialize_with = "present")]
    validate: Option<bool>,
    writes: Vec<Write>,
    #[serde(default, deserialize_with = "present")]
    swap_commit: Option<Cid>,
}

/// A closed union: any other `$type` is refused.
#[derive(Deserialize)]
#[serde(tag = "$type")]
enum Write {
    #[serde(rename = "com.atproto.repo.applyWrites#create")]
    Create {
        collection: Nsid,
        /// A fresh TID stands for an absent one.
        #[serde(default, deserialize_with = "present")]
        rkey: Option<RecordKey>,
        #[serde(with = "atproto::data::json")]
        value: Ipld,
    },
    #[serde(rename = "com.atproto.repo.applyWrites#update")]
    Update {
        collection: Nsid,
        rkey: RecordKey,
        #[serde(with = "atproto::data::json")]
        value: Ipld,
    },
    #[serde(rename = "com.atproto.repo.applyWrites#delete")]
    Delete { collection: Nsid, rkey: RecordKey },
}

impl Write {
    /// What it takes from the limits of an account, which is as much as the method for one such write.
    fn points(&self) -> u32 {
        match self {
            Self::Create { .. } => 3,
            Self::Update { .. } => 2,
            Self::Delete { .. } => 1,
        }
    }
}

/// What came of them.
#[derive(Serialize)]
pub struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<CommitMeta>,
    /// One for each write, in the order of the writes.
    results: Vec<WriteResult>,
}

#[derive(Serialize)]
#[serde(tag = "$type")]
enum WriteResult {
    #[serde(rename = "com.atproto.repo.applyWrites#createResult")]
    Create(Written),
    #[serde(rename = "com.atproto.repo.applyWrites#updateResult")]
    Update(Written),
    #[serde(rename = "com.atproto.repo.applyWrites#deleteResult")]
    Delete {},
}

/// Checks all writes, then applies them as one commit.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(repos): State<Repos>,
    auth: AccessAuth,
    admission: Admission,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<Output> {
    admission.charge_account(auth.did(), input.writes.iter().map(Write::points).sum()).await?;
    let account = own_repo(&accounts, &auth, &input.repo).await?;
    let writes: Arc<[PreparedWrite]> = prepare(&repos, input.writes, input.validate)?.into();
    let commit = repos.apply_writes(account.id, &account.did, Arc::clone(&writes), input.swap_commit).await?;
    let results = writes.iter().map(|write| WriteResult::new(&account.did, write)).collect();
    Ok(XrpcJson(Output { commit: commit.map(CommitMeta::from), results }))
}

fn prepare(repos: &Repos, writes: Vec<Write>, validate: Option<bool>) -> Result<Vec<PreparedWrite>, XrpcError> {
    let prepared = writes
        .into_iter()
        .enumerate()
        .map(|(index, write)| prepare_one(repos, write, validate).map_err(|error| record_error(index, error)));
    prepared.collect()
}

fn prepare_one(repos: &Repos, write: Write, validate: Option<bool>) -> Result<PreparedWrite, RecordError> {
    Ok(match write {
        Write::Create { collection, rkey, value } => {
            let path = RecordPath { collection, rkey: rkey.unwrap_or_else(|| repos.next_tid().into()) };
            let record = PreparedRecord::new(&path, value, validate)?;
            // Reference: only createRecord removes earlier links to the same target.
            PreparedWrite::Create { path, record, replace_links: false }
        }
        Write::Update { collection, rkey, value } => {
            let path = RecordPath { collection, rkey };
            let record = PreparedRecord::new(&path, value, validate)?;
            PreparedWrite::Update { path, record }
        }
        Write::Delete { collection, rkey } => PreparedWrite::Delete { path: RecordPath { collection, rkey } },
    })
}

/// Says which of the writes is at fault.
fn record_error(index: usize, error: RecordError) -> XrpcError {
    match error {
        RecordError::Invalid(error) => XrpcError::from(RecordError::Invalid(error.in_write(index))),
        other => XrpcError::invalid_request(format_args!("{other} at $.writes[{index}].record")),
    }
}

impl WriteResult {
    fn new(did: &Did, write: &PreparedWrite) -> Self {
        match write {
            PreparedWrite::Create { path, record, .. } => Self::Create(Written::new(did, path, record)),
            PreparedWrite::Update { path, record } | PreparedWrite::Put { path, record, .. } => {
                Self::Update(Written::new(did, path, record))
            }
            PreparedWrite::Delete { .. } | PreparedWrite::Remove { .. } => Self::Delete {},
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::xrpc::repo_scene::{CUSTOM, FOLLOW, POST, Scene, follow, post, with};

    fn input(writes: &[Value]) -> Value {
        json!({ "repo": "alice.test", "writes": writes })
    }

    fn create(rkey: &str, n: usize) -> Value {
        json!({ "$type": "com.atproto.repo.applyWrites#create", "collection": CUSTOM, "rkey": rkey, "value": { "n": n } })
    }

    fn update(rkey: &str, n: usize) -> Value {
        with(&create(rkey, n), json!({ "$type": "com.atproto.repo.applyWrites#update" }))
    }

    fn delete(rkey: &str) -> Value {
        json!({ "$type": "com.atproto.repo.applyWrites#delete", "collection": CUSTOM, "rkey": rkey })
    }

    fn record(n: usize) -> Value {
        json!({ "$type": CUSTOM, "n": n })
    }

    #[tokio::test]
    async fn results_have_the_order_of_the_writes() {
        let scene = Scene::start().await;
        scene.call(METHOD, &input(&[create("a", 1), create("b", 1)])).await.unwrap();
        let post = json!({ "$type": "com.atproto.repo.applyWrites#create", "collection": POST, "value": post("hi") });
        let answer = scene.call(METHOD, &input(&[delete("a"), create("c", 2), post, update("b", 2)])).await.unwrap();
        let head = scene.head().await;
        assert_eq!(answer["commit"], json!({ "cid": head.head, "rev": head.rev }));
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results[0], json!({ "$type": "com.atproto.repo.applyWrites#deleteResult" }));
        let uri = |rkey: &str| format!("at://{}/{CUSTOM}/{rkey}", scene.alice.did);
        let cid = results[1]["cid"].clone();
        let result = |kind: &str, rkey: &str| {
            json!({
                "$type": format!("com.atproto.repo.applyWrites#{kind}Result"),
                "uri": uri(rkey),
                "cid": cid,
                "validationStatus": "unknown",
            })
        };
        assert_eq!(results[1], result("create", "c"));
        assert_eq!(results[2]["validationStatus"], "valid");
        assert_eq!(results[3], result("update", "b"));
        assert_eq!(results.len(), 4);
        for (rkey, value) in [("a", None), ("b", Some(record(2))), ("c", Some(record(2)))] {
            assert_eq!(scene.value(CUSTOM, rkey).await, value);
        }
    }

    #[tokio::test]
    async fn creates_without_key_get_distinct_ones() {
        let scene = Scene::start().await;
        let write = json!({ "$type": "com.atproto.repo.applyWrites#create", "collection": CUSTOM, "value": {} });
        let answer = scene.call(METHOD, &input(&vec![write; 200])).await.unwrap();
        let uris = answer["results"].as_array().unwrap().iter().map(|result| result["uri"].as_str().unwrap());
        assert_eq!(uris.collect::<HashSet<_>>().len(), 200);
    }

    #[tokio::test]
    async fn a_validation_that_is_turned_off_has_no_status() {
        let scene = Scene::start().await;
        let input = with(&input(&[create("a", 1)]), json!({ "validate": false }));
        let answer = scene.call(METHOD, &input).await.unwrap();
        assert_eq!(answer["results"][0].get("validationStatus"), None);
    }

    #[tokio::test]
    async fn an_empty_list_makes_a_commit() {
        let scene = Scene::start().await;
        let before = scene.head().await;
        let answer = scene.call(METHOD, &input(&[])).await.unwrap();
        let after = scene.head().await;
        assert!(after.rev > before.rev);
        assert_eq!(answer, json!({ "commit": { "cid": after.head, "rev": after.rev }, "results": [] }));
    }

    #[tokio::test]
    async fn later_writes_see_earlier_ones() {
        let scene = Scene::start().await;
        let writes =
            [create("a", 1), update("a", 2), create("b", 1), delete("b"), create("b", 3), create("c", 1), delete("c")];
        scene.call(METHOD, &input(&writes)).await.unwrap();
        for (rkey, value) in [("a", Some(record(2))), ("b", Some(record(3))), ("c", None)] {
            assert_eq!(scene.value(CUSTOM, rkey).await, value);
        }
    }

    #[tokio::test]
    async fn links_are_not_replaced() {
        let scene = Scene::start().await;
        let link = follow(&scene.bob.did);
        let write = json!({ "$type": "com.atproto.repo.applyWrites#create", "collection": FOLLOW, "value": link });
        scene.call(METHOD, &input(&[write.clone(), write])).await.unwrap();
        assert_eq!(scene.keys(FOLLOW).await.len(), 2);
    }

    #[tokio::test]
    async fn one_bad_write_stops_them_all() {
        let scene = Scene::start().await;
        scene.call(METHOD, &input(&[create("there", 1)])).await.unwrap();
        let bad_post =
            json!({ "$type": "com.atproto.repo.applyWrites#create", "collection": POST, "value": { "text": 1 } });
        let typed = |write: Value, kind: Value| with(&write, json!({ "$type": kind }));
        let valued = |value: Value| with(&create("bad", 1), json!({ "value": value }));
        let legacy = json!({ "avatar": { "cid": Cid::raw(b""), "mimeType": "image/png" } });
        let malformed = "Invalid com.atproto.repo.applyWrites input: ";
        for (bad, message) in [
            (create("there", 2), "Record already exists at com.example.thing/there"),
            (create("good", 2), "Record already exists at com.example.thing/good"),
            (update("missing", 1), "Could not locate record: com.example.thing/missing"),
            (delete("missing"), "Could not locate record: com.example.thing/missing"),
            (bad_post, "$.writes[1].record"),
            (
                valued(json!({ "$type": POST })),
                "Invalid $type: expected com.example.thing, got app.bsky.feed.post at $.writes[1].record",
            ),
            (valued(json!("text")), "Record must be an object at $.writes[1].record"),
            (valued(legacy), "Legacy blobs are not allowed at $.writes[1].record"),
            (valued(json!({ "n": 1.5 })), malformed),
            (typed(create("a", 1), json!("com.atproto.repo.applyWrites#put")), malformed),
            (typed(create("a", 1), json!("#create")), malformed),
            (typed(create("a", 1), json!(null)), malformed),
            (with(&create("a", 1), json!({ "rkey": null })), malformed),
            (with(&delete("a"), json!({ "rkey": "a/b" })), malformed),
            (json!({ "collection": CUSTOM, "rkey": "a" }), malformed),
            (json!({ "$type": "com.atproto.repo.applyWrites#update", "collection": CUSTOM, "value": {} }), malformed),
            (json!(1), malformed),
        ] {
            scene.assert_refused(METHOD, &input(&[create("good", 1), bad]), (400, "InvalidRequest", message)).await;
        }
        assert_eq!(scene.keys(CUSTOM).await, ["there"]);
    }

    #[tokio::test]
    async fn bad_input_is_refused_and_writes_nothing() {
        let scene = Scene::start().await;
        let many: Vec<Value> = (0..201).map(|n| create(&n.to_string(), n)).collect();
        let unknown = with(&input(&[delete("a"), create("a", 1)]), json!({ "validate": true }));
        let malformed = "Invalid com.atproto.repo.applyWrites input: ";
        for (input, status, name, message) in [
            (input(&many), 400, "InvalidRequest", "Too many writes. Max: 200"),
            (unknown, 400, "InvalidRequest", "Unknown lexicon type: com.example.thing at $.writes[1].record"),
            (with(&input(&[]), json!({ "swapCommit": Cid::raw(b"") })), 400, "InvalidSwap", "Commit was at "),
            (with(&input(&[]), json!({ "swapCommit": "x" })), 400, "InvalidRequest", malformed),
            (with(&input(&[]), json!({ "writes": {} })), 400, "InvalidRequest", malformed),
            (json!({ "repo": "alice.test" }), 400, "InvalidRequest", malformed),
            (with(&input(&[]), json!({ "repo": "bob.test" })), 401, "AuthenticationRequired", ""),
        ] {
            scene.assert_refused(METHOD, &input, (status, name, message)).await;
        }
    }
}
