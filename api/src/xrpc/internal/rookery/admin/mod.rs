//! `internal.rookery.admin.*`: what operators do that the protocol has no method for.

pub mod list_audit_log;

use crate::xrpc::Routes;

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(list_audit_log::METHOD, list_audit_log::handle);
}
