//! The connection pool.
//!
//! `deadpool` keeps the connections; here is what it means for one of Postgres to be new, used and worn out. sqlx has a
//! pool too, which asks Postgres for a sign of life whenever a connection comes back: a round trip, and a task that waits
//! for it, after each statement. For requests that are one statement, as most of ours are, that was a third of the cost.
//! Here a connection that has answered all it was asked is free at once. One that has not, because its user went away in
//! the middle of a statement or a transaction, is waited for aside.
//!
//! Connections rarely break alone: a server that restarts or fails over ends all of them. So once one is found broken,
//! each that was last heard of before must answer before anybody gets it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Manager, Metrics, Object, QueueMode, RecycleError, RecycleResult};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, Error, PgConnection, Postgres, Transaction};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

/// A connection is replaced after this time, so that caches in its session do not grow for ever.
const LIFETIME: Duration = Duration::from_mins(30);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_mins(10);
/// How often unused connections are looked through.
const SWEEP: Duration = Duration::from_mins(1);
/// How long a connection may take to show that it lives.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// How long what an abandoned connection was asked may go on: a little more than a statement may take.
const SETTLING: Duration = Duration::from_secs(35);
/// Pauses between tries to connect to a server that is starting; each is twice as long as the last.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Connections to one database, cheap to clone.
#[derive(Clone, Debug)]
pub struct PgPool {
    pool: managed::Pool<Connections>,
    settings: Arc<Settings>,
}

#[derive(Debug)]
struct Settings {
    most: u32,
    acquire_timeout: Duration,
}

impl PgPool {
    /// A pool of at most `most` connections, none of which is made yet. Who waits for one longer than `acquire_timeout`
    /// gets [`Error::PoolTimedOut`].
    #[expect(clippy::expect_used, reason = "only time-outs need a runtime")]
    pub(super) fn new(options: PgConnectOptions, most: u32, acquire_timeout: Duration) -> Self {
        // The one used last comes first: under little load a few sessions stay warm, and the others end.
        let pool = managed::Pool::builder(Connections::new(options))
            .max_size(usize::try_from(most).unwrap_or(usize::MAX))
            .queue_mode(QueueMode::Lifo)
            .build()
            .expect("a pool without time-outs of its own");
        Self { pool, settings: Arc::new(Settings { most, acquire_timeout }) }
    }

    /// Another pool, for the same database.
    pub(crate) fn apart(&self, most: u32) -> Self {
        Self::new(self.connect_options().clone(), most, self.acquire_timeout())
    }

    /// A connection, for as long as the value lives.
    ///
    /// # Errors
    /// If Postgres cannot be reached, or no connection is free in time.
    pub async fn acquire(&self) -> Result<PoolConnection, Error> {
        if self.pool.manager().is_sweep_due() {
            self.pool.retain(|_, metrics| metrics.last_used() < IDLE);
        }
        match timeout(self.settings.acquire_timeout, self.pool.get()).await {
            Ok(Ok(session)) => Ok(PoolConnection { session: Some(session), is_worn_out: false }),
            Ok(Err(managed::PoolError::Backend(error))) => Err(error),
            Ok(Err(managed::PoolError::Closed)) => Err(Error::PoolClosed),
            Ok(Err(_)) | Err(_) => Err(Error::PoolTimedOut),
        }
    }

    /// How its connections are made.
    pub fn connect_options(&self) -> &PgConnectOptions {
        &self.pool.manager().options
    }

    /// How long somebody waits for a connection at most.
    pub fn acquire_timeout(&self) -> Duration {
        self.settings.acquire_timeout
    }

    /// How many connections there may be.
    pub fn max_connections(&self) -> u32 {
        self.settings.most
    }

    /// How many connections there are.
    pub fn size(&self) -> usize {
        self.pool.status().size
    }

    /// Of these, how many nobody uses.
    pub fn num_idle(&self) -> usize {
        self.pool.status().available
    }

    /// Closes it: nobody gets a connection any more. Waits for those who have one, as long as the caller likes.
    pub async fn close(&self) {
        let unused = self.pool.retain(|_, _| false).removed;
        self.pool.close();
        // A farewell is a courtesy.
        let _ = timeout(SIGN_OF_LIFE, join_all(unused.into_iter().map(|session| session.conn.close()))).await;
        while self.size() > 0 {
            sleep(FIRST_PAUSE).await;
        }
    }
}

