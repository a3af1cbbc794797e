//! Input that its method's lexicon has to agree with.

use atproto::data::json;
use atproto::lexicon::{Catalog, MethodPart};
use atproto::syntax::Nsid;
use serde_json::Value;

use crate::xrpc::{Method, XrpcError};

/// Checks input against its method's lexicon, for what types alone do not say: lengths in graphemes, shapes of open unions.
///
/// # Errors
/// 400 with the first fault.
pub fn check_input(method: Method, input: &Value) -> Result<(), XrpcError> {
    let nsid: Nsid = method.nsid().parse().map_err(XrpcError::internal)?;
    let value = json::from_json(input).map_err(|fault| invalid(method, fault))?;
    Catalog::builtin().validate_method(&nsid, MethodPart::Input, &value).map_err(XrpcError::invalid_request)
}

fn invalid(method: Method, fault: impl std::fmt::Display) -> XrpcError {
    XrpcError::invalid_request(format_args!("Invalid {} input: {fault}", method.nsid()))
}
