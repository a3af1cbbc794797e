//! Ports nobody uses yet.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};

/// How often a server is started again when it does not come up.
const ATTEMPTS: usize = 3;

/// A TCP port of the loopback interface that was free a moment ago.
///
/// # Errors
/// The kernel has no port to give.
pub(super) fn free() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// Calls `start` with a free port, and again with another one if it fails.
///
/// Between the choice of a port and the server's `bind` somebody else may take it; these servers cannot be handed an
/// open socket.
pub(super) async fn with_free<T>(start: impl AsyncFn(u16) -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        if let Ok(started) = start(free()?).await {
            return Ok(started);
        }
    }
    start(free()?).await
}
