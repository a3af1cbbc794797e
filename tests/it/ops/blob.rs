//! `pds-worker blob`.

use std::path::PathBuf;
use std::time::Duration;

use atproto::data::Cid;
use common::clock::Clock;
use common::testing::seed;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::harness::account::Account;
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::operator::{Ended, Operator};

const HOUR: Duration = Duration::from_hours(1);
const LIMIT: Duration = Duration::from_mins(1);

struct Scene {
    cluster: Cluster,
    operator: Operator,
    alice: Account,
}

impl Scene {
    /// An account with the blobs `one`, which a record shows, and `two`.
    async fn start() -> Self {
        let cluster = Cluster::start(Replicas(2)).await.unwrap();
        let alice = cluster.create_account("alice.test").await.unwrap();
        let operator = Operator::of(&cluster).unwrap();
        let scene = Self { cluster, operator, alice };
        let one = scene.upload("one").await;
        scene.upload("two").await;
        let input =
            json!({ "repo": scene.alice.did, "collection": "com.example.picture", "record": { "picture": one } });
        let api = scene.cluster.api(1);
        api.post("com.atproto.repo.createRecord", Some(&scene.alice.token), &input).await.unwrap();
        scene
    }

    async fn upload(&self, bytes: &'static str) -> Value {
        self.cluster.api(0).upload(&self.alice.token, "text/plain", bytes).await.unwrap()
    }

    fn file(&self, bytes: &str) -> PathBuf {
        self.cluster.blobs().join(self.alice.did.as_str()).join(cid(bytes))
    }

    async fn pass(&self, time: Duration) {
        seed::age_blobs(&self.cluster.db().pool(), time).await;
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        self.operator.run(&[&["blob"], arguments].concat()).await.unwrap()
    }

    /// Expects success; gives what was said.
    async fn out(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.out
    }
}

