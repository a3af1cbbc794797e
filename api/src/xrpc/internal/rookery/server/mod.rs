//! `internal.rookery.server.*`: what users may know that the protocol has no method for.

pub mod get_blob_usage;

use crate::xrpc::Routes;

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(get_blob_usage::METHOD, get_blob_usage::handle);
}
