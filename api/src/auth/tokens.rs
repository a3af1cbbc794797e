//! The JWTs of password sessions.
//!
//! | Token | `typ` | Claims | Life |
//! |---|---|---|---|
//! | access | `at+jwt` | `scope`, `aud`, `sub`, `iat`, `exp` | 2 h |
//! | refresh | `refresh+jwt` | `scope` (`com.atproto.refresh`), `aud`, `sub`, `jti`, `iat`, `exp` | 90 days |
//!
//! HS256 under `PDS_JWT_SECRET`; tokens under `PDS_JWT_SECRET_PREVIOUS` are still read. `aud` is the server's DID.

use std::sync::Arc;

use atproto::syntax::Did;
use common::clock::Clock;
use common::config::Config;
use common::session::{ACCESS_LIFETIME, Origin, RefreshToken, RefreshTokenId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::xrpc::XrpcError;

const ACCESS_TYPE: &str = "at+jwt";
const REFRESH_TYPE: &str = "refresh+jwt";
const REFRESH_SCOPE: &str = "com.atproto.refresh";

/// How much an access token may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum AccessScope {
    /// Opened with the main password: everything.
    #[serde(rename = "com.atproto.access")]
    Full,
    /// Opened with an app password that may use direct messages.
    #[serde(rename = "com.atproto.appPassPrivileged")]
    AppPassPrivileged,
    /// Opened with an app password.
    #[serde(rename = "com.atproto.appPass")]
    AppPass,
    /// Opened by a taken-down user, to move away.
    #[serde(rename = "com.atproto.takendown")]
    Takendown,
}

impl AccessScope {
    /// True for the scopes that ordinary methods accept.
    pub fn is_standard(self) -> bool {
        matches!(self, Self::Full | Self::AppPassPrivileged | Self::AppPass)
    }
}

impl From<Origin> for AccessScope {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::MainPassword => Self::Full,
            Origin::AppPassword { privileged: true } => Self::AppPassPrivileged,
            Origin::AppPassword { privileged: false } => Self::AppPass,
        }
    }
}

/// What an access token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessToken {
    /// The account.
    pub did: Did,
    /// How much it may do.
    pub scope: AccessScope,
}

/// Why a token is not accepted. All are status 400, as clients of the reference expect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// It was good until lately.
    #[error("Token has expired")]
    Expired,
    /// It was not signed here, or not for this.
    #[error("Token could not be verified")]
    Unverified,
    /// It is no token of a session.
    #[error("Malformed token")]
    Malformed,
    /// It is good, but not for this.
    #[error("Bad token scope")]
    Scope,
}

impl From<TokenError> for XrpcError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => Self::bad_request("ExpiredToken", error),
            TokenError::Unverified | TokenError::Malformed | TokenError::Scope => {
                Self::bad_request("InvalidToken", error)
            }
        }
    }
}

/// Signs and reads the tokens; cheap to clone.
#[derive(Clone)]
pub struct SessionTokens(Arc<Inner>);

struct Inner {
    service: Did,
    clock: Clock,
    sign: EncodingKey,
    verify: Vec<DecodingKey>,
    /// What to look at besides the signature.
    validation: Validation,
}

impl std::fmt::Debug for SessionTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionTokens").field("service", &self.0.service).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    scope: String,
    aud: String,
    sub: Did,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    iat: i64,
    exp: i64,
    /// Claims of other kinds of tokens under the same secret; one that has them is no session's.
    #[serde(default, skip_serializing)]
    lxm: Option<serde_json::Value>,
    #[serde(default, skip_serializing)]
    cnf: Option<serde_json::Value>,
}

impl SessionTokens {
    /// Tokens of the server with these settings.
    pub fn new(config: &Config, clock: Clock) -> Self {
        let secrets = [Some(&config.secrets.jwt_secret), config.secrets.jwt_secret_previous.as_ref()];
        let verify =
            secrets.into_iter().flatten().map(|secret| DecodingKey::from_secret(secret.expose_secret().as_bytes()));
        Self(Arc::new(Inner {
            service: config.service.did.clone(),
            clock,
            sign: EncodingKey::from_secret(config.secrets.jwt_secret.expose_secret().as_bytes()),
            verify: verify.collect(),
            validation: validation(&config.service.did),
        }))
    }

