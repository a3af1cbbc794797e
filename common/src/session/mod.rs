//! Sessions opened with a password: their refresh tokens.
//!
//! Tables: `refresh_token`, and `sign_in_address`: from where sessions were opened lately. The tokens travel as JWTs, which `api::auth` signs and reads; kept here is which of them may still
//! be used. An access token needs no row: it is short-lived and good until it expires.
//!
//! Whoever opens or prolongs a session locks the account's row in share mode first. So a change of the password, which
//! locks it alone, leaves no session behind that was being opened or prolonged meanwhile; nor does a sign-out, which does
//! the same.

mod address;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use address::ADDRESS_MEMORY;
use address::AddressMarker;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::clock::Clock;
use crate::config::SecretsConfig;
use crate::db::{AccountId, PgPool};

/// Life of an access token.
pub const ACCESS_LIFETIME: Duration = Duration::from_hours(2);
/// Life of a refresh token.
pub const REFRESH_LIFETIME: Duration = Duration::from_hours(90 * 24);
/// How long a refresh token may be used again after its first use, should the answer have got lost.
pub const REFRESH_GRACE: Duration = Duration::from_hours(2);

/// Expired tokens that one statement removes.
const REMOVED: u16 = 1000;
/// Random bytes of an id.
const ID_BYTES: usize = 32;

/// The id of a refresh token, its `jti`: 32 random bytes in standard base64.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshTokenId(Box<str>);

/// The text is not the id of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a refresh token")]
pub struct RefreshTokenIdError;

impl RefreshTokenId {
    fn generate() -> Self {
        Self(STANDARD.encode(rand::random::<[u8; ID_BYTES]>()).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RefreshTokenId {
    type Err = RefreshTokenIdError;

    fn from_str(text: &str) -> Result<Self, RefreshTokenIdError> {
        let bytes = STANDARD.decode(text).map_err(|_| RefreshTokenIdError)?;
        if bytes.len() == ID_BYTES { Ok(Self(text.into())) } else { Err(RefreshTokenIdError) }
    }
}

/// Knowing an id is not enough to use it, but it need not be in a log either.
impl fmt::Debug for RefreshTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshTokenId(…)")
    }
}

/// A refresh token that may be handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefreshToken {
    /// Its id.
    pub id: RefreshTokenId,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// What a session is opened with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening<'a> {
    /// The main password; this is its hash as it was stored when the password was compared.
    MainPassword {
        /// The hash.
        hash: &'a str,
    },
    /// The app password of this name.
    AppPassword {
        /// The name.
        name: &'a str,
    },
}

/// What a session may do, by what it was opened with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The main password, or the sign-up.
    MainPassword,
    /// An app password.
    AppPassword {
        /// Whether it may use direct messages.
        privileged: bool,
    },
}

/// A session that goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotated {
    /// The next token.
    pub token: RefreshToken,
    /// What the session was opened with.
    pub origin: Origin,
}

/// The sessions of this server.
#[derive(Clone, Debug)]
pub struct Sessions {
    pool: PgPool,
    clock: Clock,
    marker: Option<AddressMarker>,
}

impl Sessions {
    /// Keeps sessions in `pool`'s database.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock, marker: None }
    }

    /// The same sessions, which remember from where they were opened. Of the addresses, hashes are kept that need a secret.
    #[must_use]
    pub fn with_address_memory(self, secrets: &SecretsConfig) -> Self {
        Self { marker: Some(AddressMarker::new(secrets)), ..self }
    }

    /// Makes a token that is good only once it is stored: with [`Sessions::start`], or with its account.
    pub fn new_token(&self) -> RefreshToken {
        RefreshToken { id: RefreshTokenId::generate(), expires_at: self.clock.now() + REFRESH_LIFETIME }
    }

    /// Opens a session; `None` if the password is not the account's any more. The address that it is opened `from` is known
    /// from now on.
    pub async fn start(
        &self,
        account: AccountId,
        opening: Opening<'_>,
        from: Option<&str>,
    ) -> sqlx::Result<Option<RefreshToken>> {
        let token = self.new_token();
        let marker = from.zip(self.marker.as_ref());
        let mark = marker.and_then(|(address, marker)| marker.mark(account, address));
        let origin = store::Beginning { account, opening, mark: mark.as_ref(), now: self.clock.now() };
        let is_open = store::insert(&mut *self.pool.acquire().await?, &token, &origin).await?;
        Ok(is_open.then_some(token))
    }

    /// Exchanges a token for the next one; `None` if it is unknown, revoked, expired, or was exchanged more than
    /// [`REFRESH_GRACE`] ago.
    ///
    /// Within the grace period, and when several replicas are asked at once, the next token is always the same one.
    pub async fn rotate(&self, account: AccountId, id: &RefreshTokenId) -> sqlx::Result<Option<Rotated>> {
        let now = self.clock.now();
        let rotation = store::Rotation { account, id, now, next: self.new_token(), grace_ends_at: now + REFRESH_GRACE };
        let next = store::rotate(&mut *self.pool.acquire().await?, &rotation).await?;
        Ok(next
            .map(|(id, origin)| Rotated { token: RefreshToken { id, expires_at: rotation.next.expires_at }, origin }))
    }

    /// Removes tokens that expired, some at a time; gives their number. They are of no use before, this only saves room.
    pub async fn delete_expired(&self) -> sqlx::Result<u64> {
        self.delete_expired_by(REMOVED).await
    }

    async fn delete_expired_by(&self, limit: u16) -> sqlx::Result<u64> {
        let (now, mut removed) = (self.clock.now(), 0);
        loop {
            let batch = store::delete_expired(&mut *self.pool.acquire().await?, now, limit).await?;
            removed += batch;
            if batch < u64::from(limit) {
                return Ok(removed);
            }
        }
    }

    /// Ends a session, given any of its tokens. An unknown id is fine: the session ended before.
    ///
    /// Tokens still within their grace period end too, else one of them would bring the session back.
    pub async fn end(&self, id: &RefreshTokenId) -> sqlx::Result<()> {
        store::end(&mut *self.pool.acquire().await?, id).await
    }
}

/// Ends every session of an account that the caller's transaction has locked.
pub(crate) async fn end_all(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<()> {
    store::delete_all(conn, account).await
}
