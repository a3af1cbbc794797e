//! Which DID a handle of another server stands for.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use atproto::syntax::{Did, Handle};
use futures_util::future::{Either, select};
use moka::future::Cache;
use reqwest::Client;
use serde::Deserialize;
use url::Url;

use super::handle_dns::HandleDns;
use crate::config::IdentityConfig;
use crate::http::{GuardedClient, read_limited};

/// Longest answer of an appview, in bytes.
const MAX_ANSWER: u64 = 16 * 1024;
/// Redirects that a handle's site may answer with.
const MAX_REDIRECTS: u8 = 3;
/// How many answers a replica remembers.
const REMEMBERED: u64 = 50_000;
/// How long it does: long enough that a crowd which asks for one handle costs one look-up.
const REMEMBERED_FOR: Duration = Duration::from_mins(1);

/// Resolves handles that are not of this server; cheap to clone.
///
/// Asks the appview if there is one, since it has most of them at hand. Then those whom the handle's owner has told: the DNS
/// and the handle's own site, both at once; if they disagree the DNS is right. Then the name servers of
/// `PDS_HANDLE_BACKUP_NAMESERVERS`.
#[derive(Clone, Debug)]
pub struct HandleResolver {
    sources: Arc<Sources>,
    /// What was found lately. That nothing was found is not remembered: it may be about to be mended.
    remembered: Cache<Handle, Did>,
}

#[derive(Debug)]
struct Sources {
    appview: Option<(Url, Client)>,
    /// `None` on a machine that does not say where its name servers are.
    dns: Option<HandleDns>,
    web: GuardedClient,
    backup_servers: Vec<String>,
    timeout: Duration,
}

impl HandleResolver {
    /// Makes a resolver. `web` is a client for documents, which reaches public hosts only; `appview` is the origin of the
    /// appview and a client for it.
    pub fn new(web: GuardedClient, appview: Option<(Url, Client)>, config: &IdentityConfig) -> Self {
        let dns = HandleDns::system().inspect_err(|error| {
            tracing::warn!(error = error as &dyn std::error::Error, "handles are resolved without DNS");
        });
        let sources = Sources {
            appview,
            dns: dns.ok(),
            web,
            backup_servers: config.handle_backup_nameservers.clone(),
            timeout: config.resolver_timeout,
        };
        let remembered = Cache::builder().max_capacity(REMEMBERED).time_to_live(REMEMBERED_FOR).build();
        Self { sources: Arc::new(sources), remembered }
    }

    /// As [`Self::find_did`], or as somebody else at this replica found it within the last minute. Those who ask at once
    /// share one look-up.
    pub async fn find_did_lately(&self, handle: &Handle) -> Option<Did> {
        // A look-up is many futures in one; most callers need none of it.
        let search = Box::pin(self.sources.find_did(handle));
        self.remembered.optionally_get_with(handle.clone(), search).await
    }

    /// The DID that `handle` says it stands for; `None` if nobody knows. Whether the DID agrees, its document says.
    pub async fn find_did(&self, handle: &Handle) -> Option<Did> {
        let found = self.sources.find_did(handle).await;
        self.remember(handle, found).await
    }

    /// As [`Self::find_did`], from those only whom the handle's owner has told: for whoever gives a handle to an account. What
    /// an appview has at hand may be old, and is its word alone.
    pub async fn find_did_of_owner(&self, handle: &Handle) -> Option<Did> {
        let found = self.sources.find_did_of_owner(handle).await;
        self.remember(handle, found).await
    }

    async fn remember(&self, handle: &Handle, found: Option<Did>) -> Option<Did> {
        match &found {
            Some(did) => self.remembered.insert(handle.clone(), did.clone()).await,
            None => self.remembered.invalidate(handle).await,
        }
        found
    }
}

impl Sources {
    async fn find_did(&self, handle: &Handle) -> Option<Did> {
        if let Some(did) = self.in_time(self.ask_appview(handle)).await {
            return Some(did);
        }
        self.find_did_of_owner(handle).await
    }

    async fn find_did_of_owner(&self, handle: &Handle) -> Option<Did> {
        if let Some(did) = self.ask_owner(handle).await {
            return Some(did);
        }
        self.in_time(self.ask_backup(handle)).await
    }

    /// Gives up after `PDS_ID_RESOLVER_TIMEOUT`.
    async fn in_time(&self, found: impl Future<Output = Option<Did>>) -> Option<Did> {
        tokio::time::timeout(self.timeout, found).await.ok().flatten()
    }

    async fn ask_appview(&self, handle: &Handle) -> Option<Did> {
        #[derive(Deserialize)]
        struct Answer {
            did: Did,
        }
        let (origin, client) = self.appview.as_ref()?;
        let mut url = origin.join("/xrpc/com.atproto.identity.resolveHandle").ok()?;
        url.query_pairs_mut().append_pair("handle", handle.as_str());
        let response = client.get(url).send().await.ok()?.error_for_status().ok()?;
        let body = read_limited(response, MAX_ANSWER).await.ok()?;
        Some(serde_json::from_slice::<Answer>(&body).ok()?.did)
    }

    /// Asks where the handle's owner may have put it. Each source has its own time: a DNS that keeps silent must not cost
    /// what the site has said.
    async fn ask_owner(&self, handle: &Handle) -> Option<Did> {
        prefer(self.in_time(self.ask_dns(handle)), self.in_time(self.ask_site(handle))).await
    }

    async fn ask_dns(&self, handle: &Handle) -> Option<Did> {
        self.dns.as_ref()?.find(handle).await
    }

