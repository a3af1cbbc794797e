//! What commands that act on accounts work with, and who gives them.

use anyhow::Context as _;
use atproto::syntax::{AtIdentifier, Did};
use common::account::{AccountDetails, Accounts, Invites};
use common::admin::Administration;
use common::audit::Actor;
use common::blob::BlobQuotas;
use common::clock::Clock;
use common::config::Config;
use common::db::PgPool;
use common::lifecycle::{Lifecycle, Policy, Services};
use common::relay::Relays;
use nix::unistd::{Uid, User};

use super::database;

/// One for the act, one for what it has others look up meanwhile.
const CONNECTIONS: u32 = 3;

/// The state of the server, and the user in front of it.
pub(super) struct Office {
    pub(super) config: Config,
    pub(super) pool: PgPool,
    pub(super) accounts: Accounts,
    pub(super) invites: Invites,
    pub(super) quotas: BlobQuotas,
    pub(super) admin: Administration,
    pub(super) relays: Relays,
    /// Who acts, for the audit log.
    pub(super) actor: Actor,
}

impl Office {
    /// Opens it with the settings of the servers.
    ///
    /// # Errors
    /// If the settings are bad, or the database cannot be used.
    pub(super) async fn open(command: &str) -> anyhow::Result<Self> {
        let config = Config::from_env()?;
        let pool = database::open_at(config.database.clone(), command, CONNECTIONS).await?;
        let clock = Clock::system();
        let services = Services::from_config(&config, clock.clone(), pool.clone()).context("cannot set up TLS")?;
        let accounts = services.accounts.clone();
        let lifecycle = Lifecycle::new(services.clone(), Policy::from_config(&config)?);
        Ok(Self {
            admin: Administration::new(&services, lifecycle),
            quotas: BlobQuotas::new(pool.clone(), config.blob.quota),
            invites: Invites::new(pool.clone(), clock, &config.service, &config.invites),
            relays: Relays::new(pool.clone()),
            actor: Actor::Command(user()),
            accounts,
            config,
            pool,
        })
    }

    /// The account that somebody means by a DID, a handle or an e-mail address.
    ///
    /// # Errors
    /// If there is none.
    pub(super) async fn find(&self, name: &str) -> anyhow::Result<AccountDetails> {
        let did = self.find_did(name).await?.with_context(|| format!("there is no account {name}"))?;
        let details = self.accounts.find_details(&did).await.context("cannot read the account")?;
        details.with_context(|| format!("the account {name} is gone"))
    }

    async fn find_did(&self, name: &str) -> anyhow::Result<Option<Did>> {
        let account = if name.contains('@') && !name.starts_with("did:") {
            self.accounts.find_by_email(name).await
        } else {
            let identifier: AtIdentifier =
                name.parse().with_context(|| format!("{name} is no DID, handle or e-mail address"))?;
            self.accounts.find_by_identifier(&identifier).await
        };
        Ok(account.context("cannot look for the account")?.map(|account| account.did))
    }
}

/// The user of the operating system, by name or else by number.
fn user() -> String {
    let uid = Uid::current();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}
