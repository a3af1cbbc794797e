//! `pds-worker relay` and `request-crawl`, against relays that speak the real methods.

use std::time::Duration;

use common::relay::Relays;
use common::testing::{FakeRelay, Manners, damage, log, relays};
use serde_json::{Value, json};

use crate::harness::account::Account;
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::operator::{Ended, Operator};

struct Scene {
    cluster: Cluster,
    operator: Operator,
    alice: Account,
    relay: FakeRelay,
}

impl Scene {
    /// A server with an account that was made long ago, and a relay that has read everything.
    async fn start() -> Self {
        let cluster = Cluster::start(Replicas(1)).await.unwrap();
        let (alice, relay) = (cluster.create_account("alice.test").await.unwrap(), FakeRelay::start().await);
        relays::age_accounts(&cluster.db().pool(), Duration::from_hours(1)).await;
        let operator = Operator::of(&cluster).unwrap().with("PDS_CRAWLERS", &relay.name());
        let scene = Self { cluster, operator, alice, relay };
        scene.says("active", scene.newest().await);
        scene.relay.set_account(&scene.alice.did, "");
        scene
    }

    async fn newest(&self) -> i64 {
        damage::last_seq(&self.cluster.db().pool()).await
    }

    fn says(&self, status: &str, seq: i64) {
        self.relay.set_host(json!({"status": status, "seq": seq, "accountCount": 1}));
    }

    async fn status(&self, arguments: &[&str]) -> Ended {
        self.operator.run(&[&["relay", "status"], arguments].concat()).await.unwrap()
    }

    /// Exit code and the one object.
    async fn json(&self) -> (i32, Value) {
        let ended = self.status(&["--json", "--again-after", "0"]).await;
        let [object] = &ended.json()[..] else { panic!("{ended:?}") };
        (ended.code, object.clone())
    }

