//! `internal.rookery.*`.

pub mod admin;
pub mod server;

use crate::xrpc::Routes;

/// Adds the methods of every namespace.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    admin::register(routes);
    server::register(routes);
}
