use std::time::Duration;

use atproto::syntax::Did;
use common::account::Accounts;
use common::clock::Clock;
use common::config::AccountLimits;
use common::relay::{Difference, HostStatus, Relay, Warning};
use common::sequencer::Sequencer;
use common::testing::{FakeRelay, Manners, TestDb, relays, seed};
use serde_json::json;

use super::*;

/// Short, for relays that never answer; every other call is over as soon as it is answered.
const SHORT: Limits = Limits { query: Duration::from_millis(300), notice: Duration::from_millis(300) };

fn client() -> RelayClient {
    RelayClient::new("pds.example").unwrap()
}

fn did(name: &str) -> Did {
    seed::did_of(name).parse().unwrap()
}

#[tokio::test]
async fn a_relay_is_told_the_host_and_says_what_it_knows() {
    let relay = FakeRelay::start().await;
    assert_eq!(client().request_crawl(&relay.url()).await, Ok(200));
    assert_eq!(relay.told(), ["pds.example"]);
    assert_eq!(client().host_status(&relay.url()).await, Ok(Host::NotFound));
    let cases = [
        (json!({"seq": 5, "accountCount": 2, "status": "idle"}), (HostStatus::Idle, Some(5), Some(2))),
        (json!({"seq": -1, "status": "banned"}), (HostStatus::Banned, Some(0), None)),
        (json!({"status": "on fire", "accountCount": -7}), (HostStatus::Other, None, None)),
        (json!({"seq": 9_007_199_254_740_993_i64}), (HostStatus::Unknown, Some(9_007_199_254_740_993), None)),
    ];
    for (answer, (status, cursor, accounts)) in cases {
        relay.set_host(answer);
        assert_eq!(client().host_status(&relay.url()).await, Ok(Host::Known { status, cursor, accounts }));
    }
    let alice = did("alice.test");
    assert_eq!(client().repo_status(&relay.url(), &alice).await, Ok(None));
    relay.set_account(&alice, "");
    assert_eq!(client().repo_status(&relay.url(), &alice).await.unwrap().map(|repo| repo.active), Some(true));
    relay.set_account(&alice, "throttled");
    let throttled = Repo { active: false, status: Some("throttled".to_owned()) };
    assert_eq!(client().repo_status(&relay.url(), &alice).await, Ok(Some(throttled)));
}

#[tokio::test]
async fn bad_answers_are_refusals_of_bounded_size_and_time() {
    let relay = FakeRelay::start().await;
    let (url, alice) = (relay.url(), did("alice.test"));
    let long = Limits { query: Duration::from_mins(1), notice: Duration::from_mins(1) };
    for (manners, limits, words) in [
        (Manners::Silent, SHORT, "did not answer in time"),
        (Manners::Failing, long, "500, InternalServerError: no"),
        (Manners::Endless, long, "the answer is larger than 65536 bytes"),
        (Manners::Redirecting, long, "302, a redirect, which is not followed"),
        (Manners::Garbled, long, "200, an answer that is none to this question"),
        (Manners::Cursing, long, "400, Bad\\u{7}Request: \\u{1b}[2J"),
    ] {
        relay.set_manners(manners);
        let client = RelayClient::with_limits("pds.example", limits).unwrap();
        let mut refusals = vec![
            client.host_status(&url).await.unwrap_err().to_string(),
            client.repo_status(&url, &alice).await.unwrap_err().to_string(),
        ];
        // What the body says is not asked for when it is told.
        if manners != Manners::Garbled {
            refusals.push(client.request_crawl(&url).await.unwrap_err().to_string());
        }
        for refusal in refusals {
            assert!(refusal.contains(words) && refusal.chars().all(|c| !c.is_control()), "{manners:?}: {refusal}");
        }
    }
    relay.set_manners(Manners::Ignorant);
    assert_eq!(client().host_status(&url).await, Ok(Host::NotTold));
    drop(relay);
    let away = client().host_status(&url).await.unwrap_err();
    assert!(away.status.is_none() && away.to_string().starts_with("cannot be reached: "), "{away}");
}

struct Scene {
    db: TestDb,
    relay: FakeRelay,
    checker: Checker,
}

impl Scene {
    /// A server with these accounts, made long ago, and a relay.
    async fn start(names: &[&str]) -> Self {
        let (db, relay) = (TestDb::create().await, FakeRelay::start().await);
        for name in names {
            seed::account(&db.pool(), name).await;
        }
        relays::age_accounts(&db.pool(), Duration::from_hours(1)).await;
        let checker = Checker {
            client: client(),
            accounts: Accounts::new(db.pool()),
            sequencer: Sequencer::new(&db.pool()),
            clock: Clock::system(),
            limits: AccountLimits::default(),
            second_look: Duration::ZERO,
        };
        Self { db, relay, checker }
    }

