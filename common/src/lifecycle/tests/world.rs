//! What the tests start from: a database, a PLC directory, replicas, accounts.

use std::time::Duration;

use atproto::data::Ipld;
use atproto::event::{Event, Frame, frame};
use atproto::syntax::Did;

use crate::account::Accounts;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{AccountId, PgPool};
use crate::http::{GuardedClient, internal};
use crate::identity::{DidResolver, PlcClient};
use crate::keys::{KeyVault, Keys};
use crate::lifecycle::{CreatedAccount, Lifecycle, NewAccount, Policy, Services};
use crate::repo::{CommitRef, PreparedRecord, PreparedWrite, RecordPath, Repos, WriteError};
use crate::sequencer::{PageLimit, START, Sequencer, StoredEvent};
use crate::session::Sessions;
use crate::testing::{FakePlc, TestDb};

/// A collection without schema.
pub(in crate::lifecycle) const THING: &str = "com.example.thing";

pub(in crate::lifecycle) struct World {
    pub(in crate::lifecycle) db: TestDb,
    pub(in crate::lifecycle) plc: FakePlc,
    pub(in crate::lifecycle) config: Config,
}

pub(in crate::lifecycle) async fn world() -> World {
    let (db, plc) = tokio::join!(TestDb::create(), FakePlc::start());
    World { db, plc, config: Config::for_tests() }
}

/// The sign-up of `<name>.test`.
pub(in crate::lifecycle) fn request(name: &str) -> NewAccount {
    NewAccount {
        handle: format!("{name}.test"),
        email: Some(format!("{name}@mail.test")),
        password: Some("correct horse".into()),
        ..NewAccount::default()
    }
}

impl World {
    /// The workflows of a replica of its own.
    pub(in crate::lifecycle) fn replica(&self) -> Lifecycle {
        self.replica_on(self.db.other_pool())
    }

    /// The workflows of a replica with this pool.
    pub(in crate::lifecycle) fn replica_on(&self, pool: PgPool) -> Lifecycle {
        let clock = Clock::system();
        let plc = PlcClient::new(self.plc.url(), internal(Duration::from_secs(5)).unwrap());
        let web = GuardedClient::for_documents(&self.config.fetch).unwrap();
        let services = Services {
            accounts: Accounts::new(pool.clone()),
            keys: self.keys(pool.clone()),
            sessions: Sessions::new(pool.clone(), clock.clone()),
            resolver: DidResolver::new(pool.clone(), clock.clone(), plc.clone(), web, &self.config.identity),
            plc,
            clock,
            pool,
        };
        Lifecycle::new(services, Policy::from_config(&self.config).unwrap())
    }

    fn keys(&self, pool: PgPool) -> Keys {
        let vault = KeyVault::from_config(&self.config.secrets);
        Keys::new(pool, vault)
    }

    /// The repos as a replica of its own sees them.
    pub(in crate::lifecycle) fn repos(&self) -> Repos {
        let pool = self.db.other_pool();
        Repos::new(pool.clone(), self.keys(pool), Clock::system())
    }

    /// Signs `<name>.test` up.
    pub(in crate::lifecycle) async fn create_account(&self, name: &str) -> CreatedAccount {
        self.replica().create_account(request(name)).await.unwrap()
    }

    /// The DIDs of the directory that have an end.
    pub(in crate::lifecycle) fn ended_dids(&self) -> usize {
        self.plc.dids().iter().filter(|did| self.plc.state(did).is_none()).count()
    }

    /// All events of the log.
    pub(in crate::lifecycle) async fn events(&self) -> Vec<Event> {
        let log = Sequencer::new(&self.db.pool());
        let (mut events, mut after) = (Vec::new(), START);
        loop {
            let page = log.list_after(after, PageLimit::of(500)).await.unwrap();
            events.extend(page.events.iter().map(decode));
            after = page.end;
            if !page.is_full {
                return events;
            }
        }
    }

    /// What the log tells of an account, one line an event.
    pub(in crate::lifecycle) async fn told(&self, did: &Did) -> Vec<String> {
        self.events().await.iter().filter(|event| event.did() == did).map(describe).collect()
    }
}

fn decode(event: &StoredEvent) -> Event {
    let bytes = frame(event.kind, &event.body, event.seq).unwrap();
    let Frame::Event { event, .. } = Frame::decode(&bytes).unwrap() else { panic!("an event") };
    event
}

fn describe(event: &Event) -> String {
    match event {
        Event::Account(event) => format!("#account {}", event.status.name().unwrap_or("active")),
        Event::Identity(event) => format!("#identity {}", event.handle.as_ref().map_or("", |handle| handle.as_str())),
        other => other.kind().name().to_owned(),
    }
}

/// Writes a record of [`THING`].
pub(in crate::lifecycle) async fn write(
    repos: &Repos,
    account: AccountId,
    did: &Did,
    rkey: &str,
) -> Result<Option<CommitRef>, WriteError> {
    let path = RecordPath { collection: THING.parse().unwrap(), rkey: rkey.parse().unwrap() };
    let value = Ipld::Map([("text".to_owned(), Ipld::String(rkey.to_owned()))].into());
    let record = PreparedRecord::new(&path, value, None).unwrap();
    let creation = PreparedWrite::Create { path, record, replace_links: false };
    repos.apply_writes(account, did, vec![creation], None).await
}
