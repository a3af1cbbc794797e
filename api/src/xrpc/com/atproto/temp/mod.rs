//! `com.atproto.temp.*`: methods that clients call though they are not settled.

pub mod check_signup_queue;

use crate::xrpc::Routes;

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(check_signup_queue::METHOD, check_signup_queue::handle);
}
