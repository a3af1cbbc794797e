//! A moderation service, elsewhere, with a DID of its own.

use anyhow::Result;
use atproto::crypto::SigningKey;
use atproto::identity::plc::{Operation, State, UnsignedOperation};
use atproto::syntax::Did;
use chrono::DateTime;
use common::config::UpstreamService;
use common::keys::ServiceToken;

use crate::harness::cluster::{Cluster, Replicas};

/// Seconds since 1970, far from now.
const LATE: i64 = 4_000_000_000;

/// Somebody who may moderate where they are trusted.
#[derive(Debug)]
pub(crate) struct Moderator {
    /// Their DID.
    pub(crate) did: Did,
    key: SigningKey,
    genesis: Operation,
}

impl Moderator {
    /// A new one, whom nobody trusts yet.
    ///
    /// # Panics
    /// If the DID cannot be made.
    pub(crate) fn new() -> Self {
        let key = SigningKey::generate(&mut rand::rng());
        let handle = "moderator.test".parse().unwrap();
        let state = State::for_account(&[key.public_key()], &key.public_key(), &handle, "https://mod.test");
        let genesis = UnsignedOperation::genesis(state).sign(&key).unwrap();
        Self { did: genesis.did().unwrap(), key, genesis }
    }

    /// Starts replicas that trust them.
    ///
    /// # Errors
    /// A replica does not start.
    pub(crate) async fn cluster(&self, replicas: Replicas) -> Result<Cluster> {
        let cluster = Cluster::start_with(replicas, |config| {
            let url = "https://mod.test".parse().unwrap();
            config.upstreams.mod_service = Some(UpstreamService { url, did: self.did.clone() });
        });
        let cluster = cluster.await?;
        self.register(&cluster);
        Ok(cluster)
    }

    /// Lets replicas look their DID up.
    pub(crate) fn register(&self, cluster: &Cluster) {
        cluster.plc().submit(&self.did, self.genesis.clone());
    }

    /// A token for one method of the tests' server.
    ///
    /// # Panics
    /// If it is no method.
    pub(crate) fn token(&self, method: &str) -> String {
        self.token_for(method, "did:web:localhost", LATE)
    }

    /// As [`Moderator::token`], for any server, and good until any time.
    ///
    /// # Panics
    /// If it is no method, or no time.
    pub(crate) fn token_for(&self, method: &str, audience: &str, expires_at: i64) -> String {
        let method = method.parse().unwrap();
        let expires_at = DateTime::from_timestamp(expires_at, 0).unwrap();
        let token =
            ServiceToken { issuer: &self.did, audience, method: Some(&method), issued_at: expires_at, expires_at };
        token.sign(&self.key)
    }
}
