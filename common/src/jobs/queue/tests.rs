use serde::Deserialize;

use super::*;
use crate::testing::{TestDb, end_claims, lapse_lease};

#[derive(Serialize, Deserialize)]
struct Greet {
    name: String,
    text: String,
}

impl Job for Greet {
    const KIND: &'static str = "greet";

    fn dedupe_key(&self) -> Option<String> {
        (self.name != "anybody").then(|| self.name.clone())
    }
}

const KINDS: [&str; 1] = [Greet::KIND];

fn greet(name: &str, text: &str) -> Greet {
    Greet { name: name.to_owned(), text: text.to_owned() }
}

struct Stage {
    db: TestDb,
    jobs: Jobs,
    first: Worker,
    second: Worker,
}

impl Stage {
    async fn new() -> Self {
        let db = TestDb::create().await;
        let jobs = Jobs::new(db.pool());
        let (first, second) = (jobs.enter("first").await.unwrap(), jobs.enter("second").await.unwrap());
        Self { db, jobs, first, second }
    }

    async fn add(&self, name: &str, text: &str) {
        self.jobs.enqueue(&greet(name, text)).await.unwrap();
    }

    async fn claim(&self, worker: Worker) -> Option<Claim> {
        self.jobs.claim_job(worker, &KINDS).await.unwrap()
    }

    /// The texts of all jobs, with their states.
    async fn all(&self) -> Vec<(String, State)> {
        let letters = self.jobs.list_jobs(Filter::default(), 0, 100).await.unwrap();
        letters.into_iter().map(|letter| (text(&letter.payload), letter.state)).collect()
    }

    async fn finish(&self, worker: Worker, claim: &Claim, outcome: Outcome<'_>) {
        self.jobs.finish_job(worker, claim.id, outcome).await.unwrap();
    }
}

