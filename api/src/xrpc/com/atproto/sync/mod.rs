//! `com.atproto.sync.*`: repositories as a whole, for relays and moving accounts.

pub mod get_repo_status;
pub mod list_repos;
pub mod subscribe_repos;

use atproto::syntax::Did;
use common::repo::RepoStatus;

use crate::xrpc::{Routes, xrpc_errors};

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(get_repo_status::METHOD, get_repo_status::handle);
    routes.add(list_repos::METHOD, list_repos::handle);
    routes.add(subscribe_repos::METHOD, subscribe_repos::handle);
}

/// The error for a repo that is not here.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("Could not find repo for DID: {0}")]
    RepoNotFound(Did),
}

xrpc_errors!(Unreadable: RepoNotFound);

/// The protocol's name for why an account is not active.
fn status_name(status: RepoStatus) -> Option<&'static str> {
    match status {
        RepoStatus::Active => None,
        RepoStatus::Takendown => Some("takendown"),
        RepoStatus::Deactivated => Some("deactivated"),
    }
}
