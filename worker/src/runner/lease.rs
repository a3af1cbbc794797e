//! Keeping a lease.

use std::time::Duration;

use common::jobs::{Jobs, RENEWAL, Worker};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

/// Pause after Postgres refused.
const PAUSE: Duration = Duration::from_secs(1);

/// Renews a worker's lease until that fails for good: it is over, or about to be.
pub(super) async fn keep(jobs: &Jobs, mut worker: Worker) {
    let mut pause = RENEWAL;
    while Instant::now() + pause < worker.expires() {
        sleep(pause).await;
        match timeout_at(worker.expires(), jobs.renew(worker)).await {
            Ok(Ok(Some(renewed))) => (worker, pause) = (renewed, RENEWAL),
            Ok(Ok(None)) | Err(_) => break,
            Ok(Err(error)) => {
                warn!(%error, "cannot renew this worker's lease; trying again");
                pause = PAUSE;
            }
        }
    }
    warn!("lost this worker's lease; dropping its work");
}
