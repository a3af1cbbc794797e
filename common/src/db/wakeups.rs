//! Waiting for news: woken by Postgres, polling as a safety net.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::timeout;
use tracing::warn;

use super::PgPool;

/// A source of wake-ups. Holds a connection of its own while it is used.
///
/// A wake-up only says that there may be something new: whoever is woken looks.
pub struct Wakeups {
    options: PgConnectOptions,
    channel: &'static str,
    patience: Duration,
    listener: Option<PgListener>,
}

impl Wakeups {
    /// Wake-ups for what is notified on `channel`, and after `patience` in any case: notifications get lost when a connection
    /// breaks, and do not come at all through some poolers.
    pub(crate) fn new(pool: &PgPool, channel: &'static str, patience: Duration) -> Self {
        Self { options: pool.connect_options().clone(), channel, patience, listener: None }
    }

    /// Waits for news, or for a short while if none come or Postgres cannot be reached. May be dropped at any point.
    pub async fn next(&mut self) {
        let Some(listener) = &mut self.listener else {
            self.listener = self.listen().await.ok();
            if self.listener.is_none() {
                tokio::time::sleep(self.patience).await;
            }
            return;
        };
        match timeout(self.patience, listener.try_recv()).await {
            // One look serves all that is waiting.
            Ok(Ok(Some(_))) => while listener.next_buffered().is_some() {},
            // The connection broke and was made again: what was notified in between is lost.
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => {
                warn!(%error, channel = self.channel, "lost the notifications; polling");
                self.listener = None;
            }
        }
    }

    async fn listen(&self) -> sqlx::Result<PgListener> {
        // A listener takes its connections from a pool of sqlx.
        let one = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        let mut listener = PgListener::connect_with(&one.connect_lazy_with(self.options.clone())).await?;
        listener.listen(self.channel).await?;
        Ok(listener)
    }
}
