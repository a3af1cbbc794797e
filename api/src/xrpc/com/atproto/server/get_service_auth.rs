//! `com.atproto.server.getServiceAuth`: a token that tells another service who is asking.

use atproto::syntax::{Did, Nsid};
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use common::keys::ServiceToken;
use serde::{Deserialize, Serialize};

use crate::{
    auth::{AccessScope, LeavingAuth, TokenError, account_not_found, is_privileged, is_protected},
    state::AppState,
    xrpc::{Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult, xrpc_errors},
};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.server.getServiceAuth");

/// How long a token is good if nothing else is asked for.
const DEFAULT_LIFE: TimeDelta = TimeDelta::seconds(60);
/// How long one for any method may be good.
const LONGEST_UNBOUND: TimeDelta = TimeDelta::seconds(60);
/// How long one for one method may be good.
const LONGEST: TimeDelta = TimeDelta::hours(1);
/// What moves an account elsewhere: all that a taken-down user gets a token for.
const CREATE_ACCOUNT: &str = "com.atproto.server.createAccount";
/// Longest audience in bytes.
const MAX_AUDIENCE: usize = 2048;

/// Who is asked, for what, until when.
#[derive(Deserialize)]
pub struct Params {
    /// A DID, perhaps with `#<service id>`.
    aud: String,
    /// Seconds since 1970.
    exp: Option<i64>,
    lxm: Option<Nsid>,
}

/// The token.
#[derive(Serialize)]
pub struct Output {
    token: String,
}

/// Errors the lexicon declares.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In the past, or too far ahead.
    #[error("{0}")]
    BadExpiration(&'static str),
}

xrpc_errors!(Error: BadExpiration);

/// A deactivated account gets tokens too: on its way from one server to another it needs them.
pub async fn handle(
    State(app): State<AppState>,
    XrpcQuery(params): XrpcQuery<Params>,
    auth: LeavingAuth,
) -> XrpcResult<Output> {
    check_audience(&params.aud)?;
    check_method(auth.scope(), params.lxm.as_ref())?;
    let issued_at = app.clock.now();
    let expires_at = expiry(issued_at, params.exp, params.lxm.is_some())?;
    let account = app.accounts.find_by_did(auth.did()).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(account_not_found)?;
    let token = ServiceToken {
        issuer: &account.did,
        audience: &params.aud,
        method: params.lxm.as_ref(),
        issued_at,
        expires_at,
    };
    let token = app.keys.sign_service_token(account.id, token).await.map_err(XrpcError::internal)?;
    Ok(XrpcJson(Output { token: token.ok_or_else(account_not_found)? }))
}

/// Only DIDs of services that can be found.
fn check_audience(audience: &str) -> Result<(), XrpcError> {
    let (did, service) = audience.split_once('#').map_or((audience, None), |(did, service)| (did, Some(service)));
    let is_service =
        |service: &str| !service.is_empty() && service.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let is_known = did.parse::<Did>().is_ok_and(|did| matches!(did.method(), "plc" | "web"));
    if audience.len() <= MAX_AUDIENCE && is_known && service.is_none_or(is_service) {
        return Ok(());
    }
    Err(XrpcError::invalid_request("aud must be a did:plc or did:web, or one of its services"))
}

