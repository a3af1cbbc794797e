//! `com.atproto.admin.*`: what operators and moderators do.

use crate::xrpc::Routes;

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(_routes: &mut Routes) {}
