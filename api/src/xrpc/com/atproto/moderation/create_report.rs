//! `com.atproto.moderation.createReport`: a user reports an account or a record.
//!
//! Reference: it forwards the report to a moderation service and passes its answer on. This server stores it and gives it a
//! number of its own; forwarding is not there yet, and an `atproto-proxy` header is not looked at.

use atproto::data::Cid;
use atproto::syntax::{AtIdentifier, AtUri, Datetime, Did};
use axum::extract::State;
use common::account::Accounts;
use common::report::{NewReport, ReportSubject, Reports};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::auth::{LeavingAuth, account_not_found};
use crate::xrpc::{Method, PlainText, XrpcBody, XrpcError, XrpcJson, XrpcResult, check_input};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.moderation.createReport");

/// Characters of a reason type, at most.
const MAX_REASON_TYPE: usize = 300;

/// What is wrong with what.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    reason_type: PlainText,
    reason: Option<PlainText>,
    subject: Subject,
    mod_tool: Option<Value>,
}

#[derive(Deserialize)]
#[serde(tag = "$type")]
enum Subject {
    #[serde(rename = "com.atproto.admin.defs#repoRef")]
    Account { did: Did },
    #[serde(rename = "com.atproto.repo.strongRef")]
    Record { uri: AtUri, cid: Cid },
}

/// The report as it was stored.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    id: i64,
    reason_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// As it was given.
    subject: Value,
    reported_by: Did,
    created_at: Datetime,
}

/// Allowed to accounts in any state: a taken-down user may appeal.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(reports): State<Reports>,
    auth: LeavingAuth,
    XrpcBody(json): XrpcBody<Value>,
) -> XrpcResult<Output> {
    let reporter = accounts.find_principal(auth.did()).await.map_err(XrpcError::internal)?;
    let reporter = reporter.ok_or_else(account_not_found)?;
    check_input(METHOD, &json)?;
    let subject = json["subject"].clone();
    let input = serde_json::from_value(json)
        .map_err(|error| XrpcError::invalid_request(format_args!("Invalid {} input: {error}", METHOD.nsid())))?;
    let report = new_report(&accounts, reporter.did, input).await?;
    let stored = reports.create(&report).await.map_err(XrpcError::internal)?;
    let millis = u64::try_from(stored.created_at.timestamp_millis()).unwrap_or_default();
    Ok(XrpcJson(Output {
        id: stored.id,
        reason_type: report.reason_type,
        reason: report.reason,
        subject,
        reported_by: report.reported_by,
        created_at: Datetime::from_unix_millis(millis),
    }))
}

async fn new_report(accounts: &Accounts, reported_by: Did, input: Input) -> Result<NewReport, XrpcError> {
    if input.reason_type.0.is_empty() || input.reason_type.0.len() > MAX_REASON_TYPE {
        return Err(XrpcError::invalid_request("Invalid reason type"));
    }
    let subject = match input.subject {
        Subject::Account { did } => ReportSubject::Account(did),
        Subject::Record { uri, cid } => {
            if uri.rkey().is_none() {
                return Err(XrpcError::invalid_request("The subject is not the address of a record"));
            }
            ReportSubject::Record { did: owner_of(accounts, &uri).await?, uri, cid }
        }
    };
    Ok(NewReport {
        reported_by,
        reason_type: input.reason_type.0,
        reason: input.reason.map(|reason| reason.0),
        subject,
        mod_tool: input.mod_tool.map(|tool| tool.to_string()),
    })
}

/// Whose record it is. A handle is looked up here only: what is reported later is found by its DID.
async fn owner_of(accounts: &Accounts, uri: &AtUri) -> Result<Did, XrpcError> {
    match uri.authority() {
        AtIdentifier::Did(did) => Ok(did.clone()),
        AtIdentifier::Handle(handle) => {
            let account = accounts.find_by_handle(handle).await.map_err(XrpcError::internal)?;
            let account =
                account.ok_or_else(|| XrpcError::invalid_request("Report a record by an address with a DID"))?;
            Ok(account.did)
        }
    }
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::json;

    use super::*;
    use crate::testing::TestApi;

    const SPAM: &str = "com.atproto.moderation.defs#reasonSpam";

    fn about_account() -> Value {
        json!({
            "reasonType": SPAM,
            "reason": "He sells things.",
            "subject": { "$type": "com.atproto.admin.defs#repoRef", "did": "did:plc:bob" },
            "modTool": { "name": "client", "meta": { "a": "\u{0}" } }
        })
    }

    fn with(mut input: Value, field: &str, value: impl Into<Value>) -> Value {
        input[field] = value.into();
        input
    }

    #[tokio::test]
    async fn a_report_is_stored_and_answered_with_its_number() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let first = api.call(METHOD).bearer(&alice.access).json(&about_account()).send().await.expect_ok();
        assert_eq!(
            first,
            json!({
                "id": first["id"], "reasonType": SPAM, "reason": "He sells things.",
                "subject": about_account()["subject"], "reportedBy": alice.did, "createdAt": "2027-01-15T08:00:00.000Z"
            })
        );
        for authority in [alice.did.as_str(), "alice.test"] {
            let subject = json!({
                "$type": "com.atproto.repo.strongRef",
                "uri": format!("at://{authority}/app.bsky.feed.post/a"),
                "cid": Cid::dag_cbor(b"")
            });
            let input = json!({ "reasonType": "tools.ozone.report.defs#reasonOther", "subject": subject });
            let second = api.call(METHOD).bearer(&alice.access).json(&input).send().await.expect_ok();
            assert_eq!((&second["subject"], second.get("reason")), (&subject, None));
            assert!(second["id"].as_i64() > first["id"].as_i64());
        }
    }

    #[tokio::test]
    async fn what_the_lexicon_does_not_allow_is_refused() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let record =
            |uri: &str| json!({ "$type": "com.atproto.repo.strongRef", "uri": uri, "cid": Cid::dag_cbor(b"") });
        for input in [
            json!({}),
            with(about_account(), "reasonType", Value::Null),
            with(about_account(), "reasonType", ""),
            with(about_account(), "reasonType", "x".repeat(301)),
            with(about_account(), "reason", "x".repeat(20_001)),
            with(about_account(), "reason", "\u{1F600}".repeat(2001)),
            with(about_account(), "reason", "NUL\u{0}"),
            with(about_account(), "subject", json!({ "did": "did:plc:bob" })),
            with(about_account(), "subject", json!({ "$type": "com.atproto.admin.defs#repoRef", "did": "bob" })),
            with(about_account(), "subject", json!({ "$type": "com.example.other" })),
            with(about_account(), "subject", record("at://did:plc:bob")),
            with(about_account(), "subject", record("at://bob.elsewhere.com/app.bsky.feed.post/a")),
            with(about_account(), "modTool", json!({})),
        ] {
            let refused = api.call(METHOD).bearer(&alice.access).json(&input).send().await;
            assert_eq!(refused.error(), (400, "InvalidRequest".to_owned()), "{input}");
        }
        assert_eq!(api.call(METHOD).json(&about_account()).send().await.error(), (401, "AuthMissing".to_owned()));
    }

    #[tokio::test]
    async fn a_closed_account_may_report_and_a_deleted_one_may_not() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let report = async || api.call(METHOD).bearer(&alice.access).json(&about_account()).send().await;
        seed::set_deactivated(&api.db.pool(), &alice.did, true).await;
        report().await.expect_ok();
        seed::delete_account(&api.db.pool(), &alice.did).await;
        assert_eq!(report().await.error(), (403, "AccountNotFound".to_owned()));
    }
}
