//! DID documents: from memory, from Postgres, or from where the DID's method keeps them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atproto::identity::{DidDocument, DidDocumentError, did_web_document_url};
use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use http::StatusCode;
use moka::future::Cache;
use tokio::time::timeout;

use super::plc::{PlcClient, PlcError};
use super::store;
use crate::clock::Clock;
use crate::config::IdentityConfig;
use crate::db::PgPool;
use crate::http::{FetchError, GuardedClient};

/// Bytes of documents that a replica keeps in memory: about 40,000 of the usual ones, or a few that somebody blew up.
const REMEMBERED_BYTES: u64 = 64 << 20;
/// How long it does, before it looks into Postgres for what another replica may have fetched.
const REMEMBERED_FOR: Duration = Duration::from_secs(30);
/// What to ask a `did:web` for.
const DOCUMENT_TYPES: &str = "application/did+ld+json, application/json";

/// Finds the documents of DIDs; cheap to clone.
///
/// A document younger than `PDS_DID_CACHE_STALE_TTL` is used as it is, an older one is used and fetched again in the
/// background, and one older than `PDS_DID_CACHE_MAX_TTL` is fetched first. Callers who ask at once share one fetch.
/// While a DID's method fails, its document serves on until it is too old.
///
/// All replicas share what is in Postgres; each remembers besides what it saw in the last half minute.
#[derive(Clone, Debug)]
pub struct DidResolver(Arc<Resolver>);

#[derive(Debug)]
struct Resolver {
    pool: PgPool,
    clock: Clock,
    plc: PlcClient,
    web: GuardedClient,
    stale_after: Duration,
    unusable_after: Duration,
    timeout: Duration,
    remembered: Cache<Did, Found>,
    /// DIDs that are being fetched in the background.
    refreshing: Mutex<HashSet<Did>>,
}

/// A document and when its fetch began.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) document: Arc<DidDocument>,
    pub(super) updated_at: DateTime<Utc>,
}

