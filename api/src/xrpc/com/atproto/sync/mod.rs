//! `com.atproto.sync.*`: repositories as a whole, for relays and moving accounts.

pub mod get_blocks;
pub mod get_latest_commit;
pub mod get_record;
pub mod get_repo;
pub mod get_repo_status;
pub mod list_repos;
pub mod subscribe_repos;

use atproto::syntax::Did;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use common::repo::{ExportError, ProofError, Repo, RepoStatus, Repos};
use http::header::CONTENT_TYPE;

use crate::auth::ReaderAuth;
use crate::xrpc::{Routes, XrpcError, xrpc_errors};

/// The media type of archives.
const CAR: &str = "application/vnd.ipld.car";

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(get_blocks::METHOD, get_blocks::handle);
    routes.add(get_latest_commit::METHOD, get_latest_commit::handle);
    routes.add(get_record::METHOD, get_record::handle);
    routes.add(get_repo::METHOD, get_repo::handle);
    routes.add(get_repo_status::METHOD, get_repo_status::handle);
    routes.add(list_repos::METHOD, list_repos::handle);
    routes.add(subscribe_repos::METHOD, subscribe_repos::handle);
}

/// Why a repo may not be read: the errors that all methods of this namespace share.
#[expect(clippy::enum_variant_names, reason = "the names on the wire")]
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("Could not find repo for DID: {0}")]
    RepoNotFound(Did),
    #[error("Repo has been taken down: {0}")]
    RepoTakendown(Did),
    #[error("Repo has been deactivated: {0}")]
    RepoDeactivated(Did),
}

xrpc_errors!(Unreadable: RepoNotFound, RepoTakendown, RepoDeactivated);

/// The repo, if the caller may read it: an inactive one only its owner and the administrator may.
async fn readable(repos: &Repos, reader: &ReaderAuth, did: Did) -> Result<Repo, XrpcError> {
    let repo = repos.find(&did).await.map_err(XrpcError::internal)?;
    let repo = repo.ok_or_else(|| Unreadable::RepoNotFound(did.clone()))?;
    match repo.status {
        RepoStatus::Active => Ok(repo),
        _ if reader.may_read_inactive(&did) => Ok(repo),
        RepoStatus::Takendown => Err(Unreadable::RepoTakendown(did).into()),
        RepoStatus::Deactivated => Err(Unreadable::RepoDeactivated(did).into()),
    }
}

/// The protocol's name for why an account is not active.
fn status_name(status: RepoStatus) -> Option<&'static str> {
    match status {
        RepoStatus::Active => None,
        RepoStatus::Takendown => Some("takendown"),
        RepoStatus::Deactivated => Some("deactivated"),
    }
}

/// An answer that is an archive.
fn car(body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, CAR)], body.into()).into_response()
}

impl From<ProofError> for XrpcError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::RepoNotFound => Self::bad_request("RepoNotFound", error),
            ProofError::BlocksNotFound(_) => Self::invalid_request(error),
            ProofError::Damaged(_) | ProofError::Storage(_) => Self::internal(error),
        }
    }
}

impl From<ExportError> for XrpcError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::RepoNotFound => Self::bad_request("RepoNotFound", error),
            ExportError::Damaged(_) | ExportError::Stalled | ExportError::Storage(_) => Self::internal(error),
        }
    }
}
