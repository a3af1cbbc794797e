//! `com.atproto.server.deleteSession`: signing out.

use axum::extract::State;
use common::session::Sessions;

use crate::{
    auth::EndedAuth,
    xrpc::{Method, NoInput, XrpcError},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.deleteSession");

/// Takes an expired token too, and one that was revoked. Access tokens stay good until they expire. What is being exchanged
/// at another replica at the same time ends as well.
///
/// Reference: it ends the given token only, so that the one exchanged for it, or from it, lives on.
pub async fn handle(State(sessions): State<Sessions>, auth: EndedAuth, _: NoInput) -> Result<(), XrpcError> {
    sessions.end(&auth.id).await.map_err(XrpcError::internal)
}

#[cfg(test)]
mod tests {
    use common::session::REFRESH_LIFETIME;

    use super::super::{get_session, refresh_session};
    use super::*;
    use crate::testing::TestApi;

    #[tokio::test]
    async fn a_session_ends_for_good_and_only_once_it_is_told() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        api.call(refresh_session::METHOD).bearer(&alice.refresh).send().await.expect_ok();
        // Any token of a session ends it, and ending it again is fine.
        for _ in 0..2 {
            api.call(METHOD).bearer(&alice.refresh).send().await.expect_ok();
        }
        let refreshed = api.call(refresh_session::METHOD).bearer(&alice.refresh).send().await;
        assert_eq!(refreshed.error(), (400, "ExpiredToken".to_owned()));
        api.call(get_session::METHOD).bearer(&alice.access).send().await.expect_ok();
    }

    #[tokio::test]
    async fn an_expired_token_will_do_and_an_access_token_will_not() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let with_access = api.call(METHOD).bearer(&alice.access).send().await;
        assert_eq!(with_access.error(), (400, "InvalidToken".to_owned()));
        api.clock.advance(REFRESH_LIFETIME);
        api.call(METHOD).bearer(&alice.refresh).send().await.expect_ok();
    }
}
