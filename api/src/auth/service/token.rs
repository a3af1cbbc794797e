//! Service tokens: JWTs of type `JWT`, ES256K or ES256.

use atproto::crypto::PublicKey;
use atproto::identity::{DidDocument, SIGNING_KEY_ID};
use atproto::syntax::Did;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use common::identity::DidResolver;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::LABELER;
use crate::xrpc::XrpcError;

/// The key of a DID document by which a moderation service signs.
const LABEL_KEY_ID: &str = "atproto_label";
/// Types of tokens that are good for something else.
const OTHER_TYPES: [&str; 3] = ["at+jwt", "refresh+jwt", "dpop+jwt"];

/// Why a service token is not accepted. All are status 401.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum ServiceTokenError {
    /// It is no JWT, or lacks a claim.
    #[error("malformed service token")]
    Malformed,
    /// It is a token for something else.
    #[error("not a service token")]
    Type,
    /// It was good until lately.
    #[error("service token has expired")]
    Expired,
    /// It is for another method, or for any.
    #[error("service token is not for this method")]
    Method,
    /// It is for another service.
    #[error("service token is not for this service")]
    Audience,
    /// Its issuer is no DID, or has no key.
    #[error("the issuer of the service token cannot be verified")]
    Issuer,
    /// Its issuer may not call this method.
    #[error("Untrusted issuer")]
    UntrustedIssuer,
    /// Its issuer's key did not sign it.
    #[error("service token was not signed by its issuer")]
    Signature,
}

impl From<ServiceTokenError> for XrpcError {
    fn from(error: ServiceTokenError) -> Self {
        let name = match error {
            ServiceTokenError::Malformed => "BadJwt",
            ServiceTokenError::Type => "BadJwtType",
            ServiceTokenError::Expired => "JwtExpired",
            ServiceTokenError::Method => "BadJwtLexiconMethod",
            ServiceTokenError::Audience => "BadJwtAudience",
            ServiceTokenError::Issuer => "BadJwtIss",
            ServiceTokenError::UntrustedIssuer => "UntrustedIss",
            ServiceTokenError::Signature => "BadJwtSignature",
        };
        Self::unauthorized(name, error)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: f64,
    #[serde(default)]
    lxm: Option<String>,
}

/// Whether a bearer token claims to be for one method: so do service tokens, and those of sessions never.
pub(super) fn names_method(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Claims {
        lxm: Option<serde_json::Value>,
    }
    let claims = token.split('.').nth(1).and_then(|claims| decode::<Claims>(claims).ok());
    claims.is_some_and(|claims| claims.lxm.is_some())
}

/// Who issued a token: a DID, or one of its services.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Issuer {
    /// The DID.
    pub(super) did: Did,
    /// The service's id, without the `#`.
    pub(super) service: Option<String>,
}

impl Issuer {
    fn parse(text: &str) -> Option<Self> {
        let (did, service) = match text.split_once('#') {
            Some((did, service)) => (did, Some(service.to_owned())),
            None => (text, None),
        };
        Some(Self { did: did.parse().ok()?, service })
    }

    /// The key in its DID's document that it signs with.
    fn key(&self, document: &DidDocument) -> Option<PublicKey> {
        let id = if self.service.as_deref() == Some(LABELER) { LABEL_KEY_ID } else { SIGNING_KEY_ID };
        document.verification_key(id)
    }
}

/// A token that was taken apart.
pub(super) struct ServiceToken<'a> {
    header: Header,
    claims: Claims,
    /// What is signed.
    message: &'a str,
    signature: Vec<u8>,
}

impl<'a> ServiceToken<'a> {
    /// Takes a token apart, and refuses those that are for something else.
    ///
    /// Reference: text that is no JSON inside of it is answered with 500.
    pub(super) fn parse(text: &'a str) -> Result<Self, ServiceTokenError> {
        let malformed = ServiceTokenError::Malformed;
        let (message, signature) = text.rsplit_once('.').ok_or(malformed)?;
        let (header, claims) = message.split_once('.').ok_or(malformed)?;
        let header: Header = decode(header)?;
        if header.typ.as_deref().is_some_and(|kind| OTHER_TYPES.contains(&kind)) {
            return Err(ServiceTokenError::Type);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed)?;
        Ok(Self { header, claims: decode(claims)?, message, signature })
    }

    /// Checks what can be told from the token alone: that it is good at `now` for `method`, and who issued it.
    ///
    /// How long it is good is the issuer's to say.
    pub(super) fn check_claims(&self, now: DateTime<Utc>, method: &str) -> Result<Issuer, ServiceTokenError> {
        #[expect(clippy::cast_precision_loss, reason = "seconds of this age are exact")]
        let now = now.timestamp() as f64;
        if now >= self.claims.exp {
            return Err(ServiceTokenError::Expired);
        }
        if self.claims.lxm.as_deref() != Some(method) {
            return Err(ServiceTokenError::Method);
        }
        Issuer::parse(&self.claims.iss).ok_or(ServiceTokenError::Issuer)
    }

    /// Checks that it is for this server, by its bare DID.
    pub(super) fn check_audience(&self, service: &Did) -> Result<(), ServiceTokenError> {
        if self.claims.aud == service.as_str() { Ok(()) } else { Err(ServiceTokenError::Audience) }
    }

    /// Checks the signature, if need be with a key that is fetched anew.
    pub(super) async fn check_signature(
        &self,
        issuer: &Issuer,
        resolver: &DidResolver,
    ) -> Result<(), ServiceTokenError> {
        let known = resolver.find_document(&issuer.did).await.ok().flatten();
        let known = known.and_then(|document| issuer.key(&document));
        if known.is_some_and(|key| self.is_signed_by(key)) {
            return Ok(());
        }
        let fresh = resolver.refresh_document(&issuer.did).await.ok().flatten();
        let fresh = fresh.and_then(|document| issuer.key(&document)).ok_or(ServiceTokenError::Issuer)?;
        if Some(fresh) != known && self.is_signed_by(fresh) { Ok(()) } else { Err(ServiceTokenError::Signature) }
    }

    /// Either form of a signature is good: those who make tokens do not care, and a signature identifies nothing here.
    fn is_signed_by(&self, key: PublicKey) -> bool {
        self.header.alg == key.curve().jwt_algorithm()
            && key.verify_malleable(self.message.as_bytes(), &self.signature).is_ok()
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, ServiceTokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| ServiceTokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| ServiceTokenError::Malformed)
}
