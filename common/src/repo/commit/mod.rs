//! How commits become durable and visible: the part of the write path that replicas compete in.
//!
//! # The protocol
//! Commits are made by a replica on a head it knows, and applied by Postgres as a compare-and-swap on that head. What a
//! replica knows may be out of date; nothing it remembers decides anything.
//!
//! * **One statement.** `repo_commit_batch_v2` locks the repos' rows, judges each chain, stores what it brings, moves the
//!   heads, and last takes the sequencer row, which numbers the events. It runs in autocommit: the answer comes after the
//!   log is flushed, and no lock outlives a round trip.
//! * **Lock order, everywhere:** repo rows, then blob rows, then the sequencer row. The function never waits for a repo or a
//!   blob, for the whole batch would wait with it: a held repo is `busy`, a held blob counts as missing. So it waits for the
//!   sequencer row only, and cannot deadlock.
//! * **Account state:** whoever takes the right to write away locks the repo row before it changes the account. The function
//!   reads the state in a statement after the one that locks, so no commit is numbered behind the `#account` event.
//! * **Blobs:** a record may refer to blobs that are there only. Their rows are locked until the commit stands, so that nobody
//!   deletes them meanwhile; see `common::blob`. Commits without references pay nothing for it.
//! * **Collections:** the replica sees in the tree that a repo's first record in a collection comes, or its last one goes, and
//!   only such a commit writes `repo_collection`. An index over all records would cost each of them 9 µs and 95 bytes of log.
//! * **Numbers:** the sequencer row stays locked until the transaction has ended. The next number is given when the last one
//!   can be read, so a reader that saw seq *n* saw everything below *n*.
//! * **Chains:** what is compared and swapped is a chain of one or more commits of a repo, each on top of the one before. It
//!   is applied whole or not at all, moves the head once, and has one event for each of its commits.
//! * **Lost answers:** a commit has one CID, signed over a fresh rev. When a connection breaks, the delivery waits until the
//!   lost statement has ended and sends the same chain again; `applied_before` says that the head is its very last commit.
//!   If the repo has moved on since, whether the chain was applied is not known, and its writers are told so.
//! * **Turns:** a replica whose caches are warm would win every race for a repo. One that lost two reserves the next commit,
//!   for a second at most ([`update_turn`]); others are `busy` meanwhile. Fairness only: nothing relies on it.
//! * **Blame:** a statement that Postgres refuses is sent again in halves, so that one bad chain never fails its neighbours; its writers then try each for itself.
//!   Time-outs and a full server are nobody's fault: they are answered as unavailable, not tried again one by one.
//!
//! # Changing it
//! Replicas of two releases run side by side during an upgrade. A changed function is a new one (`_v3`) beside the old, in a
//! new migration; the old one goes a release later. Whatever else writes repos or events keeps the lock order. The tests of
//! `repo` check the verdicts, lost answers and races; those of `tests/it/scale` kill replicas in the middle of it.

mod committer;
mod delivery;
mod metrics;
mod store;

pub use committer::CommitError;
pub(super) use committer::{Committer, Verdict};
pub(super) use metrics::expose;
#[cfg(test)]
pub(super) use store::{CommitBatch, Outcome, commit_batch};
pub(super) use store::{Writer, update_turn, update_turn_ended};
