//! `com.atproto.identity.*`: handles, DID documents and PLC operations.

use crate::xrpc::Routes;

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(_routes: &mut Routes) {}
