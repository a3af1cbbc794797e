//! Random uploads, records, imports, takedowns and deletions on two replicas, while workers collect and die.
//!
//! Each actor has accounts of its own and does one thing with one of them after the other, or two at the same time, so it
//! knows what each record refers to and what must come of it. All share one database and one store, and all accounts the
//! same few pictures; some may have fewer of them than there are. Workers collect meanwhile, and are cut off at random; so
//! are uploads. Time stands still while anybody acts, and then leaps: what is true of a quarter of a minute and of ten is
//! told apart by [`Stage::leap`]. A request to delete an object may be on its way for several leaps.
//!
//! `BLOB_MODEL_SEED` repeats a run, as far as the order of what happens at the same time can be repeated.
//! `BLOB_MODEL_OPERATIONS` says how long it is.

mod actor;
mod cut;
mod ledger;
mod stage;
mod tally;
mod worker;

use std::fmt::Display;
use std::sync::Arc;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use actor::Actor;
use stage::Stage;
use worker::Worker;

/// Operations unless the environment says otherwise: what is done with every change of the code.
const OPERATIONS: usize = 100_000;
/// Who act at the same time.
const ACTORS: usize = 8;
/// Who collect at the same time.
const WORKERS: usize = 2;
/// Operations of an actor between two leaps of time.
const TURN: usize = 20;
/// After one turn in so many it is forgotten which blobs lost references.
const LOST_NOTES: u32 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn no_blob_is_lost_and_none_is_left() {
    let seed = variable("BLOB_MODEL_SEED").unwrap_or_else(rand::random);
    let operations = variable("BLOB_MODEL_OPERATIONS").map_or(OPERATIONS, |count| usize::try_from(count).unwrap());
    // Shown if it fails.
    say(format_args!("BLOB_MODEL_SEED={seed} BLOB_MODEL_OPERATIONS={operations}"));
    let stage = Arc::new(Stage::new(seed).await);
    let mut actors = join_all((0..ACTORS).map(|number| Actor::enter(&stage, number, seed))).await;
    let mut workers: Vec<_> = (0..WORKERS).map(|number| Worker::new(&stage, number, seed)).collect();
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..operations.div_ceil(ACTORS * TURN) {
        act(&stage, &mut actors, &mut workers).await;
        stage.settled().await;
        stage.assert_counted().await;
        if random.random_ratio(1, LOST_NOTES) {
            stage.lose_notes().await;
        }
        stage.leap(random.random_range(0..stage::LEAPS.len())).await;
    }
    end(&stage, actors, &mut workers).await;
    stage.tally.late_deletions.add(stage.store.late());
    say(&stage.tally);
    stage.tally.assert_all_happened();
}

/// All actors do some things, while the workers work. These are cut off in the end, wherever they are.
async fn act(stage: &Stage, actors: &mut Vec<Actor>, workers: &mut Vec<Worker>) {
    let stop = CancellationToken::new();
    let acting: Vec<_> = actors.drain(..).map(|actor| tokio::spawn(actor.act(TURN))).collect();
    let working: Vec<_> = workers.drain(..).map(|worker| tokio::spawn(worker.work(stop.clone()))).collect();
    actors.extend(join_all(acting).await.into_iter().map(|ended| ended.expect("an actor found a fault")));
    stop.cancel();
    workers.extend(join_all(working).await.into_iter().map(|ended| ended.expect("a worker goes on")));
    stage.tally.turns.increment();
}

/// Accounts go, records go, and time passes. What is left must be what is referred to, and all of it.
async fn end(stage: &Stage, actors: Vec<Actor>, workers: &mut [Worker]) {
    stage.store.set_failures(0);
    let mut expected = Vec::new();
    for actor in actors {
        expected.extend(actor.leave().await);
    }
    for leap in 0..stage::LEAPS.len() {
        // Of each kind twice, the longest last.
        for _ in 0..2 {
            stage.leap(leap).await;
            workers[0].finish().await;
        }
    }
    stage.sweep_orphans().await;
    for leap in [0, 1] {
        stage.leap(leap).await;
        workers[0].finish().await;
    }
    stage.assert_holds_only(expected).await;
}

#[expect(clippy::print_stdout, reason = "what a test prints is shown if it fails")]
fn say(what: impl Display) {
    println!("{what}");
}

#[expect(clippy::disallowed_methods, reason = "a setting of this test, not of the server")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}
