//! Relays: when workers tell them, and what they show of them.

use std::time::Duration;

use common::db::PgPool;
use common::http;
use common::jobs::{Filter, Jobs};
use common::relay::{Notice, Relays};
use common::testing::{FakeRelay, Manners, end_claims, finished_at, lapse_leases, live_workers, relays};
use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;
use tests::stack::{Server, free_ports};
use tokio::time::timeout;

use crate::harness::account::Account;
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::operator::Operator;

const LIMIT: Duration = Duration::from_mins(1);
/// As `PDS_CRAWLER_INTERVAL_MS` is by default.
const INTERVAL: Duration = Duration::from_mins(20);
const GRACE: Duration = Duration::from_secs(30);

/// Two replicas, relays, and an operator who starts workers.
struct Scene {
    cluster: Cluster,
    relays: Vec<FakeRelay>,
    operator: Operator,
    jobs: Jobs,
    folder: TempDir,
}

impl Scene {
    async fn start(count: usize) -> Self {
        let cluster = Cluster::start(Replicas(2)).await.unwrap();
        let mut relays = Vec::new();
        for _ in 0..count {
            relays.push(FakeRelay::start().await);
        }
        let urls: Vec<String> = relays.iter().map(FakeRelay::name).collect();
        let operator = Operator::of(&cluster).unwrap();
        let operator = operator.with("PDS_CRAWLERS", &urls.join(",")).with("LOG_ENABLED", "true");
        let jobs = Jobs::new(cluster.db().pool());
        Self { cluster, relays, operator, jobs, folder: TempDir::new().unwrap() }
    }

    fn pool(&self) -> PgPool {
        self.cluster.db().pool()
    }

    async fn worker(&self, name: &str) -> Server {
        self.operator.start_worker(name, self.folder.path()).await.unwrap()
    }

    /// Lets time pass for the relays.
    async fn wait(&self, time: Duration) {
        relays::age_notices(&self.pool(), time).await;
    }

    /// Waits until workers have looked twice, all of that from now on, and have done what they saw.
    async fn settle(&self) {
        let pool = self.pool();
        for _ in 0..3 {
            let before = finished_at(&pool, "crawl_notices").await;
            self.jobs.hasten("crawl_notices").await.unwrap();
            let again = async {
                while finished_at(&pool, "crawl_notices").await == before {
                    tokio::task::yield_now().await;
                }
            };
            timeout(LIMIT, again).await.expect("in time");
        }
        let done = async {
            while !self.jobs.list_jobs(Filter::default(), 0, 1).await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, done).await.expect("in time");
    }

    async fn until_told(&self, relay: usize, count: usize) {
        self.jobs.hasten("crawl_notices").await.unwrap();
        timeout(LIMIT, self.relays[relay].until_told(count)).await.expect("in time");
    }

    fn told(&self, relay: usize) -> usize {
        self.relays[relay].told().len()
    }

    async fn notice(&self, relay: usize) -> Notice {
        Relays::new(self.pool()).list_notices(&[&self.relays[relay].name()]).await.unwrap().remove(0)
    }

