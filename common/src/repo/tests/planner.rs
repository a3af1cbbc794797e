//! Commits made by hand, for tests that hand them to Postgres themselves.

use atproto::data::Cid;
use atproto::syntax::{Datetime, Tid};
use sqlx::PgConnection;

use super::stage::creation;
use crate::clock::Clock;
use crate::db::PgPool;
use crate::keys::Keys;
use crate::repo::chain::PlannedChain;
use crate::repo::commit::{CommitBatch, Outcome, Writer, commit_batch};
use crate::repo::nodes::{NodeError, NodeStore};
use crate::repo::plan::{Draft, Plan, PlanError};
use crate::repo::prepare::PreparedWrite;
use crate::repo::store::{self, Head};
use crate::testing::seed::{self, SeededRepo};

/// Plans commits as a replica does, and leaves them to the test.
#[derive(Clone)]
pub(super) struct Planner {
    pool: PgPool,
    keys: Keys,
    nodes: NodeStore,
    clock_id: u16,
}

impl Planner {
    pub(super) fn new(pool: PgPool) -> Self {
        let keys = Keys::new(pool.clone(), seed::vault());
        Self { nodes: NodeStore::new(pool.clone()), keys, pool, clock_id: rand::random::<u16>() % 1024 }
    }

    pub(super) async fn head(&self, repo: &SeededRepo) -> Head {
        let mut conn = self.pool.acquire().await.unwrap();
        store::find_head(&mut conn, repo.account).await.unwrap().unwrap()
    }

    /// A commit on top of `head` that creates one record; `None` if the tree of that head is gone already.
    pub(super) async fn creation(&self, repo: &SeededRepo, head: Head, rkey: &str) -> Option<PlannedChain> {
        self.plan(repo, head, &[creation(rkey, rkey)]).await
    }

    /// A commit on top of `head`; `None` if the tree of that head is gone already.
    pub(super) async fn plan(&self, repo: &SeededRepo, head: Head, writes: &[PreparedWrite]) -> Option<PlannedChain> {
        let key = self.keys.find_signing_key(repo.account, &repo.did).await.unwrap().unwrap();
        let clock = Clock::system();
        let micros = u64::try_from(clock.micros()).unwrap();
        let draft = Draft {
            account: repo.account,
            did: &repo.did,
            head,
            key: &key,
            replaced: &[],
            writes,
            swap_commit: None,
            rev: Tid::after(Some(head.rev), micros, self.clock_id),
            time: &Datetime::from_unix_millis(micros / 1000),
        };
        let planned = self.nodes.run(repo.account, |source| match draft.plan(source) {
            Err(PlanError::Tree(error)) => Err(error),
            plan => Ok(plan.unwrap()),
        });
        match planned.await {
            Ok(Plan::Commit(commit)) => Some((*commit).into()),
            Ok(Plan::Nothing) => panic!("the writes change nothing"),
            Err(NodeError::Gone(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// What Postgres says of each commit of a batch, by their order.
    pub(super) async fn send(&self, batch: &[PlannedChain]) -> Vec<Outcome> {
        send(&mut self.pool.acquire().await.unwrap(), batch).await
    }
}

/// What Postgres says of each commit of a batch, by their order.
pub(super) async fn send(conn: &mut PgConnection, batch: &[PlannedChain]) -> Vec<Outcome> {
    let arrays: CommitBatch<'_> = batch.iter().collect();
    let mut outcomes = commit_batch(conn, Writer::random(), &arrays).await.unwrap();
    outcomes.sort_by_key(|(place, _)| *place);
    assert!(outcomes.iter().map(|(place, _)| *place).eq(0..batch.len()), "a verdict for each: {outcomes:?}");
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// A commit that was sent, and what became of it.
pub(super) struct Sent {
    pub(super) repo: usize,
    pub(super) rkey: String,
    /// The commit before it, as its maker knew it.
    pub(super) expected: Cid,
    pub(super) commit: Cid,
    pub(super) outcome: Outcome,
}
