//! `crypto/`: `did:key` texts of known secrets, and signatures that must or must not verify.

use atproto::crypto::{PublicKey, SigningKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use data_encoding::HEXLOWER;
use serde::Deserialize;

use crate::vectors;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignatureFixture {
    comment: String,
    message_base64: String,
    public_key_did: PublicKey,
    public_key_multibase: String,
    signature_base64: String,
    valid_signature: bool,
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct K256Fixture {
    private_key_bytes_hex: String,
    public_did_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct P256Fixture {
    private_key_bytes_base58: String,
    public_did_key: PublicKey,
}

#[test]
fn signatures_verify_only_in_the_allowed_form() {
    for fixture in vectors::<SignatureFixture>("crypto/signature-fixtures.json") {
        let message = STANDARD_NO_PAD.decode(&fixture.message_base64).unwrap();
        let signature = STANDARD_NO_PAD.decode(&fixture.signature_base64).unwrap();
        let key = fixture.public_key_did;
        assert_eq!(key.verify(&message, &signature).is_ok(), fixture.valid_signature, "{}", fixture.comment);
        let high_s = fixture.tags.iter().any(|tag| tag == "high-s");
        let malleable = key.verify_malleable(&message, &signature).is_ok();
        assert_eq!(malleable, fixture.valid_signature || high_s, "{}", fixture.comment);
        assert_eq!(PublicKey::from_bare_multibase(key.curve(), &fixture.public_key_multibase), Ok(key));
    }
}

#[test]
fn secp256k1_did_keys() {
    for fixture in vectors::<K256Fixture>("crypto/w3c_didkey_K256.json") {
        let secret = HEXLOWER.decode(fixture.private_key_bytes_hex.as_bytes()).unwrap();
        let key = SigningKey::from_bytes(&secret).unwrap().public_key();
        assert_eq!(key.to_string(), fixture.public_did_key);
        assert_eq!(fixture.public_did_key.parse(), Ok(key));
    }
}

#[test]
fn p256_did_keys() {
    for fixture in vectors::<P256Fixture>("crypto/w3c_didkey_P256.json") {
        let secret = multibase::Base::Base58Btc.decode(&fixture.private_key_bytes_base58).unwrap();
        let secret = p256::ecdsa::SigningKey::from_slice(&secret).unwrap();
        let point = secret.verifying_key().to_sec1_point(true);
        assert_eq!(fixture.public_did_key.to_sec1(), point.as_bytes());
    }
}
