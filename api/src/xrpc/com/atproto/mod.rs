//! `com.atproto.*`.

pub mod admin;
pub mod identity;
pub mod moderation;
pub mod repo;
pub mod server;
pub mod sync;
pub mod temp;

use crate::xrpc::Routes;

/// Adds the methods of every namespace.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    admin::register(routes);
    identity::register(routes);
    moderation::register(routes);
    repo::register(routes);
    server::register(routes);
    sync::register(routes);
    temp::register(routes);
}
