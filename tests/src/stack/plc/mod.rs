//! A PLC directory of our own: checks operations as the public one does, and keeps them in a file.
//!
//! Unlike the public one it limits neither how often a DID may change nor how fast the log is read.
//! Source: web.plc.directory/spec/v0.1/did-plc.

mod log;
mod store;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use atproto::identity::plc::{Operation, State as DidState};
use atproto::syntax::{Did, DidError};
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use log::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Entries of one page of `/export` unless the caller asks for fewer, and at most.
const EXPORT_PAGE: usize = 1000;

/// A PLC directory, in this process; it stops when this is dropped.
#[derive(Debug)]
pub struct PlcDirectory {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl PlcDirectory {
    /// Starts a directory that keeps its operations in `folder`.
    ///
    /// # Errors
    /// The operations cannot be read, or there is no free port.
    pub async fn start(folder: &Path) -> Result<Self> {
        let directory = Directory(Arc::new(Mutex::new(Store::open(folder)?)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // It only ends when it is aborted: axum tries again when accepting fails.
            let _ = axum::serve(listener, router(directory)).await;
        });
        Ok(Self { address, task })
    }

    /// The origin, for `PDS_DID_PLC_URL`.
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }
}

impl Drop for PlcDirectory {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the handlers share.
#[derive(Clone)]
struct Directory(Arc<Mutex<Store>>);

impl Directory {
    /// The operations; each change of them is complete before the lock is released, even by a panic.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of a DID that exists and has not ended.
    fn state(&self, did: &str) -> Result<(Did, DidState), Refusal> {
        let store = self.store();
        let log = store.log(did)?;
        let did = log.all().first().map(|entry| entry.did.clone()).ok_or_else(|| Refusal::Unknown(did.to_owned()))?;
        match log.state() {
            Some(state) => Ok((did, state)),
            None => Err(Refusal::Deactivated(did)),
        }
    }
}

fn router(directory: Directory) -> Router {
    Router::new()
        .route("/_health", get(|| async { Json(json!({ "version": env!("CARGO_PKG_VERSION") })) }))
        .route("/export", get(export))
        .route("/{did}", get(document).post(submit))
        .route("/{did}/data", get(data))
        .route("/{did}/log", get(current_log))
        .route("/{did}/log/audit", get(audit_log))
        .route("/{did}/log/last", get(last_operation))
        .with_state(directory)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Deactivated(_) => StatusCode::GONE,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({ "message": self.to_string() }))).into_response()
    }
}

async fn submit(State(directory): State<Directory>, UrlPath(did): UrlPath<String>, body: Bytes) -> Result<(), Refusal> {
    let invalid = |error: &dyn std::error::Error| Refusal::Invalid(error.to_string());
    let did = did.parse().map_err(|error: DidError| invalid(&error))?;
    let operation = serde_json::from_slice(&body).map_err(|error| invalid(&error))?;
    directory.store().submit(did, operation, now())
}

async fn document(State(directory): State<Directory>, UrlPath(did): UrlPath<String>) -> Result<Response, Refusal> {
    let (did, state) = directory.state(&did)?;
    let media_type = [(header::CONTENT_TYPE, "application/did+ld+json")];
    Ok((media_type, Json(state.document(&did))).into_response())
}

async fn data(State(directory): State<Directory>, UrlPath(did): UrlPath<String>) -> Result<Response, Refusal> {
    #[derive(Serialize)]
    struct Data {
        did: Did,
        #[serde(flatten)]
        state: DidState,
    }
    let (did, state) = directory.state(&did)?;
    Ok(Json(Data { did, state }).into_response())
}

async fn current_log(State(directory): State<Directory>, UrlPath(did): UrlPath<String>) -> Result<Response, Refusal> {
    let store = directory.store();
    let operations: Vec<&Operation> = store.log(&did)?.current().iter().map(|entry| &entry.operation).collect();
    Ok(Json(operations).into_response())
}

async fn last_operation(
    State(directory): State<Directory>,
    UrlPath(did): UrlPath<String>,
) -> Result<Response, Refusal> {
    let store = directory.store();
    Ok(Json(store.log(&did)?.current().last().map(|entry| &entry.operation)).into_response())
}

async fn audit_log(State(directory): State<Directory>, UrlPath(did): UrlPath<String>) -> Result<Response, Refusal> {
    Ok(Json(directory.store().log(&did)?.all()).into_response())
}

/// What `/export` may be asked.
#[derive(Deserialize)]
struct Page {
    after: Option<DateTime<Utc>>,
    count: Option<usize>,
}

async fn export(State(directory): State<Directory>, Query(page): Query<Page>) -> Result<Response, Refusal> {
    let after = page.after.unwrap_or(DateTime::UNIX_EPOCH);
    let count = page.count.unwrap_or(EXPORT_PAGE).min(EXPORT_PAGE);
    let mut lines = Vec::new();
    for entry in directory.store().entries_after(after).take(count) {
        serde_json::to_writer(&mut lines, entry).map_err(std::io::Error::from)?;
        lines.push(b'\n');
    }
    Ok(([(header::CONTENT_TYPE, "application/jsonlines")], lines).into_response())
}

#[expect(clippy::disallowed_methods, reason = "a server of its own, with a clock of its own")]
fn now() -> DateTime<Utc> {
    Utc::now()
}
