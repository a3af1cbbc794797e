//! An object store inside the test's process.

use std::future::pending;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{self, Body};
use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
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
    /// Nothing more comes after half of what is read; of what is written the beginning is taken and nothing is answered.
    Stalls,
}

/// Speaks S3 over a socket, with one bucket in a temporary folder, and fails on demand. It checks signatures. Dropping it
/// stops it.
#[derive(Debug)]
pub struct FakeS3 {
    endpoint: String,
    folder: TempDir,
    fault: Arc<Mutex<Option<S3Fault>>>,
    waiting: watch::Sender<usize>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Service {
    s3: S3Service,
    fault: Arc<Mutex<Option<S3Fault>>>,
    waiting: watch::Sender<usize>,
}

/// A reader that gets no more of an answer, as long as it does not give up.
#[derive(Debug)]
struct Waiting(watch::Sender<usize>);

impl Waiting {
    fn begin(waiting: &watch::Sender<usize>) -> Self {
        waiting.send_modify(|count| *count += 1);
        Self(waiting.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
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
        let (fault, waiting) = (Arc::default(), watch::Sender::default());
        let service = Service { s3: builder.build(), fault: Arc::clone(&fault), waiting: waiting.clone() };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("a bound socket"));
        let router = Router::new().fallback(answer).with_state(service);
        // It ends by being aborted.
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serving") });
        Self { endpoint, folder, fault, waiting, server }
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

    /// The same as the environment of a program.
    pub fn variables(&self) -> [(&'static str, String); 6] {
        [
            ("PDS_BLOBSTORE_S3_BUCKET", BUCKET.to_owned()),
            ("PDS_BLOBSTORE_S3_ENDPOINT", self.endpoint.clone()),
            ("PDS_BLOBSTORE_S3_FORCE_PATH_STYLE", "true".to_owned()),
            ("PDS_BLOBSTORE_S3_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
            ("PDS_BLOBSTORE_S3_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY.to_owned()),
            ("PDS_BLOBSTORE_DISK_TMP_LOCATION", self.uploads().to_string_lossy().into_owned()),
        ]
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

    /// Waits until nobody waits any more for the rest of an answer that does not come.
    pub async fn until_given_up(&self) {
        // The sender is ours.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting == 0).await;
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
    if has_unsigned_headers(&request) {
        return StatusCode::FORBIDDEN.into_response();
    }
    match fault {
        Some(S3Fault::Down) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(S3Fault::Silent) => pending().await,
        Some(S3Fault::Stalls) if request.method() == Method::PUT => {
            let mut body = request.into_body().into_data_stream();
            let _begun = body.next().await;
            return pending().await;
        }
        Some(S3Fault::BreaksOff | S3Fault::Stalls) | None => {}
    }
    let request = request.map(s3s::Body::http_body_unsync);
    match service.s3.call(request).await {
        Ok(response) if fault == Some(S3Fault::BreaksOff) && reads => broken_off(response.map(Body::new)).await,
        Ok(response) if fault == Some(S3Fault::Stalls) && reads => {
            half(response.map(Body::new), Waiting::begin(&service.waiting)).await
        }
        Ok(response) => response.map(Body::new),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Whether a request whose signature is in its address has headers of Amazon's that are not signed. Real stores refuse
/// it.
fn has_unsigned_headers(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    let Some((_, signed)) = parameters.find(|(name, _)| name == "X-Amz-SignedHeaders") else { return false };
    let mut names = request.headers().keys().map(HeaderName::as_str).filter(|name| name.starts_with("x-amz-"));
    names.any(|name| !signed.split(';').any(|signed| signed == name))
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

/// The first half of an answer, with the length of all of it, and then nothing.
async fn half(response: Response, waiting: Waiting) -> Response {
    let (parts, body) = response.into_parts();
    let bytes = body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let bytes = bytes.slice(..bytes.len() / 2);
    let silence = stream::once(async move {
        let _waiting = waiting;
        pending().await
    });
    Response::from_parts(parts, Body::from_stream(stream::iter([Ok::<_, io::Error>(bytes)]).chain(silence)))
}
