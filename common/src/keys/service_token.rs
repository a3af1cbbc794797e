//! Tokens by which an account tells another service who is asking.

use atproto::crypto::SigningKey;
use atproto::syntax::{Did, Nsid};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::{KeyError, Keys};
use crate::db::AccountId;

/// Random bytes that tell one token from another.
const ID_BYTES: usize = 16;

/// What a token says: a JWT of type `JWT`, ES256K. Source: atproto.com/specs/xrpc.
#[derive(Clone, Copy, Debug)]
pub struct ServiceToken<'a> {
    /// Whose account it is.
    pub issuer: &'a Did,
    /// The service that is asked: its DID, perhaps with `#<service id>`.
    pub audience: &'a str,
    /// The one method that may be called with it; any, if it is left out.
    pub method: Option<&'a Nsid>,
    /// From when on it is good.
    pub issued_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

impl Keys {
    /// Signs a token with the account's key; `None` if there is no such account.
    pub async fn sign_service_token(
        &self,
        account: AccountId,
        token: ServiceToken<'_>,
    ) -> Result<Option<String>, KeyError> {
        let key = self.find_signing_key(account, token.issuer).await?;
        Ok(key.map(|key| token.sign(&key)))
    }
}

impl ServiceToken<'_> {
    /// Signs it.
    pub fn sign(&self, key: &SigningKey) -> String {
        let header = json!({ "typ": "JWT", "alg": key.public_key().curve().jwt_algorithm() });
        let mut claims = json!({
            "iat": self.issued_at.timestamp(),
            "iss": self.issuer,
            "aud": self.audience,
            "exp": self.expires_at.timestamp(),
            "jti": HEXLOWER.encode(&rand::random::<[u8; ID_BYTES]>()),
        });
        if let Some(method) = self.method {
            claims["lxm"] = json!(method);
        }
        let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(part: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_says_who_asks_whom_for_what_and_is_signed() {
        let key = SigningKey::generate(&mut rand::rng());
        let alice: Did = "did:plc:alice".parse().unwrap();
        let method: Nsid = "com.atproto.server.createAccount".parse().unwrap();
        let time = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let token = ServiceToken {
            issuer: &alice,
            audience: "did:web:video.test#video",
            method: Some(&method),
            issued_at: time(1000),
            expires_at: time(1060),
        };
        let (signed, again) = (token.sign(&key), token.sign(&key));
        assert_ne!(signed, again, "each has an id of its own");
        let parts: Vec<&str> = signed.split('.').collect();
        assert_eq!(decode(parts[0]), json!({ "typ": "JWT", "alg": "ES256K" }));
        let mut claims = decode(parts[1]);
        let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
        assert_eq!(id.as_str().unwrap().len(), 2 * ID_BYTES);
        let expected = json!({
            "iss": "did:plc:alice", "aud": "did:web:video.test#video", "lxm": "com.atproto.server.createAccount",
            "iat": 1000, "exp": 1060
        });
        assert_eq!(claims, expected);
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        let message = format!("{}.{}", parts[0], parts[1]);
        key.public_key().verify(message.as_bytes(), &signature).unwrap();

        let unbound = ServiceToken { method: None, ..token }.sign(&key);
        assert!(decode(unbound.split('.').nth(1).unwrap()).get("lxm").is_none());
    }
}
