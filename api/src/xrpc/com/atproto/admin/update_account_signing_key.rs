//! `com.atproto.admin.updateAccountSigningKey`: has an account's DID name the key that the account signs with here.

use atproto::crypto::PublicKey;
use atproto::syntax::Did;
use axum::extract::State;
use common::admin::Administration;
use common::audit::Actor;
use common::lifecycle::PlcOperationError;
use serde::Deserialize;

use super::account_not_found;
use crate::auth::AdminAuth;
use crate::xrpc::{Method, XrpcBody, XrpcError};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.admin.updateAccountSigningKey");

/// Whose, and which, as a `did:key`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    did: Did,
    signing_key: String,
}

/// Only the key that this server holds for the account: with any other in its DID, nobody would believe its commits.
///
/// Reference: it does not have this method.
pub async fn handle(
    State(admin): State<Administration>,
    _auth: AdminAuth,
    XrpcBody(Input { did, signing_key }): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    let key: PublicKey = signing_key
        .parse()
        .map_err(|_| XrpcError::invalid_request("signingKey must be a did:key of a secp256k1 or P-256 key"))?;
    match admin.update_signing_key(&Actor::Admin, &did, key).await {
        Err(PlcOperationError::AccountGone) => Err(account_not_found()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::TestApi;
    use crate::xrpc::internal::rookery::admin::list_audit_log;

    #[tokio::test]
    async fn only_the_key_that_is_held_is_named() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let did: Did = alice.did.parse().unwrap();
        let key = api.plc.state(&did).unwrap().verification_methods["atproto"].clone();
        let update = async |input: Value| api.call(METHOD).admin().json(&input).send().await;
        let newest = async || api.app().sequencer.newest().await.unwrap();
        let before = newest().await;
        let other = atproto::crypto::SigningKey::generate(&mut rand::rng()).public_key().to_string();
        for input in [
            json!({ "did": did, "signingKey": other }),
            json!({ "did": did, "signingKey": "did:key:zz" }),
            json!({ "did": did, "signingKey": did }),
            json!({ "did": "did:plc:unknown", "signingKey": key }),
            json!({ "did": did }),
        ] {
            assert_eq!(update(input.clone()).await.error(), (400, "InvalidRequest".to_owned()), "{input}");
        }
        assert_eq!(newest().await, before);
        update(json!({ "did": did, "signingKey": key })).await.expect_ok();
        assert_eq!(newest().await, before + 1, "announced, though it was named already");
        let refused = api.call(METHOD).bearer(&alice.access).json(&json!({ "did": did, "signingKey": key })).send();
        assert_eq!(refused.await.error(), (401, "AuthenticationRequired".to_owned()));
        let log = api.call(list_audit_log::METHOD).admin().send().await.expect_ok();
        let outcomes: Vec<&Value> = log["entries"].as_array().unwrap().iter().map(|entry| &entry["outcome"]).collect();
        assert_eq!(outcomes, ["done", "begun", "failed", "begun"]);
        assert_eq!(log["entries"][0]["before"], json!({ "signingKey": key }));
    }
}
