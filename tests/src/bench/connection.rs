//! A kept-alive HTTP/1.1 connection that sends requests made in advance.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::origin::Origin;

/// A request that can be sent many times; cloning one copies no bytes.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    target: Uri,
    token: Option<HeaderValue>,
    content_type: HeaderValue,
    body: Bytes,
}

impl Call {
    /// A query, such as `com.atproto.repo.getRecord?…`.
    ///
    /// # Errors
    /// It cannot stand in a URL.
    pub(crate) fn query(method_and_parameters: &str) -> Result<Self> {
        Self::new(Method::GET, method_and_parameters, Bytes::new())
    }

    /// A procedure with a body of JSON.
    ///
    /// # Errors
    /// The name cannot stand in a URL.
    pub(crate) fn procedure(method: &str, input: &Value) -> Result<Self> {
        Self::new(Method::POST, method, Bytes::from(serde_json::to_vec(input)?))
    }

    /// A procedure whose body is of this media type.
    ///
    /// # Errors
    /// The name cannot stand in a URL.
    pub(crate) fn upload(method: &str, media_type: &'static str, body: Bytes) -> Result<Self> {
        let call = Self::new(Method::POST, method, body)?;
        Ok(Self { content_type: HeaderValue::from_static(media_type), ..call })
    }

    fn new(method: Method, path: &str, body: Bytes) -> Result<Self> {
        let target = format!("/xrpc/{path}").parse().with_context(|| format!("{path} is no path"))?;
        let content_type = HeaderValue::from_static("application/json");
        Ok(Self { method, target, token: None, content_type, body })
    }

    /// The same, signed in.
    #[must_use]
    pub(crate) fn signed_in(mut self, token: &HeaderValue) -> Self {
        self.token = Some(token.clone());
        self
    }

    fn request(&self, host: &HeaderValue) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, host.clone());
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        if self.method == Method::POST {
            headers.insert(CONTENT_TYPE, self.content_type.clone());
        }
        request
    }
}

/// A connection; it is opened at the first request, and again when the server has closed it in between.
#[derive(Debug)]
pub(crate) struct Connection {
    origin: Arc<Origin>,
    host: HeaderValue,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// A connection to `origin`.
    ///
    /// # Errors
    /// The host cannot stand in a header.
    pub(crate) fn new(origin: &Arc<Origin>) -> Result<Self> {
        Ok(Self { origin: Arc::clone(origin), host: origin.authority().parse()?, sender: None })
    }

    /// Sends a request, and returns how many bytes the answer's body has.
    ///
    /// # Errors
    /// The server does not answer, or not with status 200.
    pub(crate) async fn send(&mut self, call: &Call) -> Result<u64> {
        let mut body = self.answer(call).await?.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(u64::try_from(length)?)
    }

    /// Sends a request, and returns the answer's JSON.
    ///
    /// # Errors
    /// As [`Connection::send`]; or the answer is no JSON.
    pub(crate) async fn ask(&mut self, call: &Call) -> Result<Value> {
        let body = self.answer(call).await?.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    async fn answer(&mut self, call: &Call) -> Result<Response<Incoming>> {
        let request = call.request(&self.host);
        let response = self.sender().await?.send_request(request).await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            bail!("{} answers {status}: {}", call.target.path(), String::from_utf8_lossy(&body));
        }
        Ok(response)
    }

    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>> {
        let usable = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.sender = None;
            let stream = TokioIo::new(self.origin.connect().await?);
            let (mut sender, connection) = http1::handshake(stream).await?;
            // It ends when the sender is dropped; what goes wrong reaches the request that is under way.
            tokio::spawn(connection);
            sender.ready().await?;
            return Ok(self.sender.insert(sender));
        }
        self.sender.as_mut().context("not connected")
    }
}