fn cid(bytes: &str) -> String {
    Cid::raw(bytes.as_bytes()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_collected_is_said_before_and_after_and_can_be_restored() {
    let scene = Scene::start().await;
    let did = scene.alice.did.as_str();
    scene.pass(HOUR * 25).await;
    let forecast = scene.run(&["gc", "--dry-run", "--json"]).await.json();
    assert_eq!(forecast[0]["forecast"]["unreferenced"], json!({ "blobs": 1, "bytes": 3 }));
    assert!(scene.out(&["gc", "--dry-run"]).await.starts_with("To be put into quarantine: 1 blobs (3 bytes)"));
    let done = scene.run(&["gc", "--json"]).await.json();
    let (one, none) = (json!({ "blobs": 1, "bytes": 3 }), json!({ "blobs": 0, "bytes": 0 }));
    assert_eq!(done, [json!({ "quarantined": one, "givenUp": none, "objects": 0 })]);

    let (kept, unknown) = (cid("two"), cid("three"));
    let listed = scene.run(&["restore", "--did", did, "--list", "--json"]).await.json();
    assert_eq!((listed.len(), &listed[0]["cid"], &listed[0]["size"]), (1, &json!(kept), &json!(3)));
    let restored = scene.run(&["restore", "--did", did, &kept, &unknown]).await;
    let expected = format!("{kept} was restored\n{unknown} is NOT in quarantine\n");
    assert_eq!((restored.code, restored.out), (1, expected));
    let log = scene.operator.run(&["admin", "audit", "--json"]).await.unwrap().json();
    assert_eq!((&log[0]["action"], &log[0]["subject"]), (&json!("blob.keep"), &json!(format!("{did}/blobs/{kept}"))));

    scene.pass(HOUR * 25).await;
    scene.out(&["gc"]).await;
    assert_eq!(scene.out(&["restore", "--did", did, "--all"]).await, format!("{kept} was restored\n"));
    for time in [HOUR * 25, HOUR * 24 * 8, Duration::from_mins(4)] {
        scene.pass(time).await;
        scene.out(&["gc"]).await;
    }
    assert!(scene.file("one").exists() && !scene.file("two").exists());
    let late = scene.run(&["restore", "--did", did, &kept]).await;
    assert_eq!(late.code, 1, "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_corrupt_is_named() {
    let scene = Scene::start().await;
    let did = scene.alice.did.as_str();
    for which in [&["--all"][..], &["--sample", "5"], &["--did", did, "--jobs", "1", "--pace", "1"]] {
        let sound = scene.out(&[&["verify"], which].concat()).await;
        assert!(sound.contains(" 0 missing, 0 corrupt, 0 exposed"), "{sound}");
    }
    std::fs::write(scene.file("one"), "ono").unwrap();
    std::fs::remove_file(scene.file("two")).unwrap();
    let damaged = scene.run(&["verify", "--all"]).await;
    assert_eq!(damaged.code, 1, "{damaged:?}");
    assert!(damaged.out.contains(&format!("{did} {} is CORRUPT: 3 bytes with the CID {}", cid("one"), cid("ono"))));
    assert!(damaged.out.contains(&format!("{did} {} is MISSING", cid("two"))));
    assert!(damaged.out.ends_with("2 blobs checked (3 bytes): 0 sound, 1 missing, 1 corrupt, 0 exposed\n"));
    let json = scene.run(&["verify", "--all", "--json"]).await.json();
    let totals = json!({ "checked": 2, "bytes": 3, "missing": 1, "corrupt": 1, "exposed": 0, "unchecked": 0 });
    assert_eq!((json.len(), &json[2]), (3, &totals));
    scene.upload("one").await;
    scene.upload("two").await;
    scene.out(&["verify", "--all"]).await;
    for bad in [&["verify"][..], &["verify", "--all", "--sample", "3"], &["verify", "--sample", "0"]] {
        assert_eq!(scene.run(bad).await.code, 2, "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_where_readers_look_though_it_is_taken_down_is_put_away_when_asked() {
    let (scene, logs) = (Scene::start().await, TempDir::new().unwrap());
    // As an upload leaves it that was on its way for longer than anybody waited.
    seed::take_blob_down(&scene.cluster.db().pool(), Cid::raw(b"one")).await;
    let worker = scene.operator.start_worker("worker", logs.path()).await.unwrap();
    for repair in [&[][..], &["--repair"]] {
        assert!(scene.file("one").exists());
        let found = scene.run(&[&["verify", "--all"], repair].concat()).await;
        assert_eq!(found.code, 1, "{found:?}");
        assert!(found.out.contains(&format!("{} is EXPOSED", cid("one"))), "{found:?}");
    }
    let put_away = async {
        while scene.file("one").exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, put_away).await.expect("a worker puts it away");
    scene.out(&["verify", "--all"]).await;
    worker.stop(LIMIT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_listed_and_go_when_asked() {
    let scene = Scene::start().await;
    assert!(scene.out(&["orphans"]).await.starts_with("2 objects looked at: 0 orphans"));
    let orphan = scene.file("left behind");
    std::fs::write(&orphan, "left behind").unwrap();
    assert!(scene.out(&["orphans"]).await.contains(" 0 orphans"), "it may belong to an upload on its way");
    let written = Clock::system().now() - HOUR * 30;
    std::fs::File::options().write(true).open(&orphan).unwrap().set_modified(written.into()).unwrap();
    let found = scene.run(&["orphans", "--json"]).await;
    let totals = json!({ "objects": 3, "orphans": 1, "bytes": 11, "foreign": 0, "deleting": 0 });
    assert_eq!((found.code, &found.json()[0]["cid"], &found.json()[1]), (1, &json!(cid("left behind")), &totals));
    assert_eq!(scene.run(&["orphans", "--older-than", "48"]).await.code, 0);
    let unasked = scene.run(&["orphans", "--delete"]).await;
    assert!(unasked.code == 2 && unasked.err.contains("give --yes if you mean it"), "{unasked:?}");
    assert!(scene.out(&["orphans", "--delete", "--yes"]).await.ends_with("1 will be deleted by the workers\n"));
    assert!(orphan.exists(), "it could be uploaded at this moment");
    scene.pass(Duration::from_mins(4)).await;
    scene.out(&["gc"]).await;
    assert!(!orphan.exists() && scene.file("one").exists() && scene.file("two").exists());
}