fn text(payload: &Value) -> String {
    payload["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_job_is_there_once_its_cause_is_and_is_claimed_by_one() {
    let stage = Stage::new().await;
    let mut conn = stage.db.pool().acquire().await.unwrap();
    let mut transaction = conn.begin().await.unwrap();
    enqueue(&mut transaction, &greet("anybody", "hi")).await.unwrap();
    assert_eq!(stage.claim(stage.first).await, None);
    transaction.commit().await.unwrap();
    assert_eq!(stage.jobs.claim_job(stage.first, &["other"]).await.unwrap(), None, "only what it asks for");

    let claim = stage.claim(stage.first).await.unwrap();
    assert_eq!((text(&claim.payload).as_str(), claim.attempts, claim.kind.as_str()), ("hi", 1, "greet"));
    assert_eq!(stage.claim(stage.second).await, None);
    stage.finish(stage.second, &claim, Outcome::Done).await;
    assert_eq!(stage.all().await, [("hi".to_owned(), State::Running)], "only its own worker ends it");
    stage.finish(stage.first, &claim, Outcome::Done).await;
    assert_eq!(stage.all().await, []);

    let mut dropped = conn.begin().await.unwrap();
    enqueue(&mut dropped, &greet("anybody", "never")).await.unwrap();
    dropped.rollback().await.unwrap();
    assert_eq!(stage.all().await, []);
}

#[tokio::test]
async fn many_claims_at_once_get_different_jobs_in_the_order_they_are_due() {
    let stage = Stage::new().await;
    for number in 0..20 {
        stage.add("anybody", &number.to_string()).await;
    }
    let claims = futures_util::future::join_all((0..20).map(|number| {
        let worker = if number % 2 == 0 { stage.first } else { stage.second };
        stage.claim(worker)
    }));
    let mut ids: Vec<_> = claims.await.into_iter().flatten().map(|claim| claim.id).collect();
    // Those that others locked at the moment of a claim are passed over, not waited for.
    while let Some(claim) = stage.claim(stage.first).await {
        ids.push(claim.id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

#[tokio::test]
async fn what_is_delayed_waits_and_the_longest_due_comes_first() {
    let stage = Stage::new().await;
    let mut conn = stage.db.pool().acquire().await.unwrap();
    enqueue_in(&mut conn, &greet("anybody", "later"), Duration::from_hours(1)).await.unwrap();
    for text in ["one", "two"] {
        stage.add("anybody", text).await;
    }
    for expected in ["one", "two"] {
        assert_eq!(text(&stage.claim(stage.first).await.unwrap().payload), expected);
    }
    assert_eq!(stage.claim(stage.first).await, None);
    // An operator does not want to wait.
    let later = stage.jobs.list_jobs(Filter::default(), 0, 1).await.unwrap().remove(0);
    assert_eq!(stage.jobs.retry_jobs(Filter { id: Some(later.id), ..Filter::default() }).await.unwrap(), 1);
    assert_eq!(text(&stage.claim(stage.first).await.unwrap().payload), "later");
}

#[tokio::test]
async fn kinds_are_taken_in_the_order_they_are_named() {
    #[derive(Serialize, Deserialize)]
    struct Other {}
    impl Job for Other {
        const KIND: &'static str = "other";
    }
    let stage = Stage::new().await;
    stage.add("anybody", "older").await;
    stage.jobs.enqueue(&Other {}).await.unwrap();
    let claim = stage.jobs.claim_job(stage.first, &["other", "greet"]).await.unwrap().unwrap();
    assert_eq!(claim.kind, "other");
    let depths = stage.jobs.depths().await.unwrap();
    let counts: Vec<_> = depths.iter().map(|depth| (depth.kind.as_str(), depth.waiting, depth.running)).collect();
    assert!(counts.contains(&("greet", 1, 0)) && counts.contains(&("other", 0, 1)), "{counts:?}");
}

#[tokio::test]
async fn jobs_of_one_key_are_one_while_they_wait_and_run_one_at_a_time() {
    let stage = Stage::new().await;
    stage.add("alice", "first").await;
    stage.add("alice", "second").await;
    stage.add("bob", "other key").await;
    let claim = stage.claim(stage.first).await.unwrap();
    assert_eq!(text(&claim.payload), "second", "the newest payload");
    // It may have looked already when this happens.
    stage.add("alice", "third").await;
    stage.add("alice", "fourth").await;
    assert_eq!(text(&stage.claim(stage.second).await.unwrap().payload), "other key");
    assert_eq!(stage.claim(stage.second).await, None, "one of a key at a time");
    stage.finish(stage.first, &claim, Outcome::Done).await;
    assert_eq!(text(&stage.claim(stage.second).await.unwrap().payload), "fourth");
}

#[tokio::test]
async fn a_job_whose_cause_is_not_committed_yet_is_not_begun() {
    let stage = Stage::new().await;
    stage.add("alice", "first").await;
    let mut conn = stage.db.pool().acquire().await.unwrap();
    let mut transaction = conn.begin().await.unwrap();
    enqueue(&mut transaction, &greet("alice", "second")).await.unwrap();
    assert_eq!(stage.claim(stage.first).await, None, "it would not see the second cause");
    transaction.commit().await.unwrap();
    assert_eq!(text(&stage.claim(stage.first).await.unwrap().payload), "second");
    assert_eq!(stage.claim(stage.first).await, None);
}

#[tokio::test]
async fn what_fails_waits_and_keeps_count_until_it_is_dead() {
    let stage = Stage::new().await;
    stage.add("alice", "hi").await;
    for attempt in 1..=2 {
        let claim = stage.claim(stage.first).await.unwrap();
        assert_eq!(claim.attempts, attempt);
        stage.finish(stage.first, &claim, Outcome::Retry("no luck", Duration::ZERO)).await;
    }
    let claim = stage.claim(stage.first).await.unwrap();
    stage.finish(stage.first, &claim, Outcome::Retry("no luck", Duration::from_hours(1))).await;
    assert_eq!(stage.claim(stage.first).await, None, "not before the pause is over");
    // A new cause does not wait for the pause, and counts anew.
    stage.add("alice", "hi again").await;
    let claim = stage.claim(stage.first).await.unwrap();
    assert_eq!((text(&claim.payload).as_str(), claim.attempts), ("hi again", 1));
    stage.finish(stage.first, &claim, Outcome::Dead("hopeless")).await;
    assert_eq!(stage.claim(stage.first).await, None);
    let letter = stage.jobs.list_jobs(Filter { dead: true, ..Filter::default() }, 0, 10).await.unwrap().remove(0);
    assert_eq!((letter.state, letter.last_error.as_deref()), (State::Dead, Some("hopeless")));
    assert_eq!(stage.jobs.depths().await.unwrap()[0].dead, 1);
}

#[tokio::test]
async fn a_failed_job_gives_way_to_one_that_was_enqueued_meanwhile() {
    let stage = Stage::new().await;
    stage.add("alice", "old").await;
    let claim = stage.claim(stage.first).await.unwrap();
    stage.add("alice", "new").await;
    stage.finish(stage.first, &claim, Outcome::Retry("no luck", Duration::ZERO)).await;
    assert_eq!(stage.all().await, [("new".to_owned(), State::Waiting)]);
}

#[tokio::test]
async fn a_failed_job_gives_way_to_one_that_is_enqueued_at_that_moment() {
    let stage = Stage::new().await;
    stage.add("alice", "old").await;
    let claim = stage.claim(stage.first).await.unwrap();
    let mut conn = stage.db.pool().acquire().await.unwrap();
    let mut transaction = conn.begin().await.unwrap();
    enqueue(&mut transaction, &greet("alice", "new")).await.unwrap();
    let finish = stage.finish(stage.first, &claim, Outcome::Retry("no luck", Duration::ZERO));
    let commit = async {
        stage.db.until_blocked().await;
        transaction.commit().await.unwrap();
    };
    tokio::join!(finish, commit);
    assert_eq!(stage.all().await, [("new".to_owned(), State::Waiting)]);
}

#[tokio::test]
async fn dead_letters_come_back_with_all_their_tries_and_once_for_each_key() {
    let stage = Stage::new().await;
    for (name, text) in [("alice", "old"), ("alice", "new"), ("bob", "dead"), ("anybody", "x"), ("anybody", "y")] {
        stage.add(name, text).await;
        let claim = stage.claim(stage.first).await.unwrap();
        stage.finish(stage.first, &claim, Outcome::Dead("hopeless")).await;
    }
    stage.add("bob", "waiting").await;
    assert_eq!(stage.jobs.retry_jobs(Filter { dead: true, kind: Some("other"), id: None }).await.unwrap(), 0);
    assert_eq!(stage.jobs.retry_jobs(Filter { dead: true, kind: Some("greet"), id: None }).await.unwrap(), 3);
    let texts = ["new", "x", "y", "waiting"].map(|text| (text.to_owned(), State::Waiting));
    assert_eq!(stage.all().await, texts);
    assert_eq!(stage.claim(stage.first).await.unwrap().attempts, 1);
}

#[tokio::test]
async fn what_a_dead_worker_did_is_free_again_and_counts_as_a_try() {
    let stage = Stage::new().await;
    stage.add("alice", "hi").await;
    let lost = stage.claim(stage.first).await.unwrap();
    lapse_lease(&stage.db.pool(), "first").await;
    stage.add("alice", "again").await;
    assert_eq!(stage.claim(stage.first).await, None, "without a lease nothing is claimed");
    let taken = stage.claim(stage.second).await.unwrap();
    assert_eq!((taken.id, taken.attempts), (lost.id, 2));
    stage.finish(stage.first, &lost, Outcome::Done).await;
    assert_eq!(stage.all().await.len(), 2, "it is no longer its own");
    assert_eq!(stage.claim(stage.second).await, None, "one of a key at a time");
    stage.finish(stage.second, &taken, Outcome::Done).await;
    assert_eq!(text(&stage.claim(stage.second).await.unwrap().payload), "again");
}

#[tokio::test]
async fn who_leaves_hands_its_jobs_over_without_a_lost_try() {
    let stage = Stage::new().await;
    stage.add("alice", "hi").await;
    stage.claim(stage.first).await.unwrap();
    stage.add("alice", "meanwhile").await;
    stage.jobs.leave(stage.first).await.unwrap();
    let taken = stage.claim(stage.second).await.unwrap();
    assert_eq!((text(&taken.payload).as_str(), taken.attempts), ("hi", 1));
}

#[tokio::test]
async fn a_claim_lasts_as_long_as_the_lease_is_renewed() {
    let stage = Stage::new().await;
    stage.add("alice", "hi").await;
    let claim = stage.claim(stage.first).await.unwrap();
    end_claims(&stage.db.pool()).await;
    stage.jobs.renew(stage.first).await.unwrap().unwrap();
    assert_eq!(stage.claim(stage.second).await, None);
    assert!(!stage.jobs.discard_job(claim.id).await.unwrap(), "a worker is at it");
    stage.finish(stage.first, &claim, Outcome::Dead("hopeless")).await;
    assert!(stage.jobs.discard_job(claim.id).await.unwrap());
    assert!(!stage.jobs.discard_job(claim.id).await.unwrap());
}

#[tokio::test]
async fn who_waits_for_jobs_is_woken() {
    let stage = Stage::new().await;
    // Longer than the test may take: only the notification can wake it.
    let mut wakeups = stage.jobs.wakeups(Duration::from_hours(1));
    wakeups.next().await;
    stage.add("alice", "hi").await;
    tokio::time::timeout(Duration::from_secs(30), wakeups.next()).await.expect("a notification");
}
