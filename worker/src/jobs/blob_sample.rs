//! Whether the store still has what was stored: a few blobs an hour, so that a store that loses them is found out by us.

use std::time::Duration;

use common::blob::{BlobError, Condition};
use common::telemetry::metrics::{Counter, Exposition};
use futures_util::FutureExt as _;
use tokio::time::sleep;

use crate::runner::{Context, Report, Schedule};

/// Blobs of one run.
const SAMPLE: usize = 60;
/// Pause after each, to leave the store to those who wait for it.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) const SCHEDULE: Schedule = Schedule {
    name: "blob_sample",
    period: Duration::from_hours(1),
    limit: Duration::from_mins(30),
    run: |context| run(context).boxed(),
};

/// What this worker found of the blobs that it checked.
#[derive(Debug, Default)]
pub struct BlobChecks {
    sound: Counter,
    missing: Counter,
    corrupt: Counter,
    exposed: Counter,
    unreadable: Counter,
}

impl BlobChecks {
    fn count(&self, condition: Condition) {
        match condition {
            Condition::Sound => self.sound.increment(),
            Condition::Missing => self.missing.increment(),
            Condition::Corrupt { .. } => self.corrupt.increment(),
            Condition::Exposed => self.exposed.increment(),
        }
    }

    /// Writes the metrics.
    pub(crate) fn write(&self, text: &mut Exposition) {
        let Self { sound, missing, corrupt, exposed, unreadable } = self;
        let checks = "pds_blob_checks_total";
        text.counters(checks, "Blobs chosen at random that this worker compared with their CIDs, by what it found.");
        let damaged = [("missing", missing), ("corrupt", corrupt), ("exposed", exposed), ("unreadable", unreadable)];
        for (condition, counter) in [("sound", sound)].into_iter().chain(damaged) {
            text.sample(checks, &[("condition", condition)], counter.get());
        }
    }
}

/// Reads, and has put out of use what is exposed; that may be done twice.
async fn run(context: Context) -> anyhow::Result<Report> {
    let (mut checked, mut damaged) = (0, 0);
    for _ in 0..SAMPLE {
        let Some(blob) = context.blob_checker.pick().await? else { break };
        let found = context.blob_checker.check(&blob).await;
        if matches!(found, Err(BlobError::Store(_))) {
            context.blob_checks.unreadable.increment();
        }
        if let Some(condition) = found? {
            context.blob_checks.count(condition);
            checked += 1;
            if condition != Condition::Sound {
                damaged += 1;
                tracing::error!(did = %blob.did, cid = %blob.cid, ?condition, "a blob is damaged");
            }
            if condition == Condition::Exposed {
                context.blob_checker.put_out_of_use(&blob).await?;
            }
        }
        sleep(PAUSE).await;
    }
    Ok(Report { text: format!("checked {checked} blobs, {damaged} of them damaged"), is_news: damaged > 0 })
}
