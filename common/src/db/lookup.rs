//! Many lookups, one statement.
//!
//! Most requests look one row up by its key, and most of what that costs is the way to Postgres and back: four system
//! calls, two of them waking somebody. So requests that look up rows of one kind at the same moment go together. While a
//! statement is on its way, whoever comes waits; the next statement asks for all of them. On a quiet server nobody waits,
//! and the more there is to do, the less each lookup costs: under full load a third.
//!
//! A statement starts after everyone it answers has asked, so nobody learns what was true before.

use std::fmt;
use std::future::Future;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::{Error, PgConnection};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::PgPool;

/// How long lookups wait for the statement before. One that takes longer goes on alone: its connection may be dead.
const PATIENCE: Duration = Duration::from_millis(20);

/// A kind of row that is looked up by its key.
pub(crate) trait Lookup: 'static {
    /// Lookups of one statement at most.
    const MOST: usize = 64;
    /// How long a statement may take, waiting for its connection included. Nobody drops it when its callers lose patience,
    /// and a connection whose other end is gone says nothing for many minutes.
    const LIMIT: Duration = Duration::from_secs(6);

    /// What a row is found by.
    type Key: Clone + Send + Sync + 'static;
    /// What is found.
    type Row: Send + 'static;

    /// The rows with these keys, each in its key's place.
    fn find_all(
        conn: &mut PgConnection,
        keys: &[Self::Key],
    ) -> impl Future<Output = sqlx::Result<Vec<Option<Self::Row>>>> + Send;
}

/// `count` places, each with the row that came with its number, counted from 1 as by `WITH ORDINALITY`: what
/// [`Lookup::find_all`] gives.
pub(crate) fn in_place<T>(count: usize, rows: impl IntoIterator<Item = (i64, T)>) -> Vec<Option<T>> {
    let mut places: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    for (number, row) in rows {
        if let Some(place) = usize::try_from(number - 1).ok().and_then(|index| places.get_mut(index)) {
            *place = Some(row);
        }
    }
    places
}

/// Looks up rows of one kind. Clones share statements.
pub(crate) struct Lookups<L: Lookup> {
    pool: PgPool,
    line: Arc<Mutex<Line<L>>>,
}

/// Who waits.
struct Line<L: Lookup> {
    waiting: Vec<Waiting<L>>,
    /// Somebody takes from here until it is empty.
    is_served: bool,
}

struct Waiting<L: Lookup> {
    key: L::Key,
    answer: oneshot::Sender<Answer<L>>,
}

type Answer<L> = sqlx::Result<Option<<L as Lookup>::Row>>;

impl<L: Lookup> Lookups<L> {
    /// Looks up in `pool`'s database.
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, line: Arc::new(Mutex::new(Line { waiting: Vec::new(), is_served: false })) }
    }

    /// The row with this key, as of now.
    ///
    /// # Errors
    /// If Postgres fails. One broken connection is not yet a failure.
    pub(crate) async fn find(&self, key: L::Key) -> sqlx::Result<Option<L::Row>> {
        if let Ok(answer) = self.join(key.clone()).await {
            return answer;
        }
        // The statement failed for all that were in it. Alone, each gets its own error, or none.
        let rows = self.ask(slice::from_ref(&key)).await?;
        Ok(rows.into_iter().next().flatten())
    }

    /// Stands in line. The sender goes away unused if the statement fails.
    fn join(&self, key: L::Key) -> oneshot::Receiver<Answer<L>> {
        let (answer, receiver) = oneshot::channel();
        let mut line = self.line();
        line.waiting.push(Waiting { key, answer });
        if !std::mem::replace(&mut line.is_served, true) {
            // A task, because a request may be dropped at any time, and others wait for this.
            tokio::spawn(self.clone().serve());
        }
        receiver
    }

    /// Answers who is waiting until nobody is.
    async fn serve(self) {
        while let Some(batch) = self.next_batch() {
            // What happens to one statement, even a panic, is not to stop the line.
            let _ = timeout(PATIENCE, tokio::spawn(self.clone().answer(batch))).await;
        }
    }

    /// Who waited longest; `None`, and the line is served no more, if nobody waits.
    fn next_batch(&self) -> Option<Vec<Waiting<L>>> {
        let mut line = self.line();
        // Dropped requests ask for nothing.
        line.waiting.retain(|waiting| !waiting.answer.is_closed());
        line.is_served = !line.waiting.is_empty();
        let size = line.waiting.len().min(L::MOST);
        let batch: Vec<_> = line.waiting.drain(..size).collect();
        (!batch.is_empty()).then_some(batch)
    }

    async fn answer(self, batch: Vec<Waiting<L>>) {
        let (keys, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|waiting| (waiting.key, waiting.answer)).unzip();
        let results: Vec<Answer<L>> = match timeout(L::LIMIT, self.ask(&keys)).await {
            Ok(Ok(rows)) => rows.into_iter().map(Ok).collect(),
            // Whoever asked again would wait as long again, for nothing.
            Err(_) | Ok(Err(Error::PoolTimedOut)) => keys.iter().map(|_| Err(Error::PoolTimedOut)).collect(),
            Ok(Err(_)) => return,
        };
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever went away does not mind.
            let _ = answer.send(result);
        }
    }

    async fn ask(&self, keys: &[L::Key]) -> sqlx::Result<Vec<Option<L::Row>>> {
        L::find_all(&mut *self.pool.acquire().await?, keys).await
    }

    fn line(&self) -> MutexGuard<'_, Line<L>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Lookup> Clone for Lookups<L> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), line: Arc::clone(&self.line) }
    }
}

