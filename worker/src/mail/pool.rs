//! Connections to a mail server that are used again.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use tokio::time::{Instant, timeout};

use super::session::{self, Dialer, Failure};

/// Connections that are kept for the next mail.
const SIZE: usize = 4;
/// How long they are kept. Servers hang up on those who say nothing for some minutes, and do not like to wait.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// How long a kept connection may take to show that it works.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// Connections to one mail server.
///
/// Only a connection whose last mail went through is kept. One that was dropped or failed in between is closed: what the
/// server still has to say about that mail would be taken for its answer to the next.
pub(super) struct Pool {
    dialer: Dialer,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.dialer).finish()
    }
}

impl Pool {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self { dialer, idle: Mutex::default() }
    }

    /// Hands a mail to the server.
    ///
    /// # Errors
    /// See [`session::deliver`].
    pub(super) async fn send(&self, envelope: &Envelope, message: &[u8]) -> Result<(), Failure> {
        let mut connection = match self.take().await {
            Some(connection) => connection,
            None => self.dialer.open(&mut |_, _| {}).await?,
        };
        session::deliver(&mut connection, envelope, message, &mut |_, _| {}).await?;
        self.keep(connection);
        Ok(())
    }

    /// A kept connection that still works.
    async fn take(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let (mut connection, since) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            let works = timeout(PROBE_LIMIT, connection.test_connected());
            if since.elapsed() < IDLE_LIMIT && works.await == Ok(true) {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < SIZE {
            idle.push((connection, Instant::now()));
        }
    }
}
