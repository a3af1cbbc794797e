//! The route table: which handler answers which NSID, and what happens to the calls that none answers.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Instant};

use atproto::syntax::Nsid;
use axum::{
    body::HttpBody,
    extract::Request,
    handler::Handler,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::UPGRADE};
use tower::{ServiceExt, util::BoxCloneSyncService};
use tracing::Instrument;

use super::{
    Method, XrpcError,
    extract::{Presence, presence, unexpected_body},
    method::Kind,
    metrics::MethodCounts,
    response::ResponseHeaders,
};
use crate::{http::RequestSummary, limit::Gate, state::AppState};

/// A handler together with its state.
type Endpoint = BoxCloneSyncService<Request, Response, Infallible>;
type MakeEndpoint = Box<dyn FnOnce(AppState) -> Endpoint>;

/// Methods and their handlers, before they have a state.
#[derive(Default)]
pub struct Routes {
    methods: Vec<(Method, MakeEndpoint)>,
    fallback: Option<MakeEndpoint>,
}

impl Routes {
    /// Adds a method. A handler is any function that axum accepts; its extractors run in the order of its parameters.
    pub fn add<H, T>(&mut self, method: Method, handler: H)
    where
        H: Handler<T, AppState> + Sync,
        T: 'static,
    {
        self.methods.push((method, endpoint(handler)));
    }

    /// Sets what answers a syntactically valid NSID without a method here.
    ///
    /// It finds the called [`Nsid`] in the request's extensions, and the body as it came.
    pub fn fallback<H, T>(&mut self, handler: H)
    where
        H: Handler<T, AppState> + Sync,
        T: 'static,
    {
        self.fallback = Some(endpoint(handler));
    }

    /// The methods, in the order they were added.
    pub fn methods(&self) -> impl Iterator<Item = Method> {
        self.methods.iter().map(|(method, _)| *method)
    }

    /// The finished table.
    pub(crate) fn with_state(self, state: &AppState) -> Dispatcher {
        let methods = self.methods.into_iter().map(|(method, make)| {
            let (key, endpoint) = (method.nsid().to_ascii_lowercase(), make(state.clone()));
            let (gate, counts) = (state.limits.gate(Some(method.nsid())), state.methods.of(method.nsid()));
            (key, Entry { method, endpoint, gate, counts })
        });
        let fallback = self.fallback.map(|make| make(state.clone()));
        Dispatcher(Arc::new(Table { methods: methods.collect(), fallback, gate: state.limits.gate(None) }))
    }
}

fn endpoint<H, T>(handler: H) -> MakeEndpoint
where
    H: Handler<T, AppState> + Sync,
    T: 'static,
{
    Box::new(|state| Endpoint::new(handler.with_state(state)))
}

/// Answers requests below `/xrpc/`; cheap to clone.
#[derive(Clone)]
pub(crate) struct Dispatcher(Arc<Table>);

struct Table {
    /// By lower-case NSID: local routes match without regard to case.
    methods: HashMap<String, Entry>,
    fallback: Option<Endpoint>,
    /// Before all that is no method here.
    gate: Gate,
}

struct Entry {
    method: Method,
    endpoint: Endpoint,
    gate: Gate,
    counts: Arc<MethodCounts>,
}

impl Dispatcher {
    /// Answers a call of `name`, the part of the path after `/xrpc/`.
    pub(crate) async fn dispatch(&self, name: &str, request: Request) -> Response {
        let name = name.strip_suffix('/').unwrap_or(name);
        match self.0.methods.get(&name.to_ascii_lowercase()) {
            Some(entry) if entry.method.kind() == Kind::Subscription && !wants_upgrade(&request) => {
                guard(&self.0.gate, request, |request| self.unknown(name, request)).await
            }
            Some(entry) => {
                let started = Instant::now();
                if let Some(summary) = request.extensions().get::<RequestSummary>() {
                    summary.set_nsid(entry.method.nsid());
                }
                let response = guard(&entry.gate, request, |request| entry.call(request)).await;
                entry.counts.answered(response.status(), started.elapsed());
                response
            }
            None => guard(&self.0.gate, request, |request| self.unknown(name, request)).await,
        }
    }

    async fn unknown(&self, name: &str, mut request: Request) -> Response {
        let Ok(nsid) = name.parse::<Nsid>() else {
            return XrpcError::invalid_request("invalid xrpc path").into_response();
        };
        let Some(fallback) = self.0.fallback.clone() else {
            return XrpcError::from_status(StatusCode::NOT_IMPLEMENTED, "Method Not Implemented").into_response();
        };
        request.extensions_mut().insert(nsid);
        run(fallback, request).await
    }
}

impl Entry {
    async fn call(&self, mut request: Request) -> Response {
        let method = self.method;
        if let Err(error) = check(method, &request) {
            return error.into_response();
        }
        request.extensions_mut().insert(method);
        let span = tracing::info_span!("xrpc", nsid = method.nsid());
        run(self.endpoint.clone(), request).instrument(span).await
    }
}

/// Has a request answered within its limits, with the headers that others add to its answer.
async fn guard<F: Future<Output = Response>>(
    gate: &Gate,
    mut request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let headers = ResponseHeaders::default();
    request.extensions_mut().insert(headers.clone());
    let mut response = match gate.enter(&mut request, &headers).await {
        Ok(admission) => admission.settle(answer(request).await).await,
        Err(refusal) => refusal.into_response(),
    };
    headers.merge_into(&mut response);
    response
}

async fn run(endpoint: Endpoint, request: Request) -> Response {
    match endpoint.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Refuses a wrong verb, and a query with a body.
fn check(method: Method, request: &Request) -> Result<(), XrpcError> {
    use http::Method as Verb;
    let verb = request.method();
    let right = match method.kind() {
        Kind::Query => matches!(*verb, Verb::GET | Verb::HEAD),
        Kind::Procedure => *verb == Verb::POST,
        // Over HTTP/2 a WebSocket opens with CONNECT.
        Kind::Subscription => matches!(*verb, Verb::GET | Verb::CONNECT),
    };
    if !right {
        let expected = method.kind().verb();
        return Err(XrpcError::invalid_request(format_args!("Incorrect HTTP method ({verb}) expected {expected}")));
    }
    let has_body = match presence(request) {
        Presence::Missing | Presence::Empty => false,
        Presence::Present => true,
        // A chunked body may prove empty; a query never reads it, so only a length that says otherwise is refused.
        Presence::Chunked => request.body().size_hint().lower() > 0,
    };
    if method.kind() == Kind::Query && has_body { Err(unexpected_body()) } else { Ok(()) }
}

fn wants_upgrade(request: &Request) -> bool {
    let websocket = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    request.method() == http::Method::CONNECT || request.headers().get(UPGRADE).is_some_and(websocket)
}