    /// Waits until so many workers have a lease.
    async fn until_live(&self, workers: i64) {
        let pool = self.pool();
        let live = async {
            while live_workers(&pool).await != workers {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, live).await.expect("in time");
    }

    /// Writes at both replicas at once.
    async fn write(&self, author: &Account) {
        for _ in 0..3 {
            let (first, second) = (self.cluster.api(0), self.cluster.api(1));
            let (one, two) = tokio::join!(author.post(&first, "hi", None), author.post(&second, "hi", None));
            one.and(two).unwrap();
        }
    }
}

async fn stop(workers: impl IntoIterator<Item = Server>) {
    for worker in workers {
        worker.stop(GRACE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_tell_a_relay_of_what_two_replicas_write_once_in_an_interval() {
    let scene = Scene::start(1).await;
    let alice = scene.cluster.create_account("alice.test").await.unwrap();
    let workers = [scene.worker("one").await, scene.worker("two").await];
    scene.until_told(0, 1).await;
    scene.write(&alice).await;
    scene.settle().await;
    assert_eq!(scene.relays[0].told(), ["localhost"], "once, whatever was written since");
    scene.wait(INTERVAL).await;
    scene.until_told(0, 2).await;
    scene.write(&alice).await;
    scene.settle().await;
    assert_eq!(scene.told(0), 2);
    stop(workers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_told_after_a_start_and_otherwise_only_of_news() {
    let scene = Scene::start(1).await;
    let first = scene.worker("first").await;
    scene.settle().await;
    assert_eq!(scene.told(0), 0, "an empty log is nothing to tell");
    scene.cluster.create_account("alice.test").await.unwrap();
    scene.until_told(0, 1).await;
    scene.settle().await;
    scene.wait(2 * INTERVAL).await;
    scene.settle().await;
    assert_eq!(scene.told(0), 1, "nothing is new");

    let second = scene.worker("second").await;
    scene.until_told(0, 2).await;
    let third = scene.worker("third").await;
    scene.settle().await;
    assert_eq!(scene.told(0), 2, "not again so soon");
    scene.wait(INTERVAL).await;
    scene.until_told(0, 3).await;
    scene.settle().await;
    // Workers that lose their leases and enter themselves anew have not started.
    lapse_leases(&scene.pool()).await;
    scene.until_live(3).await;
    scene.wait(INTERVAL).await;
    scene.settle().await;
    assert_eq!(scene.told(0), 3, "nothing is new");
    stop([first, second, third]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_hangs_or_fails_holds_up_no_other() {
    let scene = Scene::start(3).await;
    let alice = scene.cluster.create_account("alice.test").await.unwrap();
    let [good, failing, silent] = [0, 1, 2];
    scene.relays[failing].set_manners(Manners::Failing);
    scene.relays[silent].set_manners(Manners::Silent);
    let worker = scene.worker("one").await;
    for relay in [good, failing, silent] {
        scene.until_told(relay, 1).await;
    }
    // The silent one is told again as soon as its call is given up; the others do not wait for that.
    for times in 2..=3 {
        scene.write(&alice).await;
        scene.wait(INTERVAL).await;
        scene.until_told(good, times).await;
        scene.until_told(failing, times).await;
    }
    scene.settle().await;
    let reason = scene.notice(silent).await.last_error.unwrap();
    assert!(reason.starts_with("did not answer in time"), "{reason}");
    let notice = scene.notice(failing).await;
    assert_eq!((notice.failures, notice.told_at), (3, None));
    assert_eq!(notice.last_error.as_deref(), Some("500, InternalServerError: no"));
    assert_eq!((scene.told(good), scene.told(failing)), (3, 3), "it has a pause");

    for relay in [failing, silent] {
        scene.relays[relay].set_manners(Manners::Good);
    }
    scene.wait(INTERVAL).await;
    scene.until_told(failing, 4).await;
    scene.settle().await;
    let notice = scene.notice(failing).await;
    assert!(notice.failures == 0 && notice.told_at.is_some() && notice.last_error.is_none(), "{notice:?}");
    stop([worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_not_told_twice_when_a_worker_dies_over_it() {
    let scene = Scene::start(1).await;
    scene.cluster.create_account("alice.test").await.unwrap();
    scene.relays[0].set_manners(Manners::Silent);
    let mut first = scene.worker("first").await;
    scene.until_told(0, 1).await;
    first.signal(Signal::SIGKILL);
    first.ended().await.unwrap();
    end_claims(&scene.pool()).await;
    let second = scene.worker("second").await;
    scene.settle().await;
    assert_eq!(scene.told(0), 1);
    stop([second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_worker_shows_what_relays_say() {
    let scene = Scene::start(2).await;
    let alice = scene.cluster.create_account("alice.test").await.unwrap();
    let (relay, away) = (&scene.relays[0], &scene.relays[1]);
    let pool = scene.pool();
    relays::age_accounts(&pool, Duration::from_hours(1)).await;
    relay.set_host(json!({"status": "throttled", "seq": 1, "accountCount": 80}));
    relay.set_account(&alice.did, "throttled");
    away.set_manners(Manners::Failing);
    let operator = scene.operator.with("PDS_RELAY_ACCOUNT_LIMIT", &format!("{}=100", relay.name()));
    let ports = free_ports(2).unwrap();
    let folder = scene.folder.path();
    let first = operator.start_worker_on(ports[0], "first", folder).await.unwrap();
    let checked = async {
        while finished_at(&pool, "relay_checks").await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, checked).await.expect("in time");
    scene.until_told(0, 1).await;
    scene.settle().await;
    // It was not the second that asked.
    let second = operator.start_worker_on(ports[1], "second", folder).await.unwrap();
    let client = http::internal(LIMIT).unwrap();
    for port in ports {
        let url = format!("http://127.0.0.1:{port}/metrics");
        let text = client.get(url).send().await.unwrap().text().await.unwrap();
        let (relay, away) = (relay.name(), away.name());
        for sample in [
            format!("pds_relay_up{{relay=\"{relay}\"}} 1"),
            format!("pds_relay_up{{relay=\"{away}\"}} 0"),
            format!("pds_relay_host_status{{relay=\"{relay}\",status=\"throttled\"}} 1"),
            format!("pds_relay_host_status{{relay=\"{relay}\",status=\"active\"}} 0"),
            format!("pds_relay_host_status{{relay=\"{away}\",status=\"unknown\"}} 1"),
            format!("pds_relay_cursor{{relay=\"{relay}\"}} 1"),
            format!("pds_relay_cursor_lag_events{{relay=\"{relay}\"}} 3"),
            format!("pds_relay_cursor_ahead_events{{relay=\"{relay}\"}} 0"),
            format!("pds_relay_account_count{{relay=\"{relay}\"}} 80"),
            format!("pds_relay_own_account_count{{relay=\"{relay}\"}} 1"),
            format!("pds_relay_account_limit{{relay=\"{relay}\"}} 100"),
            format!("pds_relay_asked_accounts{{relay=\"{relay}\"}} 1"),
            format!("pds_relay_throttled_accounts{{relay=\"{relay}\"}} 1"),
            format!("pds_relay_differing_accounts{{relay=\"{relay}\",difference=\"throttled\"}} 1"),
            format!("pds_relay_differing_accounts{{relay=\"{relay}\",difference=\"missing\"}} 0"),
            format!("pds_relay_warning{{relay=\"{relay}\",warning=\"account_limit\"}} 1"),
            format!("pds_relay_warning{{relay=\"{relay}\",warning=\"lagging\"}} 0"),
            format!("pds_relay_warning{{relay=\"{away}\",warning=\"unanswered\"}} 1"),
            format!("pds_relay_notice_failures{{relay=\"{relay}\"}} 0"),
            format!("pds_relay_circuit_open{{relay=\"{relay}\"}} 0"),
        ] {
            assert!(text.lines().any(|line| line == sample), "no {sample} in {text}");
        }
        assert!(!text.contains(&format!("pds_relay_cursor{{relay=\"{away}\"")), "what is not known is not shown");
    }
    let log = std::fs::read_to_string(folder.join("first.log")).unwrap();
    assert!(log.contains("80 accounts are 80 % of the 100 that it allows"), "{log}");
    stop([first, second]).await;
}