    /// An access token for an account.
    ///
    /// # Errors
    /// 500 if signing fails, which HMAC does not.
    pub fn issue_access(&self, did: &Did, scope: AccessScope) -> Result<String, XrpcError> {
        let now = self.0.clock.now();
        let scope = serde_json::to_value(scope).ok().and_then(|scope| scope.as_str().map(str::to_owned));
        let claims = Claims {
            scope: scope.unwrap_or_default(),
            jti: None,
            exp: (now + ACCESS_LIFETIME).timestamp(),
            ..self.claims(did)
        };
        self.sign(ACCESS_TYPE, &claims)
    }

    /// The refresh token that stands for a stored one.
    ///
    /// # Errors
    /// As [`SessionTokens::issue_access`].
    pub fn issue_refresh(&self, did: &Did, token: &RefreshToken) -> Result<String, XrpcError> {
        let claims =
            Claims { jti: Some(token.id.as_str().to_owned()), exp: token.expires_at.timestamp(), ..self.claims(did) };
        self.sign(REFRESH_TYPE, &claims)
    }

    /// Reads an access token of any scope.
    pub fn read_access(&self, token: &str) -> Result<AccessToken, TokenError> {
        let claims = self.read(ACCESS_TYPE, token)?;
        self.check_expiry(&claims)?;
        let scope = serde_json::from_value(claims.scope.into()).map_err(|_| TokenError::Scope)?;
        Ok(AccessToken { did: claims.sub, scope })
    }

    /// Reads a refresh token: whose it is, and which.
    pub fn read_refresh(&self, token: &str) -> Result<(Did, RefreshTokenId), TokenError> {
        let claims = self.read(REFRESH_TYPE, token)?;
        self.check_expiry(&claims)?;
        refresh_id(claims)
    }

    /// As [`SessionTokens::read_refresh`], also if it has expired: enough to end its session.
    pub fn read_ended_refresh(&self, token: &str) -> Result<(Did, RefreshTokenId), TokenError> {
        refresh_id(self.read(REFRESH_TYPE, token)?)
    }

    fn claims(&self, did: &Did) -> Claims {
        Claims {
            scope: REFRESH_SCOPE.to_owned(),
            aud: self.0.service.to_string(),
            sub: did.clone(),
            jti: None,
            iat: self.0.clock.now().timestamp(),
            exp: 0,
            lxm: None,
            cnf: None,
        }
    }

    fn sign(&self, kind: &str, claims: &Claims) -> Result<String, XrpcError> {
        let header = Header { typ: Some(kind.to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &self.0.sign).map_err(XrpcError::internal)
    }

    fn read(&self, kind: &str, token: &str) -> Result<Claims, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let claims: Claims = self
            .0
            .verify
            .iter()
            .find_map(|key| jsonwebtoken::decode(token, key, &self.0.validation).ok())
            .ok_or(TokenError::Unverified)?
            .claims;
        if header.typ.as_deref() != Some(kind) {
            return Err(TokenError::Unverified);
        }
        if claims.lxm.is_some() || claims.cnf.is_some() {
            return Err(TokenError::Malformed);
        }
        Ok(claims)
    }

    fn check_expiry(&self, claims: &Claims) -> Result<(), TokenError> {
        if self.0.clock.now().timestamp() < claims.exp { Ok(()) } else { Err(TokenError::Expired) }
    }
}

/// What a token of this service must say.
fn validation(service: &Did) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    // The library would ask the system's clock.
    validation.validate_exp = false;
    validation.set_audience(&[service.as_str()]);
    validation.set_required_spec_claims(&["aud", "sub", "exp"]);
    validation
}

