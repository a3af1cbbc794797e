//! Windows that all replicas share, in Redis; and what happens when it goes away, and comes back.
//!
//! The first request that Redis does not answer takes the connection away from all others, which from then on do not ask
//! it any more: a dead Redis costs only the requests that were waiting for it their patience. Another connection is
//! opened in the background; as soon as one works, requests use it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::connection::{Connection, ConnectionError};
use super::spent::Spent;
use super::window::{Charge, Refusal, Window};
use crate::config::RedisConfig;
use crate::telemetry::metrics::{Counter, Exposition, Histogram};

/// Rest before the first try to open another connection. Doubles with each further one, up to [`LONGEST_REST`].
const REST: Duration = Duration::from_millis(250);
/// Longest rest between two tries.
const LONGEST_REST: Duration = Duration::from_secs(5);
/// A connection that lived so long was a good one: its end is the first trouble for a while.
const GOOD_LIFE: Duration = Duration::from_secs(30);

/// Windows in Redis. Dropping it closes the connection.
pub(super) struct SharedWindows {
    state: Arc<State>,
    spent: Spent,
    keeper: JoinHandle<()>,
}

struct State {
    connection: RwLock<Option<Arc<Connection>>>,
    /// Whether the last word about Redis was that it is there; `None` before the first.
    reported: Mutex<Option<bool>>,
    /// Told when the connection is taken away.
    lost: Notify,
    /// Becomes true once the first try to connect has ended, in whatever way.
    tried: watch::Sender<bool>,
    /// How often Redis was lost.
    losses: Counter,
    duration: Histogram<14>,
}

impl SharedWindows {
    /// Begins to connect, on the current tokio runtime.
    pub(super) fn start(config: RedisConfig) -> Self {
        let state = Arc::new(State {
            connection: RwLock::default(),
            reported: Mutex::default(),
            lost: Notify::new(),
            tried: watch::Sender::new(false),
            losses: Counter::new(),
            duration: Histogram::default(),
        });
        Self { keeper: tokio::spawn(keep(Arc::clone(&state), config)), spent: Spent::new(), state }
    }

    /// Charges a request; `None` if Redis is away, or goes away over it.
    pub(super) async fn charge(&self, charges: &[Charge]) -> Option<Result<Vec<Window>, Refusal>> {
        let connection = self.state.connection()?;
        if let Some(refusal) = self.spent.find(charges) {
            return Some(Err(refusal));
        }
        let started = Instant::now();
        let outcome = match connection.charge(charges).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.state.lose(&connection, &error);
                return None;
            }
        };
        self.state.duration.observe_duration(started.elapsed());
        let verdict = outcome.verdict(charges);
        if let Err(refusal) = &verdict {
            self.spent.note(&charges[refusal.charge], refusal);
        }
        Some(verdict)
    }

    /// A charge that is known to be refused, without asking Redis; `None` if Redis is away.
    pub(super) fn foresee(&self, charges: &[Charge]) -> Option<Result<(), Refusal>> {
        self.state.connection()?;
        Some(self.spent.find(charges).map_or(Ok(()), Err))
    }

    /// Waits for the end of the first try to connect.
    pub(super) async fn tried(&self) {
        // It fails only if nobody can try any more, and then there is nothing to wait for.
        let _ = self.state.tried.subscribe().wait_for(|tried| *tried).await;
    }

    pub(super) fn expose(&self, text: &mut Exposition) {
        let is_there = u8::from(self.state.connection().is_some());
        text.gauge(
            "pds_rate_limit_redis_up",
            "1 while limits are counted in Redis, 0 while in this process.",
            is_there,
        );
        let losses = self.state.losses.get();
        text.counter("pds_rate_limit_redis_losses_total", "How often Redis stopped to answer.", losses);
        let duration = "pds_rate_limit_redis_duration_seconds";
        text.histograms(duration, "Time from a question to Redis to its answer.");
        text.histogram(duration, &[], &self.state.duration);
    }
}

impl Drop for SharedWindows {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl State {
    fn connection(&self) -> Option<Arc<Connection>> {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets requests use a connection.
    fn find(&self, connection: Connection) {
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(connection));
        if self.report(true) {
            tracing::info!("rate limits are counted in Redis, for all replicas together");
        }
    }

    /// Takes a connection away, unless another request has done so.
    fn lose(&self, broken: &Arc<Connection>, error: &ConnectionError) {
        let mut connection = self.connection.write().unwrap_or_else(PoisonError::into_inner);
        if connection.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, broken)) {
            *connection = None;
            drop(connection);
            self.losses.increment();
            self.miss(error);
            self.lost.notify_one();
        }
    }

    fn miss(&self, error: &ConnectionError) {
        if self.report(false) {
            tracing::warn!(%error, "Redis does not answer: each replica counts rate limits for itself until it does");
        }
    }

    /// Notes whether Redis is there; true if that is news.
    fn report(&self, is_there: bool) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.replace(is_there) != Some(is_there)
    }
}

/// Opens a connection whenever there is none.
async fn keep(state: Arc<State>, config: RedisConfig) {
    let mut rest = REST;
    loop {
        match Connection::open(&config).await {
            Ok(connection) => {
                state.find(connection);
                state.tried.send_replace(true);
                let since = Instant::now();
                state.lost.notified().await;
                if since.elapsed() >= GOOD_LIFE {
                    rest = REST;
                }
            }
            Err(error) => {
                state.miss(&error);
                state.tried.send_replace(true);
            }
        }
        sleep(rest).await;
        rest = (2 * rest).min(LONGEST_REST);
    }
}
