use common::db::PgPool;
use common::jobs::{Filter, Job, Letter, Policy, State};
use common::testing::end_claims;
use serde::{Deserialize, Serialize};

use super::*;

/// No pauses, three tries.
const IMPATIENT: Policy = Policy { first_pause: Duration::ZERO, longest_pause: Duration::ZERO, tries: 3 };

fn only<J: Run>() -> Work {
    Work { schedules: Vec::new(), kinds: vec![Kind::of::<J>()] }
}

async fn letters(pool: &PgPool) -> Vec<Letter> {
    Jobs::new(pool.clone()).list_jobs(Filter::default(), 0, 100).await.unwrap()
}

/// Waits until the jobs are as wanted.
async fn letters_are(pool: &PgPool, wanted: impl Fn(&[Letter]) -> bool) -> Vec<Letter> {
    let look = async {
        loop {
            let letters = letters(pool).await;
            if wanted(&letters) {
                return letters;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, look).await.expect("in time")
}

async fn add(pool: &PgPool, job: &impl Job) {
    Jobs::new(pool.clone()).enqueue(job).await.unwrap();
}

/// The value of a metric.
fn metric(text: &str, sample: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(sample)).unwrap_or_else(|| panic!("no {sample} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_do_each_job_once() {
    static DONE: std::sync::Mutex<Vec<u32>> = std::sync::Mutex::new(Vec::new());
    #[derive(Serialize, Deserialize)]
    struct Count(u32);
    impl Job for Count {
        const KIND: &'static str = "count";
    }
    impl Run for Count {
        async fn run(&self, _: &Context) -> Result<(), JobError> {
            DONE.lock().unwrap().push(self.0);
            Ok(())
        }
    }
    let db = TestDb::create().await;
    let workers = [Started::new(&db, "one", only::<Count>()), Started::new(&db, "two", only::<Count>())];
    for number in 0..100 {
        add(&db.pool(), &Count(number)).await;
    }
    letters_are(&db.pool(), <[_]>::is_empty).await;
    let mut done = 0;
    for worker in workers {
        done += metric(&worker.monitor.text().await, "pds_job_runs_total{kind=\"count\",outcome=\"done\"}");
        worker.stop().await;
    }
    assert_eq!(done, 100);
    let mut numbers = std::mem::take(&mut *DONE.lock().unwrap());
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_until_it_is_given_up_and_an_operator_brings_it_back() {
    static BROKEN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);
    #[derive(Serialize, Deserialize)]
    struct Fail {
        how: String,
    }
    impl Job for Fail {
        const KIND: &'static str = "fail";
        const POLICY: Policy = IMPATIENT;
    }
    impl Run for Fail {
        async fn run(&self, _: &Context) -> Result<(), JobError> {
            match self.how.as_str() {
                _ if !BROKEN.load(Ordering::SeqCst) => Ok(()),
                "panic" => panic!("this panic is part of the test"),
                "give up" => Err(JobError::give_up(std::io::Error::other("hopeless"))),
                how => Err(JobError::retry(std::io::Error::other(how.to_owned()))),
            }
        }
    }
    let db = TestDb::create().await;
    for how in ["panic", "no luck", "give up"] {
        add(&db.pool(), &Fail { how: how.to_owned() }).await;
    }
    let worker = Started::new(&db, "one", only::<Fail>());
    let dead = letters_are(&db.pool(), |letters| letters.iter().all(|letter| letter.state == State::Dead)).await;
    let seen: Vec<_> = dead.iter().map(|letter| (letter.attempts, letter.last_error.as_deref().unwrap())).collect();
    assert_eq!(seen, [(3, "panicked"), (3, "no luck"), (1, "hopeless")]);
    let text = worker.monitor.text().await;
    assert_eq!(metric(&text, "pds_job_runs_total{kind=\"fail\",outcome=\"retried\"}"), 4);
    assert_eq!(metric(&text, "pds_job_runs_total{kind=\"fail\",outcome=\"dead\"}"), 3);
    assert_eq!(metric(&text, "pds_jobs{kind=\"fail\",state=\"dead\"}"), 3);

    BROKEN.store(false, Ordering::SeqCst);
    let jobs = Jobs::new(db.pool());
    assert_eq!(jobs.retry_jobs(Filter { dead: true, ..Filter::default() }).await.unwrap(), 3);
    letters_are(&db.pool(), <[_]>::is_empty).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_nobody_understands_is_a_dead_letter() {
    #[derive(Serialize, Deserialize)]
    struct Old {}
    impl Job for Old {
        const KIND: &'static str = "changed";
    }
    #[derive(Serialize, Deserialize)]
    struct New {
        needed: u32,
    }
    impl Job for New {
        const KIND: &'static str = "changed";
    }
    impl Run for New {
        async fn run(&self, _: &Context) -> Result<(), JobError> {
            unreachable!("{} is not there", self.needed)
        }
    }
    let db = TestDb::create().await;
    add(&db.pool(), &Old {}).await;
    let worker = Started::new(&db, "one", only::<New>());
    let dead = letters_are(&db.pool(), |letters| letters[0].state == State::Dead).await;
    assert!(dead[0].last_error.as_deref().unwrap().contains("needed"), "{dead:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_workers_is_given_up() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    #[derive(Serialize, Deserialize)]
    struct Poison {}
    impl Job for Poison {
        const KIND: &'static str = "poison";
        const POLICY: Policy = IMPATIENT;
    }
    impl Run for Poison {
        async fn run(&self, _: &Context) -> Result<(), JobError> {
            RUNS.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }
    let db = TestDb::create().await;
    add(&db.pool(), &Poison {}).await;
    let jobs = Jobs::new(db.pool());
    let victim = jobs.enter("victim").await.unwrap();
    for _ in 0..3 {
        jobs.claim_job(victim, &["poison"]).await.unwrap().unwrap();
        end_claims(&db.pool()).await;
    }
    let worker = Started::new(&db, "one", only::<Poison>());
    let dead = letters_are(&db.pool(), |letters| letters[0].state == State::Dead).await;
    assert_eq!((dead[0].attempts, RUNS.load(Ordering::SeqCst)), (4, 0));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_hangs_leaves_room_for_others_and_a_stop_hands_it_over() {
    static BEGUN: Semaphore = Semaphore::const_new(0);
    static DROPPED: Semaphore = Semaphore::const_new(0);
    static OTHERS: Semaphore = Semaphore::const_new(0);
    struct Alarm;
    impl Drop for Alarm {
        fn drop(&mut self) {
            DROPPED.add_permits(1);
        }
    }
    #[derive(Serialize, Deserialize)]
    struct Hang {}
    impl Job for Hang {
        const KIND: &'static str = "hang";
    }
    impl Run for Hang {
        async fn run(&self, _: &Context) -> Result<(), JobError> {
            let _alarm = Alarm;
            BEGUN.add_permits(1);
            std::future::pending().await
        }
    }
    #[derive(Serialize, Deserialize)]
    struct Quick {}
    impl Job for Quick {
        const KIND: &'static str = "quick";
    }
    impl Run for Quick {
        async fn run(&self, _: &Context) -> Result<(), JobError> {
            OTHERS.add_permits(1);
            Ok(())
        }
    }
    let db = TestDb::create().await;
    for _ in 0..100 {
        add(&db.pool(), &Hang {}).await;
    }
    let work = Work { schedules: Vec::new(), kinds: vec![Kind::of::<Hang>(), Kind::of::<Quick>()] };
    let runner = Runner::new("one", context(&db), &db.other_pool(), work);
    let stop = CancellationToken::new();
    let task = tokio::spawn(runner.run(stop.clone(), Duration::ZERO));
    permits(&BEGUN, 8).await;
    add(&db.pool(), &Quick {}).await;
    permits(&OTHERS, 1).await;
    assert_eq!(BEGUN.available_permits(), 0, "no more of one kind than it may have");

    stop.cancel();
    timeout(LIMIT, task).await.expect("a worker stops in time").unwrap();
    assert_eq!(DROPPED.available_permits(), 8);
    let left = letters(&db.pool()).await;
    assert_eq!(left.len(), 100, "what was dropped is there still");
    assert!(left.iter().all(|letter| letter.state == State::Waiting && letter.attempts == 0), "and free");
}