impl<L: Lookup> fmt::Debug for Lookups<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use sqlx::Connection as _;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::testing::TestDb;

    /// Finds the numbers that are even; how many at once is what it says of them.
    struct Evens;

    impl Lookup for Evens {
        type Key = usize;
        type Row = (usize, usize);

        async fn find_all(conn: &mut PgConnection, keys: &[usize]) -> sqlx::Result<Vec<Option<(usize, usize)>>> {
            conn.ping().await?;
            Ok(keys.iter().map(|&key| (key % 2 == 0).then_some((key, keys.len()))).collect())
        }
    }

    /// A statement about `true` never ends.
    struct Stuck;

    static ASKED: Semaphore = Semaphore::const_new(0);

    impl Lookup for Stuck {
        /// More than a connection takes to be made.
        const LIMIT: Duration = Duration::from_secs(3);

        type Key = bool;
        type Row = ();

        async fn find_all(_: &mut PgConnection, keys: &[bool]) -> sqlx::Result<Vec<Option<()>>> {
            if keys.contains(&true) {
                ASKED.add_permits(1);
                std::future::pending::<()>().await;
            }
            Ok(vec![Some(()); keys.len()])
        }
    }

    /// Fails where more than one is asked for, in one of two ways.
    struct Lonely;

    impl Lookup for Lonely {
        type Key = u8;
        type Row = u8;

        async fn find_all(_: &mut PgConnection, keys: &[u8]) -> sqlx::Result<Vec<Option<u8>>> {
            match keys {
                [key] => Ok(vec![Some(*key)]),
                [0, ..] => panic!("too many"),
                _ => Err(sqlx::Error::RowNotFound),
            }
        }
    }

    #[tokio::test]
    async fn everyone_gets_the_row_of_its_key() {
        let db = TestDb::create().await;
        let lookups = Lookups::<Evens>::new(db.pool());
        let found = join_all((0..3 * Evens::MOST).map(|key| lookups.find(key))).await;
        for (key, row) in found.into_iter().enumerate() {
            assert_eq!(row.unwrap().map(|(found, _)| found), (key % 2 == 0).then_some(key));
        }
    }

    #[tokio::test]
    async fn who_comes_together_is_answered_together_within_limits() {
        let db = TestDb::create().await;
        let lookups = Lookups::<Evens>::new(db.pool());
        let found = join_all((0..Evens::MOST + 10).map(|n| lookups.find(2 * n))).await;
        let sizes: Vec<usize> = found.into_iter().map(|row| row.unwrap().unwrap().1).collect();
        assert_eq!(sizes, [[Evens::MOST; Evens::MOST].as_slice(), &[10; 10]].concat());
    }

    #[tokio::test]
    async fn a_dropped_request_is_not_asked_for_and_stops_nobody() {
        let db = TestDb::create().await;
        let lookups = Lookups::<Evens>::new(db.pool());
        drop(lookups.join(0));
        let kept = lookups.join(2);
        assert_eq!(kept.await.unwrap().unwrap(), Some((2, 1)));
    }

    #[tokio::test]
    async fn a_statement_that_hangs_holds_up_nobody_else() {
        let db = TestDb::create().await;
        let lookups = Lookups::<Stuck>::new(db.pool());
        let stuck = lookups.join(true);
        ASKED.acquire().await.unwrap().forget();
        assert_eq!(lookups.find(false).await.unwrap(), Some(()));
        assert!(matches!(stuck.await.unwrap(), Err(Error::PoolTimedOut)), "nor for ever its own caller");
    }

    #[tokio::test]
    async fn a_statement_that_fails_or_panics_is_asked_again_for_each() {
        let db = TestDb::create().await;
        let lookups = Lookups::<Lonely>::new(db.pool());
        for keys in [[0, 1, 2], [1, 2, 3]] {
            let found = join_all(keys.map(|key| lookups.find(key))).await;
            assert!(found.into_iter().zip(keys).all(|(row, key)| row.unwrap() == Some(key)));
        }
    }

    #[tokio::test]
    async fn a_broken_connection_is_not_a_failure() {
        let db = TestDb::create().await;
        let lookups = Lookups::<Evens>::new(db.pool());
        lookups.find(0).await.unwrap();
        db.break_connections().await;
        assert_eq!(lookups.find(0).await.unwrap(), Some((0, 1)));
    }
}