    /// Exit code and names of the warnings.
    async fn warnings(&self) -> (i32, Vec<String>) {
        let (code, object) = self.json().await;
        let warnings = object["warnings"].as_array().unwrap().iter();
        (code, warnings.map(|warning| warning["warning"].as_str().unwrap().to_owned()).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_has_read_everything_is_no_cause_for_a_warning() {
    let scene = Scene::start().await;
    let shown = scene.status(&[]).await;
    let lines: Vec<&str> = shown.out.lines().collect();
    assert!(shown.code == 0 && lines.len() == 3 && lines[0].starts_with("RELAY "), "{shown:?}");
    let row: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(row, [&scene.relay.name(), "active", "0", "1", "1", "-", "1", "0", "0", "0", "0", "0"]);
    assert_eq!(lines[2].trim(), "never told of events by this server");

    let (code, object) = scene.json().await;
    assert_eq!((code, &object["hostStatus"], &object["lagEvents"]), (0, &json!("active"), &json!(0)));
    assert_eq!((&object["warnings"], &object["survey"]["answered"]), (&json!([]), &json!(1)));
    let all = scene.status(&["--all", "--per-second", "100"]).await;
    assert_eq!((all.code, all.err.contains("asked about 1 accounts")), (0, true), "{all:?}");
    scene.relay.set_manners(Manners::Ignorant);
    assert_eq!(scene.warnings().await, (0, vec![]), "it is not one of those that tell");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_and_is_the_exit_code() {
    let scene = Scene::start().await;
    let (pool, newest) = (scene.cluster.db().pool(), scene.newest().await);
    let one = |name: &str| vec![name.to_owned()];
    scene.says("active", newest - 2);
    assert_eq!(scene.warnings().await, (0, vec![]), "it lags, but not for long");
    log::age(&pool, newest, Duration::from_mins(11)).await;
    assert_eq!(scene.warnings().await, (1, one("lagging")));
    scene.says("active", newest + 5);
    assert_eq!(scene.warnings().await, (1, one("cursor_ahead")));
    let shown = scene.status(&[]).await;
    assert!(shown.out.contains("ahead 5") && shown.out.contains(&format!("sequencer bump --to {}", newest + 5)));
    for status in ["offline", "throttled", "banned", "\u{1b}[2J"] {
        scene.says(status, newest);
        assert_eq!(scene.warnings().await, (1, one("host_status")), "{status}");
    }
    scene.says("idle", newest);
    for status in ["throttled", "desynchronized", "deactivated"] {
        scene.relay.set_account(&scene.alice.did, status);
        assert_eq!(scene.warnings().await, (1, one("accounts")), "{status}");
    }
    scene.relay.set_account(&scene.alice.did, "throttled");
    let letter = scene.operator.with("PDS_CONTACT_EMAIL_ADDRESS", "ops@pds.test");
    let letter = letter.run(&["relay", "status", "--letter"]).await.unwrap();
    for words in ["Please raise the account limit of the PDS localhost", scene.alice.did.as_str(), "ops@pds.test"] {
        assert!(letter.out.contains(words), "{letter:?}");
    }
    scene.relay.set_account(&scene.alice.did, "");
    let limited = scene.operator.with("PDS_RELAY_ACCOUNT_LIMIT", "1").run(&["relay", "status"]).await.unwrap();
    assert!(limited.code == 1 && limited.out.contains("1 accounts are 100 % of the 1 that it allows"), "{limited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_does_not_say_is_not_taken_for_sound() {
    let scene = Scene::start().await;
    for manners in [Manners::Failing, Manners::Garbled, Manners::Endless, Manners::Redirecting, Manners::Cursing] {
        scene.relay.set_manners(manners);
        let ended = scene.status(&[]).await;
        assert_eq!(ended.code, 2, "{manners:?} {ended:?}");
        assert!(ended.out.contains("it does not say how this server is to it"), "{ended:?}");
        // What a terminal would obey is not there, and no line is forged.
        assert!(ended.out.chars().all(|c| c == '\n' || !c.is_control()), "{ended:?}");
        assert_eq!(ended.out.lines().count(), 4, "{ended:?}");
    }
    let other = FakeRelay::start().await;
    let both = scene.status(&["--relay", &scene.relay.name(), "--relay", &other.name(), "--json"]).await;
    assert_eq!((both.code, both.json().len()), (1, 2), "the other does not know this server: {both:?}");

    let none = scene.operator.with("PDS_CRAWLERS", "").run(&["relay", "status"]).await.unwrap();
    assert_eq!((none.code, none.err.contains("there is no relay to ask")), (2, true), "{none:?}");
    let away = scene.operator.with("PDS_DATABASE_URL", "postgres://postgres@127.0.0.1:1/none");
    assert_eq!(away.run(&["relay", "status"]).await.unwrap().code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_know_of_what_the_command_told() {
    let scene = Scene::start().await;
    let relays = Relays::new(scene.cluster.db().pool());
    let name = scene.relay.name();
    assert_eq!(relays.list_due(&[&name]).await.unwrap().len(), 1);
    let asked = scene.operator.run(&["request-crawl"]).await.unwrap();
    assert_eq!((asked.code, asked.out), (0, format!("{name} will read localhost\n")));
    assert_eq!(scene.relay.told(), ["localhost"]);
    assert!(relays.list_due(&[&name]).await.unwrap().is_empty());
    scene.alice.post(&scene.cluster.api(0), "hi", None).await.unwrap();
    assert!(relays.list_due(&[&name]).await.unwrap().is_empty(), "its interval has begun");

    scene.relay.set_manners(Manners::Cursing);
    let cursed = scene.operator.run(&["request-crawl"]).await.unwrap();
    assert_eq!((cursed.code, cursed.out.lines().count()), (1, 1), "{cursed:?}");
    assert!(cursed.out.trim_end().chars().all(|c| !c.is_control()), "{cursed:?}");
    let notice = relays.list_notices(&[&name]).await.unwrap().remove(0);
    assert!(notice.failures == 1 && notice.told_seq == Some(4), "{notice:?}");

    let other = FakeRelay::start().await;
    let asked = scene.operator.run(&["request-crawl", "--relay", &other.name()]).await.unwrap();
    assert_eq!((asked.code, other.told().len()), (0, 1));
    assert!(relays.list_notices(&[&other.name()]).await.unwrap().is_empty(), "workers do not tell this one");
}
