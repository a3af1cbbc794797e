//! Invitation codes.
//!
//! The operator makes codes for anybody, and users earn them: one for each interval of membership, of which at most five wait
//! to be used (`PDS_INVITE_INTERVAL`). What somebody has earned is made when they look at their codes
//! ([`Invites::list_of`]), and not by a schedule: nobody else could use a code before, and most accounts never look. The
//! statement that creates an account counts a code's uses under a lock.
//!
//! Codes are not secrets of anybody's account, but each is worth an account: the audit log names those that were stopped,
//! and only counts those that were made.

mod earn;
mod store;

use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;
use serde_json::json;

use super::{Account, Accounts};
use crate::audit::{self, Act, Action, Actor, Subject};
use crate::clock::Clock;
use crate::config::{InvitesConfig, ServiceConfig};
use crate::db::PgPool;
use earn::Earnings;

/// Whose codes belong to nobody in particular, and who made those that users did not earn.
pub const OPERATOR: &str = "admin";
/// Uses of one code, at most.
pub const MAX_USES: i32 = 1_000_000;
/// Codes made by one call, at most.
pub const MAX_CODES: usize = 10_000;
/// Characters of each of the two random parts of a code: 25 bits.
const PART_CHARS: usize = 5;

/// A code, and who used it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invite {
    /// The code.
    pub code: String,
    /// How often it may be used in all.
    pub available: i32,
    /// Stopped: it may not be used any more.
    pub disabled: bool,
    /// Whose it is: a DID, or [`OPERATOR`].
    pub for_account: String,
    /// Who made it: a DID for a code that was earned, or [`OPERATOR`].
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who signed up with it, the first one first.
    pub uses: Vec<InviteUse>,
}

impl Invite {
    /// True if it was used as often as it may be.
    pub fn is_used_up(&self) -> bool {
        i32::try_from(self.uses.len()).is_ok_and(|uses| uses >= self.available)
    }
}

/// Somebody signed up with a code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InviteUse {
    /// The account.
    pub used_by: Did,
    /// When it was made.
    pub used_at: DateTime<Utc>,
}

/// Codes to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewInvites {
    /// How many for each account.
    pub codes: usize,
    /// How often each may be used.
    pub uses: i32,
    /// For whom; nobody means for the operator to give away.
    pub accounts: Vec<Did>,
}

/// The codes of one account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountInvites {
    /// A DID, or [`OPERATOR`].
    pub account: String,
    /// The codes.
    pub codes: Vec<String>,
}

/// Why codes were neither made nor stopped. The text is what the wire shows, but for the last one.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// A number of uses that makes no sense.
    #[error("useCount must be from 1 to {MAX_USES}")]
    Uses,
    /// No code, or too many at once.
    #[error("one call makes from 1 to {MAX_CODES} codes")]
    Codes,
    /// All codes of the operator's at once.
    #[error("cannot disable admin invite codes")]
    Operator,
    /// Postgres failed.
    #[error("invite storage failed")]
    Storage(#[from] sqlx::Error),
}

/// How a list of all codes is sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InviteOrder {
    /// The newest first.
    Recent,
    /// The most used first.
    Usage,
}

/// The codes of this server.
#[derive(Clone, Debug)]
pub struct Invites {
    pool: PgPool,
    clock: Clock,
    /// What codes begin with, so that people see where to use them.
    prefix: String,
    earnings: Option<Earnings>,
}

impl Invites {
    /// Keeps codes in `pool`'s database. Users earn some only where sign-up needs one.
    pub fn new(pool: PgPool, clock: Clock, service: &ServiceConfig, config: &InvitesConfig) -> Self {
        let earnings = Earnings::from_config(config).filter(|_| config.required);
        Self { pool, clock, prefix: service.hostname.replace('.', "-"), earnings }
    }

    /// Makes codes for each of some accounts, which need not exist.
    pub async fn create(&self, actor: &Actor, new: &NewInvites) -> Result<Vec<AccountInvites>, InviteError> {
        if !(1..=MAX_USES).contains(&new.uses) {
            return Err(InviteError::Uses);
        }
        if !(1..=MAX_CODES).contains(&new.codes.saturating_mul(new.accounts.len().max(1))) {
            return Err(InviteError::Codes);
        }
        let owners = if new.accounts.is_empty() {
            vec![OPERATOR.to_owned()]
        } else {
            new.accounts.iter().map(ToString::to_string).collect()
        };
        let codes = |account| AccountInvites { account, codes: (0..new.codes).map(|_| self.new_code()).collect() };
        let made: Vec<AccountInvites> = owners.into_iter().map(codes).collect();
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        for owned in &made {
            let batch = store::Batch { uses: new.uses, created_by: OPERATOR, disabled: false, at: self.clock.now() };
            store::insert(&mut transaction, &owned.account, &owned.codes, &batch).await?;
        }
        let subject = match &new.accounts[..] {
            [account] => Subject::Account(account.clone()),
            _ => Subject::Server,
        };
        let after = json!({ "codes": new.codes, "uses": new.uses, "accounts": new.accounts });
        audit::record(&mut transaction, &Act::new(actor.clone(), Action::CreateInvites, subject).to(after)).await?;
        transaction.commit().await?;
        Ok(made)
    }

