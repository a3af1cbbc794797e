//! `com.atproto.moderation.*`: what users tell moderators.

pub mod create_report;

use crate::xrpc::Routes;

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(create_report::METHOD, create_report::handle);
}
