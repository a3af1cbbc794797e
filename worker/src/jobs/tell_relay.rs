//! Telling a relay.

use std::time::Duration;

use common::relay::{Relay, TellRelay};
use tracing::{debug, info, warn};

use crate::runner::{Context, JobError, Run};

impl Run for TellRelay {
    const LIMIT: Duration = Duration::from_mins(1);

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
        match context.relay_client.request_crawl(&relay.url).await {
            Ok(_) => {
                info!(relay = relay.name, seq = claim.seq, "the relay knows that there is something to read");
                context.relays.note_told(&relay.name, claim.seq, interval).await.map_err(JobError::retry)
            }
            Err(refusal) => {
                let noted = context.relays.note_failed(&relay.name, claim, &refusal.to_string(), rand::random()).await;
                let pause = noted.map_err(JobError::retry)?;
                warn!(relay = relay.name, ?pause, "the relay does not accept: {refusal}");
                Ok(())
            }
        }
    }
}
