//! A key management service inside the test's process.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use atproto::crypto::{Curve, PublicKey};
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use k256::ecdsa::signature::hazmat::PrehashSigner as _;
use k256::ecdsa::{Signature, SigningKey};
use k256::pkcs8::EncodePublicKey as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Speaks as much of the protocol of AWS KMS as signing takes, checks the signatures of requests, and fails on demand. It
/// answers with the signature that has the higher s, as the real one does every other time. Dropping it stops it.
#[derive(Debug)]
pub struct FakeKms {
    service: Arc<Service>,
    url: String,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Service {
    key: SigningKey,
    is_down: AtomicBool,
    calls: Mutex<Vec<String>>,
}

/// Name and text of an error.
type Refusal = (&'static str, &'static str);

impl FakeKms {
    /// The region it is in.
    pub const REGION: &'static str = "eu-test-1";
    /// Who may call.
    pub const ACCESS_KEY_ID: &'static str = "AKIDTEST";
    /// With which secret.
    pub const SECRET_ACCESS_KEY: &'static str = "a secret of tests";
    /// A key of the right kind.
    pub const KEY_ID: &'static str = "alias/rotation";
    /// A key of another kind.
    pub const P256_KEY_ID: &'static str = "alias/other";

    /// Starts with new keys on a free port.
    ///
    /// # Panics
    /// If no port of the loopback interface is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
        let secret = atproto::crypto::SigningKey::generate(&mut rand::rng()).to_bytes();
        let key = SigningKey::from_slice(&*secret).expect("a secret key");
        let service = Arc::new(Service { key, is_down: AtomicBool::default(), calls: Mutex::default() });
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&service));
        // It ends by being aborted.
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serving") });
        Self { service, url, server }
    }

    /// Its address, for `AWS_ENDPOINT_URL_KMS`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The public half of its key.
    ///
    /// # Panics
    /// Never: its key is one.
    pub fn public_key(&self) -> PublicKey {
        let point = self.service.key.verifying_key().to_sec1_point(true);
        PublicKey::from_sec1(Curve::K256, point.as_bytes()).expect("a public key")
    }

    /// What it was asked, as far as it answered.
    pub fn calls(&self) -> Vec<String> {
        self.service.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on answers everything with 500, or works again.
    pub fn set_down(&self, down: bool) {
        self.service.is_down.store(down, Ordering::SeqCst);
    }
}

impl Drop for FakeKms {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(Shared(service): Shared<Arc<Service>>, headers: HeaderMap, body: Bytes) -> Response {
    if service.is_down.load(Ordering::SeqCst) {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "__type": "KMSInternalException" }))).into_response();
    }
    match service.answer(&headers, &body) {
        Ok(answer) => Json(answer).into_response(),
        Err((name, message)) => {
            (StatusCode::BAD_REQUEST, Json(json!({ "__type": name, "message": message }))).into_response()
        }
    }
}

impl Service {
    fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
        check_signature(headers, body)
            .ok_or(("InvalidSignatureException", "The request is not signed as it must be"))?;
        let target = header(headers, "x-amz-target").and_then(|target| target.strip_prefix("TrentService."));
        let target = target.ok_or(("UnknownOperationException", "No such operation"))?;
        let input: Value = serde_json::from_slice(body).map_err(|_| ("SerializationException", "No JSON"))?;
        let answer = match target {
            "GetPublicKey" => self.public_key(&input)?,
            "Sign" => self.sign(&input)?,
            _ => return Err(("UnknownOperationException", "No such operation")),
        };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(target.to_owned());
        Ok(answer)
    }

    fn public_key(&self, input: &Value) -> Result<Value, Refusal> {
        let spec = match input["KeyId"].as_str() {
            Some(FakeKms::KEY_ID) => "ECC_SECG_P256K1",
            Some(FakeKms::P256_KEY_ID) => "ECC_NIST_P256",
            _ => return Err(("NotFoundException", "No such key")),
        };
        let der = self.key.verifying_key().to_public_key_der().map_err(|_| ("KMSInternalException", "No DER"))?;
        Ok(json!({ "KeyId": input["KeyId"], "KeySpec": spec, "PublicKey": STANDARD.encode(der.as_bytes()) }))
    }

    fn sign(&self, input: &Value) -> Result<Value, Refusal> {
        let asked = [&input["KeyId"], &input["MessageType"], &input["SigningAlgorithm"]];
        if asked != [FakeKms::KEY_ID, "DIGEST", "ECDSA_SHA_256"] {
            return Err(("ValidationException", "Only one kind of signature is made here"));
        }
        let digest = input["Message"].as_str().and_then(|text| STANDARD.decode(text).ok());
        let digest = digest.filter(|digest| digest.len() == 32).ok_or(("ValidationException", "No digest"))?;
        let signature: Signature = self.key.sign_prehash(&digest).map_err(|_| ("KMSInternalException", "No luck"))?;
        let (r, s) = signature.normalize_s().split_scalars();
        let high = Signature::from_scalars(r, -s).map_err(|_| ("KMSInternalException", "No luck"))?;
        Ok(json!({ "KeyId": input["KeyId"], "Signature": STANDARD.encode(high.to_der().as_bytes()) }))
    }
}

/// Checks a request's signature, version 4.
///
/// Source: docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html.
fn check_signature(headers: &HeaderMap, body: &[u8]) -> Option<()> {
    let authorization = header(headers, "authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let part = |name: &str| authorization.split(", ").find_map(|part| part.strip_prefix(name));
    let (credential, signed, signature) = (part("Credential=")?, part("SignedHeaders=")?, part("Signature=")?);
    let (access_key, scope) = credential.split_once('/')?;
    let time = header(headers, "x-amz-date")?;
    let date = time.get(..8)?;
    if access_key != FakeKms::ACCESS_KEY_ID || scope != format!("{date}/{}/kms/aws4_request", FakeKms::REGION) {
        return None;
    }
    if ["host", "x-amz-date", "x-amz-target"].iter().any(|name| !signed.split(';').any(|found| found == *name)) {
        return None;
    }
    let lines: Option<String> =
        signed.split(';').map(|name| Some(format!("{name}:{}\n", header(headers, name)?.trim()))).collect();
    let request = format!("POST\n/\n\n{}\n{signed}\n{}", lines?, hex(&Sha256::digest(body)));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let mut key = format!("AWS4{}", FakeKms::SECRET_ACCESS_KEY).into_bytes();
    for step in [date, FakeKms::REGION, "kms", "aws4_request", text.as_str()] {
        key = keyed_hash(&key, step)?;
    }
    (hex(&key) == signature).then_some(())
}

fn keyed_hash(key: &[u8], text: &str) -> Option<Vec<u8>> {
    let mut hash = Hmac::<Sha256>::new_from_slice(key).ok()?;
    hash.update(text.as_bytes());
    Some(hash.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
