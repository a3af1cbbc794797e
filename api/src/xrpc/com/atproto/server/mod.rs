//! `com.atproto.server.*`: the server itself, accounts and sessions.

pub mod describe_server;

use crate::xrpc::Routes;

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(describe_server::METHOD, describe_server::handle);
}