    /// An account's codes, stopped ones too. First it gets those that it has earned, if `earn` says so.
    ///
    /// Two calls at once, at whatever replicas, make those codes once: the second waits, and finds them.
    ///
    /// Reference: there the second fails, with `DuplicateCreate`.
    pub async fn list_of(&self, account: &Account, earn: bool) -> sqlx::Result<Vec<Invite>> {
        let Some(earnings) = self.earnings.as_ref().filter(|_| earn) else {
            return store::list_of(&mut *self.pool.acquire().await?, account.did.as_str()).await;
        };
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        let Some(disabled) = store::lock_account(&mut transaction, account.id).await? else { return Ok(Vec::new()) };
        let codes = store::list_of(&mut transaction, account.did.as_str()).await?;
        let now = self.clock.now();
        let due = earnings.due(account.created_at, now, &codes);
        if due == 0 {
            return Ok(codes);
        }
        let did = account.did.as_str();
        let made: Vec<String> = (0..due).map(|_| self.new_code()).collect();
        let batch = store::Batch { uses: 1, created_by: did, disabled, at: now };
        store::insert(&mut transaction, did, &made, &batch).await?;
        let codes = store::list_of(&mut transaction, did).await?;
        transaction.commit().await?;
        Ok(codes)
    }

    /// The codes of each of these accounts, stopped ones too.
    pub async fn list_of_all(&self, accounts: &[&Did]) -> sqlx::Result<Vec<Invite>> {
        let accounts: Vec<&str> = accounts.iter().map(|did| did.as_str()).collect();
        store::list_of_all(&mut *self.pool.acquire().await?, &accounts).await
    }

    /// The codes with which these accounts signed up.
    pub async fn list_used_by(&self, accounts: &[&Did]) -> sqlx::Result<Vec<Invite>> {
        let accounts: Vec<&str> = accounts.iter().map(|did| did.as_str()).collect();
        store::list_used_by(&mut *self.pool.acquire().await?, &accounts).await
    }

    /// A page of all codes, from after the code that `after` names.
    pub async fn list(&self, order: InviteOrder, after: Option<&InvitePlace>, limit: u16) -> sqlx::Result<Vec<Invite>> {
        store::list(&mut *self.pool.acquire().await?, order, after, i64::from(limit)).await
    }

    /// Stops codes, and all codes that some accounts have now. Unknown ones are passed over. Gives how many were stopped.
    pub async fn disable(&self, actor: &Actor, codes: &[String], accounts: &[String]) -> Result<usize, InviteError> {
        if accounts.iter().any(|account| account == OPERATOR) {
            return Err(InviteError::Operator);
        }
        // Text in Postgres has no NUL, so no code does.
        let known =
            |texts: &[String]| -> Vec<String> { texts.iter().filter(|text| !text.contains('\0')).cloned().collect() };
        let (codes, accounts) = (known(codes), known(accounts));
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        let mut stopped = store::disable(&mut transaction, &codes).await?;
        stopped.extend(store::disable_of(&mut transaction, &accounts).await?);
        let subject = match (&codes[..], &accounts[..]) {
            ([code], []) => Subject::Invite(code.clone()),
            ([], [account]) => account.parse().map_or(Subject::Server, Subject::Account),
            _ => Subject::Server,
        };
        let after = json!({ "codes": codes, "accounts": accounts, "stopped": stopped });
        audit::record(&mut transaction, &Act::new(actor.clone(), Action::DisableCodes, subject).to(after)).await?;
        transaction.commit().await?;
        Ok(stopped.len())
    }

    /// Says whether the codes that an account earns from now on may be used. `note` is kept in the audit log.
    ///
    /// False if there is no such account.
    pub async fn set_allowed(
        &self,
        actor: &Actor,
        account: &Did,
        allowed: bool,
        note: Option<&str>,
    ) -> sqlx::Result<bool> {
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        let Some(disabled) = store::update_disabled(&mut transaction, account, !allowed).await? else {
            return Ok(false);
        };
        let action = if allowed { Action::EnableInvites } else { Action::DisableInvites };
        let act = Act::new(actor.clone(), action, Subject::Account(account.clone()))
            .from(json!({ "invitesDisabled": disabled }))
            .to(json!({ "invitesDisabled": !allowed, "note": note }));
        audit::record(&mut transaction, &act).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// `<host>-xxxxx-xxxxx`
    fn new_code(&self) -> String {
        let random = BASE32_NOPAD.encode(&rand::random::<[u8; 7]>()).to_ascii_lowercase();
        format!("{}-{}-{}", self.prefix, &random[..PART_CHARS], &random[PART_CHARS..2 * PART_CHARS])
    }
}

/// Where a code is in the list of all codes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvitePlace {
    /// When it was made, in microseconds since 1970; or how often it was used. Which, the order says. Never negative.
    pub rank: i64,
    /// The code.
    pub code: String,
}

impl InvitePlace {
    /// The place of a code.
    pub fn of(order: InviteOrder, invite: &Invite) -> Self {
        let rank = match order {
            InviteOrder::Recent => invite.created_at.timestamp_micros(),
            InviteOrder::Usage => i64::try_from(invite.uses.len()).unwrap_or(i64::MAX),
        };
        Self { rank, code: invite.code.clone() }
    }
}

impl Accounts {
    /// True if a sign-up may use this code now. Two sign-ups can both be told so of the last use; the statement that creates
    /// the account counts again under a lock, and is what decides.
    pub async fn is_usable_invite(&self, code: &str) -> sqlx::Result<bool> {
        // Text in Postgres has no NUL, so no code does.
        if code.contains('\0') {
            return Ok(false);
        }
        store::is_usable(&mut *self.pool.acquire().await?, code).await
    }
}

#[cfg(test)]
mod tests;
