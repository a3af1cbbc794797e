//! Extractors: query parameters and input, with the protocol's rules and answers.
//!
//! Their order in a handler's parameters is the order of the checks: query, then authentication, then body. A body
//! extractor stands last by necessity.

mod body;
mod decode;
mod field;
mod limit;
mod pace;
mod params;
mod query;
mod schema;
mod text;

pub(in crate::xrpc) use body::too_large;
pub use body::{NoInput, XrpcBody, XrpcStream};
pub(super) use body::{Presence, presence, unexpected_body};
pub use field::present;
pub use limit::Limit;
pub use query::XrpcQuery;
pub use schema::check_input;
pub use text::PlainText;

use http::Extensions;

use super::Method;

/// The name of the method that is being called, for messages.
fn nsid(extensions: &Extensions) -> &'static str {
    extensions.get().map_or("method", Method::nsid)
}
