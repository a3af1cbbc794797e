//! `app.bsky.actor.*`: preferences.
//!
//! Reference: it answers these only where an `AppView` is configured. Clients need their preferences with any server.

pub mod get_preferences;
pub mod put_preferences;

use common::preference::Access;

use crate::auth::AccessScope;
use crate::xrpc::Routes;

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(get_preferences::METHOD, get_preferences::handle);
    routes.add(put_preferences::METHOD, put_preferences::handle);
}

/// What a session may see of its account's preferences.
fn access_of(scope: AccessScope) -> Access {
    match scope {
        AccessScope::Full => Access::Full,
        AccessScope::AppPassPrivileged | AccessScope::AppPass | AccessScope::Takendown => Access::Limited,
    }
}
