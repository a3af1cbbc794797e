//! Telling a relay.

use std::time::Duration;

use common::db::Error;
use common::relay::{Relay, TellRelay};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::runner::{Context, JobError, Run};

/// How often Postgres is asked to take an outcome, and the pause in between: within what the job's limit leaves.
const NOTE_TRIES: u32 = 4;
const NOTE_PAUSE: Duration = Duration::from_secs(3);

impl Run for TellRelay {
    /// Claims the relay before it calls it: begun again after a crash, it finds the claim, and lets it be for this time.
    async fn run(&self, context: &Context) -> Result<(), JobError> {
        let relays = Relay::all(&context.config.upstreams.crawlers);
        let Some(relay) = relays.into_iter().find(|relay| relay.name == self.relay) else {
            info!(relay = self.relay, "no relay of ours any more");
            return Ok(());
        };
        let interval = context.config.relay.notice_interval;
        let Some(claim) = context.relays.claim(&relay.name, interval).await.map_err(JobError::retry)? else {
            debug!(relay = relay.name, "told by somebody else");
            return Ok(());
        };
        let answer = context.relay_client.request_crawl(&relay.url).await;
        match answer {
            Ok(_) => {
                info!(relay = relay.name, seq = claim.seq, "the relay knows that there is something to read");
                note(|| context.relays.note_told(&relay.name, claim, interval)).await?;
            }
            Err(refusal) => {
                let (reason, chance) = (refusal.to_string(), rand::random());
                let pause = note(|| context.relays.note_failed(&relay.name, claim, &reason, chance)).await?;
                warn!(relay = relay.name, ?pause, "the relay does not accept: {refusal}");
            }
        }
        Ok(())
    }
}

/// Notes an outcome, with some patience: the job cannot do so when it is tried again, for it must not tell the relay again
/// to know it.
async fn note<T, F>(noting: impl Fn() -> F) -> Result<T, JobError>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 1..NOTE_TRIES {
        match noting().await {
            Ok(noted) => return Ok(noted),
            Err(error) => warn!(%error, "cannot note what came of telling a relay; trying again"),
        }
        sleep(NOTE_PAUSE).await;
    }
    noting().await.map_err(JobError::retry)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_outcome_that_postgres_does_not_take_is_told_again() {
        let tries = AtomicU32::new(0);
        let noted = note(|| {
            std::future::ready(match tries.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Error::PoolTimedOut),
                _ => Ok("noted"),
            })
        });
        assert_eq!((noted.await.ok(), tries.into_inner()), (Some("noted"), 2));
    }
}
