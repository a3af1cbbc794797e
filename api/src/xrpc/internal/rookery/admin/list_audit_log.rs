//! `internal.rookery.admin.listAuditLog`: what operators and moderators did, the newest first.

use atproto::syntax::Datetime;
use axum::extract::State;
use chrono::DateTime;
use common::audit::{AuditLog, Entry, Filter};
use serde::{Deserialize, Serialize};

use crate::auth::AdminAuth;
use crate::xrpc::{Limit, Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("internal.rookery.admin.listAuditLog");

/// Which entries.
#[derive(Deserialize)]
pub struct Params {
    /// A DID: all that concerns this account. Else exactly this: the address of a record, an invitation code, …
    subject: Option<String>,
    actor: Option<String>,
    since: Option<Datetime>,
    #[serde(default)]
    limit: Limit<1, 1000, 100>,
    cursor: Option<i64>,
}

/// A page.
#[derive(Serialize)]
pub struct Output {
    /// There if the page is full.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    entries: Vec<Entry>,
}

/// For the operator only: a moderation service does not read what others did.
pub async fn handle(
    State(log): State<AuditLog>,
    XrpcQuery(params): XrpcQuery<Params>,
    _auth: AdminAuth,
) -> XrpcResult<Output> {
    let filter = Filter {
        subject: params.subject,
        actor: params.actor,
        since: params.since.and_then(|since| DateTime::from_timestamp_millis(since.unix_millis())),
        before: params.cursor,
    };
    let entries = log.list(&filter, params.limit.get()).await.map_err(XrpcError::internal)?;
    let last = entries.last().filter(|_| entries.len() == usize::from(params.limit.get()));
    Ok(XrpcJson(Output { cursor: last.map(|entry| entry.id.to_string()), entries }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::TestApi;
    use crate::xrpc::com::atproto::admin::{disable_account_invites, enable_account_invites};

    #[tokio::test]
    async fn acts_are_read_back_page_by_page() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let account = json!({ "account": alice.did, "note": "why" });
        api.call(disable_account_invites::METHOD).admin().json(&account).send().await.expect_ok();
        api.call(enable_account_invites::METHOD)
            .admin()
            .json(&json!({ "account": alice.did }))
            .send()
            .await
            .expect_ok();

        let list = async |params: &[(&str, &str)]| api.call(METHOD).admin().query(params).send().await.expect_ok();
        let all = list(&[("subject", &alice.did)]).await;
        let [newer, older] = &all["entries"].as_array().unwrap()[..] else { panic!("{all}") };
        assert_eq!(newer["action"], json!("account.enable_invites"));
        assert_eq!(
            *older,
            json!({
                "id": older["id"], "at": older["at"], "actor": "admin", "action": "account.disable_invites",
                "subject": alice.did, "did": alice.did, "outcome": "done",
                "before": { "invitesDisabled": false }, "after": { "invitesDisabled": true, "note": "why" }
            })
        );
        let first = list(&[("limit", "1")]).await;
        assert_eq!(first["entries"], json!([newer]));
        let second = list(&[("limit", "1"), ("cursor", first["cursor"].as_str().unwrap())]).await;
        assert_eq!(second["entries"], json!([older]));
        assert_eq!(list(&[("actor", "command:root")]).await, json!({ "entries": [] }));
        assert_eq!(list(&[("since", "2100-01-01T00:00:00Z")]).await, json!({ "entries": [] }));
    }

    #[tokio::test]
    async fn only_the_operator_reads_it() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let refused = (401, "AuthenticationRequired".to_owned());
        assert_eq!(api.call(METHOD).send().await.error(), refused);
        assert_eq!(api.call(METHOD).bearer(&alice.access).send().await.error(), refused);
        let bad = api.call(METHOD).admin().query(&[("since", "yesterday")]).send().await;
        assert_eq!(bad.error(), (400, "InvalidRequest".to_owned()));
    }
}
