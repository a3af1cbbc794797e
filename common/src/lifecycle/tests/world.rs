//! What the tests start from: a database, a PLC directory, replicas, accounts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use atproto::crypto::{PublicKey, SigningKey};
use atproto::data::Ipld;
use atproto::event::{Event, Frame, frame};
use atproto::identity::plc::{State, UnsignedOperation};
use atproto::syntax::{Did, Handle};
use axum::extract::Query;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::clock::Clock;
use crate::config::{Config, PlcRotationKey, UpstreamService};
use crate::db::{AccountId, PgPool};
use crate::keys::{KeyVault, Keys};
use crate::lifecycle::{CreatedAccount, Lifecycle, NewAccount, Policy, Services};
use crate::repo::{CommitRef, PreparedRecord, PreparedWrite, RecordPath, Repos, WriteError};
use crate::sequencer::{PageLimit, START, Sequencer, StoredEvent};
use crate::testing::{FakePlc, NameServer, TestDb};

/// A collection without schema.
pub(in crate::lifecycle) const THING: &str = "com.example.thing";

pub(in crate::lifecycle) struct World {
    pub(in crate::lifecycle) db: TestDb,
    pub(in crate::lifecycle) plc: FakePlc,
    pub(in crate::lifecycle) config: Config,
    /// Who has the handles of other domains at hand.
    pub(in crate::lifecycle) appview: Option<Url>,
}

pub(in crate::lifecycle) async fn world() -> World {
    let (db, plc) = tokio::join!(TestDb::create(), FakePlc::start());
    let mut config = Config::for_tests();
    // The sites of tests are on this machine.
    config.fetch.disable_ssrf_protection = true;
    World { db, plc, config, appview: None }
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
    /// Lets the replicas that start from now on know what handles of other domains stand for.
    pub(in crate::lifecycle) async fn with_names(&mut self, owners: &[(&str, &str)]) -> NameServer {
        let server = NameServer::start(owners).await;
        self.config.identity.handle_backup_nameservers = vec![server.address()];
        server
    }

    /// The workflows of a replica of its own.
    pub(in crate::lifecycle) fn replica(&self) -> Lifecycle {
        self.replica_on(self.db.other_pool())
    }

    /// The workflows of a replica with this pool.
    pub(in crate::lifecycle) fn replica_on(&self, pool: PgPool) -> Lifecycle {
        let mut config = self.config.clone();
        config.identity.plc_url = self.plc.url();
        config.upstreams.appview = self.appview.clone().map(|url| {
            let did = "did:web:appview.test".parse().unwrap();
            UpstreamService { url, did }
        });
        let services = Services::from_config(&config, Clock::system(), pool).unwrap();
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

    /// Changes a DID of the directory with the server's rotation key.
    pub(in crate::lifecycle) fn change_did(&self, did: &Did, change: impl FnOnce(&mut State)) {
        let mut state = self.plc.state(did).unwrap();
        change(&mut state);
        let prev = Some(self.plc.operations(did).last().unwrap().cid().unwrap());
        let PlcRotationKey::K256(key) = &self.config.secrets.plc_rotation_key else { panic!("a key at hand") };
        let key = SigningKey::from_bytes(key.expose()).unwrap();
        self.plc.submit(did, UnsignedOperation::Update { state, prev }.sign(&key).unwrap());
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

/// A web server of a test's own, on this machine; it stops when dropped.
pub(in crate::lifecycle) struct Site {
    pub(in crate::lifecycle) port: u16,
    server: JoinHandle<()>,
}

impl Site {
    async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { port, server: tokio::spawn(async { axum::serve(listener, router).await.unwrap() }) }
    }

    /// An appview that knows these handles.
    pub(in crate::lifecycle) async fn appview(handles: &[(&str, &Did)]) -> Self {
        let known = handles.iter().map(|(handle, did)| ((*handle).to_owned(), (*did).clone()));
        let known: Arc<HashMap<String, Did>> = Arc::new(known.collect());
        let answer = move |Query(asked): Query<HashMap<String, String>>| {
            let known = Arc::clone(&known);
            async move { Json(json!({ "did": known.get(&asked["handle"]) })) }
        };
        Self::start(Router::new().route("/xrpc/com.atproto.identity.resolveHandle", get(answer))).await
    }

    pub(in crate::lifecycle) fn url(&self) -> Url {
        format!("http://localhost:{}", self.port).parse().unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A `did:web` on this machine, whose document says what its owner last wrote.
pub(in crate::lifecycle) struct WebDid {
    pub(in crate::lifecycle) did: Did,
    document: Arc<Mutex<Value>>,
    _site: Site,
}

impl WebDid {
    pub(in crate::lifecycle) async fn start() -> Self {
        let document: Arc<Mutex<Value>> = Arc::default();
        let shown = Arc::clone(&document);
        let answer = move || {
            let shown = shown.lock().unwrap().clone();
            async move { Json(shown) }
        };
        let site = Site::start(Router::new().route("/.well-known/did.json", get(answer))).await;
        let did = format!("did:web:localhost%3A{}", site.port).parse().unwrap();
        Self { did, document, _site: site }
    }

    /// Names handle, key and server.
    pub(in crate::lifecycle) fn write(&self, handle: &str, key: &PublicKey, url: &str) {
        let handle: Handle = handle.parse().unwrap();
        let document = State::for_account(&[*key], key, &handle, url).document(&self.did);
        *self.document.lock().unwrap() = serde_json::to_value(document).unwrap();
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
