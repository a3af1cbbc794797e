//! Ports nobody uses yet.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result, bail};

/// How often a server is started again when it does not come up.
const ATTEMPTS: usize = 3;

/// Different TCP ports of the loopback interface that were free a moment ago.
///
/// # Errors
/// The kernel has none to give.
pub fn free(count: u16) -> Result<Vec<u16>> {
    // All are taken before the first is let go.
    let listeners = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listeners = listeners.collect::<io::Result<Vec<_>>>().context("no free port")?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// Makes sure that nobody listens on `port`: whoever does would answer in the place of the server to be started.
pub(super) fn ensure_free(port: u16) -> Result<()> {
    if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
        bail!("port {port} is in use: stop what listens there, or choose another port");
    }
    Ok(())
}

/// Calls `start` with a free port, and again with another one if it fails.
///
/// Between the choice of a port and the server's `bind` somebody else may take it; these servers cannot be handed an
/// open socket.
pub(super) async fn with_free<T>(start: impl AsyncFn(u16) -> Result<T>) -> Result<T> {
    let mut attempt = 1;
    loop {
        match start(free(1)?[0]).await {
            Err(_) if attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}
