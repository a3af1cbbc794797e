//! Tokens of other servers' users and of a moderation service, genuine and forged.

use std::time::Duration;

use atproto::crypto::SigningKey;
use atproto::identity::plc::{State, UnsignedOperation};
use atproto::syntax::Did;
use axum::extract::FromRequestParts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::config::UpstreamService;
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::{ModerationServiceAuth, OptionalServiceAuth};
use crate::state::AppState;
use crate::testing::TestApi;
use crate::xrpc::{Method, XrpcError};

const METHOD: Method = Method::procedure("com.atproto.server.createAccount");
/// A P-256 key, and its public half.
const P256_SECRET: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7+qx7MPz6wIuTJX3\n\
    jeOrNz2EBOt+/AR3mDpBREjKWgihRANCAARTW+kyT+ZHA0JP8VEInAlL2XNfrP4L\n\
    UObqL0WHPZNAdgfONX70dAzqI5Ve6F0O1+nj9QV52acs1m4TVmz5QodU\n\
    -----END PRIVATE KEY-----";
const P256_PUBLIC: &str = "did:key:zDnaeW3NAuTchipNwbCDF1Uek73AhM66DdHUP2deQbdFBzmED";

/// Somebody with a DID of another server's.
struct Stranger {
    did: Did,
    key: SigningKey,
    label_key: SigningKey,
    state: State,
    genesis: atproto::identity::plc::Operation,
}

impl Stranger {
    fn new() -> Self {
        let [key, label_key] = [0, 1].map(|_| SigningKey::generate(&mut rand::rng()));
        let handle = "stranger.test".parse().unwrap();
        let mut state = State::for_account(&[key.public_key()], &key.public_key(), &handle, "https://elsewhere.test");
        state.verification_methods.insert("atproto_label".to_owned(), label_key.public_key().to_string());
        let genesis = UnsignedOperation::genesis(state.clone()).sign(&key).unwrap();
        Self { did: genesis.did().unwrap(), key, label_key, state, genesis }
    }

    /// A server that can look the stranger's DID up and trusts it to moderate.
    async fn known_to_a_server(&self) -> TestApi {
        let api = TestApi::start_with(1, |config| {
            let url = "https://mod.test".parse().unwrap();
            config.upstreams.mod_service = Some(UpstreamService { url, did: self.did.clone() });
        })
        .await;
        api.plc.submit(&self.did, self.genesis.clone());
        api
    }

    fn claims(&self, api: &TestApi) -> Value {
        let now = api.clock.now().timestamp();
        json!({ "iss": self.did, "aud": "did:web:localhost", "lxm": METHOD.nsid(), "iat": now, "exp": now + 60 })
    }

    /// Changes a key of the DID.
    fn set_key(&self, api: &TestApi, id: &str, key: &str) {
        let mut state = self.state.clone();
        state.verification_methods.insert(id.to_owned(), key.to_owned());
        let prev = Some(api.plc.operations(&self.did).last().unwrap().cid().unwrap());
        api.plc.submit(&self.did, UnsignedOperation::Update { state, prev }.sign(&self.key).unwrap());
    }
}

fn header() -> Value {
    json!({ "typ": "JWT", "alg": "ES256K" })
}

fn with(json: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut changed = json.clone();
    changed[name] = value.into();
    changed
}

