//! `com.atproto.server.activateAccount`: opens an account that its owner closed, or that moved here.

use axum::extract::State;
use common::account::AccountStatus;
use common::lifecycle::{StandingError, StatusError};

use crate::{
    auth::FullAuth,
    state::AppState,
    xrpc::{Method, NoInput, XrpcError},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.activateAccount");

/// The account's DID must say that its home is here. An account that is open is announced again. Blobs that are missing
/// may come later.
pub async fn handle(State(app): State<AppState>, auth: FullAuth, _: NoInput) -> Result<(), XrpcError> {
    let account = app.accounts.find_by_did(auth.did()).await.map_err(XrpcError::internal)?;
    let account = account.filter(|account| account.status != AccountStatus::Takendown).ok_or_else(user_not_found)?;
    app.lifecycle.check_standing(account.id, &account.did).await?;
    app.lifecycle.activate(&account.did).await.map_err(|error| match error {
        StatusError::NotFound | StatusError::Takendown => user_not_found(),
        StatusError::Contended => XrpcError::unavailable(error),
        StatusError::Damaged(_) | StatusError::Storage(_) => XrpcError::internal(error),
    })?;
    Ok(())
}

fn user_not_found() -> XrpcError {
    XrpcError::bad_request("AccountNotFound", "user not found")
}

impl From<StandingError> for XrpcError {
    fn from(error: StandingError) -> Self {
        match error {
            StandingError::NoRotationKey
            | StandingError::Unresolved
            | StandingError::Endpoint
            | StandingError::SigningKey => Self::invalid_request(error),
            StandingError::NotFound => user_not_found(),
            StandingError::Plc(error) => error.into(),
            StandingError::RotationKey(error) => error.into(),
            StandingError::Storage(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use atproto::crypto::SigningKey;
    use atproto::identity::plc::{State as DidState, UnsignedOperation};
    use atproto::syntax::Did;
    use common::testing::seed;
    use serde_json::json;

    use super::super::{deactivate_account, get_session};
    use super::*;
    use crate::auth::AccessScope;
    use crate::testing::{Reply, TestAccount, TestApi};
    use crate::xrpc::com::atproto::repo::create_record;

    async fn post(api: &TestApi, replica: usize, account: &TestAccount) -> Reply {
        let input = json!({ "repo": account.did, "collection": "com.example.thing", "record": {} });
        api.call_on(replica, create_record::METHOD).bearer(&account.access).json(&input).send().await
    }

    /// Changes a DID with the server's rotation key.
    fn change_did(api: &TestApi, did: &Did, change: impl FnOnce(&mut DidState)) {
        let mut state = api.plc.state(did).unwrap();
        change(&mut state);
        let prev = Some(api.plc.operations(did).last().unwrap().cid().unwrap());
        let key = SigningKey::from_bytes(&[1; 32]).unwrap();
        api.plc.submit(did, UnsignedOperation::Update { state, prev }.sign(&key).unwrap());
    }

    #[tokio::test]
    async fn an_account_is_closed_and_open_on_all_replicas_at_once() {
        let api = TestApi::start_with(2, |_| {}).await;
        let alice = api.create_account("alice").await;
        let deactivated = (401, "AccountDeactivated".to_owned());
        for turn in 0..2 {
            // Both replicas remember that she is active.
            for replica in 0..2 {
                post(&api, replica, &alice).await.expect_ok();
            }
            let closing = api.call_on(turn, deactivate_account::METHOD).bearer(&alice.access);
            closing.json(&json!({})).send().await.expect_ok();
            for replica in 0..2 {
                assert_eq!(post(&api, replica, &alice).await.error(), deactivated, "{turn} {replica}");
                let session = api.call_on(replica, get_session::METHOD).bearer(&alice.access).send().await.expect_ok();
                assert_eq!((&session["active"], &session["status"]), (&json!(false), &json!("deactivated")));
            }
            api.call_on(1 - turn, METHOD).bearer(&alice.access).send().await.expect_ok();
        }
        for replica in 0..2 {
            post(&api, replica, &alice).await.expect_ok();
        }
    }

    #[tokio::test]
    async fn the_did_must_say_that_its_home_is_here() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let did: Did = alice.did.parse().unwrap();
        let here = api.plc.state(&did).unwrap();
        let stranger = SigningKey::generate(&mut rand::rng()).public_key().to_string();
        let opened = async || api.call(METHOD).bearer(&alice.access).send().await;
        let refusal = |message: &str| (400, "InvalidRequest".to_owned(), message.to_owned());

        change_did(&api, &did, |state| {
            state.services.get_mut("atproto_pds").unwrap().endpoint = "https://elsewhere.test".to_owned();
        });
        let elsewhere = "DID document atproto_pds service endpoint does not match PDS public url";
        assert_eq!(opened().await.error_with_message(), refusal(elsewhere));
        change_did(&api, &did, |state| {
            *state = here.clone();
            state.verification_methods.insert("atproto".to_owned(), stranger.clone());
        });
        let other_key = "DID document verification method does not match expected signing key";
        assert_eq!(opened().await.error_with_message(), refusal(other_key));
        change_did(&api, &did, |state| *state = here);
        opened().await.expect_ok();
        api.plc.set_down(true);
        assert_eq!(opened().await.error(), (502, "UpstreamFailure".to_owned()));
        api.plc.set_down(false);
        change_did(&api, &did, |state| state.rotation_keys = vec![stranger]);
        assert_eq!(opened().await.error_with_message(), refusal("Server rotation key not included in PLC DID data"));
    }

    #[tokio::test]
    async fn only_the_main_password_opens_and_nobody_opens_what_is_taken_down() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let app = api.app().tokens.issue_access(&alice.did.parse().unwrap(), AccessScope::AppPassPrivileged).unwrap();
        assert_eq!(api.call(METHOD).bearer(&app).send().await.error(), (400, "InvalidToken".to_owned()));
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        let not_found = (400, "AccountNotFound".to_owned(), "user not found".to_owned());
        assert_eq!(api.call(METHOD).bearer(&alice.access).send().await.error_with_message(), not_found);
        seed::delete_account(&api.db.pool(), &alice.did).await;
        assert_eq!(api.call(METHOD).bearer(&alice.access).send().await.error_with_message(), not_found);
    }
}
