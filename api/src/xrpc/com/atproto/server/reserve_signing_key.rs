//! `com.atproto.server.reserveSigningKey`: a key for an account that is to come here.

use atproto::{crypto::PublicKey, syntax::Did};
use axum::extract::State;
use common::keys::Keys;
use serde::{Deserialize, Serialize};

use crate::xrpc::{Method, XrpcBody, XrpcError, XrpcJson, XrpcResult, present};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.reserveSigningKey");

/// Who is to come.
#[derive(Deserialize)]
pub struct Input {
    #[serde(default, deserialize_with = "present")]
    did: Option<Did>,
}

/// What to put into the DID.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    signing_key: PublicKey,
}

/// Anybody may ask. A DID gets the same key each time, for thirty days from the last time, unless so many ask that there is
/// no room for all (see `common::keys::MAX_RESERVED`).
pub async fn handle(State(keys): State<Keys>, XrpcBody(input): XrpcBody<Input>) -> XrpcResult<Output> {
    let signing_key = keys.reserve(input.did.as_ref()).await.map_err(XrpcError::internal)?;
    Ok(XrpcJson(Output { signing_key }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::TestApi;

    #[tokio::test]
    async fn a_did_gets_the_same_key_everywhere_and_others_get_others() {
        let api = TestApi::start_with(2, |_| {}).await;
        let reserve = async |replica: usize, input: Value| {
            let output = api.call_on(replica, METHOD).json(&input).send().await.expect_ok();
            output["signingKey"].as_str().unwrap().parse::<PublicKey>().unwrap()
        };
        let alice = json!({ "did": "did:plc:alice" });
        let key = reserve(0, alice.clone()).await;
        assert_eq!(reserve(1, alice).await, key);
        assert_ne!(reserve(1, json!({ "did": "did:plc:bob" })).await, key);
        assert_ne!(reserve(0, json!({})).await, reserve(0, json!({})).await);
        for bad in [json!({ "did": "alice" }), json!({ "did": null }), json!({ "did": "did:plc:a\0" })] {
            assert_eq!(api.call(METHOD).json(&bad).send().await.error(), (400, "InvalidRequest".to_owned()), "{bad}");
        }
    }
}
