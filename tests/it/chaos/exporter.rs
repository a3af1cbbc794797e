//! A client that exports repos all the time: what it gets verifies, or is an error.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use atproto::crypto::PublicKey;
use atproto::syntax::Did;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::sleep;

use super::writer::PATIENCE;
use crate::harness::archive;
use crate::harness::client::{Client, Refusal};

/// The pause between two exports.
const PACE: Duration = Duration::from_millis(100);

/// Exports one repo after the other, each from any server, until told to stop. Gives the number of whole exports.
///
/// # Errors
/// What passed for a whole repo is none, or a server says that there is no such repo.
pub(super) async fn export(
    origins: Vec<String>,
    repos: Vec<(Did, PublicKey)>,
    seed: u64,
    stop: watch::Receiver<bool>,
) -> Result<usize> {
    let clients: Vec<Client> = origins.iter().map(|origin| Client::with_patience(origin, PATIENCE)).collect();
    let mut random = StdRng::seed_from_u64(seed);
    let mut whole = 0;
    while !*stop.borrow() {
        let client = &clients[random.random_range(0..clients.len())];
        let (did, key) = &repos[random.random_range(0..repos.len())];
        match client.get_bytes("com.atproto.sync.getRepo", &[("did", did.as_str())]).await {
            Ok(bytes) => {
                let bytes_len = bytes.len();
                archive::verify(&bytes, did, key)
                    .with_context(|| format!("{bytes_len} bytes of {did} from {}", client.origin()))?;
                whole += 1;
            }
            Err(error) => {
                let refused = error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status < 500);
                ensure!(!refused, "cannot export {did} from {}: {error}", client.origin());
            }
        }
        sleep(PACE).await;
    }
    Ok(whole)
}
