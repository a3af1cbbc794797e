//! Query parameters.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::{nsid, params};
use crate::xrpc::XrpcError;

/// The query parameters as `T`.
///
/// A parameter with an empty value counts as absent; integers are `-?digits`; booleans are `true` or `false`; an array is
/// its key repeated; unknown parameters are ignored. Anything else is 400 `InvalidRequest`,
/// `Invalid <nsid> params: …`.
#[derive(Clone, Copy, Debug)]
pub struct XrpcQuery<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for XrpcQuery<T> {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, XrpcError> {
        params::from_query(parts.uri.query().unwrap_or_default()).map(Self).map_err(|error| {
            XrpcError::invalid_request(format_args!("Invalid {} params: {error}", nsid(&parts.extensions)))
        })
    }
}
