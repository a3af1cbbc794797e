//! A plain client of one server: no retries, no session of its own.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The operator's password in [`Config::TEST_VARIABLES`](common::config::Config::TEST_VARIABLES).
const ADMIN_PASSWORD: &str = "test-admin-password";

/// Calls the methods of one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    origin: String,
    http: reqwest::Client,
}

/// An answer other than success.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{status} {name}: {message}")]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) status: u16,
    /// The error's name.
    pub(crate) name: String,
    /// The error's text.
    pub(crate) message: String,
}

impl Client {
    /// A client of the server at `origin`.
    ///
    /// # Panics
    /// If the TLS library cannot be set up.
    pub(crate) fn new(origin: impl Into<String>) -> Self {
        Self::with_patience(origin, LIMIT)
    }

    /// A client of the server at `origin` that gives a call up after `limit`.
    ///
    /// # Panics
    /// As [`Client::new`].
    pub(crate) fn with_patience(origin: impl Into<String>, limit: Duration) -> Self {
        let http = reqwest::Client::builder().timeout(limit).build().expect("a client without special settings");
        Self { origin: origin.into(), http }
    }

    /// The server.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Calls a query that gives JSON.
    ///
    /// # Errors
    /// A [`Refusal`], or the server cannot be reached.
    pub(crate) async fn get(&self, method: &str, params: &[(&str, &str)]) -> Result<Value> {
        json(self.query(method, params)).await
    }

    /// Calls a query that gives JSON, as the owner of a session.
    ///
    /// # Errors
    /// A [`Refusal`], or the server cannot be reached.
    pub(crate) async fn get_as(&self, token: &str, method: &str, params: &[(&str, &str)]) -> Result<Value> {
        json(self.query(method, params).bearer_auth(token)).await
    }

    /// Calls a query that gives something else.
    ///
    /// # Errors
    /// A [`Refusal`], or the server cannot be reached, or breaks off in the middle.
    pub(crate) async fn get_bytes(&self, method: &str, params: &[(&str, &str)]) -> Result<Bytes> {
        bytes(self.query(method, params)).await
    }

    /// Calls a query with this verb and header, and gives the answer as it is.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) async fn ask(
        &self,
        verb: Method,
        method: &str,
        params: &[(&str, &str)],
        (name, value): (&str, &str),
    ) -> Result<Response> {
        let (client, request) = self.query(method, params).header(name, value).build_split();
        let mut request = request?;
        *request.method_mut() = verb;
        Ok(client.execute(request).await?)
    }

    /// Calls a procedure; `token` is the session's, if there is one.
    ///
    /// # Errors
    /// A [`Refusal`], or the server cannot be reached.
    pub(crate) async fn post(&self, method: &str, token: Option<&str>, input: &Value) -> Result<Value> {
        let mut request = self.http.post(format!("{}/xrpc/{method}", self.origin)).json(input);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        json(request).await
    }

    /// Calls a procedure that takes no input; `token` is the session's, if there is one.
    ///
    /// # Errors
    /// A [`Refusal`], or the server cannot be reached.
    pub(crate) async fn post_empty(&self, method: &str, token: Option<&str>) -> Result<Value> {
        let mut request = self.http.post(format!("{}/xrpc/{method}", self.origin));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        json(request).await
    }

    /// Calls a query that gives JSON, as the operator.
    ///
    /// # Errors
    /// A [`Refusal`], or the server cannot be reached.
    pub(crate) async fn get_as_admin(&self, method: &str, params: &[(&str, &str)]) -> Result<Value> {
        json(self.query(method, params).basic_auth("admin", Some(ADMIN_PASSWORD))).await
    }

    /// Calls a procedure as the operator.
    ///
    /// # Errors
    /// A [`Refusal`], or the server cannot be reached.
    pub(crate) async fn post_as_admin(&self, method: &str, input: &Value) -> Result<Value> {
        let request = self.http.post(format!("{}/xrpc/{method}", self.origin)).json(input);
        json(request.basic_auth("admin", Some(ADMIN_PASSWORD))).await
    }

    /// Whether the server says that it is ready for requests.
    pub(crate) async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.origin)).send().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Calls a procedure whose input is an archive.
    ///
    /// # Errors
    /// A [`Refusal`], or the server cannot be reached.
    pub(crate) async fn post_archive(&self, method: &str, token: &str, archive: impl Into<Body>) -> Result<()> {
        let request = self.http.post(format!("{}/xrpc/{method}", self.origin)).bearer_auth(token);
        bytes(request.header("content-type", "application/vnd.ipld.car").body(archive)).await.map(drop)
    }

    /// Uploads a blob and gives the reference to it.
    ///
    /// # Errors
    /// A [`Refusal`], or the server cannot be reached.
    pub(crate) async fn upload(&self, token: &str, media_type: &str, blob: impl Into<Body>) -> Result<Value> {
        self.upload_with(token, [("content-type", media_type)], blob).await
    }

    /// As [`Client::upload`], with these headers.
    ///
    /// # Errors
    /// As [`Client::upload`].
    pub(crate) async fn upload_with<'a>(
        &self,
        token: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        blob: impl Into<Body>,
    ) -> Result<Value> {
        let request = self.http.post(format!("{}/xrpc/com.atproto.repo.uploadBlob", self.origin)).bearer_auth(token);
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let mut output = json(request.body(blob)).await?;
        Ok(output["blob"].take())
    }

    fn query(&self, method: &str, params: &[(&str, &str)]) -> RequestBuilder {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        self.http.get(format!("{}/xrpc/{method}?{query}", self.origin))
    }
}

async fn json(request: RequestBuilder) -> Result<Value> {
    let bytes = bytes(request).await?;
    if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes).context("the answer is no JSON") }
}

async fn bytes(request: RequestBuilder) -> Result<Bytes> {
    let response = request.send().await?;
    let status = response.status();
    let bytes = response.bytes().await?;
    if status == StatusCode::OK {
        return Ok(bytes);
    }
    let envelope: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let text = |key: &str| envelope[key].as_str().unwrap_or_default().to_owned();
    bail!(Refusal { status: status.as_u16(), name: text("error"), message: text("message") })
}