    async fn check(&self, whose: Whose) -> common::relay::Check {
        let plan = Plan { whose, per_second: 1000, progress: &|_, _| {} };
        self.checker.check(&Relay::new(self.relay.url()), &plan).await.unwrap()
    }
}

#[tokio::test]
async fn accounts_that_differ_are_counted_by_how() {
    let names = ["a.test", "b.test", "c.test", "d.test", "e.test", "f.test", "g.test"];
    let scene = Scene::start(&names).await;
    seed::set_deactivated(&scene.db.pool(), did("e.test").as_str(), true).await;
    seed::set_taken_down(&scene.db.pool(), did("f.test").as_str(), true).await;
    scene.relay.set_host(json!({"status": "active", "seq": 0, "accountCount": 7}));
    let states = [
        ("a.test", ""),
        ("b.test", "throttled"),
        ("c.test", "desynchronized"),
        ("d.test", "suspended"),
        ("e.test", ""),
        ("f.test", "takendown"),
    ];
    for (name, status) in states {
        scene.relay.set_account(&did(name), status);
    }
    for whose in [Whose::All, Whose::Some(14)] {
        let check = scene.check(whose).await;
        let mut expected = vec![
            (Difference::Throttled, 1),
            (Difference::Desynchronized, 1),
            (Difference::Missing, 1),
            (Difference::Open, 1),
            (Difference::Moderated, 1),
        ];
        expected.sort_unstable();
        assert_eq!((check.survey.answered, check.survey.unanswered), (7, 0));
        assert_eq!(check.survey.differences.clone().into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(check.own_accounts, 7);
        assert_eq!(check.warnings(), [Warning::Accounts]);
    }
    assert_eq!(scene.check(Whose::Some(0)).await.survey.answered, 0);
}

#[tokio::test]
async fn accounts_made_just_now_are_not_missing() {
    let scene = Scene::start(&["a.test"]).await;
    seed::account(&scene.db.pool(), "new.test").await;
    scene.relay.set_host(json!({"status": "active"}));
    scene.relay.set_account(&did("a.test"), "");
    for whose in [Whose::All, Whose::Some(10)] {
        let check = scene.check(whose).await;
        assert_eq!((check.survey.answered, check.warnings().len()), (1, 0));
    }
}

/// What was changed just now, a relay has not heard of when it is asked for the first time.
#[tokio::test]
async fn what_a_relay_has_not_heard_of_yet_is_looked_at_twice() {
    let names = ["closed.test", "opened.test", "late.test", "wrong.test", "throttled.test"];
    let scene = Scene::start(&names).await;
    seed::set_deactivated(&scene.db.pool(), did("closed.test").as_str(), true).await;
    scene.relay.set_host(json!({"status": "active"}));
    for (name, status) in [
        ("closed.test", ""),
        ("opened.test", "deactivated"),
        ("wrong.test", "deleted"),
        ("throttled.test", "throttled"),
    ] {
        scene.relay.set_account(&did(name), status);
    }
    for (name, status) in [("closed.test", "deactivated"), ("opened.test", ""), ("late.test", "")] {
        scene.relay.hear_once_asked(&did(name), status);
    }
    let check = scene.check(Whose::All).await;
    let expected = [(Difference::Throttled, 1), (Difference::Closed, 1)];
    assert_eq!(check.survey.differences.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!((check.survey.answered, scene.relay.asked()), (5, 5 + 4));
}

#[tokio::test]
async fn a_relay_that_stops_answering_is_asked_no_more() {
    let names: Vec<String> = ('a'..='e').flat_map(|a| ('a'..='h').map(move |b| format!("{a}{b}.test"))).collect();
    let mut scene = Scene::start(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    scene.relay.set_host(json!({"status": "active"}));
    scene.relay.set_repo_manners(Manners::Failing);
    let check = scene.check(Whose::All).await;
    assert_eq!((check.survey.answered, check.survey.unanswered), (0, 5));
    assert!(scene.relay.asked() < 40, "{}", scene.relay.asked());
    assert_eq!(check.warnings(), [Warning::Unanswered]);

    // Another, since questions may still be on their way to the first.
    scene.relay = FakeRelay::start().await;
    scene.relay.set_manners(Manners::Failing);
    let check = scene.check(Whose::All).await;
    assert_eq!(
        (check.host_status, check.failure.as_deref()),
        (HostStatus::Unknown, Some("500, InternalServerError: no"))
    );
    assert_eq!(scene.relay.asked(), 0, "who says nothing of the host is not asked about its accounts");
}
