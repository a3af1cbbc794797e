mod jobs;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::blob::Objects;
use common::testing::{TestDb, lapse_lease};
use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

fn context(db: &TestDb) -> Context {
    let (config, clock) = (Config::for_tests(), Clock::system());
    let objects = Objects::from_config(&config.blobstore);
    Context {
        accounts: Accounts::new(db.pool()),
        sessions: Sessions::new(db.pool(), clock.clone()),
        lifecycle: crate::services::lifecycle(&config, &clock, &db.pool()).unwrap(),
        blob_collector: crate::services::blob_collector(&config, &objects, &db.pool()),
        blob_checker: BlobChecker::new(db.pool(), objects.clone()),
        blob_checks: Arc::default(),
        blobs: crate::services::blobs(objects, &db.pool()),
        deleted_accounts: DeletedAccounts::new(&db.pool()),
        announcements: Announcements::new(db.pool(), clock.clone()),
        relays: Relays::new(db.pool()),
        relay_client: RelayClient::new(&config.service.hostname).unwrap(),
        mailer: Mailer::new(&config.mail(), clock.clone()).unwrap(),
        config: Arc::new(config),
        clock,
        sequencer: Sequencer::new(&db.pool()),
        import_leftovers: ImportLeftovers::new(&db.pool()),
    }
}

struct Started {
    monitor: Monitor,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Started {
    /// A worker with connections of its own.
    fn new(db: &TestDb, name: &str, work: Work) -> Self {
        let runner = Runner::new(name, context(db), &db.other_pool(), work);
        let (monitor, stop) = (runner.monitor(), CancellationToken::new());
        Self { monitor, stop: stop.clone(), task: tokio::spawn(runner.run(stop, LIMIT)) }
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(LIMIT, self.task).await.expect("a worker stops in time").unwrap();
    }
}

fn schedule(run: fn(Context) -> futures_util::future::BoxFuture<'static, anyhow::Result<Report>>) -> Schedule {
    Schedule { name: "test", period: Duration::ZERO, limit: LIMIT, run }
}

fn only(schedule: Schedule) -> Work {
    Work { schedules: vec![schedule], kinds: Vec::new() }
}

fn nothing_new() -> Report {
    Report { text: "nothing".to_owned(), is_news: false }
}

async fn permits(semaphore: &Semaphore, count: u32) {
    timeout(LIMIT, semaphore.acquire_many(count)).await.expect("in time").unwrap().forget();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_a_schedule_and_never_run_it_at_once() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static RUNS: Semaphore = Semaphore::const_new(0);
    let counted = schedule(|_| {
        async {
            let others = RUNNING.fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0, "one at a time");
            tokio::task::yield_now().await;
            RUNNING.fetch_sub(1, Ordering::SeqCst);
            RUNS.add_permits(1);
            Ok(nothing_new())
        }
        .boxed()
    });
    let db = TestDb::create().await;
    let workers = [Started::new(&db, "one", only(counted)), Started::new(&db, "two", only(counted))];
    permits(&RUNS, 50).await;
    for worker in workers {
        assert!(worker.monitor.text().await.contains("outcome=\"failed\"} 0\n"), "no run saw another");
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_work_finish_and_hands_the_rest_over() {
    static BEGUN: Semaphore = Semaphore::const_new(0);
    static MAY_END: Semaphore = Semaphore::const_new(0);
    static ENDED: Semaphore = Semaphore::const_new(0);
    let gated = schedule(|_| {
        async {
            BEGUN.add_permits(1);
            MAY_END.acquire().await?.forget();
            ENDED.add_permits(1);
            Ok(nothing_new())
        }
        .boxed()
    });
    let db = TestDb::create().await;
    let first = Started::new(&db, "first", only(gated));
    permits(&BEGUN, 1).await;
    first.stop.cancel();
    let second = Started::new(&db, "second", only(gated));
    MAY_END.add_permits(1);
    first.stop().await;
    assert_eq!(ENDED.available_permits(), 1, "it was finished, not dropped");
    // Free at once, not when a lease runs out.
    permits(&BEGUN, 1).await;
    MAY_END.add_permits(1_000_000);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_or_panics_is_tried_again_and_counted() {
    static RUNS: Semaphore = Semaphore::const_new(0);
    let failing = schedule(|_| {
        async {
            RUNS.add_permits(1);
            assert!(RUNS.available_permits().is_multiple_of(2), "this panic is part of the test");
            anyhow::bail!("no luck")
        }
        .boxed()
    });
    let db = TestDb::create().await;
    let worker = Started::new(&db, "one", only(failing));
    permits_seen(&RUNS, 4).await;
    let text = worker.monitor.text().await;
    let failed = text.lines().find(|line| line.contains("outcome=\"failed\"")).unwrap();
    assert!(failed.rsplit(' ').next().unwrap().parse::<u32>().unwrap() >= 3, "{failed}");
    assert!(text.contains("outcome=\"done\"} 0\n"), "{text}");
    worker.stop().await;
}

/// Waits for so many permits, and leaves them.
async fn permits_seen(semaphore: &Semaphore, count: u32) {
    let permits = timeout(LIMIT, semaphore.acquire_many(count)).await.expect("in time").unwrap();
    drop(permits);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_its_lease_drops_its_work_and_another_takes_over() {
    static BEGUN: Semaphore = Semaphore::const_new(0);
    static DROPPED: Semaphore = Semaphore::const_new(0);
    struct Alarm;
    impl Drop for Alarm {
        fn drop(&mut self) {
            DROPPED.add_permits(1);
        }
    }
    let endless = schedule(|_| {
        async {
            let _alarm = Alarm;
            BEGUN.add_permits(1);
            std::future::pending::<()>().await;
            Ok(nothing_new())
        }
        .boxed()
    });
    let db = TestDb::create().await;
    let first = Started::new(&db, "first", only(endless));
    permits(&BEGUN, 1).await;
    lapse_lease(&db.pool(), "first").await;
    let second = Started::new(&db, "second", only(endless));
    permits(&BEGUN, 1).await;
    permits(&DROPPED, 1).await;
    for worker in [first, second] {
        worker.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_schedule_of_this_program_runs() {
    let db = TestDb::create().await;
    let worker = Started::new(&db, "one", crate::jobs::all());
    let all_done = async {
        loop {
            let text = worker.monitor.text().await;
            let mut lines = text.lines().filter(|line| line.contains("schedule=") && line.contains("outcome="));
            let has_failed = lines.clone().any(|line| line.contains("\"failed\"") && !line.ends_with(" 0"));
            assert!(!has_failed, "{text}");
            if lines.all(|line| line.contains("\"failed\"") || !line.ends_with(" 0")) {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    let text = timeout(LIMIT, all_done).await.expect("in time");
    assert!(text.contains("pds_sequencer_floor_seq 1\n"), "{text}");
    worker.stop().await;
}
