//! An object store inside the test's process.

use std::future::pending;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::{BlobstoreConfig, S3Config, S3Credentials};

const BUCKET: &str = "blobs";
const ACCESS_KEY_ID: &str = "AKIDTEST";
const SECRET_ACCESS_KEY: &str = "a secret of tests";

/// What happens to requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum S3Fault {
    /// All are answered with 500.
    Down,
    /// None is answered.
    Silent,
    /// The connection breaks after the first byte of what is read.
    BreaksOff,
}

/// Speaks S3 over a socket, with one bucket in a temporary folder, and fails on demand. It checks signatures. Dropping it
/// stops it.
#[derive(Debug)]
pub struct FakeS3 {
    endpoint: String,
    folder: TempDir,
    fault: Arc<Mutex<Option<S3Fault>>>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Service {
    s3: S3Service,
    fault: Arc<Mutex<Option<S3Fault>>>,
}

impl FakeS3 {
    /// Starts with an empty bucket on a free port.
    ///
    /// # Panics
    /// If no port of the loopback interface is free, or there is no place for temporary files.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("store").join(BUCKET)).expect("a bucket");
        std::fs::create_dir(folder.path().join("uploads")).expect("a folder");
        let files = FileSystem::new(folder.path().join("store")).expect("a store");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let fault = Arc::default();
        let service = Service { s3: builder.build(), fault: Arc::clone(&fault) };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("a bound socket"));
        let router = Router::new().fallback(answer).with_state(service);
        // It ends by being aborted.
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serving") });
        Self { endpoint, folder, fault, server }
    }

    /// The settings of a server that keeps its blobs here.
    pub fn config(&self) -> BlobstoreConfig {
        BlobstoreConfig::S3(self.s3_config())
    }

    /// The same, to be changed.
    pub fn s3_config(&self) -> S3Config {
        S3Config {
            bucket: BUCKET.to_owned(),
            region: None,
            endpoint: Some(self.endpoint.clone()),
            public_endpoint: None,
            force_path_style: Some(true),
            credentials: Some(S3Credentials {
                access_key_id: ACCESS_KEY_ID.into(),
                secret_access_key: SECRET_ACCESS_KEY.into(),
            }),
            upload_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(15),
            checksums: false,
            tmp_location: self.uploads(),
        }
    }

    /// Where uploads wait for their end.
    pub fn uploads(&self) -> PathBuf {
        self.folder.path().join("uploads")
    }

    /// The file of an object with this key.
    pub fn file(&self, key: &str) -> PathBuf {
        self.folder.path().join("store").join(BUCKET).join(key)
    }

    /// From now on fails like this, or works again.
    pub fn set_fault(&self, fault: Option<S3Fault>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

impl Drop for FakeS3 {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(service): State<Service>, request: Request) -> Response {
    let fault = *service.fault.lock().unwrap_or_else(PoisonError::into_inner);
    let reads = request.method() == Method::GET;
    match fault {
        Some(S3Fault::Down) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(S3Fault::Silent) => pending::<()>().await,
        Some(S3Fault::BreaksOff) | None => {}
    }
    let request = request.map(s3s::Body::http_body_unsync);
    match service.s3.call(request).await {
        Ok(response) if fault == Some(S3Fault::BreaksOff) && reads => broken_off(response.map(Body::new)).await,
        Ok(response) => response.map(Body::new),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The answer up to its first byte, with the length of all of it.
async fn broken_off(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let first = body.into_data_stream().next().await.and_then(Result::ok).unwrap_or_default();
    let first = first.slice(..first.len().min(1));
    let error = stream::once(async {
        // What came before is sent when nothing more is ready.
        tokio::task::yield_now().await;
        Err(io::Error::other("broken off"))
    });
    Response::from_parts(parts, Body::from_stream(stream::iter([Ok(first)]).chain(error)))
}