fn check_method(scope: AccessScope, method: Option<&Nsid>) -> Result<(), XrpcError> {
    let name = method.map(Nsid::as_str);
    if scope == AccessScope::Takendown && !name.is_some_and(|name| name.eq_ignore_ascii_case(CREATE_ACCOUNT)) {
        return Err(TokenError::Scope.into());
    }
    match name {
        Some(name) if is_protected(name) => {
            Err(XrpcError::invalid_request(format_args!("Nobody gets a token for the protected method {name}")))
        }
        Some(name) if is_privileged(name) && scope == AccessScope::AppPass => {
            Err(XrpcError::invalid_request(format_args!("This session gets no token for the method {name}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// When the token ends, if it may last until `wanted`.
fn expiry(now: DateTime<Utc>, wanted: Option<i64>, is_bound: bool) -> Result<DateTime<Utc>, Error> {
    let Some(wanted) = wanted else { return Ok(now + DEFAULT_LIFE) };
    let life = TimeDelta::try_seconds(wanted.saturating_sub(now.timestamp())).unwrap_or(TimeDelta::MAX);
    if life < TimeDelta::zero() {
        Err(Error::BadExpiration("exp is in the past"))
    } else if life > LONGEST {
        Err(Error::BadExpiration("exp is more than an hour ahead"))
    } else if !is_bound && life > LONGEST_UNBOUND {
        Err(Error::BadExpiration("exp is more than a minute ahead, and lxm is missing"))
    } else {
        Ok(now + life)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use common::testing::seed;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Reply, TestAccount, TestApi};

    const VIDEO: &str = "did:web:video.test";

    async fn ask(api: &TestApi, token: &str, params: &[(&str, &str)]) -> Reply {
        api.call(METHOD).bearer(token).query(params).send().await
    }

    fn claims(output: &Value) -> Value {
        let token = output["token"].as_str().unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_token_is_signed_by_the_accounts_key_on_every_replica() {
        let api = TestApi::start_with(2, |_| {}).await;
        let alice = api.create_account("alice").await;
        let now = api.clock.now().timestamp();
        for replica in 0..2 {
            let call = api.call_on(replica, METHOD).bearer(&alice.access);
            let output = call.query(&[("aud", VIDEO), ("lxm", "com.example.upload")]).send().await.expect_ok();
            let claims = claims(&output);
            let expected = json!([alice.did, VIDEO, "com.example.upload", now, now + 60]);
            let found = ["iss", "aud", "lxm", "iat", "exp"].map(|name| claims[name].clone());
            assert_eq!(json!(found), expected);
            let token = output["token"].as_str().unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            let state = api.plc.state(&alice.did.parse().unwrap()).unwrap();
            let key: atproto::crypto::PublicKey = state.verification_methods["atproto"].parse().unwrap();
            key.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        }
    }

    #[tokio::test]
    async fn a_token_lasts_no_longer_than_it_may() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let now = api.clock.now().timestamp();
        let method = Some("com.example.upload");
        for (lxm, ahead, refused) in [
            (method, 0, false),
            (method, 3600, false),
            (method, 3601, true),
            (method, -1, true),
            (method, i64::MAX - now, true),
            (None, 60, false),
            (None, 61, true),
            (None, -1, true),
        ] {
            let exp = (now + ahead).to_string();
            let mut params = vec![("aud", VIDEO), ("exp", exp.as_str())];
            params.extend(lxm.map(|lxm| ("lxm", lxm)));
            let reply = ask(&api, &alice.access, &params).await;
            if refused {
                assert_eq!(reply.error(), (400, "BadExpiration".to_owned()), "{lxm:?} {ahead}");
            } else {
                assert_eq!(claims(&reply.expect_ok())["exp"], now + ahead, "{lxm:?} {ahead}");
            }
        }
    }

    #[tokio::test]
    async fn each_session_gets_tokens_for_what_it_may_do() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let did = alice.did.parse().unwrap();
        let session = |scope| api.app().tokens.issue_access(&did, scope).unwrap();
        let (ok, protected, privileged) =
            ("com.example.upload", "com.atproto.server.UpdateEmail", "chat.bsky.convo.getlog");
        let refused = (400, "InvalidRequest".to_owned());
        let bad_scope = (400, "InvalidToken".to_owned());
        for (scope, method, error) in [
            (AccessScope::Full, ok, None),
            (AccessScope::Full, privileged, None),
            (AccessScope::Full, protected, Some(&refused)),
            (AccessScope::AppPassPrivileged, privileged, None),
            (AccessScope::AppPassPrivileged, CREATE_ACCOUNT, None),
            (AccessScope::AppPass, ok, None),
            (AccessScope::AppPass, privileged, Some(&refused)),
            (AccessScope::AppPass, CREATE_ACCOUNT, Some(&refused)),
            (AccessScope::AppPass, protected, Some(&refused)),
            (AccessScope::Takendown, CREATE_ACCOUNT, None),
            (AccessScope::Takendown, ok, Some(&bad_scope)),
        ] {
            let reply = ask(&api, &session(scope), &[("aud", VIDEO), ("lxm", method)]).await;
            match error {
                None => assert_eq!(claims(&reply.expect_ok())["lxm"], method),
                Some(error) => assert_eq!(reply.error(), *error, "{scope:?} {method}"),
            }
        }
        let unbound = ask(&api, &session(AccessScope::Takendown), &[("aud", VIDEO)]).await;
        assert_eq!(unbound.error(), bad_scope);
        assert_eq!(api.call(METHOD).query(&[("aud", VIDEO)]).send().await.error(), (401, "AuthMissing".to_owned()));
    }

    #[tokio::test]
    async fn only_services_that_can_be_found_are_asked() {
        let api = TestApi::start().await;
        let TestAccount { did, access, .. } = api.create_account("alice").await;
        let (long, with_service) = (format!("did:web:{}", "a".repeat(2048)), format!("{VIDEO}#video"));
        for (audience, accepted) in [
            (VIDEO, true),
            (with_service.as_str(), true),
            ("did:plc:ewvi7nxzyoun6zhxrhs64oiz", true),
            ("did:web:video.test#", false),
            ("did:web:video.test#a#b", false),
            ("did:web:video.test#a b", false),
            ("did:key:zabc", false),
            ("video.test", false),
            (long.as_str(), false),
        ] {
            let reply = ask(&api, &access, &[("aud", audience)]).await;
            assert_eq!(reply.status.is_success(), accepted, "{audience}: {}", reply.text);
        }
        assert_eq!(ask(&api, &access, &[]).await.error(), (400, "InvalidRequest".to_owned()));
        seed::set_deactivated(&api.db.pool(), &did, true).await;
        ask(&api, &access, &[("aud", VIDEO)]).await.expect_ok();
        seed::delete_account(&api.db.pool(), &did).await;
        assert_eq!(ask(&api, &access, &[("aud", VIDEO)]).await.error(), (403, "AccountNotFound".to_owned()));
    }
}
