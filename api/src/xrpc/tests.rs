//! The framework's rules, on methods made for the purpose.

use std::{collections::HashSet, io::Write};

use async_compression::Level;
use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts, Request},
    response::Response,
};
use common::{clock::Clock, config::Config, db};
use futures_util::TryStreamExt;
use http::{HeaderValue, StatusCode, header, request::Parts};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::*;
use crate::state::AppState;

#[derive(Deserialize)]
struct Params {
    name: String,
}

#[derive(Deserialize, Serialize)]
struct Input {
    text: String,
}

/// Stands for authentication: refuses callers who have no header, and adds a header to the answer.
struct Auth;

impl<S: Sync> FromRequestParts<S> for Auth {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, XrpcError> {
        let headers = ResponseHeaders::of(&parts.extensions);
        headers.mark_private();
        headers.insert(http::HeaderName::from_static("dpop-nonce"), HeaderValue::from_static("n1"));
        if parts.headers.contains_key(header::AUTHORIZATION) {
            Ok(Self)
        } else {
            Err(XrpcError::unauthorized("AuthMissing", "Authentication Required"))
        }
    }
}

async fn query(XrpcQuery(Params { name }): XrpcQuery<Params>) -> XrpcResult<Value> {
    Ok(XrpcJson(json!({ "name": name })))
}

async fn procedure(_: XrpcQuery<Params>, _: Auth, XrpcBody(input): XrpcBody<Input>) -> XrpcResult<Input> {
    Ok(XrpcJson(input))
}

/// Input with a part of any shape, as records are.
#[derive(Deserialize)]
struct Shapeless {
    text: String,
    #[serde(default)]
    any: Value,
}

async fn echo(XrpcBody(Shapeless { text, any }): XrpcBody<Shapeless>) -> XrpcResult<Input> {
    drop(any);
    Ok(XrpcJson(Input { text }))
}

async fn without_input(_: Auth, _: NoInput) -> Result<(), XrpcError> {
    Ok(())
}

async fn stream(input: XrpcStream) -> XrpcResult<usize> {
    let pieces: Vec<_> = input.limited(10)?.try_collect().await?;
    Ok(XrpcJson(pieces.iter().map(bytes::Bytes::len).sum()))
}

fn dispatcher() -> Dispatcher {
    let config = Config::for_tests();
    let settings = db::PoolSettings {
        url: config.database.url.clone(),
        max_connections: 1,
        acquire_timeout: std::time::Duration::from_secs(1),
    };
    let database = db::connect(&settings, "test").unwrap();
    let state = AppState::new(config, Clock::system(), database).unwrap();
    let mut routes = Routes::default();
    routes.add(Method::query("com.example.getThing"), query);
    routes.add(Method::procedure("com.example.putThing").body_limit(100), procedure);
    routes.add(Method::procedure("com.example.touch"), without_input);
    routes.add(Method::procedure("com.example.echo"), echo);
    routes.add(Method::procedure("com.example.upload"), stream);
    routes.add(Method::subscription("com.example.watch"), query);
    routes.with_state(&state)
}

