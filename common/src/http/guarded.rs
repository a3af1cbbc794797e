//! The client for hosts that users name.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, redirect::Policy};
use tokio::time::timeout;
use url::Url;

use super::{
    CONNECT_TIMEOUT, FetchError, USER_AGENT,
    body::read_limited,
    guard::{Blocked, PublicResolver, Rules},
};
use crate::config::{FetchConfig, ProxyConfig};

/// How long one document may take, from the name to the last byte, redirects included.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP client that a user cannot turn against the server's own network; cheap to clone.
#[derive(Clone, Debug)]
pub struct GuardedClient {
    client: Client,
    rules: Rules,
    max_response_size: u64,
    /// For a whole document.
    time_limit: Duration,
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
        Ok(Self { client, rules, max_response_size: config.max_response_size, time_limit: DOCUMENT_TIMEOUT })
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
        let (client, max_response_size) = (builder.build()?, proxy.max_response_size);
        Ok(Self { client, rules, max_response_size, time_limit: DOCUMENT_TIMEOUT })
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
    /// `accept` is what to ask for, such as `application/json`. All of it together takes no longer than one document may,
    /// and nothing is read of an answer that leads elsewhere but its head.
    pub async fn fetch(&self, url: &Url, accept: &'static str, redirects: u8) -> Result<Document, FetchError> {
        let fetched = timeout(self.time_limit, self.follow(url, accept, redirects));
        fetched.await.map_err(|_| FetchError::Timeout)?
    }

    async fn follow(&self, url: &Url, accept: &'static str, redirects: u8) -> Result<Document, FetchError> {
        let mut url = url.clone();
        for _ in 0..=redirects {
            let response = self.request(Method::GET, &url)?.header(header::ACCEPT, accept).send().await?;
            if !response.status().is_redirection() {
                return self.read(url, response).await;
            }
            url = self.next_hop(&url, response.headers())?;
        }
        Err(FetchError::Redirect)
    }

    /// Where an answer at `from` sends us, checked like the first URL.
    fn next_hop(&self, from: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
        let location = headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
        let next = location.and_then(|location| from.join(location).ok()).ok_or(FetchError::Redirect)?;
        self.rules.check(&next)?;
        Ok(next)
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
        .no_proxy()
        // Bytes stay as they come, whatever features the HTTP library was built with: a limit on packed bytes is none.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate();
    match rules {
        Rules::Open => builder,
        Rules::Documents | Rules::Services => builder.https_only(true).dns_resolver(PublicResolver::system()),
    }
}

#[cfg(test)]
mod tests;
