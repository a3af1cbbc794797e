//! What happens to the servers, and in which order.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::stage::REPLICAS;

/// Something that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// SIGKILL; started again a moment later.
    KillReplica(usize),
    /// SIGKILL while its commit waits in Postgres.
    KillInCommit(usize),
    /// SIGSTOP, later SIGCONT.
    PauseReplica(usize, Duration),
    /// SIGSTOP while its commit waits in Postgres, which then goes through without it.
    PauseInCommit(usize, Duration),
    /// SIGSTOP while its commit waits in Postgres, and its connections break before it goes on.
    PauseAndBreak(usize, Duration),
    /// A stop as by an orchestrator, and a start.
    RestartReplica(usize),
    /// Every connection to Postgres ends, several times in a row.
    BreakConnections,
    /// Postgres stops with open transactions, and is away for a while.
    CrashPostgres(Duration),
    /// Postgres stops while commits wait in it.
    CrashInCommit,
    /// Postgres breaks all connections, stops, and is away for a while.
    StopPostgres(Duration),
    /// A Postgres process is killed, so that Postgres ends all others and recovers by itself.
    KillBackend,
    /// Postgres stands still with all its connections open.
    FreezePostgres(Duration),
    /// A replica dies while Postgres is away.
    KillWithoutPostgres(usize),
    /// Redis is killed and comes back empty.
    KillRedis,
    /// Somebody holds a repo's row.
    LockRepo(Duration),
    /// Somebody holds the row that all events are numbered by.
    LockSequencer(Duration),
    /// Somebody holds a whole table, so that every connection of every pool waits.
    LockRecords(Duration),
    /// Every statement under way is cancelled, again and again, as by time-outs that are too short.
    CancelStatements,
    /// A consumer stops to read.
    SlowConsumer(usize),
}

impl Fault {
    /// Whether it is one of a replica alone, so that a client that asks another one hardly notices.
    pub(super) fn is_of_a_replica(self) -> bool {
        matches!(
            self,
            Self::KillReplica(_)
                | Self::KillInCommit(_)
                | Self::PauseReplica(..)
                | Self::RestartReplica(_)
                | Self::KillRedis
                | Self::SlowConsumer(_)
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One fault of every kind, in an order and with details that the seed decides.
pub(super) fn all(seed: u64) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut replica = {
        let mut random = StdRng::seed_from_u64(seed ^ 1);
        move || random.random_range(0..REPLICAS)
    };
    let mut millis = |from, to| Duration::from_millis(random.random_range(from..to));
    let mut faults = vec![
        Fault::KillReplica(replica()),
        Fault::KillReplica(replica()),
        Fault::KillInCommit(replica()),
        Fault::PauseReplica(replica(), millis(500, 2_000)),
        // Longer than clients wait.
        Fault::PauseReplica(replica(), millis(11_000, 12_000)),
        Fault::PauseInCommit(replica(), millis(11_000, 12_000)),
        Fault::PauseAndBreak(replica(), millis(500, 5_000)),
        Fault::RestartReplica(replica()),
        Fault::BreakConnections,
        Fault::BreakConnections,
        Fault::CrashPostgres(millis(100, 1_500)),
        // Longer than a request waits for a connection.
        Fault::CrashPostgres(millis(5_500, 7_000)),
        Fault::CrashInCommit,
        Fault::StopPostgres(millis(100, 2_000)),
        Fault::KillBackend,
        Fault::KillBackend,
        Fault::FreezePostgres(millis(500, 3_000)),
        Fault::KillWithoutPostgres(replica()),
        Fault::KillRedis,
        Fault::LockRepo(millis(2_000, 4_000)),
        Fault::LockSequencer(millis(1_000, 2_000)),
        Fault::LockRecords(millis(1_000, 3_000)),
        // Longer than a statement waits for a lock.
        Fault::LockRecords(millis(11_000, 12_000)),
        Fault::CancelStatements,
        Fault::SlowConsumer(replica()),
    ];
    faults.shuffle(&mut random);
    faults
}

/// One fault of each sort, short, in an order that the seed decides.
pub(super) fn few(seed: u64) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut faults = vec![
        Fault::KillInCommit(1),
        Fault::PauseInCommit(2, Duration::from_millis(500)),
        Fault::BreakConnections,
        Fault::CrashPostgres(Duration::from_millis(200)),
        Fault::KillRedis,
        Fault::LockRepo(Duration::from_secs(1)),
        Fault::CancelStatements,
        Fault::SlowConsumer(0),
    ];
    faults.shuffle(&mut random);
    faults
}
