//! `com.atproto.server.describeServer`: what a client must know before it signs up or in.

use std::sync::Arc;

use atproto::syntax::Did;
use axum::extract::State;
use common::config::Config;
use serde::Serialize;

use crate::xrpc::{Method, XrpcJson, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.server.describeServer");

/// What the server says of itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    did: Did,
    available_user_domains: Vec<String>,
    invite_code_required: bool,
    /// Beyond the lexicon; the reference adds it too. Bytes.
    blob_upload_limit: u64,
    links: Links,
    contact: Contact,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Links {
    #[serde(skip_serializing_if = "Option::is_none")]
    privacy_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms_of_service: Option<String>,
}

#[derive(Serialize)]
struct Contact {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

/// Answers from the configuration alone.
pub async fn handle(State(config): State<Arc<Config>>) -> XrpcResult<Output> {
    let service = &config.service;
    Ok(XrpcJson(Output {
        did: service.did.clone(),
        available_user_domains: config.identity.service_handle_domains.clone(),
        invite_code_required: config.invites.required,
        blob_upload_limit: service.blob_upload_limit,
        links: Links {
            privacy_policy: service.privacy_policy_url.clone(),
            terms_of_service: service.terms_of_service_url.clone(),
        },
        contact: Contact { email: service.contact_email_address.clone() },
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn unset_links_and_contact_are_empty_objects() {
        let mut config = Config::for_tests();
        config.service.terms_of_service_url = Some("https://pds.test/tos".to_owned());
        let XrpcJson(output) = handle(State(Arc::new(config))).await.unwrap();
        let expected = json!({
            "did": "did:web:localhost",
            "availableUserDomains": [".test"],
            "inviteCodeRequired": false,
            "blobUploadLimit": 5_242_880,
            "links": {"termsOfService": "https://pds.test/tos"},
            "contact": {},
        });
        assert_eq!(serde_json::to_value(output).unwrap(), expected);
    }
}
