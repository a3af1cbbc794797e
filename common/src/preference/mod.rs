//! What clients keep for their users: `app.bsky.actor.getPreferences` and `putPreferences`.
//!
//! Owns `account_preference`. The server knows two kinds of preference; all others it keeps as they are:
//! * `#personalDetailsPref`, which has the birth date. Only who signed in with the main password may see or change it.
//! * `#declaredAgePref`, which says which ages the owner has reached. It is computed from the birth date whenever it is
//!   read, for everybody, and never stored.

mod age;
mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock::Clock;
use crate::db::{AccountId, PgPool};

/// The namespace all preferences are in.
const NAMESPACE: &str = "app.bsky";
/// The preference with the birth date.
const PERSONAL_DETAILS: &str = "app.bsky.actor.defs#personalDetailsPref";
/// The preference with what follows from the birth date.
const DECLARED_AGE: &str = "app.bsky.actor.defs#declaredAgePref";

/// How much of an account its caller may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// All of it: signed in with the main password, or a moderation service.
    Full,
    /// Not the personal details.
    Limited,
}

/// A preference: an object with a `$type`.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Preference {
    #[serde(skip)]
    name: String,
    /// As the client wrote it.
    content: Box<RawValue>,
}

impl Preference {
    /// A preference of this type; `content` is the whole object, the type included.
    pub fn new(name: String, content: Box<RawValue>) -> Self {
        Self { name, content }
    }
}

/// Why preferences were not put. The text is what the wire shows.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// A preference of another namespace.
    #[error("Some preferences are not in the {NAMESPACE} namespace")]
    Namespace,
    /// Preferences that the caller may not change.
    #[error("Do not have authorization to set preferences: {PERSONAL_DETAILS}")]
    Unauthorized,
    /// There is no such account any more.
    #[error("Account not found")]
    AccountNotFound,
    /// Postgres failed.
    #[error("preference storage failed")]
    Storage(#[from] sqlx::Error),
}

/// The preferences of all accounts.
#[derive(Clone, Debug)]
pub struct Preferences {
    pool: PgPool,
    clock: Clock,
}

impl Preferences {
    /// Keeps preferences in `pool`'s database.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// An account's preferences in the order they were put, as far as the caller may see them; then the declared age, if
    /// there is a birth date.
    pub async fn list(&self, account: AccountId, access: Access) -> sqlx::Result<Vec<Preference>> {
        let mut found = store::list(&mut *self.pool.acquire().await?, account).await?;
        let details = found.iter().find(|preference| preference.name == PERSONAL_DETAILS);
        let age = details.and_then(|details| declared_age(details, self.clock.now()));
        if access == Access::Limited {
            found.retain(|preference| preference.name != PERSONAL_DETAILS);
        }
        found.extend(age);
        Ok(found)
    }

    /// Replaces an account's preferences, those left alone that the caller may not see.
    ///
    /// Of two calls at once the later one counts, as a whole.
    pub async fn put(
        &self,
        account: AccountId,
        mut preferences: Vec<Preference>,
        access: Access,
    ) -> Result<(), PutError> {
        if !preferences.iter().all(|preference| is_in_namespace(&preference.name)) {
            return Err(PutError::Namespace);
        }
        // Clients put back what they were given.
        preferences.retain(|preference| preference.name != DECLARED_AGE);
        let kept = match access {
            Access::Full => None,
            Access::Limited if preferences.iter().any(|preference| preference.name == PERSONAL_DETAILS) => {
                return Err(PutError::Unauthorized);
            }
            Access::Limited => Some(PERSONAL_DETAILS),
        };
        match store::replace(&mut *self.pool.acquire().await?, account, &preferences, kept).await {
            Err(error) if crate::db::violates(&error, store::ACCOUNT_KEY) => Err(PutError::AccountNotFound),
            result => Ok(result?),
        }
    }
}

fn is_in_namespace(name: &str) -> bool {
    // Text in Postgres has no NUL.
    let rest = name.strip_prefix(NAMESPACE).filter(|rest| !rest.contains('\0'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What follows from a birth date; `None` if there is none that can be read.
fn declared_age(details: &Preference, now: DateTime<Utc>) -> Option<Preference> {
    let age = age::declared(details.content.get(), now)?;
    let content = serde_json::value::to_raw_value(&age).ok()?;
    Some(Preference { name: DECLARED_AGE.to_owned(), content })
}

#[cfg(test)]
mod tests;
