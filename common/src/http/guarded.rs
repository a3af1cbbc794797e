//! The client for hosts that users name.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, redirect::Policy};
use url::Url;

use super::{
    CONNECT_TIMEOUT, FetchError, USER_AGENT,
    body::read_limited,
    guard::{Blocked, PublicResolver, Rules},
};
use crate::config::{FetchConfig, ProxyConfig};

/// How long one document may take, from the name to the last byte.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP client that a user cannot turn against the server's own network; cheap to clone.
#[derive(Clone, Debug)]
pub struct GuardedClient {
    client: Client,
    rules: Rules,
    max_response_size: u64,
}

/// A document that was fetched.
#[derive(Clone, Debug)]
pub struct Document {
    /// Where it was found in the end.
    pub url: Url,
    /// The answer's status; may well be an error.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its bytes.
    pub body: Bytes,
}

impl GuardedClient {
    /// A client for documents: DID documents, handles, client metadata, keys, lexicons.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn for_documents(config: &FetchConfig) -> Result<Self, reqwest::Error> {
        let rules = if config.disable_ssrf_protection { Rules::Open } else { Rules::Documents };
        let client = guarded_builder(rules).timeout(DOCUMENT_TIMEOUT).build()?;
        Ok(Self { client, rules, max_response_size: config.max_response_size })
    }

    /// A client for services that requests are forwarded to. Only the pauses within an answer are bounded; how long to
    /// wait for its head is the caller's to say.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn for_services(fetch: &FetchConfig, proxy: &ProxyConfig) -> Result<Self, reqwest::Error> {
        let rules = if fetch.disable_ssrf_protection { Rules::Open } else { Rules::Services };
        let mut builder = guarded_builder(rules).read_timeout(proxy.body_timeout);
        if !proxy.allow_http2 {
            builder = builder.http1_only();
        }
        Ok(Self { client: builder.build()?, rules, max_response_size: proxy.max_response_size })
    }

    /// Begins a request, if `url` may be called. Redirects come back as answers.
    ///
    /// The answer is to be read with [`read_limited`] or [`super::limited_stream`].
    pub fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, Blocked> {
        self.rules.check(url)?;
        Ok(self.client.request(method, url.clone()))
    }

    /// The size that [`GuardedClient::fetch`] allows, in bytes.
    pub fn max_response_size(&self) -> u64 {
        self.max_response_size
    }

    /// Fetches one document with GET, following up to `redirects` redirects, each checked like the first URL.
    ///
    /// `accept` is what to ask for, such as `application/json`.
    pub async fn fetch(&self, url: &Url, accept: &'static str, redirects: u8) -> Result<Document, FetchError> {
        let mut url = url.clone();
        for _ in 0..=redirects {
            let response = self.request(Method::GET, &url)?.header(header::ACCEPT, accept).send().await?;
            if !response.status().is_redirection() {
                return self.read(url, response).await;
            }
            url = redirect_target(&url, &response).ok_or(FetchError::Redirect)?;
        }
        Err(FetchError::Redirect)
    }

    async fn read(&self, url: Url, mut response: Response) -> Result<Document, FetchError> {
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body = read_limited(response, self.max_response_size).await?;
        Ok(Document { url, status, headers, body })
    }
}

fn guarded_builder(rules: Rules) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::none())
        .referer(false)
        .no_proxy();
    match rules {
        Rules::Open => builder,
        Rules::Documents | Rules::Services => builder.https_only(true).dns_resolver(PublicResolver),
    }
}

fn redirect_target(from: &Url, response: &Response) -> Option<Url> {
    from.join(response.headers().get(header::LOCATION)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::{Router, body::Body, response::Redirect, routing::get};
    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::config::Config;

    /// A server on this machine, ended with the test's runtime.
    async fn server() -> SocketAddr {
        let endless = || Body::from_stream(stream::repeat(Bytes::from(vec![b'a'; 400])).map(Ok::<_, std::io::Error>));
        let router = Router::new()
            .route("/small", get(|| async { "small" }))
            .route("/large", get(|| async { "a".repeat(2000) }))
            .route("/endless", get(move || async move { endless() }))
            .route("/moved", get(|| async { Redirect::temporary("/small") }))
            .route("/loop", get(|| async { Redirect::temporary("/loop") }))
            .route("/missing", get(|| async { StatusCode::NOT_FOUND }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn open_client() -> GuardedClient {
        let fetch = FetchConfig { disable_ssrf_protection: true, max_response_size: 1000 };
        GuardedClient::for_documents(&fetch).unwrap()
    }

    async fn fetch(path: &str, redirects: u8) -> Result<Document, FetchError> {
        let url = format!("http://{}{path}", server().await).parse().unwrap();
        open_client().fetch(&url, "text/plain", redirects).await
    }

    #[tokio::test]
    async fn documents_come_with_their_status() {
        let document = fetch("/small", 0).await.unwrap();
        assert_eq!((document.status, &document.body[..]), (StatusCode::OK, &b"small"[..]));
        assert_eq!(fetch("/missing", 0).await.unwrap().status, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn size_is_bounded_whether_announced_or_not() {
        for path in ["/large", "/endless"] {
            assert!(matches!(fetch(path, 0).await, Err(FetchError::TooLarge { limit: 1000 })), "{path}");
        }
        let url = format!("http://{}/endless", server().await).parse().unwrap();
        let response = open_client().request(Method::GET, &url).unwrap().send().await.unwrap();
        let pieces: Vec<_> = super::super::limited_stream(response, 1000).unwrap().take(50).collect().await;
        assert!(matches!(pieces.iter().find(|piece| piece.is_err()), Some(Err(FetchError::TooLarge { .. }))));
    }

    #[tokio::test]
    async fn redirects_are_followed_only_as_far_as_asked() {
        assert!(matches!(fetch("/moved", 0).await, Err(FetchError::Redirect)));
        let document = fetch("/moved", 1).await.unwrap();
        assert_eq!((document.url.path(), &document.body[..]), ("/small", &b"small"[..]));
        assert!(matches!(fetch("/loop", 3).await, Err(FetchError::Redirect)));
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_refused() {
        let config = Config::for_tests();
        let client = GuardedClient::for_services(&config.fetch, &config.proxy).unwrap();
        let url = format!("https://localhost:{}/small", server().await.port()).parse().unwrap();
        let result = client.fetch(&url, "text/plain", 0).await;
        assert!(matches!(result, Err(FetchError::Blocked(Blocked::NoPublicAddress))), "{result:?}");
    }

    #[tokio::test]
    async fn a_url_that_may_not_be_called_is_never_sent() {
        let client = GuardedClient::for_documents(&Config::for_tests().fetch).unwrap();
        let url = format!("http://{}/small", server().await).parse().unwrap();
        let result = client.fetch(&url, "text/plain", 0).await;
        assert!(matches!(result, Err(FetchError::Blocked(Blocked::Scheme))), "{result:?}");
    }
}
