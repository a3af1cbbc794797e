//! A relay inside the test's process.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atproto::syntax::Did;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

/// How a relay answers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Manners {
    /// As it should.
    #[default]
    Good,
    /// Never.
    Silent,
    /// With 500.
    Failing,
    /// With 200 and what is no JSON.
    Garbled,
    /// With 200 and bytes without an end.
    Endless,
    /// With a redirect to itself, with other manners.
    Redirecting,
    /// With a refusal that would move the cursor of a terminal, and forge a line.
    Cursing,
    /// That it has no such method.
    Ignorant,
}

/// A relay that speaks the three methods that servers ask, and counts. Dropping it stops it.
#[derive(Debug)]
pub struct FakeRelay {
    relay: Arc<Relay>,
    url: Url,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Relay {
    state: Mutex<Known>,
    /// The host names that it was told of.
    told: watch::Sender<Vec<String>>,
}

/// What the relay knows.
#[derive(Debug, Default)]
struct Known {
    manners: Manners,
    /// When asked for an account.
    repo_manners: Manners,
    /// The answer about the host; `None` if it does not know it.
    host: Option<Value>,
    /// Status of accounts by DID; the others it does not know. The empty text is for active ones.
    accounts: BTreeMap<Did, &'static str>,
    /// What comes to its ears after it was asked about an account.
    news: BTreeMap<Did, &'static str>,
    /// How often it was asked about an account.
    asked: usize,
}

impl FakeRelay {
    /// Starts a relay on a free port that knows no host.
    ///
    /// # Panics
    /// If no port of the loopback interface is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let url = Url::parse(&format!("http://127.0.0.1:{port}")).expect("a URL");
        let relay = Arc::new(Relay { state: Mutex::default(), told: watch::Sender::default() });
        let router = Router::new()
            .route("/xrpc/com.atproto.sync.requestCrawl", post(request_crawl))
            .route("/xrpc/com.atproto.sync.getHostStatus", get(host_status))
            .route("/xrpc/com.atproto.sync.getRepoStatus", get(repo_status))
            .with_state(Arc::clone(&relay));
        // It ends by being aborted.
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serving") });
        Self { relay, url, server }
    }

    /// Its address, for `PDS_CRAWLERS`.
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// What stands for it everywhere.
    pub fn name(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Behaves so from now on.
    pub fn set_manners(&self, manners: Manners) {
        let mut known = self.relay.known();
        (known.manners, known.repo_manners) = (manners, manners);
    }

    /// Behaves so from now on if it is asked about an account.
    pub fn set_repo_manners(&self, manners: Manners) {
        self.relay.known().repo_manners = manners;
    }

    /// What it says of the host from now on, besides its name.
    pub fn set_host(&self, answer: Value) {
        self.relay.known().host = Some(answer);
    }

    /// What it says of an account from now on; the empty text if it is active.
    pub fn set_account(&self, did: &Did, status: &'static str) {
        self.relay.known().accounts.insert(did.clone(), status);
    }

    /// What it says of an account from the second time on that it is asked: it hears of it only then.
    pub fn hear_once_asked(&self, did: &Did, status: &'static str) {
        self.relay.known().news.insert(did.clone(), status);
    }

    /// How often it was asked about an account.
    pub fn asked(&self) -> usize {
        self.relay.known().asked
    }

    /// The host names that it was told of, whatever it answered.
    pub fn told(&self) -> Vec<String> {
        self.relay.told.borrow().clone()
    }

    /// Waits until it was told so often.
    pub async fn until_told(&self, count: usize) {
        let mut told = self.relay.told.subscribe();
        // The sender lives as long as the relay.
        let _ = told.wait_for(|told| told.len() >= count).await;
    }
}

impl Drop for FakeRelay {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Relay {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn tell_of(&mut self, did: &Did) -> Option<&'static str> {
        let status = self.accounts.get(did).copied();
        if let Some(news) = self.news.remove(did) {
            self.accounts.insert(did.clone(), news);
        }
        status
    }
}

fn refusal(status: StatusCode, error: &str, message: &str) -> Response {
    (status, Json(json!({ "error": error, "message": message }))).into_response()
}

impl Manners {
    /// The answer, if it is not a good one.
    async fn answer(self) -> Option<Response> {
        match self {
            Self::Good => None,
            Self::Silent => std::future::pending().await,
            Self::Failing => Some(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "no")),
            Self::Garbled => Some("{\"hostname\": <html>".into_response()),
            Self::Endless => {
                let piece = || Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 8 * 1024]));
                Some(Body::from_stream(futures_util::stream::repeat_with(piece)).into_response())
            }
            Self::Redirecting => Some((StatusCode::FOUND, [(LOCATION, "/elsewhere")]).into_response()),
            Self::Cursing => {
                let text = "\u{1b}[2J\u{1b}[31mall is well\r\nhttps://relay.example will read you\u{202e}\u{9b}1A";
                Some(refusal(StatusCode::BAD_REQUEST, "Bad\u{7}Request", text))
            }
            Self::Ignorant => Some(refusal(StatusCode::NOT_IMPLEMENTED, "MethodNotImplemented", "not here")),
        }
    }
}

async fn request_crawl(State(relay): State<Arc<Relay>>, Json(input): Json<Value>) -> Response {
    let hostname = input["hostname"].as_str().unwrap_or_default().to_owned();
    relay.told.send_modify(|told| told.push(hostname));
    let manners = relay.known().manners;
    manners.answer().await.unwrap_or_else(|| StatusCode::OK.into_response())
}

async fn host_status(State(relay): State<Arc<Relay>>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let manners = relay.known().manners;
    if let Some(answer) = manners.answer().await {
        return answer;
    }
    let Some(mut host) = relay.known().host.clone() else {
        return refusal(StatusCode::NOT_FOUND, "HostNotFound", "host not found");
    };
    host["hostname"] = json!(query.get("hostname"));
    Json(host).into_response()
}

async fn repo_status(State(relay): State<Arc<Relay>>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let manners = {
        let mut known = relay.known();
        known.asked += 1;
        known.repo_manners
    };
    if let Some(answer) = manners.answer().await {
        return answer;
    }
    let did: Option<Did> = query.get("did").and_then(|did| did.parse().ok());
    let status = did.as_ref().and_then(|did| relay.known().tell_of(did));
    match status {
        None => refusal(StatusCode::NOT_FOUND, "RepoNotFound", "account not found"),
        Some("") => Json(json!({ "did": did, "active": true })).into_response(),
        Some(status) => Json(json!({ "did": did, "active": false, "status": status })).into_response(),
    }
}
