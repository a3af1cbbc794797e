//! `com.atproto.repo.*`: reading and writing records.

use crate::xrpc::Routes;

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(_routes: &mut Routes) {}
