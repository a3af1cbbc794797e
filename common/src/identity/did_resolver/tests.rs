//! Documents from a directory and sites of the test, on replicas of their own.

use atproto::crypto::SigningKey;
use atproto::identity::DidDocumentError;
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
    for did in ["did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:key:zabc", "did:web:pds.test:alice", "did:web:localhost%3A1"] {
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

#[tokio::test]
async fn those_who_want_it_as_it_is_now_share_a_fetch_that_begins_after_they_asked() {
    let world = world().await;
    let resolver = world.resolver();
    let refreshed = futures_util::future::join_all((0..8).map(|_| resolver.refresh_document(&world.did))).await;
    assert!(refreshed.iter().all(|found| found.as_ref().unwrap().is_some()), "{refreshed:?}");
    assert!(world.plc.documents_served() <= 2, "one under way, one for all others");
}

#[tokio::test]
async fn a_document_whose_fetch_began_earlier_comes_too_late() {
    let world = world().await;
    let resolver = world.resolver();
    let found = |handle: &str, minute: u32| {
        let document = Arc::new(state(&world.key, handle).document(&world.did));
        Found { document, updated_at: world.clock.now() + MINUTE * minute }
    };
    for (handle, minute, expected) in
        [("second.test", 2, "second.test"), ("first.test", 1, "second.test"), ("third.test", 3, "third.test")]
    {
        resolver.0.store(&world.did, &found(handle, minute)).await.unwrap();
        assert_eq!(world.find(&resolver).await.as_deref(), Some(expected));
        assert_eq!(world.find(&world.resolver()).await.as_deref(), Some(expected), "at another replica");
    }
}

/// Anybody may ask for any DID.
#[tokio::test]
async fn documents_that_are_too_old_or_too_many_are_forgotten() {
    let world = world().await;
    let resolver = world.resolver();
    let mut dids: Vec<Did> = Vec::new();
    for n in 0..7 {
        let did: Did = format!("did:web:site{n}.test").parse().unwrap();
        let document = Arc::new(state(&world.key, "web.test").document(&did));
        resolver.0.store(&did, &Found { document, updated_at: world.clock.now() }).await.unwrap();
        dids.push(did);
        world.clock.advance(MINUTE);
    }
    let other = world.resolver();
    let kept = async || {
        let mut kept = Vec::new();
        for (n, did) in dids.iter().enumerate() {
            kept.extend(other.0.find_kept(did).await.unwrap().map(|_| n));
        }
        kept
    };
    assert_eq!(resolver.forget_old_documents().await.unwrap(), 0);
    assert_eq!(resolver.0.forget_old(3, 2).await.unwrap(), 4);
    assert_eq!(kept().await, [4, 5, 6]);
    world.clock.advance(DAY.saturating_sub(MINUTE * 2));
    assert_eq!(resolver.forget_old_documents().await.unwrap(), 2);
    assert_eq!(kept().await, [6]);
}

#[tokio::test]
async fn documents_that_are_too_large_are_not_kept() {
    let world = world().await;
    let resolver = world.resolver();
    let mut document = state(&world.key, "large.test").document(&world.did);
    resolver.keep_document(&world.did, document.clone()).await.unwrap();
    assert!(resolver.0.find_kept(&world.did).await.unwrap().is_some());
    document.also_known_as.push("a".repeat(KEPT_WEIGHT));
    resolver.keep_document(&world.did, document).await.unwrap();
    assert!(resolver.0.find_kept(&world.did).await.unwrap().is_none(), "nor what was there before");
    assert_eq!(world.find(&resolver).await.as_deref(), Some("large.test"));
}

#[tokio::test]
async fn a_document_with_a_nul_is_no_document() {
    let world = world().await;
    let listener = tokio::net::TcpListener::bind("localhost:0").await.unwrap();
    let did: Did = format!("did:web:localhost%3A{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let mut document = state(&world.key, "web.test").document(&did);
    document.also_known_as.push("at://a\0.test".to_owned());
    let site =
        axum::Router::new().route("/.well-known/did.json", axum::routing::get(|| async { axum::Json(document) }));
    tokio::spawn(async { axum::serve(listener, site).await });
    let error = world.resolver().find_document(&did).await.unwrap_err();
    assert!(matches!(&*error, ResolveError::Document(DidDocumentError::Nul)), "{error}");
}