/// Why a document could not be had. A DID without one is no error.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The PLC directory failed.
    #[error("cannot get the document of a did:plc")]
    Plc(#[source] PlcError),
    /// The site of a `did:web` was not reached.
    #[error("cannot get the document of a did:web")]
    Web(#[source] FetchError),
    /// The site of a `did:web` has something else.
    #[error("a did:web has an unusable document")]
    Document(#[source] DidDocumentError),
    /// Its owner has ended it.
    #[error("the DID has been ended by its owner")]
    Deactivated,
    /// It took longer than `PDS_ID_RESOLVER_TIMEOUT`.
    #[error("getting a DID document took too long")]
    Timeout,
    /// Postgres failed.
    #[error("DID document storage failed")]
    Storage(#[from] sqlx::Error),
}

/// Why nothing is remembered of a DID. Callers who waited together get the same error.
enum Miss {
    Unknown,
    Failed(Arc<ResolveError>),
}

impl From<ResolveError> for Miss {
    fn from(error: ResolveError) -> Self {
        Self::Failed(Arc::new(error))
    }
}

impl From<sqlx::Error> for Miss {
    fn from(error: sqlx::Error) -> Self {
        ResolveError::from(error).into()
    }
}

impl Miss {
    /// True if the DID has no document, rather than that it could not be had.
    fn is_final(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Failed(error) => matches!(**error, ResolveError::Deactivated),
        }
    }

    fn to_result(&self) -> Result<Option<Arc<DidDocument>>, Arc<ResolveError>> {
        match self {
            Self::Unknown => Ok(None),
            Self::Failed(error) => Err(Arc::clone(error)),
        }
    }
}

impl DidResolver {
    /// Makes a resolver. `web` is a client for documents, which reaches public hosts only.
    pub fn new(pool: PgPool, clock: Clock, plc: PlcClient, web: GuardedClient, config: &IdentityConfig) -> Self {
        Self(Arc::new(Resolver {
            pool,
            clock,
            plc,
            web,
            stale_after: config.cache_stale_ttl,
            unusable_after: config.cache_max_ttl,
            timeout: config.resolver_timeout,
            remembered: Cache::builder()
                .max_capacity(REMEMBERED_BYTES)
                .weigher(|did: &Did, found: &Found| {
                    u32::try_from(did.as_str().len() + found.document.weight()).unwrap_or(u32::MAX)
                })
                .time_to_live(REMEMBERED_FOR)
                .build(),
            refreshing: Mutex::default(),
        }))
    }

    /// The document of a DID, possibly somewhat old; `None` if it has none or its method is not supported.
    pub async fn find_document(&self, did: &Did) -> Result<Option<Arc<DidDocument>>, Arc<ResolveError>> {
        let resolver = &self.0;
        let found = match resolver.remembered.get(did).await {
            Some(found) => found,
            // Boxed, because it is big and rare: what asks for a document carries this future, most often for nothing.
            None => match Box::pin(resolver.remembered.try_get_with(did.clone(), resolver.load(did))).await {
                Ok(found) => found,
                Err(miss) => return miss.to_result(),
            },
        };
        if resolver.age(&found) >= resolver.stale_after {
            self.refresh_in_background(did);
        }
        Ok(Some(found.document))
    }

    /// As [`Self::find_document`], seen past what this replica remembers: no older than the last refresh at any replica.
    pub async fn find_shared_document(&self, did: &Did) -> Result<Option<Arc<DidDocument>>, Arc<ResolveError>> {
        match self.0.find_kept(did).await {
            Ok(Some(found)) => self.0.remembered.insert(did.clone(), found).await,
            Ok(None) => self.0.remembered.invalidate(did).await,
            Err(error) => return Err(Arc::new(error.into())),
        }
        self.find_document(did).await
    }

    /// The document of a DID as it is now. For whoever has reason to think that it has just changed.
    pub async fn refresh_document(&self, did: &Did) -> Result<Option<Arc<DidDocument>>, Arc<ResolveError>> {
        match self.0.fetch_and_store(did).await {
            Ok(found) => {
                self.0.remembered.insert(did.clone(), found.clone()).await;
                Ok(Some(found.document))
            }
            Err(miss) => {
                if miss.is_final() {
                    self.0.remembered.invalidate(did).await;
                }
                miss.to_result()
            }
        }
    }

    /// Takes a document that is known without fetching it: of a change that the DID's method has just confirmed.
    pub async fn keep_document(&self, did: &Did, document: DidDocument) -> sqlx::Result<()> {
        let found = Found { document: Arc::new(document), updated_at: self.0.clock.now() };
        store::upsert_document(&mut *self.0.pool.acquire().await?, did, &found).await?;
        self.0.remembered.insert(did.clone(), found).await;
        Ok(())
    }

    fn refresh_in_background(&self, did: &Did) {
        if !self.0.refreshing().insert(did.clone()) {
            return;
        }
        let (this, did) = (self.clone(), did.clone());
        tokio::spawn(async move {
            // The old document serves on.
            if let Err(error) = this.refresh_document(&did).await {
                tracing::debug!(%did, error = &*error as &dyn std::error::Error, "a stale DID document stays");
            }
            this.0.refreshing().remove(&did);
        });
    }
}

impl Resolver {
    /// What Postgres has, if it may still be used; else what the DID's method has.
    async fn load(&self, did: &Did) -> Result<Found, Miss> {
        match self.find_kept(did).await? {
            Some(found) => Ok(found),
            None => self.fetch_and_store(did).await,
        }
    }

    /// What Postgres has, if it may still be used.
    async fn find_kept(&self, did: &Did) -> sqlx::Result<Option<Found>> {
        let kept = store::find_document(&mut *self.pool.acquire().await?, did).await?;
        Ok(kept.filter(|found| self.age(found) < self.unusable_after))
    }

    async fn fetch_and_store(&self, did: &Did) -> Result<Found, Miss> {
        let updated_at = self.clock.now();
        let miss = match self.fetch(did).await {
            Ok(Some(document)) => {
                let found = Found { document: Arc::new(document), updated_at };
                store::upsert_document(&mut *self.pool.acquire().await?, did, &found).await?;
                return Ok(found);
            }
            Ok(None) => Miss::Unknown,
            Err(error) => error.into(),
        };
        if miss.is_final() {
            store::delete_document(&mut *self.pool.acquire().await?, did).await?;
        }
        Err(miss)
    }

    async fn fetch(&self, did: &Did) -> Result<Option<DidDocument>, ResolveError> {
        match did.method() {
            "plc" => self.fetch_plc(did).await,
            "web" => timeout(self.timeout, self.fetch_web(did)).await.map_err(|_| ResolveError::Timeout)?,
            _ => Ok(None),
        }
    }

    /// The directory's client has time-outs of its own.
    async fn fetch_plc(&self, did: &Did) -> Result<Option<DidDocument>, ResolveError> {
        match self.plc.find_document(did).await {
            Err(PlcError::Refused { status: StatusCode::GONE, .. }) => Err(ResolveError::Deactivated),
            found => found.map_err(ResolveError::Plc),
        }
    }

    async fn fetch_web(&self, did: &Did) -> Result<Option<DidDocument>, ResolveError> {
        let Some(url) = did_web_document_url(did) else { return Ok(None) };
        let answer = self.web.fetch(&url, DOCUMENT_TYPES, 0).await.map_err(ResolveError::Web)?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        DidDocument::parse(did, &answer.body).map(Some).map_err(ResolveError::Document)
    }

    /// Zero for a document from the future, as another replica's clock may make it.
    fn age(&self, found: &Found) -> Duration {
        (self.clock.now() - found.updated_at).to_std().unwrap_or_default()
    }

    fn refreshing(&self) -> std::sync::MutexGuard<'_, HashSet<Did>> {
        self.refreshing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use atproto::crypto::SigningKey;
    use atproto::identity::plc::{Operation, State, UnsignedOperation};

    use super::*;
    use crate::config::Config;
    use crate::testing::{FakePlc, TestDb};

    const MINUTE: Duration = Duration::from_mins(1);
    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    struct World {
        db: TestDb,
        plc: FakePlc,
        clock: Clock,
        key: SigningKey,
        did: Did,
    }

    async fn world() -> World {
        let key = SigningKey::generate(&mut rand::rng());
        let plc = FakePlc::start().await;
        let genesis = UnsignedOperation::genesis(state(&key, "first.test")).sign(&key).unwrap();
        let did = genesis.did().unwrap();
        plc.submit(&did, genesis);
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        World { db: TestDb::create().await, plc, clock, key, did }
    }

    fn state(key: &SigningKey, handle: &str) -> State {
        State::for_account(&[key.public_key()], &key.public_key(), &handle.parse().unwrap(), "https://pds.test")
    }

    impl World {
        /// A resolver of a replica of its own.
        fn resolver(&self) -> DidResolver {
            let mut config = Config::for_tests();
            config.fetch.disable_ssrf_protection = true;
            let plc = PlcClient::new(self.plc.url(), crate::http::internal(Duration::from_secs(5)).unwrap());
            let web = GuardedClient::for_documents(&config.fetch).unwrap();
            DidResolver::new(self.db.other_pool(), self.clock.clone(), plc, web, &config.identity)
        }

        fn last(&self) -> Operation {
            self.plc.operations(&self.did).pop().unwrap()
        }

        fn rename(&self, handle: &str) {
            let prev = Some(self.last().cid().unwrap());
            let operation = UnsignedOperation::Update { state: state(&self.key, handle), prev };
            self.plc.submit(&self.did, operation.sign(&self.key).unwrap());
        }

        fn end(&self) {
            let prev = self.last().cid().unwrap();
            self.plc.submit(&self.did, UnsignedOperation::Tombstone { prev }.sign(&self.key).unwrap());
        }

        async fn find(&self, resolver: &DidResolver) -> Option<String> {
            let found = resolver.find_document(&self.did).await.unwrap();
            found.and_then(|document| document.handle()).map(String::from)
        }
    }

    #[tokio::test]
    async fn a_document_is_fetched_once_for_all_replicas() {
        let world = world().await;
        let (one, other) = (world.resolver(), world.resolver());
        let callers = (0..8).map(|_| world.find(&one));
        let found = futures_util::future::join_all(callers).await;
        assert!(found.iter().all(|handle| handle.as_deref() == Some("first.test")), "{found:?}");
        assert_eq!(world.find(&other).await.as_deref(), Some("first.test"));
        assert_eq!(world.plc.documents_served(), 1);
    }

    #[tokio::test]
    async fn a_stale_document_is_served_while_it_is_fetched_again() {
        let world = world().await;
        let resolver = world.resolver();
        assert_eq!(world.find(&resolver).await.as_deref(), Some("first.test"));
        world.rename("second.test");
        world.clock.advance(HOUR.saturating_sub(MINUTE));
        assert_eq!(world.find(&resolver).await.as_deref(), Some("first.test"));
        assert_eq!(world.plc.documents_served(), 1);

        world.clock.advance(MINUTE);
        assert_eq!(world.find(&resolver).await.as_deref(), Some("first.test"));
        while world.find(&resolver).await.as_deref() == Some("first.test") {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.plc.documents_served(), 2);
        assert_eq!(world.find(&world.resolver()).await.as_deref(), Some("second.test"));
    }

    #[tokio::test]
    async fn an_unusable_document_is_fetched_first() {
        let world = world().await;
        assert_eq!(world.find(&world.resolver()).await.as_deref(), Some("first.test"));
        world.rename("second.test");
        world.clock.advance(DAY);
        assert_eq!(world.find(&world.resolver()).await.as_deref(), Some("second.test"));
    }

    #[tokio::test]
    async fn a_forced_refresh_is_seen_at_once_and_a_failed_one_changes_nothing() {
        let world = world().await;
        let resolver = world.resolver();
        assert_eq!(world.find(&resolver).await.as_deref(), Some("first.test"));
        world.rename("second.test");
        world.plc.set_down(true);
        let error = resolver.refresh_document(&world.did).await.unwrap_err();
        assert!(matches!(&*error, ResolveError::Plc(PlcError::Failed { .. })), "{error}");
        assert_eq!(world.find(&resolver).await.as_deref(), Some("first.test"));
        world.plc.set_down(false);
        resolver.refresh_document(&world.did).await.unwrap();
        assert_eq!(world.find(&resolver).await.as_deref(), Some("second.test"));
    }

    #[tokio::test]
    async fn the_site_of_a_did_web_is_asked() {
        let world = world().await;
        let listener = tokio::net::TcpListener::bind("localhost:0").await.unwrap();
        let did: Did = format!("did:web:localhost%3A{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let document = state(&world.key, "web.test").document(&did);
        let site =
            axum::Router::new().route("/.well-known/did.json", axum::routing::get(|| async { axum::Json(document) }));
        let server = tokio::spawn(async { axum::serve(listener, site).await });
        let resolver = world.resolver();
        let found = resolver.find_document(&did).await.unwrap().unwrap();
        assert_eq!(found.signing_key(), Some(world.key.public_key()));

        server.abort();
        let other: Did = did.as_str().replace("localhost", "127.0.0.1").parse().unwrap();
        assert!(resolver.find_document(&other).await.unwrap().is_none(), "an address is no host name");
        assert!(resolver.refresh_document(&did).await.is_err());
        assert!(resolver.find_document(&did).await.unwrap().is_some(), "the document that was found stays");
    }

    #[tokio::test]
    async fn unknown_dids_have_no_document() {
        let world = world().await;
        let resolver = world.resolver();
        for did in
            ["did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:key:zabc", "did:web:pds.test:alice", "did:web:localhost%3A1"]
        {
            let found = resolver.find_document(&did.parse().unwrap()).await;
            let refused = did.ends_with("%3A1");
            assert_eq!(found.is_err(), refused, "{did}: {found:?}");
            assert!(refused || found.unwrap().is_none(), "{did}");
        }
    }

    #[tokio::test]
    async fn an_ended_did_has_an_error_of_its_own_and_is_forgotten() {
        let world = world().await;
        let (one, other) = (world.resolver(), world.resolver());
        assert_eq!(world.find(&one).await.as_deref(), Some("first.test"));
        world.end();
        assert_eq!(world.find(&other).await.as_deref(), Some("first.test"), "not asked again yet");
        let error = one.refresh_document(&world.did).await.unwrap_err();
        assert!(matches!(*error, ResolveError::Deactivated), "{error}");
        for resolver in [&one, &other] {
            let error = resolver.find_shared_document(&world.did).await.unwrap_err();
            assert!(matches!(*error, ResolveError::Deactivated), "{error}");
        }
    }

    #[tokio::test]
    async fn a_refresh_at_one_replica_is_seen_past_the_memory_of_the_others() {
        let world = world().await;
        let (one, other) = (world.resolver(), world.resolver());
        assert_eq!(world.find(&other).await.as_deref(), Some("first.test"));
        world.rename("second.test");
        one.refresh_document(&world.did).await.unwrap();
        let seen = other.find_shared_document(&world.did).await.unwrap().unwrap();
        assert_eq!(seen.handle().map(String::from).as_deref(), Some("second.test"));
        assert_eq!(world.find(&other).await.as_deref(), Some("second.test"), "and remembered");
        assert_eq!(world.plc.documents_served(), 2);
    }

    #[tokio::test]
    async fn a_stale_document_serves_on_while_the_directory_fails() {
        let world = world().await;
        assert_eq!(world.find(&world.resolver()).await.as_deref(), Some("first.test"));
        world.plc.set_down(true);
        world.clock.advance(DAY.saturating_sub(MINUTE));
        for _ in 0..3 {
            assert_eq!(world.find(&world.resolver()).await.as_deref(), Some("first.test"));
        }
        world.clock.advance(MINUTE);
        let error = world.resolver().find_document(&world.did).await.unwrap_err();
        assert!(matches!(*error, ResolveError::Plc(PlcError::Failed { .. })), "{error}");
        world.plc.set_down(false);
        assert_eq!(world.find(&world.resolver()).await.as_deref(), Some("first.test"));
    }
}
