//! DID documents: from memory, from Postgres, or from where the DID's method keeps them.
//!
//! Anybody may ask for any DID, so what is kept is bounded: in memory by bytes, in Postgres by the age and the number of
//! documents, which a worker sees to ([`DidResolver::forget_old_documents`]), and by the size of each.

mod error;
mod turns;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atproto::identity::{DidDocument, did_web_document_url};
use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use error::Miss;
pub use error::ResolveError;
use http::StatusCode;
use moka::future::Cache;
use moka::ops::compute::Op;
use tokio::time::timeout;
use turns::Turns;

use super::plc::{PlcClient, PlcError};
use super::store;
use crate::clock::Clock;
use crate::config::IdentityConfig;
use crate::db::PgPool;
use crate::http::GuardedClient;

/// Bytes of documents that a replica keeps in memory: about 40,000 of the usual ones, or a few that somebody blew up.
const REMEMBERED_BYTES: u64 = 64 << 20;
/// How long it does, before it looks into Postgres for what another replica may have fetched.
const REMEMBERED_FOR: Duration = Duration::from_secs(30);
/// Documents that Postgres keeps, whoever asked for them; beyond that the oldest go. Some 2 GB, and room for every active
/// user of a large server.
const KEPT: u32 = 1_000_000;
/// Weight of the largest one it keeps: ten times that of the usual ones. A larger one is fetched when it is needed.
const KEPT_WEIGHT: usize = 32 << 10;
/// Documents that one statement forgets.
const FORGOTTEN: u16 = 1000;
/// What to ask a `did:web` for.
const DOCUMENT_TYPES: &str = "application/did+ld+json, application/json";

/// Finds the documents of DIDs; cheap to clone.
///
/// A document younger than `PDS_DID_CACHE_STALE_TTL` is used as it is, an older one is used and fetched again in the
/// background, and one older than `PDS_DID_CACHE_MAX_TTL` is fetched first. Callers who ask at once share one fetch; those
/// who want the document as it is now, one that began after they asked. While a DID's method fails, its document serves
/// on until it is too old.
///
/// All replicas share what is in Postgres; each remembers besides what it saw in the last half minute. In neither place
/// does a document give way to one whose fetch began earlier.
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
    /// Looking into Postgres, and elsewhere if need be.
    loads: Turns<Did, Result<Found, Miss>>,
    /// Asking a DID's method.
    fetches: Turns<Did, Result<Found, Miss>>,
    /// DIDs that are being fetched in the background.
    refreshing: Mutex<HashSet<Did>>,
}

/// A document and when its fetch began.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) document: Arc<DidDocument>,
    pub(super) updated_at: DateTime<Utc>,
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
            loads: Turns::default(),
            fetches: Turns::default(),
            refreshing: Mutex::default(),
        }))
    }

    /// The document of a DID, possibly somewhat old; `None` if it has none or its method is not supported.
    pub async fn find_document(&self, did: &Did) -> Result<Option<Arc<DidDocument>>, Arc<ResolveError>> {
        let resolver = &self.0;
        let found = match resolver.remembered.get(did).await {
            Some(found) => found,
            // Boxed, because it is big and rare: what asks for a document carries this future, most often for nothing.
            None => match Box::pin(resolver.loads.share(did, resolver.load(did))).await {
                Ok(found) => found,
                Err(miss) => return miss.into_result(),
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
            Ok(Some(found)) => self.0.remember(did, found).await,
            Ok(None) => self.0.remembered.invalidate(did).await,
            Err(error) => return Err(Arc::new(error.into())),
        }
        self.find_document(did).await
    }

    /// The document of a DID as it is now. For whoever has reason to think that it has just changed.
    pub async fn refresh_document(&self, did: &Did) -> Result<Option<Arc<DidDocument>>, Arc<ResolveError>> {
        match Box::pin(self.0.fetches.renew(did, self.0.fetch_and_store(did))).await {
            Ok(found) => Ok(Some(found.document)),
            Err(miss) => miss.into_result(),
        }
    }

    /// Takes a document that is known without fetching it: of a change that the DID's method has just confirmed.
    pub async fn keep_document(&self, did: &Did, document: DidDocument) -> sqlx::Result<()> {
        let found = Found { document: Arc::new(document), updated_at: self.0.clock.now() };
        self.0.store(did, &found).await
    }

    /// Forgets the documents that are too old to be used, and the oldest beyond the number that Postgres keeps; gives how
    /// many. Replicas may remember them for half a minute more.
    pub async fn forget_old_documents(&self) -> sqlx::Result<u64> {
        self.0.forget_old(KEPT, FORGOTTEN).await
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
        // Somebody may have had the turn before.
        if let Some(found) = self.remembered.get(did).await {
            return Ok(found);
        }
        match self.find_kept(did).await? {
            Some(found) => {
                self.remember(did, found.clone()).await;
                Ok(found)
            }
            None => self.fetches.share(did, self.fetch_and_store(did)).await,
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
                self.store(did, &found).await?;
                return Ok(found);
            }
            Ok(None) => Miss::Unknown,
            Err(error) => error.into(),
        };
        if miss.is_final() {
            store::delete_document(&mut *self.pool.acquire().await?, did).await?;
            self.remembered.invalidate(did).await;
        }
        Err(miss)
    }

    /// Lets all replicas see a document, and this one without looking.
    async fn store(&self, did: &Did, found: &Found) -> sqlx::Result<()> {
        let conn = &mut *self.pool.acquire().await?;
        if found.document.weight() > KEPT_WEIGHT || found.document.has_nul() {
            store::delete_document(conn, did).await?;
        } else {
            store::upsert_document(conn, did, found).await?;
        }
        self.remember(did, found.clone()).await;
        Ok(())
    }

    /// Remembers a document, unless one whose fetch began later is remembered.
    async fn remember(&self, did: &Did, found: Found) {
        let newer = self.remembered.entry_by_ref(did).and_compute_with(|entry| {
            let is_late = entry.is_some_and(|entry| entry.value().updated_at > found.updated_at);
            ready(if is_late { Op::Nop } else { Op::Put(found) })
        });
        newer.await;
    }

    async fn forget_old(&self, kept: u32, at_once: u16) -> sqlx::Result<u64> {
        let too_old = self.clock.now() - self.unusable_after;
        let too_many = store::find_time_of(&mut *self.pool.acquire().await?, kept).await?;
        let until = too_many.map_or(too_old, |too_many| too_many.max(too_old));
        let mut forgotten = 0;
        loop {
            let batch = store::delete_documents(&mut *self.pool.acquire().await?, until, at_once).await?;
            forgotten += batch;
            if batch < u64::from(at_once) {
                return Ok(forgotten);
            }
        }
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
