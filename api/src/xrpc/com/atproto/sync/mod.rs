//! `com.atproto.sync.*`: repositories as a whole, for relays and moving accounts.

pub mod get_blob;
pub mod get_blocks;
pub mod get_checkout;
pub mod get_head;
pub mod get_latest_commit;
pub mod get_record;
pub mod get_repo;
pub mod get_repo_status;
pub mod list_blobs;
pub mod list_repos;
pub mod list_repos_by_collection;
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
    routes.add(get_blob::METHOD, get_blob::handle);
    routes.add(get_blocks::METHOD, get_blocks::handle);
    routes.add(get_checkout::METHOD, get_checkout::handle);
    routes.add(get_head::METHOD, get_head::handle);
    routes.add(get_latest_commit::METHOD, get_latest_commit::handle);
    routes.add(get_record::METHOD, get_record::handle);
    routes.add(get_repo::METHOD, get_repo::handle);
    routes.add(get_repo_status::METHOD, get_repo_status::handle);
    routes.add(list_blobs::METHOD, list_blobs::handle);
    routes.add(list_repos::METHOD, list_repos::handle);
    routes.add(list_repos_by_collection::METHOD, list_repos_by_collection::handle);
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
            ProofError::BlocksNotFound(_) | ProofError::TooBig => Self::invalid_request(error),
            ProofError::Damaged(_) | ProofError::Storage(_) => Self::internal(error),
        }
    }
}

impl From<ExportError> for XrpcError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::RepoNotFound => Self::bad_request("RepoNotFound", error),
            ExportError::Busy => Self::unavailable(error),
            ExportError::Damaged(_) | ExportError::Stalled | ExportError::Interrupted | ExportError::Storage(_) => {
                Self::internal(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::auth::AccessScope;
    use crate::testing::{Reply, TestAccount};
    use crate::xrpc::Method;
    use crate::xrpc::sync_scene::{COLLECTION, Caller, Scene};

    use super::*;

    const METHODS: [Method; 7] = [
        get_blocks::METHOD,
        get_checkout::METHOD,
        get_head::METHOD,
        get_latest_commit::METHOD,
        get_record::METHOD,
        get_repo::METHOD,
        list_blobs::METHOD,
    ];

    /// Those that the session of a taken-down user may call.
    const TAKEOUT: [Method; 2] = [get_repo::METHOD, list_blobs::METHOD];

    /// Calls each method with parameters that it answers.
    async fn call_all(scene: &Scene, caller: Caller<'_>, cid: &str) -> Vec<Reply> {
        let mut replies = Vec::new();
        for method in METHODS {
            let params = [("cids", cid), ("collection", COLLECTION), ("rkey", "a")];
            replies.push(scene.query_as(caller, method, &params).await);
        }
        replies
    }

    #[tokio::test]
    async fn inactive_repos_are_for_their_owner_and_the_operator_only() {
        let scene = Scene::start().await;
        let bob = scene.api.create_account("bob").await;
        let cid = scene.export().await.root.to_string();
        let did = &scene.alice.did;
        let deactivated = ("RepoDeactivated", format!("Repo has been deactivated: {did}"));
        let taken_down = ("RepoTakendown", format!("Repo has been taken down: {did}"));
        for (is_deactivated, is_taken_down, (name, message)) in
            [(true, false, &deactivated), (false, true, &taken_down), (true, true, &taken_down)]
        {
            scene.set_deactivated(is_deactivated).await;
            scene.set_taken_down(is_taken_down).await;
            for caller in [Caller::Stranger, Caller::Holder(&bob)] {
                for reply in call_all(&scene, caller, &cid).await {
                    assert_eq!(reply.error_with_message(), (400, (*name).to_owned(), message.clone()), "{caller:?}");
                }
            }
            for caller in [Caller::Admin, Caller::Holder(&scene.alice)] {
                for reply in call_all(&scene, caller, &cid).await {
                    assert_eq!(reply.status, 200, "{caller:?}: {}", reply.text);
                }
            }
        }
    }

    #[tokio::test]
    async fn taken_down_users_may_take_their_data_along() {
        let scene = Scene::start().await;
        let bob = scene.api.create_account("bob").await;
        let cid = scene.export().await.root.to_string();
        scene.set_taken_down(true).await;
        let tokens = &scene.api.app().tokens;
        let session = |account: &TestAccount| TestAccount {
            access: tokens.issue_access(&account.did.parse().unwrap(), AccessScope::Takendown).unwrap(),
            ..account.clone()
        };
        for (method, reply) in METHODS.iter().zip(call_all(&scene, Caller::Holder(&session(&scene.alice)), &cid).await)
        {
            if TAKEOUT.contains(method) {
                assert_eq!(reply.status, 200, "{}: {}", method.nsid(), reply.text);
            } else {
                let refused = (400, "InvalidToken".to_owned(), "Bad token scope".to_owned());
                assert_eq!(reply.error_with_message(), refused, "{}", method.nsid());
            }
        }
        for method in TAKEOUT {
            let reply = scene.query_as(Caller::Holder(&session(&bob)), method, &[]).await;
            assert_eq!(reply.error(), (400, "RepoTakendown".to_owned()), "{}: not their own", method.nsid());
        }
    }

    #[tokio::test]
    async fn unknown_repos_are_not_found() {
        let scene = Scene::start().await;
        let cid = scene.export().await.root.to_string();
        let unknown = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
        for method in METHODS {
            let params = [("did", unknown), ("cids", &cid), ("collection", COLLECTION), ("rkey", "a")];
            let reply = scene.api.call(method).query(&params).send().await;
            let message = format!("Could not find repo for DID: {unknown}");
            assert_eq!(reply.error_with_message(), (400, "RepoNotFound".to_owned(), message), "{}", method.nsid());
        }
    }

    #[tokio::test]
    async fn bad_credentials_are_not_ignored() {
        let scene = Scene::start().await;
        let cid = scene.export().await.root.to_string();
        for method in METHODS {
            let params = [("cids", &*cid), ("collection", COLLECTION), ("rkey", "a")];
            let call = scene.call_as(Caller::Stranger, method, &params).header("authorization", "Basic bm90OmFkbWlu");
            let reply = call.send().await;
            assert_eq!(reply.error(), (401, "AuthenticationRequired".to_owned()), "{}", method.nsid());
        }
    }
}
