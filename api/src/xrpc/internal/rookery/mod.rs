//! `internal.rookery.*`.

pub mod admin;

use crate::xrpc::Routes;

/// Adds the methods of every namespace.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    admin::register(routes);
}
