//! `com.atproto.sync.getCheckout`: a whole repo as an archive. Deprecated; getRepo does the same, and more.

use atproto::syntax::Did;
use axum::extract::State;
use axum::response::Response;
use common::repo::Repos;
use http::Method as Verb;
use serde::Deserialize;

use super::{get_repo, readable};
use crate::auth::ReaderAuth;
use crate::xrpc::{Method, XrpcError, XrpcQuery};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.getCheckout");

/// Which repo.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
}

/// Streams the archive.
pub async fn handle(
    State(repos): State<Repos>,
    XrpcQuery(Params { did }): XrpcQuery<Params>,
    reader: ReaderAuth,
    verb: Verb,
) -> Result<Response, XrpcError> {
    let repo = readable(&repos, &reader, did).await?;
    get_repo::archive(&repos, &repo, None, &verb).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xrpc::sync_scene::{COLLECTION, Scene};

    #[tokio::test]
    async fn a_checkout_is_the_whole_repo() {
        let scene = Scene::start().await;
        scene.create(&(0..20).map(|n| (COLLECTION, format!("{n:02}"))).collect::<Vec<_>>(), 0).await;
        let export = scene.export().await;
        let rev = export.commit().rev.to_string();
        let checkout = scene.archive(METHOD, &[("since", &rev)]).await;
        assert_eq!((checkout.root, checkout.blocks), (export.root, export.blocks), "there is no since");
    }
}