fn without(json: &Value, name: &str) -> Value {
    let mut changed = json.clone();
    changed.as_object_mut().unwrap().remove(name);
    changed
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn sign(header: &Value, claims: &Value, key: &SigningKey) -> String {
    let message = message(header, claims);
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

async fn extract<A>(api: &TestApi, authorization: Option<&str>) -> Result<A, String>
where
    A: FromRequestParts<AppState, Rejection = XrpcError>,
{
    let mut request = Request::builder().extension(METHOD);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let result = A::from_request_parts(&mut parts, api.app()).await;
    result.map_err(|error| format!("{} {}", error.status.as_u16(), error.name))
}

async fn caller(api: &TestApi, token: &str) -> Result<Did, String> {
    let OptionalServiceAuth(did) = extract(api, Some(&format!("Bearer {token}"))).await?;
    Ok(did.unwrap())
}

async fn moderator(api: &TestApi, token: &str) -> Result<Did, String> {
    extract(api, Some(&format!("Bearer {token}"))).await.map(|ModerationServiceAuth(did)| did)
}

#[tokio::test]
async fn a_genuine_token_says_who_calls_and_nobody_need_have_one() {
    let stranger = Stranger::new();
    let api = stranger.known_to_a_server().await;
    let claims = stranger.claims(&api);
    let genuine = sign(&header(), &claims, &stranger.key);
    assert_eq!(caller(&api, &genuine).await, Ok(stranger.did.clone()));
    // Its type is optional, and how long it lasts is the issuer's to say.
    let long = sign(&without(&header(), "typ"), &with(&claims, "exp", 9_999_999_999_i64), &stranger.key);
    assert_eq!(caller(&api, &long).await, Ok(stranger.did.clone()));
    assert_eq!(extract::<OptionalServiceAuth>(&api, None).await, Ok(OptionalServiceAuth(None)));
    for other in ["Basic YWRtaW46eA==", "DPoP x"] {
        let refused = extract::<OptionalServiceAuth>(&api, Some(other)).await;
        assert_eq!(refused, Err("401 AuthenticationRequired".to_owned()), "{other}");
    }
    api.clock.advance(Duration::from_mins(1));
    assert_eq!(caller(&api, &genuine).await, Err("401 JwtExpired".to_owned()));
}

#[tokio::test]
async fn a_forged_or_misdirected_token_is_refused_for_what_is_wrong_first() {
    let stranger = Stranger::new();
    let api = stranger.known_to_a_server().await;
    let (claims, key) = (stranger.claims(&api), &stranger.key);
    let genuine = sign(&header(), &claims, key);
    let (signed, signature) = genuine.rsplit_once('.').unwrap();
    let other_key = SigningKey::generate(&mut rand::rng());
    let unknown = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
    for (what, token, name) in [
        ("no token", String::new(), "BadJwt"),
        ("two parts", signed.to_owned(), "BadJwt"),
        ("four parts", format!("{genuine}.x"), "BadJwt"),
        ("no JSON", format!("eA.eA.{signature}"), "BadJwt"),
        ("no base64", format!("!.!.{signature}"), "BadJwt"),
        ("signature of no base64", format!("{signed}.!"), "BadJwt"),
        ("header without alg", sign(&json!({}), &claims, key), "BadJwt"),
        ("claims of wrong types", sign(&header(), &with(&claims, "exp", "soon"), key), "BadJwt"),
        ("no issuer", sign(&header(), &without(&claims, "iss"), key), "BadJwt"),
        ("no expiry", sign(&header(), &without(&claims, "exp"), key), "BadJwt"),
        ("access token", sign(&with(&header(), "typ", "at+jwt"), &with(&claims, "exp", 0), key), "BadJwtType"),
        ("refresh token", sign(&with(&header(), "typ", "refresh+jwt"), &claims, key), "BadJwtType"),
        ("DPoP proof", sign(&with(&header(), "typ", "dpop+jwt"), &claims, key), "BadJwtType"),
        ("expired", sign(&header(), &with(&with(&claims, "exp", 0), "lxm", "x"), key), "JwtExpired"),
        (
            "other method",
            sign(&header(), &with(&claims, "lxm", "com.atproto.repo.uploadBlob"), key),
            "BadJwtLexiconMethod",
        ),
        ("any method", sign(&header(), &without(&claims, "lxm"), key), "BadJwtLexiconMethod"),
        ("issuer no DID", sign(&header(), &with(&claims, "iss", "stranger.test"), key), "BadJwtIss"),
        ("issuer unknown", sign(&header(), &with(&claims, "iss", unknown), key), "BadJwtIss"),
        ("issuer of another method", sign(&header(), &with(&claims, "iss", "did:key:zabc"), key), "BadJwtIss"),
        (
            "a service of the issuer",
            sign(&header(), &with(&claims, "iss", format!("{}#x", stranger.did)), key),
            "UntrustedIss",
        ),
        (
            "other service and key",
            sign(&header(), &with(&claims, "aud", "did:web:other.test"), &other_key),
            "BadJwtAudience",
        ),
        ("other key", sign(&header(), &claims, &other_key), "BadJwtSignature"),
        ("key for labels", sign(&header(), &claims, &stranger.label_key), "BadJwtSignature"),
        ("alg of another curve", sign(&with(&header(), "alg", "ES256"), &claims, key), "BadJwtSignature"),
        ("alg none", sign(&with(&header(), "alg", "none"), &claims, key), "BadJwtSignature"),
        ("no signature", format!("{signed}."), "BadJwtSignature"),
        ("other service", sign(&header(), &with(&claims, "aud", "did:web:other.test"), key), "BadJwtAudience"),
        (
            "a service of this server",
            sign(&header(), &with(&claims, "aud", "did:web:localhost#pds"), key),
            "BadJwtAudience",
        ),
    ] {
        assert_eq!(caller(&api, &token).await, Err(format!("401 {name}")), "{what}");
    }
}

/// Whoever writes tokens in others' names has to pay for what looking their documents up costs.
#[tokio::test]
async fn forged_tokens_make_nobody_ask_for_documents_for_free() {
    const UPLOAD: Method = Method::procedure("com.atproto.repo.uploadBlob");
    let stranger = Stranger::new();
    let api = TestApi::start_with(1, |config| {
        config.rate_limit.enabled = true;
        config.rate_limit.points = [("global".to_owned(), 3)].into();
    });
    let api = api.await;
    let claims = with(&stranger.claims(&api), "lxm", UPLOAD.nsid());
    let forged = |claims: &Value| sign(&header(), claims, &SigningKey::generate(&mut rand::rng()));
    let upload = async |client: &str, claims: &Value| {
        let call = api.call(UPLOAD).header("x-forwarded-for", client).bearer(&forged(claims));
        call.bytes("text/plain", "x").send().await.error()
    };
    let elsewhere = with(&claims, "aud", "did:web:other.test");
    assert_eq!(upload("192.0.2.1", &elsewhere).await, (401, "BadJwtAudience".to_owned()));
    assert_eq!(api.plc.documents_served(), 0, "what is for another server is nobody's business here");
    for _ in 0..3 {
        assert_eq!(upload("192.0.2.2", &claims).await, (401, "BadJwtIss".to_owned()));
    }
    let asked = api.plc.documents_served();
    assert!(asked > 0);
    for _ in 0..3 {
        assert_eq!(upload("192.0.2.2", &claims).await, (429, "RateLimitExceeded".to_owned()));
    }
    assert_eq!(api.plc.documents_served(), asked);
}

#[tokio::test]
async fn a_key_that_has_just_changed_is_looked_up_anew() {
    let stranger = Stranger::new();
    let api = stranger.known_to_a_server().await;
    let claims = stranger.claims(&api);
    assert!(caller(&api, &sign(&header(), &claims, &stranger.key)).await.is_ok());
    let new_key = SigningKey::generate(&mut rand::rng());
    let new = sign(&header(), &claims, &new_key);
    assert_eq!(caller(&api, &new).await, Err("401 BadJwtSignature".to_owned()));
    stranger.set_key(&api, "atproto", &new_key.public_key().to_string());
    assert_eq!(caller(&api, &new).await, Ok(stranger.did.clone()));
    assert_eq!(caller(&api, &sign(&header(), &claims, &stranger.key)).await, Err("401 BadJwtSignature".to_owned()));
    // While the directory is away, a remembered key will do.
    api.plc.set_down(true);
    assert!(caller(&api, &new).await.is_ok());
}

#[tokio::test]
async fn keys_of_both_curves_sign() {
    let stranger = Stranger::new();
    let api = stranger.known_to_a_server().await;
    stranger.set_key(&api, "atproto", P256_PUBLIC);
    let message = message(&with(&header(), "alg", "ES256"), &stranger.claims(&api));
    let key = EncodingKey::from_ec_pem(P256_SECRET.as_bytes()).unwrap();
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).unwrap();
    assert_eq!(caller(&api, &format!("{message}.{signature}")).await, Ok(stranger.did.clone()));
}

#[tokio::test]
async fn moderators_are_the_trusted_service_and_its_labeler() {
    let (trusted, other) = (Stranger::new(), Stranger::new());
    let api = trusted.known_to_a_server().await;
    api.plc.submit(&other.did, other.genesis.clone());
    let (claims, others) = (trusted.claims(&api), other.claims(&api));
    let labeler = with(&claims, "iss", format!("{}#atproto_labeler", trusted.did));
    for (what, token, expected) in [
        ("the service", sign(&header(), &claims, &trusted.key), Ok(())),
        ("its labeler", sign(&header(), &labeler, &trusted.label_key), Ok(())),
        ("its labeler with the other key", sign(&header(), &labeler, &trusted.key), Err("401 BadJwtSignature")),
        (
            "the service with the labeler's key",
            sign(&header(), &claims, &trusted.label_key),
            Err("401 BadJwtSignature"),
        ),
        (
            "another service of it",
            sign(&header(), &with(&claims, "iss", format!("{}#x", trusted.did)), &trusted.key),
            Err("401 UntrustedIss"),
        ),
        ("somebody else", sign(&header(), &others, &other.key), Err("401 UntrustedIss")),
    ] {
        let found = moderator(&api, &token).await;
        assert_eq!(found, expected.map(|()| trusted.did.clone()).map_err(str::to_owned), "{what}");
    }
    let operator = extract::<ModerationServiceAuth>(&api, Some("Basic YWRtaW46eA==")).await;
    assert_eq!(operator, Err("400 InvalidToken".to_owned()));
}

#[tokio::test]
async fn a_moderation_service_acts_under_its_own_name_where_it_may() {
    let stranger = Stranger::new();
    let api = stranger.known_to_a_server().await;
    let alice = api.create_account("alice").await;
    let token = |nsid: &str| sign(&header(), &with(&stranger.claims(&api), "lxm", nsid), &stranger.key);
    let post = async |nsid: &'static str, input: &Value| {
        api.call(Method::procedure(nsid)).bearer(&token(nsid)).json(input).send().await
    };
    let get = async |nsid: &'static str, params: &[(&str, &str)]| {
        api.call(Method::query(nsid)).bearer(&token(nsid)).query(params).send().await
    };
    let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": alice.did });
    let takedown = json!({ "subject": subject, "takedown": { "applied": true } });
    post("com.atproto.admin.updateSubjectStatus", &takedown).await.expect_ok();
    let entries = api.app().audit.list(&common::audit::Filter::default(), 10).await.unwrap();
    assert!(entries.len() == 1 && entries.iter().all(|entry| entry.actor == stranger.did.as_str()), "{entries:?}");
    let status = get("com.atproto.admin.getSubjectStatus", &[("did", &alice.did)]).await.expect_ok();
    assert_eq!(status["takedown"]["applied"], json!(true));

    let preferences = "app.bsky.actor.getPreferences";
    assert_eq!(get(preferences, &[("did", &alice.did)]).await.expect_ok(), json!({ "preferences": [] }));
    assert_eq!(get(preferences, &[]).await.error(), (400, "InvalidRequest".to_owned()));
    assert_eq!(get(preferences, &[("did", "did:plc:unknown")]).await.error(), (403, "AccountNotFound".to_owned()));
    let deletion = post("com.atproto.admin.deleteAccount", &json!({ "did": alice.did })).await;
    assert_eq!(deletion.error(), (401, "AuthenticationRequired".to_owned()), "that is for the operator");
    let other = api.call(Method::query(preferences)).bearer(&token("com.atproto.admin.sendEmail"));
    let other = other.query(&[("did", &alice.did)]).send().await;
    assert_ne!(other.status, 200, "a token is for one method");
}
