//! A PLC directory inside the test's process.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atproto::identity::plc::{Operation, OperationError, State, StateError};
use atproto::syntax::Did;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

/// A PLC directory that checks DIDs, signatures and chains as the real one does, keeps them in memory, and fails on demand.
/// It knows neither recovery nor limits on how often a DID may change. Dropping it stops it.
#[derive(Debug)]
pub struct FakePlc {
    directory: Arc<Directory>,
    url: Url,
    server: JoinHandle<()>,
}

#[derive(Default, Debug)]
struct Directory {
    operations: Mutex<BTreeMap<Did, Vec<Operation>>>,
    is_down: AtomicBool,
    documents_served: AtomicUsize,
}

/// Why an operation is not taken: what the directory answers.
type Refusal = (StatusCode, Json<serde_json::Value>);

impl FakePlc {
    /// Starts an empty directory on a free port.
    ///
    /// # Panics
    /// If no port of the loopback interface is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let url = Url::parse(&format!("http://127.0.0.1:{port}")).expect("a URL");
        let directory = Arc::new(Directory::default());
        let router = router(Arc::clone(&directory));
        // It ends by being aborted.
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serving") });
        Self { directory, url, server }
    }

    /// Its address, for `PDS_DID_PLC_URL`.
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// The DIDs it knows.
    pub fn dids(&self) -> Vec<Did> {
        self.directory.operations().keys().cloned().collect()
    }

    /// The operations of a DID, the oldest first.
    pub fn operations(&self, did: &Did) -> Vec<Operation> {
        self.directory.operations().get(did).cloned().unwrap_or_default()
    }

    /// The state of a DID; `None` if it is unknown or ended.
    pub fn state(&self, did: &Did) -> Option<State> {
        self.operations(did).last()?.state()
    }

    /// From now on answers everything with 500, or works again.
    pub fn set_down(&self, down: bool) {
        self.directory.is_down.store(down, Ordering::SeqCst);
    }

    /// How many DID documents it was asked for.
    pub fn documents_served(&self) -> usize {
        self.directory.documents_served.load(Ordering::SeqCst)
    }

    /// Takes an operation as if somebody had sent it.
    ///
    /// # Panics
    /// If the directory refuses it.
    pub fn submit(&self, did: &Did, operation: Operation) {
        self.directory.append(did, operation).expect("an operation that is in order");
    }
}

impl Drop for FakePlc {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(directory: Arc<Directory>) -> Router {
    Router::new()
        .route("/{did}", get(document).post(submit))
        .route("/{did}/data", get(data))
        .route("/{did}/log/last", get(last_operation))
        .with_state(directory)
}

impl Directory {
    fn operations(&self) -> MutexGuard<'_, BTreeMap<Did, Vec<Operation>>> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_up(&self) -> Result<(), Refusal> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err((StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "message": "Internal Server Error" }))));
        }
        Ok(())
    }

    fn last(&self, did: &Did) -> Result<Operation, Refusal> {
        self.check_up()?;
        let found = self.operations().get(did).and_then(|operations| operations.last().cloned());
        let message = format!("DID not registered: {did}");
        found.ok_or_else(|| (StatusCode::NOT_FOUND, Json(json!({ "message": message }))))
    }

    fn last_state(&self, did: &Did) -> Result<State, Refusal> {
        let message = format!("DID not available: {did}");
        self.last(did)?.state().ok_or_else(|| (StatusCode::GONE, Json(json!({ "message": message }))))
    }

    fn append(&self, did: &Did, operation: Operation) -> Result<(), Refusal> {
        self.check_up()?;
        let mut all = self.operations();
        let operations = all.get(did).map_or(&[][..], Vec::as_slice);
        check(did, operations, &operation)
            .map_err(|error| (StatusCode::BAD_REQUEST, Json(json!({ "message": error.to_string() }))))?;
        all.entry(did.clone()).or_default().push(operation);
        Ok(())
    }
}

/// Checks that `operation` begins or continues a chain.
fn check(did: &Did, operations: &[Operation], operation: &Operation) -> Result<(), OperationError> {
    operation.check_limits()?;
    let Some(last) = operations.last() else { return operation.verify_genesis(did) };
    if operation.prev() != Some(last.cid()?) {
        return Err(OperationError::Fields);
    }
    let state = last.state().ok_or(OperationError::NotGenesis)?;
    let keys = state.parse_rotation_keys().map_err(StateError::from)?;
    operation.verify(&keys).map(|_| ())
}

async fn submit(
    Shared(directory): Shared<Arc<Directory>>,
    Path(did): Path<Did>,
    Json(operation): Json<Operation>,
) -> Result<StatusCode, Refusal> {
    directory.append(&did, operation)?;
    Ok(StatusCode::OK)
}

async fn document(Shared(directory): Shared<Arc<Directory>>, Path(did): Path<Did>) -> Result<Response, Refusal> {
    directory.documents_served.fetch_add(1, Ordering::SeqCst);
    Ok(Json(directory.last_state(&did)?.document(&did)).into_response())
}

async fn data(Shared(directory): Shared<Arc<Directory>>, Path(did): Path<Did>) -> Result<Json<State>, Refusal> {
    directory.last_state(&did).map(Json)
}

async fn last_operation(
    Shared(directory): Shared<Arc<Directory>>,
    Path(did): Path<Did>,
) -> Result<Json<Operation>, Refusal> {
    directory.last(&did).map(Json)
}
