//! `com.atproto.admin.updateSubjectStatus`: takes an account, a record or a blob down, and restores it.

use atproto::data::Cid;
use atproto::syntax::{AtUri, Did};
use axum::extract::State;
use chrono::{DateTime, Utc};
use common::lifecycle::StatusChange;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{StatusAttr, datetime, record_of};
use crate::auth::ModeratorAuth;
use crate::state::AppState;
use crate::xrpc::{Method, XrpcBody, XrpcError, XrpcJson, XrpcResult};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.admin.updateSubjectStatus");

/// What, and how it is to stand.
#[derive(Deserialize)]
pub struct Input {
    subject: Value,
    takedown: Option<StatusAttr>,
    /// For an account only.
    deactivated: Option<StatusAttr>,
}

#[derive(Deserialize)]
#[serde(tag = "$type")]
enum Subject {
    #[serde(rename = "com.atproto.admin.defs#repoRef")]
    Account { did: Did },
    /// Whatever version is there now.
    #[serde(rename = "com.atproto.repo.strongRef")]
    Record { uri: AtUri },
    #[serde(rename = "com.atproto.admin.defs#repoBlobRef")]
    Blob { did: Did, cid: Cid },
    #[serde(other)]
    Unknown,
}

/// What was given.
#[derive(Serialize)]
pub struct Output {
    subject: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    takedown: Option<StatusAttr>,
}