    async fn ask_site(&self, handle: &Handle) -> Option<Did> {
        let url = Url::parse(&format!("https://{handle}/.well-known/atproto-did")).ok()?;
        // Reference: whatever the status.
        let answer = self.web.fetch(&url, "text/plain", MAX_REDIRECTS).await.ok()?;
        std::str::from_utf8(&answer.body).ok()?.lines().next()?.trim().parse().ok()
    }

    async fn ask_backup(&self, handle: &Handle) -> Option<Did> {
        HandleDns::of(&self.backup_servers).await?.find(handle).await
    }
}

/// What `first` finds, or else `second`, of two that look at the same time. Waits for no more than it needs.
async fn prefer<T>(first: impl Future<Output = Option<T>>, second: impl Future<Output = Option<T>>) -> Option<T> {
    match select(pin!(first), pin!(second)).await {
        Either::Left((Some(found), _)) => Some(found),
        Either::Left((None, second)) => second.await,
        Either::Right((found, first)) => first.await.or(found),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::extract::Query;
    use axum::routing::get;
    use axum::{Json, Router};
    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use serde_json::json;
    use tokio::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::config::Config;
    use crate::testing::NameServer;

    const TIMEOUT: Duration = Duration::from_millis(500);

    fn handle(text: &str) -> Handle {
        text.parse().unwrap()
    }

    fn resolver(appview: Option<Url>, backup_servers: Vec<String>) -> HandleResolver {
        let mut config = Config::for_tests();
        config.identity.resolver_timeout = TIMEOUT;
        config.identity.handle_backup_nameservers = backup_servers;
        let web = GuardedClient::for_documents(&config.fetch).unwrap();
        let client = crate::http::internal(TIMEOUT).unwrap();
        HandleResolver::new(web, appview.map(|url| (url, client)), &config.identity)
    }

    #[tokio::test]
    async fn the_appview_is_asked_first() {
        let known = |Query(query): Query<HashMap<String, String>>| async move {
            let found = query["handle"] == "alice.test";
            if found { Ok(Json(json!({ "did": "did:plc:alice" }))) } else { Err(axum::http::StatusCode::BAD_REQUEST) }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/xrpc/com.atproto.identity.resolveHandle", get(known));
        tokio::spawn(async { axum::serve(listener, app).await });
        let resolver = resolver(Some(url.parse().unwrap()), Vec::new());
        assert_eq!(resolver.find_did(&handle("alice.test")).await.map(String::from).as_deref(), Some("did:plc:alice"));
        assert_eq!(resolver.find_did(&handle("bob.test")).await, None);
        assert_eq!(resolver.find_did_of_owner(&handle("alice.test")).await, None, "the owner has told nobody");
    }

    #[tokio::test]
    async fn the_dns_is_right_whoever_answers_first() {
        use std::future::{pending, ready};

        use tokio::sync::oneshot;

        assert_eq!(prefer(ready(Some("dns")), pending()).await, Some("dns"), "it does not wait for the site");
        let (dns, answer) = oneshot::channel();
        let slow_dns = async { answer.await.unwrap() };
        let mut found = pin!(prefer(slow_dns, ready(Some("site"))));
        assert_eq!(found.as_mut().now_or_never(), None, "the site has answered, the DNS has not");
        dns.send(Some("dns")).unwrap();
        assert_eq!(found.await, Some("dns"));
        assert_eq!(prefer(ready(None), ready(Some("site"))).await, Some("site"));
        let sites = resolver(None, Vec::new());
        let silent_dns = sites.sources.in_time(pending());
        let site: Did = "did:plc:alice".parse().unwrap();
        assert_eq!(prefer(silent_dns, ready(Some(site.clone()))).await, Some(site), "a silent DNS costs only time");
    }

    #[tokio::test]
    async fn a_name_server_that_keeps_silent_is_given_up() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = resolver(None, vec![silent.local_addr().unwrap().to_string()]);
        assert_eq!(resolver.find_did(&handle("alice.test")).await, None);
    }

    #[tokio::test]
    async fn those_who_ask_at_once_share_an_answer_that_is_kept_for_a_while() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let known = move || async move {
            let turn = counted.fetch_add(1, Ordering::SeqCst);
            Json(json!({ "did": format!("did:plc:turn{turn}") }))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/xrpc/com.atproto.identity.resolveHandle", get(known));
        tokio::spawn(async { axum::serve(listener, app).await });
        let resolver = resolver(Some(url.parse().unwrap()), Vec::new());
        let alice = handle("alice.test");
        let found = join_all((0..8).map(|_| resolver.find_did_lately(&alice))).await;
        assert!(found.iter().all(|did| did.as_ref().unwrap().as_str() == "did:plc:turn0"), "{found:?}");
        assert_eq!(resolver.find_did(&alice).await.unwrap().as_str(), "did:plc:turn1");
        assert_eq!(resolver.find_did_lately(&alice).await.unwrap().as_str(), "did:plc:turn1");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_backup_name_servers_are_asked_last() {
        let server = NameServer::start(&[("alice.test", "did:plc:alice")]).await;
        let resolver = resolver(None, vec!["no.such.server.invalid".to_owned(), server.address()]);
        let alice = handle("alice.test");
        for found in [resolver.find_did(&alice).await, resolver.find_did_of_owner(&alice).await] {
            assert_eq!(found.map(String::from).as_deref(), Some("did:plc:alice"));
        }
        assert_eq!(resolver.find_did(&handle("bob.test")).await, None);
    }
}
