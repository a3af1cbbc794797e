//! `com.atproto.identity.*`: handles, DID documents and PLC operations.

pub mod resolve_handle;

use crate::xrpc::Routes;

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(resolve_handle::METHOD, resolve_handle::handle);
}