async fn send(verb: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut request = Request::builder().method(verb).uri(format!("/xrpc/{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).unwrap();
    let name = target.split('?').next().unwrap();
    dispatcher().dispatch(name, request).await
}

async fn outcome(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 10_000).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn get(target: &str) -> (u16, Value) {
    outcome(send("GET", target, &[], Body::empty()).await).await
}

/// Calls putThing with everything right but what the test changes.
async fn put(headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, Value) {
    let all = [&[("authorization", "Bearer x")], headers].concat();
    outcome(send("POST", "com.example.putThing?name=a", &all, body).await).await
}

fn refusal(name: &str, message: &str) -> Value {
    json!({ "error": name, "message": message })
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn every_method_is_registered_once_under_a_valid_name() {
    let mut seen = HashSet::new();
    for method in routes().methods() {
        method.nsid().parse::<atproto::syntax::Nsid>().unwrap();
        assert!(seen.insert(method.nsid().to_ascii_lowercase()), "{} is registered twice", method.nsid());
    }
}

#[tokio::test]
async fn names_match_without_regard_to_case_and_with_a_trailing_slash() {
    let expected = (200, json!({"name": "a"}));
    assert_eq!(get("com.example.getThing?name=a").await, expected);
    assert_eq!(get("COM.example.GETTHING?name=a").await, expected);
    assert_eq!(get("com.example.getThing/?name=a").await, expected);
}

#[tokio::test]
async fn unknown_and_invalid_names() {
    let not_here = (501, refusal("MethodNotImplemented", "Method Not Implemented"));
    assert_eq!(get("com.example.getOther").await, not_here);
    let invalid = (400, refusal("InvalidRequest", "invalid xrpc path"));
    for path in ["getThing", "com.example.get-Thing!", "com.example.getThing/more", "com..getThing"] {
        assert_eq!(get(path).await, invalid, "{path}");
    }
}

#[tokio::test]
async fn verbs_must_fit_the_method() {
    let expect = |verb: &str, other: &str| {
        (400, refusal("InvalidRequest", &format!("Incorrect HTTP method ({verb}) expected {other}")))
    };
    let post_query = outcome(send("POST", "com.example.getThing?name=a", &[], Body::empty()).await).await;
    assert_eq!(post_query, expect("POST", "GET"));
    assert_eq!(get("com.example.putThing").await, expect("GET", "POST"));
    let head = send("HEAD", "com.example.getThing?name=a", &[], Body::empty()).await;
    assert_eq!(head.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_subscription_without_upgrade_is_not_ours() {
    assert_eq!(get("com.example.watch?name=a").await.0, 501);
    let upgrade = send("GET", "com.example.watch?name=a", &[("upgrade", "WebSocket")], Body::empty()).await;
    assert_eq!(upgrade.status(), StatusCode::OK);
}

#[tokio::test]
async fn bad_parameters_name_the_method() {
    let expected = refusal("InvalidRequest", "Invalid com.example.getThing params: missing field `name`");
    assert_eq!(get("com.example.getThing?name=").await, (400, expected));
}

#[tokio::test]
async fn query_comes_before_auth_and_auth_before_body() {
    let all_wrong = outcome(send("POST", "com.example.putThing", &[], Body::empty()).await).await;
    assert_eq!(all_wrong.0, 400);
    assert!(all_wrong.1["message"].as_str().unwrap().contains("params"), "{all_wrong:?}");
    let no_auth = outcome(send("POST", "com.example.putThing?name=a", &[], Body::empty()).await).await;
    assert_eq!(no_auth, (401, refusal("AuthMissing", "Authentication Required")));
    let (status, error) = put(&[], Body::empty()).await;
    assert_eq!((status, error), (400, refusal("InvalidRequest", "A request body is expected but none was provided")));
}

#[tokio::test]
async fn headers_of_extractors_are_on_every_answer() {
    for (authorization, status) in [(None, 401), (Some(("authorization", "x")), 200)] {
        let headers: Vec<_> = authorization.into_iter().collect();
        let response = send("POST", "com.example.touch", &headers, Body::empty()).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "private");
        assert_eq!(response.headers()[header::VARY], "authorization");
        assert_eq!(response.headers()["dpop-nonce"], "n1");
    }
}

#[tokio::test]
async fn json_bodies() {
    let body = r#"{"text":"hi"}"#;
    assert_eq!(put(&[JSON], body).await, (200, json!({"text": "hi"})));
    assert_eq!(put(&[("content-type", "Application/JSON; charset=utf-8")], body).await.0, 200);
    let cases = [
        (vec![], body, "Request encoding (Content-Type) required but not provided"),
        (vec![("content-type", "text/plain")], body, "Wrong request encoding (Content-Type): text/plain"),
        (vec![JSON], "{}", "Invalid com.example.putThing input: missing field `text` at line 1 column 2"),
        (
            vec![JSON, ("content-length", "0")],
            "",
            "Invalid com.example.putThing input: missing field `text` at line 1 column 2",
        ),
        (vec![JSON], "{", "Malformed JSON: EOF while parsing an object at line 1 column 1"),
    ];
    for (headers, body, message) in cases {
        assert_eq!(put(&headers, body).await, (400, refusal("InvalidRequest", message)));
    }
}

#[tokio::test]
async fn hostile_json() {
    let nested = |open: &str, close: &str, levels| format!("{}1{}", open.repeat(levels), close.repeat(levels));
    let beside = |value: &str| format!(r#"{{"text":"hi","any":{value}}}"#).into_bytes();
    let ignored = |value: &str| format!(r#"{{"text":"hi","ignored":{value}}}"#).into_bytes();
    let cases: Vec<(Vec<u8>, Result<&str, &str>)> = vec![
        (br#"{"text":"\u0000"}"#.to_vec(), Ok("\0")),
        (br#"{"text":"\ud83d\ude00"}"#.to_vec(), Ok("\u{1f600}")),
        (beside(&nested("[", "]", 100)), Ok("hi")),
        (beside(&nested("[", "]", 200)), Err("Malformed JSON: recursion limit exceeded")),
        (beside(&nested(r#"{"a":"#, "}", 200)), Err("Malformed JSON: ")),
        (b"[".repeat(100), Err("Invalid com.example.echo input: ")),
        (beside("99999999999999999999999999999999"), Ok("hi")),
        (beside("1e400"), Err("Malformed JSON: number out of range")),
        (ignored("1e400"), Ok("hi")),
        (ignored(&nested("[", "]", 40_000)), Ok("hi")),
        (ignored(&nested(r#"{"a":"#, "}", 20_000)), Ok("hi")),
        (beside("NaN"), Err("Malformed JSON: ")),
        (beside("01"), Err("Malformed JSON: ")),
        (b"{\"text\":\"\0\"}".to_vec(), Err("Malformed JSON: control character")),
        (b"{\"text\":\"\xff\"}".to_vec(), Err("Malformed JSON: invalid unicode")),
        (b"{\"text\":\"\xed\xa0\x80\"}".to_vec(), Err("Malformed JSON: invalid unicode")),
        (br#"{"text":"\ud800"}"#.to_vec(), Err("Malformed JSON: ")),
        (br#"{"text":"a","text":"b"}"#.to_vec(), Err("Invalid com.example.echo input: duplicate field `text`")),
        (b"\xef\xbb\xbf{\"text\":\"a\"}".to_vec(), Err("Malformed JSON: ")),
        (br#"{"text":"a"} {}"#.to_vec(), Err("Malformed JSON: trailing characters")),
        (br#"{"text":"a""#.to_vec(), Err("Malformed JSON: EOF")),
        (b"null".to_vec(), Err("Invalid com.example.echo input: ")),
        (br#"{"text":null}"#.to_vec(), Err("Invalid com.example.echo input: ")),
        (b"\0\0\0\0".to_vec(), Err("Malformed JSON: ")),
    ];
    for (body, expected) in cases {
        let shown: String = String::from_utf8_lossy(&body).chars().take(60).collect();
        let response = send("POST", "com.example.echo", &[JSON], body).await;
        match (outcome(response).await, expected) {
            ((200, output), Ok(text)) => assert_eq!(output, json!({ "text": text }), "{shown}"),
            ((400, error), Err(start)) => {
                assert_eq!(error["error"], "InvalidRequest", "{shown}");
                let message = error["message"].as_str().unwrap();
                assert!(message.starts_with(start), "{shown}: {message}");
            }
            (other, _) => panic!("{shown}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn oversized_bodies() {
    let expected = (413, refusal("PayloadTooLargeError", "request entity too large"));
    let body = format!(r#"{{"text":"{}"}}"#, "a".repeat(200));
    assert_eq!(put(&[JSON, ("content-length", "211")], body.clone()).await, expected);
    let chunked = Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(body.clone())]));
    assert_eq!(put(&[JSON], chunked).await, expected);
    let packed = gzip(body.as_bytes()).await;
    assert!(packed.len() < 100, "only the decoded size is over the limit");
    assert_eq!(put(&[JSON, ("content-encoding", "gzip")], packed).await, expected);
}

#[tokio::test]
async fn content_encodings() {
    let body = br#"{"text":"hi"}"#;
    let expected = (200, json!({"text": "hi"}));
    let packed = gzip(body).await;
    for name in ["gzip", "x-gzip", "GZIP", "identity, gzip"] {
        assert_eq!(put(&[JSON, ("content-encoding", name)], packed.clone()).await, expected, "{name}");
    }
    let twice = gzip(&packed).await;
    assert_eq!(put(&[JSON, ("content-encoding", "gzip, gzip")], twice).await, expected);
    assert_eq!(put(&[JSON, ("content-encoding", "identity")], &body[..]).await, expected);
    let unknown = refusal("UnsupportedMediaType", "Unsupported content-encoding: zstd");
    assert_eq!(put(&[JSON, ("content-encoding", "zstd")], &body[..]).await, (415, unknown));
    let broken = refusal("InvalidRequest", "Unable to read the request body");
    assert_eq!(put(&[JSON, ("content-encoding", "gzip")], &body[..]).await, (400, broken));
}

#[tokio::test]
async fn a_body_that_nobody_expects_is_refused() {
    let unexpected = (400, refusal("InvalidRequest", "A request body was provided when none was expected"));
    let auth = ("authorization", "x");
    let touch = async |headers: &[(&str, &str)], body: Body| {
        outcome(send("POST", "com.example.touch", headers, body).await).await
    };
    assert_eq!(touch(&[auth, JSON], "{}".into()).await, unexpected);
    let chunks = |chunks: Vec<&'static str>| {
        Body::from_stream(futures_util::stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>)))
    };
    assert_eq!(touch(&[auth], chunks(vec!["", "x"])).await, unexpected);
    assert_eq!(touch(&[auth], chunks(vec![""])).await.0, 200);
    assert_eq!(touch(&[auth, ("content-length", "0")], Body::empty()).await.0, 200);
    let query = send("GET", "com.example.getThing?name=a", &[("content-length", "2")], "{}").await;
    assert_eq!(outcome(query).await, unexpected);
}

#[tokio::test]
async fn streams_are_limited_too() {
    let upload = async |headers: &[(&str, &str)], body: Body| {
        outcome(send("POST", "com.example.upload", headers, body).await).await
    };
    let mime = ("content-type", "image/png");
    assert_eq!(upload(&[mime], "0123456789".into()).await, (200, json!(10)));
    let too_large = (413, refusal("PayloadTooLarge", "request entity too large"));
    assert_eq!(upload(&[mime], "0123456789a".into()).await, too_large);
    assert_eq!(upload(&[mime, ("content-length", "11")], "0123456789a".into()).await, too_large);
    let packed = gzip(&[b'a'; 50]).await;
    assert_eq!(upload(&[mime, ("content-encoding", "gzip")], packed.into()).await, too_large);
}

async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut source = Vec::new();
    source.write_all(bytes).unwrap();
    let mut packed = Vec::new();
    let mut encoder = async_compression::tokio::bufread::GzipEncoder::with_quality(&source[..], Level::Best);
    encoder.read_to_end(&mut packed).await.unwrap();
    packed
}
