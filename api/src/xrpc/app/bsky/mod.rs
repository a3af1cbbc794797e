//! `app.bsky.*`.

pub mod actor;

use crate::xrpc::Routes;

/// Adds the methods of every namespace.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    actor::register(routes);
}
