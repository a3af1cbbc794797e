//! Somebody who collects, and dies now and then.

use std::sync::Arc;
use std::time::Duration;

use common::blob::{CollectError, Collector, Grace, Objects, PlaceObject};
use common::db::PgPool;
use common::jobs::{Claim, Job as _, Jobs, Outcome};
use common::lifecycle::DeletedAccounts;
use common::testing::lapse_lease;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::cut::Cut;
use super::stage::Stage;

/// One run in so many is cut off.
const CUTS: u32 = 3;
/// After so many steps at most.
const STEPS: u32 = 150;

pub(super) struct Worker {
    stage: Arc<Stage>,
    name: String,
    random: StdRng,
    pool: PgPool,
    collector: Collector,
    deleted: DeletedAccounts,
    jobs: Jobs,
}

impl Worker {
    pub(super) fn new(stage: &Arc<Stage>, number: usize, seed: u64) -> Self {
        let pool = stage.db.other_pool();
        let grace = Grace::from_config(&stage.config.blob);
        Self {
            stage: Arc::clone(stage),
            name: format!("worker-{number}"),
            random: StdRng::seed_from_u64(seed ^ (0xb10b << 16) ^ number as u64),
            collector: Collector::new(pool.clone(), Objects::in_memory(&stage.store), grace),
            deleted: DeletedAccounts::new(&pool),
            jobs: Jobs::new(pool.clone()),
            pool,
        }
    }

    /// Works until `stop` fires, and is cut off then.
    pub(super) async fn work(mut self, stop: CancellationToken) -> Self {
        while !stop.is_cancelled() {
            let (choice, cut, steps) =
                (self.random.random_range(0..4), self.random.random_ratio(1, CUTS), self.random.random_range(1..STEPS));
            // A request may be on its way until time leaps.
            let run = stop.run_until_cancelled(self.run(choice));
            let outcome = if cut { Cut::after(steps, run).await.flatten() } else { run.await };
            let tally = &self.stage.tally;
            if outcome.is_some() {
                tally.runs.increment();
            } else {
                tally.cut_runs.increment();
                lapse_lease(&self.pool, &self.name).await;
            }
        }
        self
    }

    /// Works until there is nothing to do.
    pub(super) async fn finish(&mut self) {
        self.place().await;
        self.deleted.purge().await.unwrap();
        loop {
            let collected = self.collector.collect().await.unwrap();
            self.count(collected.given_up.blobs, collected.quarantined.blobs, collected.objects);
            if collected.is_empty() {
                return;
            }
        }
    }

    async fn run(&self, choice: u32) {
        match choice {
            0 => self.place().await,
            1 => drop(self.deleted.purge().await.unwrap()),
            _ => match self.collector.collect().await {
                Ok(collected) => self.count(collected.given_up.blobs, collected.quarantined.blobs, collected.objects),
                Err(CollectError::Store { .. }) => self.stage.tally.failed_runs.increment(),
                Err(error) => panic!("{error:?}"),
            },
        }
    }

    fn count(&self, given_up: u64, quarantined: u64, objects: u64) {
        let tally = &self.stage.tally;
        tally.given_up.add(given_up);
        tally.quarantined.add(quarantined);
        tally.deleted_objects.add(objects);
    }

    /// Does the jobs that are due.
    async fn place(&self) {
        let worker = self.jobs.enter(&self.name).await.unwrap();
        while let Some(claim) = self.jobs.claim_job(worker, &[PlaceObject::KIND]).await.unwrap() {
            let Claim { id, payload, .. } = claim;
            let job: PlaceObject = serde_json::from_value(payload).unwrap();
            // As the program does it.
            let blobs = &self.stage.replicas[0].blobs;
            let outcome = match blobs.place_object(&job.did, job.cid).await {
                Ok(()) => Outcome::Done,
                Err(_) => Outcome::Retry("the store failed", Duration::ZERO),
            };
            self.jobs.finish_job(worker, id, outcome).await.unwrap();
            self.stage.tally.placed.increment();
        }
        self.jobs.leave(worker).await.unwrap();
    }
}
