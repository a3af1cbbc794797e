//! Writes that wait for their repo in this replica: one queue a repo, served by one task while anything is in it.
//!
//! It saves races with ourselves, and lets the writes that waited for one commit share the next statement. Other replicas
//! are not bound by it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atproto::data::Cid;
use atproto::event::MAX_OPS;
use atproto::syntax::Did;
use tokio::sync::oneshot;

use super::prepare::PreparedWrite;
use super::write::{CommitRef, WriteError};
use crate::db::AccountId;

/// Requests that may wait for a repo in a replica. At a commit each, some seconds of writes.
const LINE: usize = 1024;
/// Requests that are stored together, unless they carry more writes than one commit may.
const TOGETHER: usize = 32;

/// What became of a request: its commit, or `None` if it changed nothing.
pub(super) type Outcome = Result<Option<CommitRef>, WriteError>;

/// What a caller wants written as one commit.
pub(super) struct Request {
    pub(super) did: Did,
    pub(super) writes: Arc<[PreparedWrite]>,
    pub(super) swap_commit: Option<Cid>,
    answer: oneshot::Sender<Outcome>,
}

impl Request {
    pub(super) fn new(
        did: Did,
        writes: Arc<[PreparedWrite]>,
        swap_commit: Option<Cid>,
    ) -> (Self, oneshot::Receiver<Outcome>) {
        let (answer, outcome) = oneshot::channel();
        (Self { did, writes, swap_commit, answer }, outcome)
    }

    pub(super) fn answer(self, outcome: Outcome) {
        // A caller that went away does not need it.
        let _ = self.answer.send(outcome);
    }
}

/// The queues of all repos that are being written. Cheap to clone; the clones are the same queues.
#[derive(Clone, Default)]
pub(super) struct Queues(Arc<Mutex<HashMap<AccountId, VecDeque<Request>>>>);

impl Queues {
    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, VecDeque<Request>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a request, or refuses it as one too many. Gives the duty to serve the queue, if nobody has it.
    pub(super) fn push(&self, account: AccountId, request: Request) -> Option<Service> {
        let mut queues = self.lock();
        let idle = !queues.contains_key(&account);
        let queue = queues.entry(account).or_default();
        if queue.len() >= LINE {
            request.answer(Err(WriteError::Contended));
            return None;
        }
        queue.push_back(request);
        idle.then(|| Service { queues: self.clone(), account, over: false })
    }
}

/// The duty to serve a repo's queue until it is empty. Dropped before, which takes a panic, it lets go of all who wait:
/// they learn that nothing is known of their writes.
pub(super) struct Service {
    queues: Queues,
    account: AccountId,
    /// The queue was empty, and is gone; one that is there again is somebody else's duty.
    over: bool,
}

impl Service {
    pub(super) fn account(&self) -> AccountId {
        self.account
    }

    /// The requests to serve next, in the order they came; `None` if the queue is empty, which ends the duty.
    pub(super) fn next(&mut self) -> Option<Vec<Request>> {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(&self.account)?;
        // Nobody waits for these any more.
        queue.retain(|request| !request.answer.is_closed());
        let mut writes = 0;
        let fitting = queue.iter().take(TOGETHER).take_while(|request| {
            writes += request.writes.len();
            writes <= MAX_OPS
        });
        // One that is too large alone is refused alone.
        let count = fitting.count().max(1).min(queue.len());
        if count == 0 {
            queues.remove(&self.account);
            self.over = true;
            return None;
        }
        Some(queue.drain(..count).collect())
    }

    /// Everything that waits. What kept the requests before it from being stored would only keep it waiting as long again.
    pub(super) fn take_rest(&mut self) -> Vec<Request> {
        let mut queues = self.queues.lock();
        queues.get_mut(&self.account).map(|queue| queue.drain(..).collect()).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.over {
            self.queues.lock().remove(&self.account);
        }
    }
}