fn refresh_id(claims: Claims) -> Result<(Did, RefreshTokenId), TokenError> {
    if claims.scope != REFRESH_SCOPE {
        return Err(TokenError::Scope);
    }
    let id = claims.jti.ok_or(TokenError::Malformed)?.parse().map_err(|_| TokenError::Malformed)?;
    Ok((claims.sub, id))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use chrono::DateTime;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tokens(secret: &str, previous: Option<&str>, clock: &Clock) -> SessionTokens {
        let mut config = Config::for_tests();
        config.secrets.jwt_secret = secret.into();
        config.secrets.jwt_secret_previous = previous.map(Into::into);
        SessionTokens::new(&config, clock.clone())
    }

    fn did() -> Did {
        "did:plc:alice".parse().unwrap()
    }

    fn signed(kind: Option<&str>, claims: &serde_json::Value) -> String {
        let header = Header { typ: kind.map(str::to_owned), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(b"one")).unwrap()
    }

    #[test]
    fn tokens_are_good_until_they_expire() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH + Duration::from_hours(1));
        let tokens = tokens("one", None, &clock);
        let access = tokens.issue_access(&did(), AccessScope::AppPass).unwrap();
        let expected = AccessToken { did: did(), scope: AccessScope::AppPass };
        assert_eq!(tokens.read_access(&access), Ok(expected));
        assert_eq!(tokens.read_refresh(&access), Err(TokenError::Unverified), "an access token is no refresh token");
        clock.advance(ACCESS_LIFETIME);
        assert_eq!(tokens.read_access(&access), Err(TokenError::Expired));
    }

    #[test]
    fn the_previous_secret_is_still_read() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let old = tokens("one", None, &clock).issue_access(&did(), AccessScope::Full).unwrap();
        assert!(tokens("two", Some("one"), &clock).read_access(&old).is_ok());
        assert_eq!(tokens("two", None, &clock).read_access(&old), Err(TokenError::Unverified));
    }

    #[test]
    fn forged_and_foreign_tokens_are_refused() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let tokens = tokens("one", None, &clock);
        let good =
            json!({"scope": "com.atproto.access", "aud": "did:web:localhost", "sub": did(), "iat": 0, "exp": 100});
        let with = |key: &str, value: serde_json::Value| {
            let mut claims = good.clone();
            claims[key] = value;
            signed(Some("at+jwt"), &claims)
        };
        assert!(tokens.read_access(&signed(Some("at+jwt"), &good)).is_ok());
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.eyJzdWIiOiJkaWQ6cGxjOmFsaWNlIn0.";
        for (token, error) in [
            (signed(None, &good), TokenError::Unverified),
            (signed(Some("refresh+jwt"), &good), TokenError::Unverified),
            (with("aud", json!("did:web:elsewhere")), TokenError::Unverified),
            (with("sub", json!("alice")), TokenError::Unverified),
            (with("exp", json!(0)), TokenError::Expired),
            (with("scope", json!("com.atproto.everything")), TokenError::Scope),
            (with("lxm", json!("com.atproto.repo.uploadBlob")), TokenError::Malformed),
            (with("cnf", json!({"jkt": "x"})), TokenError::Malformed),
            (none.to_owned(), TokenError::Malformed),
            ("a.b.c".to_owned(), TokenError::Malformed),
            (String::new(), TokenError::Malformed),
        ] {
            assert_eq!(tokens.read_access(&token), Err(error), "{token}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_text_is_taken_for_a_token(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5), text in "[a-zA-Z0-9._-]{0,80}") {
            let tokens = tokens("one", None, &Clock::manual(DateTime::UNIX_EPOCH));
            let encoded: Vec<_> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
            for token in [encoded.join("."), text] {
                prop_assert!(tokens.read_access(&token).is_err());
                prop_assert!(tokens.read_ended_refresh(&token).is_err());
            }
        }

        #[test]
        fn a_changed_token_is_refused(at in any::<prop::sample::Index>(), byte in "[a-zA-Z0-9._-]") {
            let tokens = tokens("one", None, &Clock::manual(DateTime::UNIX_EPOCH));
            let good = tokens.issue_access(&did(), AccessScope::Full).unwrap();
            let at = at.index(good.len());
            let changed = format!("{}{byte}{}", &good[..at], &good[at + 1..]);
            prop_assert_eq!(tokens.read_access(&changed).is_ok(), changed == good);
        }

        #[test]
        fn signed_nonsense_is_refused(claims in ".{0,60}", key in "(scope|aud|sub|iat|exp|jti|lxm|cnf)", number: i64) {
            let tokens = tokens("one", None, &Clock::manual(DateTime::UNIX_EPOCH));
            let mut nearly = json!({"scope": "com.atproto.access", "aud": "did:web:localhost", "sub": did(), "iat": 0, "exp": 100});
            nearly[key.as_str()] = json!([number, claims]);
            for claims in [json!(claims), json!(number), json!({ key.as_str(): number }), nearly] {
                prop_assert!(tokens.read_access(&signed(Some("at+jwt"), &claims)).is_err(), "{}", claims);
            }
        }
    }
}
