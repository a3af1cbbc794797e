//! What goes on at the servers while faults happen.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::exporter::export;
use super::follower::{Tape, follow};
use super::stage::Stage;
use super::writer::Writer;
use crate::harness::account::Account;
use crate::harness::progress::Progress;

/// How long the writers may take for a few writes.
const STUCK: Duration = Duration::from_secs(90);

/// Writers and an exporter at all replicas, and a follower at each.
pub(super) struct Traffic {
    writing: JoinSet<Result<Writer>>,
    exporting: JoinHandle<Result<usize>>,
    following: Vec<JoinHandle<Result<Tape>>>,
    stop: watch::Sender<bool>,
    end: watch::Sender<Option<i64>>,
}

impl Traffic {
    /// Starts them; the repos of `accounts` are exported.
    pub(super) fn start(stage: &Stage, writers: Vec<Writer>, accounts: &[Account], seed: u64) -> Self {
        let (stop, stops) = watch::channel(false);
        let (end, ends) = watch::channel(None);
        let follow = |origin| tokio::spawn(follow(origin, ends.clone()));
        let following = stage.origins().into_iter().map(follow).collect();
        let repos = accounts.iter().map(|account| (account.did.clone(), account.signing_key(&stage.plc))).collect();
        let exporting = tokio::spawn(export(stage.origins(), repos, seed, stops.clone()));
        let mut writing = JoinSet::new();
        for writer in writers {
            writing.spawn(writer.run(stops.clone()));
        }
        Self { writing, exporting, following, stop, end }
    }

    /// Waits until `count` more writes went through.
    ///
    /// # Errors
    /// They do not, or a writer finds something wrong.
    pub(super) async fn goes_on(&mut self, progress: &Progress, count: usize) -> Result<()> {
        tokio::select! {
            gone_on = timeout(STUCK, progress.reaches(progress.done() + count)) => gone_on.context("the writers stand still"),
            Some(ended) = self.writing.join_next() => ended?.map(drop),
        }
    }

    /// Ends writing and exporting. Gives the writers, and how many exports were whole.
    ///
    /// # Errors
    /// What one of them found wrong.
    pub(super) async fn stop(&mut self) -> Result<(Vec<Writer>, usize)> {
        self.stop.send_replace(true);
        let mut writers = Vec::new();
        while let Some(writer) = timeout(STUCK, self.writing.join_next()).await.context("a writer is stuck")? {
            writers.push(writer??);
        }
        let exports = (&mut self.exporting).await??;
        Ok((writers, exports))
    }

    /// What the followers have seen when they have seen the event numbered `last`.
    ///
    /// # Errors
    /// What one of them found wrong.
    pub(super) async fn tapes(self, last: i64) -> Result<Vec<Tape>> {
        self.end.send_replace(Some(last));
        join_all(self.following).await.into_iter().map(|tape| tape?).collect()
    }
}