/// A connection of a [`PgPool`], to which it goes back when dropped.
#[derive(Debug)]
pub struct PoolConnection {
    /// There until it is dropped.
    session: Option<Object<Connections>>,
    is_worn_out: bool,
}

impl PoolConnection {
    /// Lets it end when dropped, rather than go back, and others show that they live before anybody gets them.
    pub fn close_on_drop(&mut self) {
        self.is_worn_out = true;
        if let Some(pool) = self.session.as_ref().and_then(Object::pool) {
            pool.manager().doubt_all();
        }
    }

    /// Ends it, and all that nobody uses: it keeps silent, so its server may be gone without a word, and with it the others.
    /// Those in use end with what they are used for.
    pub(crate) fn give_up(mut self) {
        let Some(session) = self.session.take() else { return };
        if let Some(pool) = Object::pool(&session) {
            pool.manager().doubt_all();
            pool.retain(|_, _| false);
        }
        drop(Object::take(session));
    }

    /// Begins a transaction, which ends with a rollback if it is dropped.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn begin(&mut self) -> Result<Transaction<'_, Postgres>, Error> {
        self.begin_with("BEGIN").await
    }

    /// Begins a transaction with another statement than `BEGIN`.
    ///
    /// Hides the method of sqlx, which may leave a transaction that nobody knows of: if its future is dropped while the
    /// answer is awaited, Postgres has begun one. A connection may not go back like that.
    ///
    /// # Errors
    /// If Postgres fails.
    #[expect(
        clippy::missing_panics_doc,
        clippy::expect_used,
        clippy::disallowed_methods,
        reason = "only a drop takes the session; see above"
    )]
    pub async fn begin_with(&mut self, statement: &'static str) -> Result<Transaction<'_, Postgres>, Error> {
        let Self { session, is_worn_out } = self;
        let was_worn_out = std::mem::replace(is_worn_out, true);
        let transaction = session.as_mut().expect("a session").conn.begin_with(statement).await?;
        *is_worn_out = was_worn_out;
        Ok(transaction)
    }

    /// Takes it out of the pool for good, which makes room for another.
    #[expect(clippy::missing_panics_doc, clippy::expect_used, reason = "only a drop takes the session")]
    pub fn detach(mut self) -> PgConnection {
        Object::take(self.session.take().expect("a session")).conn
    }
}

impl Deref for PoolConnection {
    type Target = PgConnection;

    #[expect(clippy::expect_used, reason = "only a drop takes the session")]
    fn deref(&self) -> &PgConnection {
        &self.session.as_ref().expect("a session").conn
    }
}

impl DerefMut for PoolConnection {
    #[expect(clippy::expect_used, reason = "only a drop takes the session")]
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.session.as_mut().expect("a session").conn
    }
}

impl Drop for PoolConnection {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        if self.is_worn_out {
            drop(Object::take(session));
            return;
        }
        // At once, but for one that still has something to say or to hear.
        if let Some(settled) = session.settle().now_or_never() {
            give_back(session, settled);
        } else if Object::pool(&session).is_none_or(|pool| pool.manager().doubts(&session)) {
            // Not worth waiting for.
            drop(Object::take(session));
        } else if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let settled = timeout(SETTLING, session.settle()).await.unwrap_or(false);
                give_back(session, settled);
            });
        } else {
            drop(Object::take(session));
        }
    }
}

/// Ends the use of a connection, which works if it has `settled`.
fn give_back(session: Object<Connections>, settled: bool) {
    let Some(pool) = Object::pool(&session) else { return };
    if !settled {
        pool.manager().doubt_all();
        drop(Object::take(session));
    }
}

/// A connection, and when it was last known to work.
#[derive(Debug)]
struct Session {
    conn: PgConnection,
    /// In the time of [`Connections::now`].
    proven: u64,
}

impl Session {
    /// Sends what waits to be sent (the end of a transaction that was dropped), and reads what was asked for and nobody
    /// waits for any more. True if it can be used again.
    async fn settle(&mut self) -> bool {
        loop {
            // Hidden from sqlx's documentation, but it is what its own pool and transactions rest on.
            match self.conn.flush().await {
                Ok(()) => return !self.conn.is_in_transaction(),
                // The statement failed, which nobody wants to know any more. The next answer says more.
                Err(Error::Database(_)) => {}
                Err(_) => return false,
            }
        }
    }
}

