//! Limits that two replicas share, whatever becomes of Redis.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::{Overrides, Pds};
use common::config::{Config, RedisConfig};
use common::testing::{FakePlc, TestDb, redis_config};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::Response;
use serde_json::json;
use tests::stack::Redis;

use crate::harness::processes::Processes;
use crate::harness::progress::Progress;

const DESCRIBE_SERVER: &str = "com.atproto.server.describeServer";
const CREATE_SESSION: &str = "com.atproto.server.createSession";
const CREATE_ACCOUNT: &str = "com.atproto.server.createAccount";
const CORRECT: &str = "correct horse";
/// How long a condition may take to come true.
const LIMIT: Duration = Duration::from_secs(30);

/// Two replicas with a Redis of their own. Windows last for minutes, so that none ends during a test.
struct Stage {
    replicas: Vec<Pds>,
    http: reqwest::Client,
    _plc: FakePlc,
    _db: TestDb,
    _folder: tempfile::TempDir,
}

/// How Redis runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Server,
    Cluster,
    /// A server that nobody waits for any longer than by default.
    Hasty,
}

impl Stage {
    async fn start(points: &[(&str, u32)]) -> (Self, Redis) {
        Self::start_on(Kind::Server, points).await
    }

    async fn start_on(kind: Kind, points: &[(&str, u32)]) -> (Self, Redis) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("redis.log");
        let redis = match kind {
            Kind::Server | Kind::Hasty => Redis::start(folder.path(), &log).await.unwrap(),
            Kind::Cluster => Redis::start_cluster(folder.path(), &log).await.unwrap(),
        };
        let (db, plc) = (TestDb::create().await, FakePlc::start().await);
        let mut replicas = Vec::new();
        for _ in 0..2 {
            let mut config = Config::for_tests();
            config.identity.plc_url = plc.url();
            config.deployment.metrics_port = Some(0);
            let patient = redis_config(Some(&redis.url()));
            let timeout = if kind == Kind::Hasty { Duration::from_millis(500) } else { patient.timeout };
            config.redis = Some(RedisConfig { cluster: kind == Kind::Cluster, timeout, ..patient });
            config.rate_limit.enabled = true;
            config.rate_limit.points = points.iter().map(|(name, points)| ((*name).to_owned(), *points)).collect();
            let mut overrides = Overrides::default();
            overrides.database = Some(db.other_pool());
            let mut replica = Pds::create(config, overrides).await.unwrap();
            replica.start();
            replicas.push(replica);
        }
        let http = reqwest::Client::builder().timeout(LIMIT).build().unwrap();
        let stage = Self { replicas, http, _plc: plc, _db: db, _folder: folder };
        stage.until_redis_is(1).await;
        (stage, redis)
    }

    /// Asks a replica what anybody may ask, as a client at `address`.
    async fn ask(&self, replica: usize, address: &str) -> Result<Response> {
        let url = format!("{}/xrpc/{DESCRIBE_SERVER}", self.replicas[replica].local_url());
        Ok(self.http.get(url).header("x-forwarded-for", address).send().await?)
    }

    /// Tries a wrong password at a replica, as a client at `address`; the status.
    async fn sign_in(&self, replica: usize, name: &str, address: &str) -> Result<u16> {
        self.sign_in_with(replica, name, "wrong", address).await
    }

    /// Tries a password at a replica, as a client at `address`; the status.
    async fn sign_in_with(&self, replica: usize, name: &str, password: &str, address: &str) -> Result<u16> {
        let url = format!("{}/xrpc/{CREATE_SESSION}", self.replicas[replica].local_url());
        let call = self.http.post(url).header("x-forwarded-for", address);
        let answer = call.json(&json!({ "identifier": name, "password": password })).send().await?;
        Ok(answer.status().as_u16())
    }

    /// Signs somebody up as `<name>.test` with the password [`CORRECT`].
    async fn sign_up(&self, name: &str) -> Result<()> {
        let url = format!("{}/xrpc/{CREATE_ACCOUNT}", self.replicas[0].local_url());
        let input =
            json!({ "handle": format!("{name}.test"), "email": format!("{name}@mail.test"), "password": CORRECT });
        self.http.post(url).json(&input).send().await?.error_for_status()?;
        Ok(())
    }

    /// A number among a replica's metrics.
    async fn metric(&self, replica: usize, name: &str) -> Result<u64> {
        let address = self.replicas[replica].metrics_addr().context("a metrics port")?;
        let text = self.http.get(format!("http://{address}/metrics")).send().await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no {name}"))?.parse()?)
    }

    /// Waits until all replicas say that they count in Redis, or that they do not.
    async fn until_redis_is(&self, up: u64) {
        let waiting = async {
            for replica in 0..self.replicas.len() {
                while self.metric(replica, "pds_rate_limit_redis_up").await.unwrap() != up {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.expect("the replicas notice");
    }
}

/// What the answer says of the tightest limit.
fn told(answer: &Response) -> BTreeMap<&'static str, u64> {
    let headers = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after"];
    let read = |name: &'static str| Some((name, answer.headers().get(name)?.to_str().ok()?.parse().ok()?));
    headers.into_iter().filter_map(read).collect()
}

/// Sends requests to both replicas at once, in turns; how many were let through, and the ends of the window that answers
/// told of.
async fn flood(stage: &Stage, requests: usize, address: &str) -> (usize, Vec<u64>) {
    let answers = join_all((0..requests).map(|turn| stage.ask(turn % 2, address))).await;
    let answers: Vec<Response> = answers.into_iter().collect::<Result<_>>().unwrap();
    assert!(answers.iter().all(|answer| [200, 429].contains(&answer.status().as_u16())));
    let passes = answers.iter().filter(|answer| answer.status() == 200).count();
    let mut ends: Vec<u64> = answers.iter().map(|answer| told(answer)["ratelimit-reset"]).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut left: Vec<u64> = answers
        .iter()
        .filter(|answer| answer.status() == 200)
        .map(|answer| told(answer)["ratelimit-remaining"])
        .collect();
    left.sort_unstable();
    left.dedup();
    assert_eq!(left.len(), passes, "no two answers tell the same rest");
    (passes, ends)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_let_exactly_as_many_through_as_the_limit_says() {
    let (stage, _redis) = Stage::start(&[("global", 100)]).await;
    let (passes, ends) = flood(&stage, 250, "192.0.2.1").await;
    assert_eq!((passes, ends.len()), (100, 1), "and all tell the same end");
    for replica in 0..2 {
        let refused = stage.ask(replica, "192.0.2.1").await.unwrap();
        let told = told(&refused);
        assert_eq!((refused.status().as_u16(), told["ratelimit-remaining"]), (429, 0));
        assert!((1..=300).contains(&told["retry-after"]) && told["ratelimit-reset"] == ends[0]);
    }
    assert_eq!(flood(&stage, 120, "192.0.2.2").await.0, 100, "somebody else has as many");
    let refused = stage.metric(0, "pds_rate_limit_refused_total{limit=\"global\"}").await.unwrap()
        + stage.metric(1, "pds_rate_limit_refused_total{limit=\"global\"}").await.unwrap();
    assert_eq!(refused, 150 + 2 + 20);
}

/// A cluster refuses a script whose keys are in several slots, and sends clients to the node of a slot.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_counts_as_exactly() {
    let (stage, _redis) = Stage::start_on(Kind::Cluster, &[("global", 100), ("create-session-5min", 3)]).await;
    assert_eq!(flood(&stage, 130, "192.0.2.1").await.0, 100);
    let mut statuses = Vec::new();
    for turn in 0..5 {
        statuses.push(stage.sign_in(turn % 2, "alice.test", "192.0.2.2").await.unwrap());
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429], "six limits, one question");
    assert_eq!(stage.metric(0, "pds_rate_limit_redis_losses_total").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_not_guessed_more_often_at_another_replica_or_from_another_address() {
    let (stage, _redis) =
        Stage::start(&[("create-session-5min", 4), ("login-name-5min", 6), ("login-address-5min", 8)]).await;
    let tries = async |name: &str, addresses: &[&str]| {
        let mut passes = 0;
        for (turn, address) in addresses.iter().enumerate() {
            passes += usize::from(stage.sign_in(turn % 2, name, address).await.unwrap() == 401);
        }
        passes
    };
    assert_eq!(tries("alice.test", &["192.0.2.1"; 6]).await, 4);
    assert_eq!(tries("alice.test", &["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]).await, 2);
    // What a client says of itself further left changes nothing.
    let spoofed: Vec<String> = (0..12).map(|turn| format!("203.0.113.{turn}, 192.0.2.9")).collect();
    let mut passes = 0;
    for (turn, address) in spoofed.iter().enumerate() {
        passes += usize::from(stage.sign_in(turn % 2, &format!("user{turn}.test"), address).await.unwrap() == 401);
    }
    assert_eq!(passes, 8, "with a new name each time");
}

/// Strangers with many addresses use up the limits of somebody's name, at both replicas. Its owner signs in nevertheless, from
/// where they did so before, at either replica, and also while Redis is away.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_keep_no_owner_out_who_comes_from_a_known_address() {
    let (stage, mut redis) = Stage::start(&[("create-session-5min", 5), ("login-name-5min", 8)]).await;
    stage.sign_up("alice").await.unwrap();
    let (home, elsewhere) = ("192.0.2.1", "192.0.2.2");
    let sign_in = async |replica: usize, address: &str| {
        stage.sign_in_with(replica, "alice.test", CORRECT, address).await.unwrap()
    };
    assert_eq!(sign_in(0, home).await, 200);
    let use_up = async || {
        for replica in 0..2 {
            let mut strangers = (0_u8..).map(|turn| format!("198.51.100.{turn}"));
            while stage.sign_in(replica, "alice.test", &strangers.next().unwrap()).await.unwrap() != 429 {}
        }
    };
    use_up().await;
    for replica in 0..2 {
        assert_eq!((sign_in(replica, home).await, sign_in(replica, elsewhere).await), (200, 429));
    }
    redis.server().signal(Signal::SIGKILL);
    redis.server_mut().ended().await.unwrap();
    for replica in 0..2 {
        // The first request finds out.
        assert_eq!(stage.ask(replica, elsewhere).await.unwrap().status(), 200);
    }
    use_up().await;
    for replica in 0..2 {
        assert_eq!((sign_in(replica, home).await, sign_in(replica, elsewhere).await), (200, 429));
    }
}

/// Under load Redis is killed, comes back empty, stands still and goes on. Nobody gets an error for it; every request is
/// counted somewhere.
#[tokio::test(flavor = "multi_thread")]
async fn redis_may_go_and_come_back_under_load() {
    let (stage, mut redis) = Stage::start_on(Kind::Hasty, &[("global", 1_000_000)]).await;
    let (progress, done) = (Progress::default(), AtomicBool::new(false));
    let asking = async |client: usize| -> Result<()> {
        for turn in client.. {
            if done.load(Ordering::SeqCst) {
                break;
            }
            let answer = stage.ask(turn % 2, "192.0.2.1").await?;
            ensure!(answer.status() == 200 && told(&answer)["ratelimit-limit"] == 1_000_000, "{answer:?}");
            progress.count();
        }
        Ok(())
    };
    let more = async |requests: usize| progress.reaches(progress.done() + requests).await;
    let faults = async {
        more(50).await;
        redis.server().signal(Signal::SIGKILL);
        stage.until_redis_is(0).await;
        more(50).await;
        redis.replace().await.unwrap();
        stage.until_redis_is(1).await;
        more(50).await;
        redis.server().signal(Signal::SIGSTOP);
        stage.until_redis_is(0).await;
        more(50).await;
        redis.server().signal(Signal::SIGCONT);
        stage.until_redis_is(1).await;
        more(50).await;
        done.store(true, Ordering::SeqCst);
    };
    let clients = join_all((0..8).map(asking));
    let (answers, ()) = tokio::join!(clients, faults);
    answers.into_iter().collect::<Result<()>>().unwrap();
    for replica in 0..2 {
        assert!(stage.metric(replica, "pds_rate_limit_redis_losses_total").await.unwrap() >= 2, "one for each fault");
    }
}

/// Without Redis each replica lets through what the limit says, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_each_replica_counts_for_itself() {
    goes_and_comes_back(Kind::Server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_cluster_is_away_each_replica_counts_for_itself() {
    goes_and_comes_back(Kind::Cluster).await;
}

async fn goes_and_comes_back(kind: Kind) {
    let (stage, mut redis) = Stage::start_on(kind, &[("global", 50)]).await;
    redis.server().signal(Signal::SIGKILL);
    redis.server_mut().ended().await.unwrap();
    let count = async |replica: usize, requests: usize| {
        let answers = join_all((0..requests).map(|_| stage.ask(replica, "192.0.2.1"))).await;
        answers.into_iter().filter(|answer| answer.as_ref().unwrap().status() == 200).count()
    };
    // The first request at each finds out.
    assert_eq!((count(0, 80).await, count(1, 80).await), (50, 50));
    redis.replace().await.unwrap();
    stage.until_redis_is(1).await;
    assert_eq!(flood(&stage, 80, "192.0.2.1").await.0, 50, "together again, from the beginning");
}

/// A process counts through an encrypted connection, and writes one line of its log for each change.
#[tokio::test(flavor = "multi_thread")]
async fn redis_is_reached_by_tls_and_its_changes_are_told_once() {
    let (db, plc, folder) = (TestDb::create().await, FakePlc::start().await, tempfile::tempdir().unwrap());
    let dir = folder.path().join("redis");
    let mut redis = Redis::start_encrypted(&dir, &folder.path().join("redis.log")).await.unwrap();
    let mut processes = Processes::new(1, db.url(), &plc, folder.path()).unwrap();
    for (name, value) in [
        ("LOG_ENABLED", "true"),
        ("PDS_RATE_LIMITS_ENABLED", "true"),
        ("PDS_REDIS_SCRATCH_ADDRESS", &format!("rediss://localhost:{}", redis.address().rsplit(':').next().unwrap())),
        ("PDS_REDIS_SCRATCH_PASSWORD", redis.password()),
        ("PDS_REDIS_SCRATCH_TIMEOUT_MS", "30000"),
        ("SSL_CERT_FILE", dir.join("certificate.pem").to_str().unwrap()),
    ] {
        processes.set(name, value);
    }
    let api = processes.start(0).await.unwrap();
    let lines = |text: &str| std::fs::read_to_string(api.log()).unwrap().matches(text).count();
    let ask = async || processes.client(0).get(DESCRIBE_SERVER, &[]).await.unwrap();
    let (found, lost) = ("rate limits are counted in Redis", "Redis does not answer");
    assert_eq!((lines(found), lines(lost)), (1, 0), "before the first request");
    redis.server().signal(Signal::SIGKILL);
    redis.server_mut().ended().await.unwrap();
    for _ in 0..20 {
        ask().await;
    }
    assert_eq!((lines(found), lines(lost)), (1, 1), "however many requests");
    redis.replace().await.unwrap();
    let coming_back = async {
        while lines(found) < 2 {
            ask().await;
        }
    };
    tokio::time::timeout(LIMIT, coming_back).await.expect("it is found again");
    assert_eq!((lines(found), lines(lost)), (2, 1));
}
