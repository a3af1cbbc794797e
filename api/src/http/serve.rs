//! The accept loop.
//!
//! Our own, because slow clients, idle connections, HTTP/2 and their number need limits that `axum::serve` does not set.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use super::{Shutdown, connection, connection::Limits};

/// Pause after an accept failed for want of resources, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until a stop is requested, then lets requests and tracked tasks finish for at most `limits.grace`.
pub(crate) async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown, limits: Limits) {
    // Each connection watches it: true asks it to finish, its end cuts it off. Once nobody watches, all are closed.
    let (stop, watcher) = watch::channel(false);
    let places = Places(Arc::new(Semaphore::new(limits.connections)));
    loop {
        let accepted = tokio::select! {
            () = shutdown.requested() => break,
            accepted = places.accept(&listener) => accepted,
        };
        match accepted {
            Ok(accepted) => {
                tokio::spawn(connection::run(accepted, router.clone(), limits, watcher.clone()));
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, watcher));
    stop.send_replace(true);
    let finished = async {
        stop.closed().await;
        shutdown.tasks().wait().await;
    };
    if tokio::time::timeout(limits.grace, finished).await.is_err() {
        tracing::warn!(grace_ms = limits.grace.as_millis(), "stopped before every request and socket was finished");
    }
}

/// One place for each connection that may be open at once.
struct Places(Arc<Semaphore>);

impl Places {
    /// Takes the next connection, once there is a place for it. Until then it waits in the system's queue.
    async fn accept(&self, listener: &TcpListener) -> io::Result<connection::Accepted> {
        let place = self.take().await?;
        let (stream, peer) = listener.accept().await?;
        Ok(connection::Accepted { stream, peer, place })
    }

    async fn take(&self) -> io::Result<OwnedSemaphorePermit> {
        if self.0.available_permits() == 0 {
            tracing::warn!("as many connections are open as may be; new ones wait");
        }
        Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
