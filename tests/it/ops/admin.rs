//! `pds-worker admin`, `invite`, `publish-identity` and `request-crawl`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::consumer::Consumer;
use crate::harness::operator::{Ended, Operator};

const LIMIT: Duration = Duration::from_secs(30);

struct Scene {
    cluster: Cluster,
    operator: Operator,
}

impl Scene {
    async fn start() -> Self {
        let cluster = Cluster::start(Replicas(2)).await.unwrap();
        Self { operator: Operator::of(&cluster).unwrap(), cluster }
    }

    /// The one object that a command prints, which must succeed.
    async fn tell(&self, arguments: &[&str]) -> Value {
        let ended = self.operator.run(&[arguments, &["--json"]].concat()).await.unwrap();
        assert_eq!(ended.code, 0, "{ended:?}");
        let [object] = &ended.json()[..] else { panic!("{ended:?}") };
        object.clone()
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        self.operator.run(arguments).await.unwrap()
    }

    /// How an account stands, as a replica tells it.
    async fn status(&self, did: &str) -> Value {
        let params = [("did", did)];
        self.cluster.api(1).get_as_admin("com.atproto.admin.getSubjectStatus", &params).await.unwrap()
    }

    /// The actions in the log that are done, the oldest first.
    async fn audited(&self) -> Vec<String> {
        let ended = self.run(&["admin", "audit", "--json"]).await;
        let entries = ended.json();
        let done = entries.iter().rev().filter(|entry| entry["outcome"] == "done");
        done.map(|entry| {
            assert!(entry["actor"].as_str().unwrap().starts_with("command:"), "{entry}");
            entry["action"].as_str().unwrap().to_owned()
        })
        .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_found_and_shown() {
    let scene = Scene::start().await;
    let create = ["admin", "account", "create", "--handle", "alice.test", "--email", "alice@mail.test"];
    let made = scene.tell(&create).await;
    let did = made["did"].as_str().unwrap();
    let login = json!({ "identifier": "alice.test", "password": made["password"] });
    scene.cluster.api(0).post("com.atproto.server.createSession", None, &login).await.unwrap();
    let again = scene.run(&create).await;
    assert_eq!((again.code, again.err.contains("Handle already taken: alice.test")), (2, true), "{again:?}");

    for name in [did, "alice.test", "alice@mail.test", "Alice@mail.test"] {
        let shown = scene.tell(&["admin", "account", "show", name]).await;
        assert_eq!(
            (&shown["did"], &shown["handle"], &shown["status"]),
            (&json!(did), &json!("alice.test"), &json!("active"))
        );
    }
    let quota = scene.tell(&["admin", "account", "set-quota", did, "--count", "3"]).await;
    assert_eq!(quota, json!({ "did": did, "maxBlobBytes": null, "maxBlobs": 3 }));
    let quota = scene.tell(&["admin", "account", "set-quota", did, "--bytes", "9"]).await;
    assert_eq!(quota, json!({ "did": did, "maxBlobBytes": 9, "maxBlobs": 3 }));
    scene.tell(&["admin", "account", "set-quota", did, "--bytes", "unlimited"]).await;
    assert_eq!(scene.run(&["admin", "account", "set-quota", did]).await.code, 2, "to what?");
    let shown = scene.tell(&["admin", "account", "show", did]).await;
    assert_eq!((&shown["blobs"], &shown["maxBlobs"]), (&json!({ "bytes": 0, "count": 0 }), &json!(3)));
    for text in ["ali", "@mail.test", "alice@", did] {
        let found = scene.tell(&["admin", "account", "search", text]).await;
        assert_eq!(found["did"], json!(did), "{text}");
    }
    let table = scene.run(&["admin", "account", "list"]).await;
    let lines: Vec<&str> = table.out.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("DID ") && lines[1].contains("alice@mail.test"), "{table:?}");
    for (arguments, reason) in [
        (&["admin", "account", "show", "bob.test"][..], "there is no account bob.test"),
        (&["admin", "account", "show", "bob"], "bob is no DID, handle or e-mail address"),
        (&["admin", "account", "set-email", "alice.test", "alice"], "alice is no e-mail address"),
    ] {
        let refused = scene.run(arguments).await;
        assert_eq!((refused.code, refused.err.contains(reason)), (2, true), "{refused:?}");
    }
    assert_eq!(
        scene.audited().await,
        ["account.create", "account.set_blob_quota", "account.set_blob_quota", "account.set_blob_quota"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_does_replicas_and_stream_know() {
    let scene = Scene::start().await;
    let alice = scene.cluster.create_account("alice.test").await.unwrap();
    let did = alice.did.as_str();
    let act =
        async |arguments: &[&str]| scene.tell(&[&["admin", "account"], arguments].concat()).await["status"].take();
    assert_eq!(act(&["takedown", "alice.test", "--reference", "case 7"]).await, json!("takendown"));
    assert_eq!(scene.status(did).await["takedown"], json!({ "applied": true, "ref": "case 7" }));
    assert_eq!(act(&["untakedown", did]).await, json!("active"));
    assert_eq!(act(&["deactivate", did, "--delete-after", "2100-01-01T00:00:00Z"]).await, json!("deactivated"));
    let shown = scene.tell(&["admin", "account", "show", did]).await;
    assert_eq!(shown["deleteAfter"], json!("2100-01-01T00:00:00Z"));
    assert_eq!(act(&["activate", did]).await, json!("active"));

    scene.tell(&["admin", "account", "set-email", did, "new@mail.test"]).await;
    scene.tell(&["admin", "account", "set-handle", did, "alicia.test"]).await;
    let reset = scene.tell(&["admin", "account", "reset-password", "new@mail.test"]).await;
    let login = json!({ "identifier": "alicia.test", "password": reset["password"] });
    let session = scene.cluster.api(1).post("com.atproto.server.createSession", None, &login).await.unwrap();
    assert_eq!((&session["did"], &session["email"]), (&json!(did), &json!("new@mail.test")));
    scene.tell(&["publish-identity", did]).await;
    scene.tell(&["publish-identity", "--all"]).await;

    let delete = ["admin", "account", "delete", did];
    let unasked = scene.run(&delete).await;
    assert_eq!((unasked.code, unasked.err.contains("give --yes if you mean it")), (2, true), "{unasked:?}");
    assert_eq!(scene.tell(&[&delete[..], &["--yes"]].concat()).await["deleted"], json!(true));
    assert_eq!(scene.run(&["admin", "account", "show", did]).await.code, 2);
    let expected = [
        "account.takedown",
        "account.restore",
        "account.deactivate",
        "account.activate",
        "account.update_email",
        "account.update_handle",
        "account.update_password",
        "identity.announce",
        "identity.announce",
        "account.delete",
    ];
    assert_eq!(scene.audited().await, expected);

    // 1 to 4: the sign-up; takedown, its end, closing; opening has three; the handle; twice published; the deletion.
    let mut consumer = Consumer::connect(scene.cluster.api(0).origin(), Some(4)).await.unwrap();
    let seen = consumer.until(14, LIMIT).await.unwrap();
    consumer.close().await;
    assert_eq!(seen.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn announcing_everybody_goes_on_after_any_account() {
    let scene = Scene::start().await;
    for name in ["alice.test", "bob.test", "carol.test"] {
        scene.cluster.create_account(name).await.unwrap();
    }
    let published = async |arguments: &[&str]| {
        let ended = scene.run(&[&["publish-identity", "--all", "--json"], arguments].concat()).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.json().into_iter().map(|account| account["did"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = published(&[]).await;
    assert_eq!(all.len(), 3);
    assert_eq!(published(&["--after", &all[0]]).await, all[1..]);
    assert_eq!(published(&["--after", &all[2]]).await, Vec::<String>::new());
    let unknown = scene.run(&["publish-identity", "--all", "--after", "dave.test"]).await;
    assert_eq!((unknown.code, unknown.err.contains("there is no account dave.test")), (2, true), "{unknown:?}");
    assert_eq!(scene.run(&["publish-identity", "alice.test", "--after", &all[0]]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_are_made_listed_and_stopped() {
    let scene = Scene::start().await;
    let alice = scene.cluster.create_account("alice.test").await.unwrap();
    let did = alice.did.as_str();
    let made = scene.run(&["invite", "create", "--uses", "2", "--count", "3", "--for", did, "--json"]).await.json();
    assert_eq!(made.len(), 3);
    assert!(made.iter().all(|code| code["account"] == did && code["uses"] == 2), "{made:?}");
    let code = made[0]["code"].as_str().unwrap();
    let one = scene.run(&["invite", "create"]).await;
    assert!(one.code == 0 && one.out.starts_with("localhost-"), "{one:?}");
    let usable = async || scene.run(&["invite", "list", "--usable", "--json"]).await.json().len();
    assert_eq!(usable().await, 4);
    assert_eq!(scene.tell(&["invite", "disable", code, "unknown"]).await, json!({ "stopped": 1 }));
    assert_eq!(usable().await, 3);
    assert_eq!(scene.tell(&["invite", "disable", "--of", did]).await, json!({ "stopped": 2 }));
    assert_eq!(usable().await, 1);
    let shown = scene.tell(&["admin", "account", "show", did]).await;
    assert_eq!(shown["invites"].as_array().unwrap().len(), 3);
    for arguments in
        [&["invite", "create", "--uses", "0"][..], &["invite", "disable"], &["invite", "disable", "--of", "admin"]]
    {
        assert_eq!(scene.run(arguments).await.code, 2, "{arguments:?}");
    }
    assert_eq!(scene.audited().await, ["invite.create", "invite.create", "invite.disable", "invite.disable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_are_asked_and_their_answers_told() {
    let scene = Scene::start().await;
    let none = scene.run(&["request-crawl"]).await;
    assert_eq!((none.code, none.err.contains("there is no relay to ask")), (2, true), "{none:?}");
    // A server of ours is no relay, and says so.
    let relay = scene.cluster.api(0).origin().to_owned();
    let asked = scene.run(&["request-crawl", "--relay", &relay, "--relay", "http://127.0.0.1:1", "--json"]).await;
    assert_eq!(asked.code, 1, "{asked:?}");
    let [refused, away] = &asked.json()[..] else { panic!("{asked:?}") };
    assert_eq!((&refused["accepted"], &refused["status"]), (&json!(false), &json!(501)));
    assert_eq!(refused["reason"], json!("MethodNotImplemented: Method Not Implemented"));
    assert_eq!((&away["accepted"], away.get("status")), (&json!(false), None));
    assert!(away["reason"].as_str().unwrap().contains("cannot be reached"), "{away}");
    assert_eq!(scene.audited().await, ["crawl.request"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_filtered() {
    let scene = Scene::start().await;
    let alice = scene.cluster.create_account("alice.test").await.unwrap();
    let did = alice.did.as_str();
    scene.tell(&["invite", "create"]).await;
    scene.tell(&["admin", "account", "takedown", did]).await;
    let note = json!({ "account": did });
    scene.cluster.api(0).post_as_admin("com.atproto.admin.disableAccountInvites", &note).await.unwrap();
    let entries = async |arguments: &[&str]| {
        let ended = scene.run(&[&["admin", "audit", "--json"], arguments].concat()).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.json()
    };
    assert_eq!(entries(&[]).await.len(), 3);
    assert_eq!(entries(&["--subject", did]).await.len(), 2);
    assert_eq!(entries(&["--actor", "admin"]).await[0]["action"], json!("account.disable_invites"));
    assert_eq!(entries(&["--limit", "1"]).await.len(), 1);
    assert_eq!(entries(&["--since", "2100-01-01T00:00:00Z"]).await.len(), 0);
    let plain = scene.run(&["admin", "audit", "--subject", did]).await;
    assert!(plain.out.lines().any(|line| line.contains("account.takedown") && line.contains(did)), "{plain:?}");
    assert_eq!(scene.run(&["admin", "audit", "--since", "yesterday"]).await.code, 2);
}