/// A takedown without a reference gets the time for one. A record or blob that is not there is passed over: its owner may
/// have deleted it meanwhile.
pub async fn handle(
    State(app): State<AppState>,
    auth: ModeratorAuth,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<Output> {
    let is_on = |status: &Option<StatusAttr>| status.as_ref().map(|status| status.applied);
    if is_on(&input.takedown) == Some(true) && is_on(&input.deactivated) == Some(false) {
        return Err(XrpcError::invalid_request("Cannot take an account down and activate it at once"));
    }
    let subject = serde_json::from_value(input.subject.clone())
        .map_err(|error| XrpcError::invalid_request(format_args!("Invalid {} input: {error}", METHOD.nsid())))?;
    match (subject, &input.takedown) {
        (Subject::Account { did }, takedown) => {
            update_account(&app, &auth, &did, takedown.as_ref(), is_on(&input.deactivated)).await?;
        }
        (Subject::Record { uri }, Some(takedown)) => {
            let (did, path) = record_of(&app, &uri).await?;
            let reference = reference_at(takedown, app.clock.now());
            let marked = app.repos.mark_record(auth.actor(), &did, &path, reference.as_deref()).await;
            marked.map_err(XrpcError::internal)?;
        }
        (Subject::Blob { did, cid }, Some(takedown)) => {
            let reference = reference_at(takedown, app.clock.now());
            let marked = app.blobs.mark(auth.actor(), &did, cid, reference.as_deref()).await;
            marked.map_err(XrpcError::internal)?;
        }
        (Subject::Unknown, Some(_)) => return Err(XrpcError::invalid_request("Invalid subject")),
        (Subject::Record { .. } | Subject::Blob { .. } | Subject::Unknown, None) => {}
    }
    Ok(XrpcJson(Output { subject: input.subject, takedown: input.takedown }))
}

/// Takedown first, so that an account is never open in between. With neither, its status is announced once more.
async fn update_account(
    app: &AppState,
    auth: &ModeratorAuth,
    did: &Did,
    takedown: Option<&StatusAttr>,
    deactivated: Option<bool>,
) -> Result<(), XrpcError> {
    let takedown = takedown.map(|takedown| match reference_at(takedown, app.clock.now()) {
        reference @ Some(_) => StatusChange::TakeDown { reference },
        None => StatusChange::Restore,
    });
    let deactivated = deactivated.map(|is_closed| {
        if is_closed { StatusChange::Deactivate { delete_after: None } } else { StatusChange::Activate }
    });
    let announce = (takedown.is_none() && deactivated.is_none()).then_some(StatusChange::Announce);
    for change in [takedown, deactivated, announce].into_iter().flatten() {
        app.admin.change_status(auth.actor(), did, &change).await?;
    }
    Ok(())
}

/// What to store of a takedown: its reference, or the time if none was given; `None` if it does not apply.
fn reference_at(takedown: &StatusAttr, now: DateTime<Utc>) -> Option<String> {
    let given = takedown.reference.as_ref().map(|reference| reference.0.clone()).filter(|text| !text.is_empty());
    takedown.applied.then(|| given.unwrap_or_else(|| datetime(now).into()))
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::json;

    use super::super::get_subject_status;
    use super::*;
    use crate::testing::{Reply, TestAccount, TestApi};
    use crate::xrpc::com::atproto::repo::{create_record, get_record};
    use crate::xrpc::internal::rookery::admin::list_audit_log;

    const COLLECTION: &str = "com.example.note";

    async fn scene() -> (TestApi, TestAccount) {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        (api, alice)
    }

    async fn update(api: &TestApi, input: Value) -> Reply {
        api.call(METHOD).admin().json(&input).send().await
    }

    async fn status(api: &TestApi, params: &[(&str, &str)]) -> Value {
        api.call(get_subject_status::METHOD).admin().query(params).send().await.expect_ok()
    }

    /// The actions in the audit log, the oldest first.
    async fn actions(api: &TestApi) -> Vec<String> {
        let log = api.call(list_audit_log::METHOD).admin().send().await.expect_ok();
        let entries = log["entries"].as_array().unwrap().iter().rev();
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
        entries.map(|entry| format!("{} {}", text(entry, "action"), text(entry, "outcome"))).collect()
    }

    fn account(did: &str) -> Value {
        json!({ "$type": "com.atproto.admin.defs#repoRef", "did": did })
    }

    #[tokio::test]
    async fn an_account_is_taken_down_and_restored() {
        let (api, alice) = scene().await;
        let down = json!({ "subject": account(&alice.did), "takedown": { "applied": true, "ref": "case 7" } });
        assert_eq!(update(&api, down.clone()).await.expect_ok(), down);
        let expected = json!({
            "subject": account(&alice.did),
            "takedown": { "applied": true, "ref": "case 7" }, "deactivated": { "applied": false }
        });
        assert_eq!(status(&api, &[("did", &alice.did)]).await, expected);
        let up = json!({ "subject": account(&alice.did), "takedown": { "applied": false } });
        update(&api, up).await.expect_ok();
        assert_eq!(status(&api, &[("did", &alice.did)]).await["takedown"], json!({ "applied": false }));
        update(&api, json!({ "subject": account(&alice.did), "takedown": { "applied": true } })).await.expect_ok();
        let reference = status(&api, &[("did", &alice.did)]).await["takedown"]["ref"].take();
        assert_eq!(reference, json!("2027-01-15T08:00:00.000Z"), "the time, for want of a reference");
        let [down, up] = ["account.takedown", "account.restore"];
        assert_eq!(actions(&api).await, [down, up, down].map(|action| format!("{action} done")));
    }

    #[tokio::test]
    async fn an_account_is_closed_opened_and_announced() {
        let (api, alice) = scene().await;
        let is_closed =
            async || status(&api, &[("did", &alice.did)]).await["deactivated"]["applied"].as_bool().unwrap();
        let newest = async || api.app().sequencer.newest().await.unwrap();
        let before = newest().await;
        update(&api, json!({ "subject": account(&alice.did), "deactivated": { "applied": true } })).await.expect_ok();
        assert!(is_closed().await);
        update(&api, json!({ "subject": account(&alice.did), "deactivated": { "applied": false } })).await.expect_ok();
        assert!(!is_closed().await);
        assert_eq!(newest().await, before + 4, "#account twice, with #identity and #sync the second time");
        update(&api, json!({ "subject": account(&alice.did) })).await.expect_ok();
        assert_eq!(newest().await, before + 5, "the status once more");
        let both = json!({
            "subject": account(&alice.did), "takedown": { "applied": true }, "deactivated": { "applied": false }
        });
        assert_eq!(update(&api, both).await.error(), (400, "InvalidRequest".to_owned()));
        assert_eq!(newest().await, before + 5);
    }

    #[tokio::test]
    async fn a_record_is_hidden_and_shown() {
        let (api, alice) = scene().await;
        let input = json!({ "repo": alice.did, "collection": COLLECTION, "rkey": "a", "record": { "n": 1 } });
        let made = api.call(create_record::METHOD).bearer(&alice.access).json(&input).send().await.expect_ok();
        let subject = json!({ "$type": "com.atproto.repo.strongRef", "uri": made["uri"], "cid": made["cid"] });
        let params = [("repo", alice.did.as_str()), ("collection", COLLECTION), ("rkey", "a")];
        let is_shown = async || api.call(get_record::METHOD).query(&params).send().await.status.is_success();
        let uri = made["uri"].as_str().unwrap();
        for (applied, shown) in [(true, false), (false, true)] {
            let input = json!({ "subject": subject, "takedown": { "applied": applied, "ref": "case 8" } });
            assert_eq!(update(&api, input.clone()).await.expect_ok(), input);
            assert_eq!(is_shown().await, shown);
            let found = status(&api, &[("uri", uri)]).await;
            assert_eq!(found["subject"], subject);
            assert_eq!(found["takedown"]["applied"], json!(applied));
        }
        let by_handle = format!("at://alice.test/{COLLECTION}/a");
        let subject = json!({ "$type": "com.atproto.repo.strongRef", "uri": by_handle, "cid": made["cid"] });
        update(&api, json!({ "subject": subject, "takedown": { "applied": true } })).await.expect_ok();
        assert!(!is_shown().await);
        let log = api.call(list_audit_log::METHOD).admin().query(&[("subject", uri)]).send().await.expect_ok();
        assert_eq!(log["entries"].as_array().unwrap().len(), 3, "by whatever name");
        assert_eq!(log["entries"][1]["before"], json!({ "takedown": "case 8", "cid": made["cid"] }));
    }

    #[tokio::test]
    async fn a_blob_is_hidden_from_records() {
        let (api, alice) = scene().await;
        let cid = seed::blob(&api.db.pool(), &alice.did, b"picture").await;
        let subject = json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": alice.did, "cid": cid });
        update(&api, json!({ "subject": subject, "takedown": { "applied": true, "ref": "x" } })).await.expect_ok();
        let text = cid.to_string();
        let params = [("did", alice.did.as_str()), ("blob", text.as_str())];
        let expected = json!({ "subject": subject, "takedown": { "applied": true, "ref": "x" } });
        assert_eq!(status(&api, &params).await, expected);
        let picture = json!({ "$type": "blob", "ref": { "$link": cid }, "mimeType": "image/png", "size": 7 });
        let input = json!({ "repo": alice.did, "collection": COLLECTION, "record": { "picture": picture } });
        let post = async || api.call(create_record::METHOD).bearer(&alice.access).json(&input).send().await;
        assert_eq!(post().await.error(), (400, "BlobNotFound".to_owned()));
        update(&api, json!({ "subject": subject, "takedown": { "applied": false } })).await.expect_ok();
        post().await.expect_ok();
        assert_eq!(actions(&api).await, ["blob.takedown done", "blob.restore done"]);
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_where_that_helps() {
        let (api, alice) = scene().await;
        let takedown = json!({ "applied": true });
        let unknown = json!({ "subject": account("did:plc:unknown"), "takedown": takedown });
        assert_eq!(update(&api, unknown).await.error(), (400, "NotFound".to_owned()));
        let cid = atproto::data::Cid::dag_cbor(b"");
        let uri = format!("at://{}/{COLLECTION}/gone", alice.did);
        let record = json!({ "$type": "com.atproto.repo.strongRef", "uri": uri, "cid": cid });
        update(&api, json!({ "subject": record, "takedown": takedown })).await.expect_ok();
        let blob = json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": alice.did, "cid": cid });
        update(&api, json!({ "subject": blob, "takedown": takedown })).await.expect_ok();
        let text = cid.to_string();
        for params in [
            vec![("did", "did:plc:unknown")],
            vec![("uri", uri.as_str())],
            vec![("uri", "at://bob.test/com.example.note/a")],
            vec![("did", alice.did.as_str()), ("blob", &text)],
        ] {
            let reply = api.call(get_subject_status::METHOD).admin().query(&params).send().await;
            assert_eq!(reply.error(), (400, "NotFound".to_owned()), "{params:?}");
        }
        for params in [vec![], vec![("blob", text.as_str())], vec![("uri", "at://did:plc:alice")]] {
            let reply = api.call(get_subject_status::METHOD).admin().query(&params).send().await;
            assert_eq!(reply.error(), (400, "InvalidRequest".to_owned()), "{params:?}");
        }
    }

    #[tokio::test]
    async fn malformed_input_changes_nothing() {
        let (api, alice) = scene().await;
        for input in [
            json!({}),
            json!({ "subject": { "did": alice.did }, "takedown": { "applied": true } }),
            json!({ "subject": { "$type": "com.example.other" }, "takedown": { "applied": true } }),
            json!({ "subject": account("alice"), "takedown": { "applied": true } }),
            json!({ "subject": account(&alice.did), "takedown": {} }),
            json!({ "subject": account(&alice.did), "takedown": { "applied": true, "ref": "NUL\u{0}" } }),
            json!({ "subject": account(&alice.did), "takedown": { "applied": true, "ref": 7 } }),
            json!({
                "subject": { "$type": "com.atproto.repo.strongRef", "uri": format!("at://{}", alice.did), "cid": "x" },
                "takedown": { "applied": true }
            }),
        ] {
            assert_eq!(update(&api, input.clone()).await.error(), (400, "InvalidRequest".to_owned()), "{input}");
        }
        assert_eq!(actions(&api).await, Vec::<String>::new());
        let refused =
            api.call(METHOD).bearer(&alice.access).json(&json!({ "subject": account(&alice.did) })).send().await;
        assert_eq!(refused.error(), (401, "BadJwtType".to_owned()), "it is no token of a moderation service");
    }
}
