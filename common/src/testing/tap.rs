//! A listening post between a test's pool and Postgres: it counts statements, and loses answers on demand.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;

use crate::db::PgPool;

// Kinds of messages. Source: the PostgreSQL manual, "Message Formats".
const QUERY: u8 = b'Q';
const EXECUTE: u8 = b'E';
const SYNC: u8 = b'S';
const READY_FOR_QUERY: u8 = b'Z';

/// What happens to the answer of a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The connection breaks when the statement is on its way: Postgres runs it, but nobody hears of it.
    BreakBeforeAnswer,
    /// Postgres runs the statement to its end; then the connection breaks instead of answering.
    LoseAnswer,
    /// Postgres runs the statement to its end; the answer never comes, and the connection looks alive.
    WithholdAnswer,
}

/// A proxy in front of the server of a test database, for connections without TLS. Stops when dropped.
#[derive(Debug)]
pub struct Tap {
    pool: PgPool,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

#[derive(Default, Debug)]
struct Shared {
    statements: AtomicU64,
    /// What a statement is to meet with, and how many go well before it.
    armed: Mutex<Option<(u64, Fault)>>,
}

impl Tap {
    /// Starts a proxy to the server at `host` and `port`; `connect` opens a pool through the port it is given.
    pub(super) async fn start(host: String, port: u16, connect: impl FnOnce(u16) -> PgPool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let pool = connect(listener.local_addr().expect("a bound socket").port());
        let shared = Arc::new(Shared::default());
        let taps = Arc::clone(&shared);
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (host, shared) = (host.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    // An end of the connection is no news.
                    let _ = forward(client, (&host, port), shared).await;
                });
            }
        });
        Self { pool, shared: taps, listener }
    }

    /// The pool whose connections go through this tap; each call gives the same pool.
    pub fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// Statements run through it so far.
    pub fn statements(&self) -> u64 {
        self.shared.statements.load(Ordering::SeqCst)
    }

    /// Lets the next statement, on whatever connection, meet with `fault`.
    pub fn arm(&self, fault: Fault) {
        self.arm_after(0, fault);
    }

    /// Lets so many statements through, and the one after them meet with `fault`.
    pub fn arm_after(&self, statements: u64, fault: Fault) {
        *self.shared.armed() = Some((statements, fault));
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Shared {
    fn armed(&self) -> std::sync::MutexGuard<'_, Option<(u64, Fault)>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the statement that has just come meets with.
    fn next_fault(&self) -> Option<Fault> {
        let mut armed = self.armed();
        let (left, fault) = (*armed)?;
        *armed = left.checked_sub(1).map(|left| (left, fault));
        if armed.is_none() { Some(fault) } else { None }
    }
}

/// One connection. Either direction may end it for the client, by taking its writing end away.
struct Connection {
    shared: Arc<Shared>,
    to_client: AsyncMutex<Option<OwnedWriteHalf>>,
    /// The fault that a statement on this connection met with. Nothing reaches the client from then on.
    fault: Mutex<Option<Fault>>,
}

async fn forward(client: TcpStream, server: (&str, u16), shared: Arc<Shared>) -> io::Result<()> {
    let (from_server, to_server) = TcpStream::connect(server).await?.into_split();
    let (from_client, to_client) = client.into_split();
    let connection =
        Arc::new(Connection { shared, to_client: AsyncMutex::new(Some(to_client)), fault: Mutex::default() });
    let answers = tokio::spawn({
        let connection = Arc::clone(&connection);
        async move { connection.forward_answers(from_server).await }
    });
    let outcome = connection.forward_requests(from_client, to_server).await;
    // Not before the server has ended what it is doing: breaking off is for the client's side only.
    let _ = answers.await;
    outcome
}

impl Connection {
    async fn forward_requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        // The first message has no kind.
        let body = read_body(&mut from).await?;
        to.write_all(&body).await?;
        loop {
            let (kind, message) = read_message(&mut from).await?;
            if matches!(kind, EXECUTE | QUERY) {
                self.shared.statements.fetch_add(1, Ordering::SeqCst);
                if let Some(fault) = self.shared.next_fault() {
                    *self.fault() = Some(fault);
                }
            }
            to.write_all(&message).await?;
            if matches!(kind, SYNC | QUERY) && self.has(Fault::BreakBeforeAnswer) {
                self.to_client.lock().await.take();
                return Ok(());
            }
        }
    }

    async fn forward_answers(&self, mut from: OwnedReadHalf) -> io::Result<()> {
        loop {
            let (kind, message) = read_message(&mut from).await?;
            let fault = *self.fault();
            let mut to_client = self.to_client.lock().await;
            match (fault, to_client.as_mut()) {
                (None, Some(to_client)) => to_client.write_all(&message).await?,
                (Some(Fault::LoseAnswer), _) if kind == READY_FOR_QUERY => {
                    to_client.take();
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    fn fault(&self) -> std::sync::MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, fault: Fault) -> bool {
        *self.fault() == Some(fault)
    }
}

/// A message with its kind and length in front.
async fn read_message(from: &mut OwnedReadHalf) -> io::Result<(u8, Vec<u8>)> {
    let kind = from.read_u8().await?;
    let mut message = vec![kind];
    message.extend(read_body(from).await?);
    Ok((kind, message))
}

/// A message's length, which counts itself, and what it is the length of.
async fn read_body(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut body = length.to_be_bytes().to_vec();
    body.resize(usize::try_from(length).unwrap_or(0).max(4), 0);
    from.read_exact(&mut body[4..]).await?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db;
    use crate::testing::TestDb;

    #[tokio::test]
    async fn statements_are_counted_and_answers_are_lost() {
        let db = TestDb::create().await;
        let tap = db.tap().await;
        let pool = tap.pool();
        assert!(db::is_reachable(&pool).await);
        let before = tap.statements();
        for _ in 0..3 {
            assert!(db::is_reachable(&pool).await);
        }
        assert_eq!(tap.statements() - before, 3);

        for fault in [Fault::BreakBeforeAnswer, Fault::LoseAnswer] {
            tap.arm(fault);
            assert!(!db::is_reachable(&pool).await, "{fault:?}");
            assert!(db::is_reachable(&pool).await, "{fault:?}");

            tap.arm_after(1, fault);
            let answers = [db::is_reachable(&pool).await, db::is_reachable(&pool).await];
            assert_eq!(answers, [true, false], "{fault:?}");
            assert!(db::is_reachable(&pool).await, "{fault:?}");
        }
    }
}