/// Makes connections, and decides which are fit for another use.
#[derive(Debug)]
struct Connections {
    options: PgConnectOptions,
    start: Instant,
    /// When a connection was last found broken, and when unused ones were last looked through.
    broken: AtomicU64,
    swept: AtomicU64,
}

impl Connections {
    fn new(options: PgConnectOptions) -> Self {
        Self { options, start: Instant::now(), broken: AtomicU64::default(), swept: AtomicU64::default() }
    }

    /// Microseconds since the pool was made; never 0.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// From now on each connection that there is must show that it lives before anybody gets it.
    fn doubt_all(&self) {
        self.broken.store(self.now(), Ordering::Relaxed);
    }

    fn doubts(&self, session: &Session) -> bool {
        session.proven <= self.broken.load(Ordering::Relaxed)
    }

    /// True for one caller in each [`SWEEP`].
    fn is_sweep_due(&self) -> bool {
        let (last, now) = (self.swept.load(Ordering::Relaxed), self.now());
        let is_due = u128::from(now - last.min(now)) >= SWEEP.as_micros();
        is_due && self.swept.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Manager for Connections {
    type Type = Session;
    type Error = Error;

    /// Connects. A server that refuses because it is starting, or is about to, is asked again for as long as the caller
    /// waits.
    async fn create(&self) -> Result<Session, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            // Boxed, because it is big and rare: every use of a connection carries this future.
            match Box::pin(PgConnection::connect_with(&self.options)).await {
                Ok(conn) => return Ok(Session { conn, proven: self.now() }),
                Err(error) if !is_passing(&error) => return Err(error),
                Err(_) => sleep(pause).await,
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    async fn recycle(&self, session: &mut Session, metrics: &Metrics) -> RecycleResult<Error> {
        if metrics.age() > LIFETIME {
            return Err(RecycleError::message("it is old"));
        }
        if self.doubts(session) {
            match timeout(SIGN_OF_LIFE, Box::pin(session.conn.ping())).await {
                Ok(sign) => sign?,
                Err(_) => return Err(RecycleError::message("it does not answer")),
            }
            session.proven = self.now();
        }
        Ok(())
    }
}

/// True if nobody listens (yet), or the server says that it is starting, stopping or full.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        Error::Database(error) => matches!(error.code().as_deref(), Some("57P03" | "53300")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::testing::TestDb;

    fn alone(db: &TestDb) -> PgPool {
        db.pool().apart(1)
    }

    async fn answer(conn: &mut PgConnection) -> sqlx::Result<Option<i32>> {
        sqlx::query_scalar!("SELECT 1").fetch_one(conn).await
    }

    async fn find_process(conn: &mut PgConnection) -> Option<i32> {
        sqlx::query_scalar!("SELECT pg_backend_pid()").fetch_one(conn).await.unwrap()
    }

    #[tokio::test]
    async fn a_connection_is_free_as_soon_as_it_is_dropped() {
        let db = TestDb::create().await;
        let pool = alone(&db);
        for _ in 0..3 {
            let mut conn = pool.acquire().await.unwrap();
            assert_eq!((answer(&mut conn).await.unwrap(), pool.num_idle()), (Some(1), 0));
            drop(conn);
            assert_eq!((pool.size(), pool.num_idle()), (1, 1));
        }
        pool.acquire().await.unwrap().close_on_drop();
        assert_eq!(pool.size(), 0);
    }

    #[tokio::test]
    async fn the_answer_to_an_abandoned_statement_is_not_taken_for_the_next_one() {
        let db = TestDb::create().await;
        let pool = alone(&db);
        for _ in 0..3 {
            let mut conn = pool.acquire().await.unwrap();
            let asked = sqlx::query!("SELECT pg_sleep(0.05), 2 AS two").fetch_one(&mut *conn).now_or_never();
            assert!(asked.is_none());
            drop(conn);
            let mut conn = pool.acquire().await.unwrap();
            assert_eq!(answer(&mut conn).await.unwrap(), Some(1));
        }
    }

    #[tokio::test]
    async fn a_transaction_ends_with_its_connection() {
        let db = TestDb::create().await;
        let pool = alone(&db);
        let mut conn = pool.acquire().await.unwrap();
        let mut transaction = conn.begin().await.unwrap();
        sqlx::query!("INSERT INTO worker_lease (name, expires_at) VALUES ('w', now())")
            .execute(&mut *transaction)
            .await
            .unwrap();
        drop(transaction);
        drop(conn);
        let mut conn = pool.acquire().await.unwrap();
        let left = sqlx::query_scalar!("SELECT count(*) FROM worker_lease").fetch_one(&mut *conn).await.unwrap();
        assert_eq!(left, Some(0));
    }

    #[tokio::test]
    async fn who_gives_up_a_transaction_that_begins_leaves_none() {
        let db = TestDb::create().await;
        let pool = alone(&db);
        let mut conn = pool.acquire().await.unwrap();
        answer(&mut conn).await.unwrap();
        // The answer may be as fast as the question.
        let mut tries = 0;
        while let Some(begun) = conn.begin().now_or_never() {
            begun.unwrap();
            tries += 1;
            assert!(tries < 1000, "it never waits");
        }
        drop(conn);
        let mut conn = pool.acquire().await.unwrap();
        let mut times = Vec::new();
        for _ in 0..2 {
            let time = sqlx::query_scalar!(r#"SELECT now() AS "time!""#).fetch_one(&mut *conn).await.unwrap();
            times.push(time);
        }
        assert_ne!(times[0], times[1], "in a transaction its start is always now");
    }

    #[tokio::test]
    async fn an_abandoned_statement_that_fails_breaks_nothing() {
        let db = TestDb::create().await;
        let pool = alone(&db);
        let mut conn = pool.acquire().await.unwrap();
        answer(&mut conn).await.unwrap();
        let process = find_process(&mut conn).await;
        let asked = sqlx::query!("SELECT pg_sleep(0.02), 1 / (SELECT count(*) FROM worker_lease) AS n");
        assert!(asked.fetch_one(&mut *conn).now_or_never().is_none());
        drop(conn);
        assert_eq!(find_process(&mut pool.acquire().await.unwrap()).await, process, "the same connection");
    }

    #[tokio::test]
    async fn when_all_connections_broke_only_the_first_use_fails() {
        let db = TestDb::create().await;
        let pool = db.pool().apart(4);
        let conns = join_all((0..4).map(|_| pool.acquire())).await;
        assert!(conns.iter().all(Result::is_ok));
        drop(conns);
        assert_eq!(pool.num_idle(), 4);
        db.break_connections().await;
        let mut conn = pool.acquire().await.unwrap();
        assert!(answer(&mut conn).await.is_err());
        drop(conn);
        while pool.size() == 4 {
            tokio::task::yield_now().await;
        }
        for _ in 0..8 {
            let mut conn = pool.acquire().await.unwrap();
            assert_eq!(answer(&mut conn).await.unwrap(), Some(1));
        }
    }

    #[tokio::test]
    async fn when_one_keeps_silent_no_other_is_trusted() {
        let db = TestDb::create().await;
        let pool = db.pool().apart(3);
        let (silent, idle) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        let mut waiting = pool.acquire().await.unwrap();
        assert!(sqlx::query!("SELECT pg_sleep(9)").fetch_one(&mut *waiting).now_or_never().is_none());
        drop(idle);
        assert_eq!((pool.size(), pool.num_idle()), (3, 1));
        silent.give_up();
        assert_eq!(pool.size(), 1);
        drop(waiting);
        assert_eq!(pool.size(), 0, "nobody waits for what it was asked");
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told() {
        let db = TestDb::create().await;
        let options = db.pool().connect_options().clone();
        let pool = PgPool::new(options.clone(), 1, Duration::from_millis(50));
        let taken = pool.acquire().await.unwrap();
        assert!(matches!(pool.acquire().await, Err(Error::PoolTimedOut)));
        drop(taken);
        pool.acquire().await.unwrap();

        // Nobody listens there any more.
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let pool = PgPool::new(options.host("127.0.0.1").port(unused), 1, Duration::from_millis(50));
        assert!(matches!(pool.acquire().await, Err(Error::PoolTimedOut)));
    }

    #[tokio::test]
    async fn a_closed_pool_gives_nothing_and_keeps_nothing() {
        let db = TestDb::create().await;
        let pool = db.pool().apart(2);
        let (used, unused) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        drop(unused);
        let closing = pool.clone();
        let mut closing = std::pin::pin!(closing.close());
        assert!(timeout(Duration::from_millis(50), &mut closing).await.is_err(), "one is in use");
        assert!(matches!(pool.acquire().await, Err(Error::PoolClosed)));
        drop(used);
        closing.await;
        assert_eq!(pool.size(), 0);
    }
}
