//! `com.atproto.server.createAccount`: a new account, with a new DID or with one that moves here, signed in.

use atproto::{identity::DidDocument, syntax::Did};
use axum::extract::State;
use common::{
    identity::{HandleRefusal, PlcError},
    keys::RotationKeyError,
    lifecycle::{CreateAccountError, NewAccount},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    auth::{AccessScope, OptionalServiceAuth},
    limit::Admission,
    state::AppState,
    xrpc::{Method, Shared, XrpcBody, XrpcError, XrpcJson, XrpcResult},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.createAccount");

/// Who signs up. `verificationCode` and `verificationPhone` are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    handle: String,
    email: Option<String>,
    password: Option<SecretString>,
    invite_code: Option<String>,
    did: Option<Did>,
    recovery_key: Option<String>,
    plc_op: Option<IgnoredAny>,
}

/// The account and its first session.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    access_jwt: String,
    refresh_jwt: String,
    handle: String,
    did: Did,
    #[serde(skip_serializing_if = "Option::is_none")]
    did_doc: Option<Shared<DidDocument>>,
}

/// Whoever brings a DID shows a token that its key has signed for this method. Their account starts closed, until the DID
/// says that its home is here and activateAccount opens it. `plcOp` is for accounts that an entryway makes.
pub async fn handle(
    State(app): State<AppState>,
    OptionalServiceAuth(proven_did): OptionalServiceAuth,
    admission: Admission,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<Output> {
    if input.plc_op.is_some() {
        return Err(XrpcError::invalid_request("Unsupported input: \"plcOp\""));
    }
    let new = NewAccount {
        handle: input.handle,
        email: input.email,
        password: input.password,
        invite_code: input.invite_code,
        recovery_key: input.recovery_key,
        did: input.did,
        proven_did,
        operator: None,
    };
    let account = app.lifecycle.create_account(new).await?;
    if let Some(address) = admission.address()
        && let Err(error) = app.sessions.remember_address(account.id, address).await
    {
        // The account is there, whatever becomes of this.
        tracing::warn!(%error, "cannot remember where an account comes from");
    }
    Ok(XrpcJson(Output {
        access_jwt: app.tokens.issue_access(&account.did, AccessScope::Full)?,
        refresh_jwt: app.tokens.issue_refresh(&account.did, &account.refresh_token)?,
        handle: account.handle.into(),
        did: account.did,
        did_doc: account.document.map(Shared),
    }))
}

impl From<CreateAccountError> for XrpcError {
    fn from(error: CreateAccountError) -> Self {
        use CreateAccountError as Error;
        match error {
            Error::Closed => Self::forbidden("Forbidden", error),
            Error::InviteMissing | Error::InviteNotAvailable => Self::bad_request("InvalidInviteCode", error),
            Error::Handle(refusal) => refusal.into(),
            Error::PasswordTooLong
            | Error::EmailMissing
            | Error::EmailUnsupported
            | Error::HandleUnresolved
            | Error::HandleTaken(_)
            | Error::EmailTaken(_)
            | Error::RecoveryKey => Self::invalid_request(error),
            Error::DidTaken => Self::bad_request("AlreadyExists", error),
            Error::Undone => Self::unavailable(error),
            Error::DidUnproven(_) => Self::auth_required(error),
            Error::Plc(error) => error.into(),
            Error::RotationKey(error) => error.into(),
            Error::Password(error) => error.into(),
            Error::Genesis(_)
            | Error::Operation(_)
            | Error::Seal(_)
            | Error::Key(_)
            | Error::Storage(_)
            | Error::Interrupted => Self::internal(error),
        }
    }
}

impl From<HandleRefusal> for XrpcError {
    fn from(refusal: HandleRefusal) -> Self {
        match refusal {
            // Reference: its schema check sees the syntax first, and has no name for it.
            HandleRefusal::Syntax(_) => Self::invalid_request(refusal),
            HandleRefusal::Invalid(_) => Self::bad_request("InvalidHandle", refusal),
            HandleRefusal::Reserved => Self::bad_request("HandleNotAvailable", refusal),
            HandleRefusal::UnsupportedDomain => Self::bad_request("UnsupportedDomain", refusal),
        }
    }
}

impl From<RotationKeyError> for XrpcError {
    fn from(error: RotationKeyError) -> Self {
        match error {
            // It may be there again soon.
            RotationKeyError::Service(_) => Self::unavailable(error),
            RotationKeyError::Unusable(_) | RotationKeyError::Operation(_) => Self::internal(error),
        }
    }
}

impl From<PlcError> for XrpcError {
    fn from(error: PlcError) -> Self {
        match error {
            PlcError::Refused { .. } => Self::invalid_request(error),
            PlcError::Failed { .. } => Self::upstream_failure(error),
            PlcError::Resting => Self::resting(error),
            PlcError::Unreachable(_) | PlcError::Document(_) | PlcError::Operation(_) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "PLC directory");
                Self::upstream_failure("Unable to perform PLC operation")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use futures_util::future::join_all;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{PASSWORD, TestApi};

    fn input(name: &str) -> Value {
        json!({ "handle": format!("{name}.test"), "email": format!("{name}@mail.test"), "password": PASSWORD })
    }

    fn with(mut input: Value, field: &str, value: impl Into<Value>) -> Value {
        input[field] = value.into();
        input
    }

    #[tokio::test]
    async fn a_sign_up_is_signed_in() {
        let api = TestApi::start().await;
        let output = api.call(METHOD).json(&input("Alice")).send().await.expect_ok();
        assert_eq!(output["handle"], "alice.test");
        assert_eq!(output["didDoc"]["id"], output["did"], "whatever the settings say");
        assert_eq!(output["didDoc"]["alsoKnownAs"], json!(["at://alice.test"]));
        let session = super::super::get_session::METHOD;
        let session = api.call(session).bearer(output["accessJwt"].as_str().unwrap()).send().await.expect_ok();
        assert_eq!((&session["did"], &session["email"]), (&output["did"], &json!("alice@mail.test")));
        let refresh = super::super::refresh_session::METHOD;
        api.call(refresh).bearer(output["refreshJwt"].as_str().unwrap()).send().await.expect_ok();
    }

    #[tokio::test]
    async fn every_refusal_has_its_status_name_and_message() {
        let api = TestApi::start().await;
        api.create_account("taken").await;
        let long = "x".repeat(257);
        let cases = [
            (with(input("alice"), "plcOp", json!({})), 400, "InvalidRequest", "Unsupported input: \"plcOp\""),
            (
                with(input("alice"), "password", long),
                400,
                "InvalidRequest",
                "Password too long. Maximum length is 256 characters.",
            ),
            (with(input("alice"), "email", Value::Null), 400, "InvalidRequest", "Email is required"),
            (
                with(input("alice"), "email", "alice"),
                400,
                "InvalidRequest",
                "This email address is not supported, please use a different email.",
            ),
            (
                with(input("alice"), "handle", "al_ice.test"),
                400,
                "InvalidRequest",
                "Input handle must be a valid handle: Handle parts must be 1 to 63 letters, digits or hyphens, \
                 with no hyphen at either end",
            ),
            (
                with(input("alice"), "handle", "alice.onion"),
                400,
                "InvalidHandle",
                "Handle TLD is invalid or disallowed",
            ),
            (with(input("alice"), "handle", "al.test"), 400, "InvalidHandle", "Handle too short"),
            (with(input("alice"), "handle", "alice-has-a-long-name.test"), 400, "InvalidHandle", "Handle too long"),
            (with(input("alice"), "handle", "a.b.test"), 400, "InvalidHandle", "Invalid characters in handle"),
            (with(input("alice"), "handle", "admin.test"), 400, "HandleNotAvailable", "Reserved handle"),
            (
                with(input("alice"), "handle", "alice.example.com"),
                400,
                "UnsupportedDomain",
                "Not a supported handle domain",
            ),
            (with(input("alice"), "handle", "taken.test"), 400, "InvalidRequest", "Handle already taken: taken.test"),
            (
                with(input("alice"), "email", "Taken@mail.test"),
                400,
                "InvalidRequest",
                "Email already taken: taken@mail.test",
            ),
            (
                with(input("alice"), "did", "did:plc:alice"),
                401,
                "AuthenticationRequired",
                "Missing auth to create account with did: did:plc:alice",
            ),
        ];
        for (input, status, name, message) in cases {
            let expected = (status, name.to_owned(), message.to_owned());
            assert_eq!(api.call(METHOD).json(&input).send().await.error_with_message(), expected, "{input}");
        }
        let no_handle = api.call(METHOD).json(&json!({})).send().await.error();
        assert_eq!(no_handle, (400, "InvalidRequest".to_owned()));
        let moving = api.call(METHOD).bearer("x").json(&with(input("alice"), "did", "did:plc:alice")).send().await;
        assert_eq!(moving.error(), (401, "BadJwt".to_owned()));
    }

    #[tokio::test]
    async fn a_code_is_needed_where_the_operator_says_so() {
        let api = TestApi::start_with(1, |config| config.invites.required = true).await;
        seed::invite_code(&api.db.pool(), "code-1", 1).await;
        let refusal = async |input: Value| api.call(METHOD).json(&input).send().await.error_with_message();
        let error = |message: &str| (400, "InvalidInviteCode".to_owned(), message.to_owned());
        assert_eq!(refusal(input("alice")).await, error("No invite code provided"));
        let not_available = error("Provided invite code not available");
        assert_eq!(refusal(with(input("alice"), "inviteCode", "other")).await, not_available);
        api.call(METHOD).json(&with(input("alice"), "inviteCode", "code-1")).send().await.expect_ok();
        assert_eq!(refusal(with(input("bob"), "inviteCode", "code-1")).await, not_available);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn replicas_give_a_handle_to_one_of_many() {
        let api = TestApi::start_with(2, |_| {}).await;
        let calls = (0..6).map(|turn| {
            let input = with(input("alice"), "email", format!("alice{turn}@mail.test"));
            api.call_on(turn % 2, METHOD).json(&input).send()
        });
        let replies = join_all(calls).await;
        let (won, lost): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status.is_success());
        assert_eq!((won.len(), lost.len()), (1, 5));
        let taken = (400, "InvalidRequest".to_owned(), "Handle already taken: alice.test".to_owned());
        assert!(lost.iter().all(|reply| reply.error_with_message() == taken), "{lost:?}");
    }

    #[tokio::test]
    async fn a_directory_that_fails_is_an_upstream_failure() {
        let api = TestApi::start().await;
        api.plc.set_down(true);
        let reply = api.call(METHOD).json(&input("alice")).send().await;
        assert_eq!(reply.error(), (502, "UpstreamFailure".to_owned()));
    }
}
