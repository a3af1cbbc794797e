//! `com.atproto.sync.*`: repositories as a whole, for relays and moving accounts.

use crate::xrpc::Routes;

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(_routes: &mut Routes) {}
