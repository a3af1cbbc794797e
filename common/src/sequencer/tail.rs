//! Waiting for new events: woken by Postgres, polling as a safety net.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::timeout;
use tracing::warn;

use crate::db::PgPool;

/// The channel `event_append_v1` notifies.
const CHANNEL: &str = "repo_event";
/// How long to wait without news before looking anyway: notifications get lost when a connection breaks, and do not come
/// at all through some poolers.
const POLL: Duration = Duration::from_secs(1);

/// A source of wake-ups. Holds a connection of its own while it is used.
///
/// A wake-up only says that there may be something new; the reader looks into the log.
pub struct Wakeups {
    options: PgConnectOptions,
    listener: Option<PgListener>,
}

impl Wakeups {
    pub(super) fn new(pool: &PgPool) -> Self {
        Self { options: pool.connect_options().clone(), listener: None }
    }

    /// Waits for the next event, or for a short while if none comes or Postgres cannot be reached.
    pub async fn next(&mut self) {
        let Some(listener) = &mut self.listener else {
            self.listener = listen(&self.options).await.ok();
            if self.listener.is_none() {
                tokio::time::sleep(POLL).await;
            }
            return;
        };
        match timeout(POLL, listener.try_recv()).await {
            // One look into the log serves all that is waiting.
            Ok(Ok(Some(_))) => while listener.next_buffered().is_some() {},
            // The connection broke and was made again: what was notified in between is lost.
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => {
                warn!(%error, "lost the notifications of new events; polling");
                self.listener = None;
            }
        }
    }
}

async fn listen(options: &PgConnectOptions) -> sqlx::Result<PgListener> {
    // A listener takes its connections from a pool of sqlx.
    let one = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    let mut listener = PgListener::connect_with(&one.connect_lazy_with(options.clone())).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
