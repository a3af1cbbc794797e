//! Every act of an operator or moderator is in the audit log, by method and by command: who, what, to what, when, and how it
//! was before and after.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use common::audit::Action;
use common::clock::Clock;
use common::testing::{blobs, seed};
use serde_json::{Value, json};

use crate::harness::account::Account;
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::moderator::Moderator;
use crate::harness::operator::Operator;

const SUBJECT_STATUS: &str = "com.atproto.admin.updateSubjectStatus";
const PASSWORD: &str = "never to be noted";

struct Scene {
    cluster: Cluster,
    operator: Operator,
    moderator: Moderator,
    alice: Account,
    bob: Account,
}

/// What an act leaves in the log.
struct Expected {
    action: &'static str,
    subject: String,
    did: Option<String>,
    /// At least these.
    before: Option<Value>,
    after: Option<Value>,
    /// It reaches outside of the database, so its beginning is noted too.
    is_witnessed: bool,
}

impl Expected {
    fn of(account: &str, action: &'static str) -> Self {
        let (subject, did) = (account.to_owned(), Some(account.to_owned()));
        Self { action, subject, did, before: None, after: None, is_witnessed: false }
    }

    fn of_part(account: &str, subject: &str, action: &'static str) -> Self {
        Self { subject: subject.to_owned(), ..Self::of(account, action) }
    }

    fn of_server(action: &'static str) -> Self {
        Self { did: None, ..Self::of("server", action) }
    }

    fn from(self, before: Value) -> Self {
        Self { before: Some(before), ..self }
    }

    fn to(self, after: Value) -> Self {
        Self { after: Some(after), ..self }
    }

    fn witnessed(self) -> Self {
        Self { is_witnessed: true, ..self }
    }
}

/// Whether `found` has all of what `expected` has.
fn has(found: &Value, expected: Option<&Value>) -> bool {
    match expected {
        None => found.is_null(),
        Some(expected) => expected.as_object().unwrap().iter().all(|(name, value)| found[name] == *value),
    }
}

impl Scene {
    async fn start() -> Self {
        let moderator = Moderator::new();
        let cluster = moderator.cluster(Replicas(2)).await.unwrap();
        let alice = cluster.create_account("alice.test").await.unwrap();
        let bob = cluster.create_account("bob.test").await.unwrap();
        Self { operator: Operator::of(&cluster).unwrap(), cluster, moderator, alice, bob }
    }

    /// The log as a replica tells it, the newest entry first.
    async fn log(&self, replica: usize) -> Vec<Value> {
        let params = [("limit", "1000")];
        let api = self.cluster.api(replica);
        let mut log = api.get_as_admin("internal.rookery.admin.listAuditLog", &params).await.unwrap();
        log["entries"].as_array_mut().map(std::mem::take).unwrap()
    }

    /// Checks what was added to the log `before`.
    async fn check(&self, before: &[Value], actor: &str, since: DateTime<Utc>, expected: &Expected) {
        let log = self.log(1).await;
        let (entry, action) = (&log[0], expected.action);
        let added = if expected.is_witnessed { 2 } else { 1 };
        assert_eq!(log.len(), before.len() + added, "{action}: {entry}");
        assert_eq!((&entry["action"], &entry["outcome"]), (&json!(action), &json!("done")), "{entry}");
        assert!(entry["actor"].as_str().unwrap().starts_with(actor), "{actor}: {entry}");
        assert_eq!((&entry["subject"], &entry["did"]), (&json!(expected.subject), &json!(expected.did)), "{entry}");
        assert!(has(&entry["before"], expected.before.as_ref()), "{entry}");
        assert!(has(&entry["after"], expected.after.as_ref()), "{entry}");
        let at: DateTime<Utc> = entry["at"].as_str().unwrap().parse().unwrap();
        assert!(since <= at && at <= Clock::system().now(), "{since}: {entry}");
        if expected.is_witnessed {
            let begun = &log[1];
            assert_eq!((&begun["outcome"], &begun["action"]), (&json!("begun"), &json!(action)), "{begun}");
            assert_eq!(entry["begunId"], begun["id"]);
        }
    }

    /// Does an act with the operator's password, and checks its entry.
    async fn admin(&self, method: &str, input: Value, expected: Expected) {
        let (before, since) = (self.log(0).await, Clock::system().now());
        self.cluster.api(0).post_as_admin(method, &input).await.unwrap_or_else(|error| panic!("{method}: {error}"));
        self.check(&before, "admin", since, &expected).await;
    }

    /// Does an act as the moderation service, and checks its entry.
    async fn moderate(&self, method: &str, input: Value, expected: Expected) {
        let (before, since, token) = (self.log(0).await, Clock::system().now(), self.moderator.token(method));
        let done = self.cluster.api(0).post(method, Some(&token), &input).await;
        done.unwrap_or_else(|error| panic!("{method}: {error}"));
        self.check(&before, self.moderator.did.as_str(), since, &expected).await;
    }

    /// Does an act by command, checks its entry, and gives what it printed.
    async fn command(&self, arguments: &[&str], expected: Expected) -> Vec<Value> {
        let (before, since) = (self.log(0).await, Clock::system().now());
        let ended = self.operator.run(&[arguments, &["--json"]].concat()).await.unwrap();
        assert_eq!(ended.code, 0, "{ended:?}");
        self.check(&before, "command:", since, &expected).await;
        ended.json()
    }
}

fn account(did: &str) -> Value {
    json!({ "$type": "com.atproto.admin.defs#repoRef", "did": did })
}

fn takedown(subject: &Value, applied: bool) -> Value {
    json!({ "subject": subject, "takedown": { "applied": applied, "ref": "case 7" } })
}

async fn act_on_an_account(scene: &Scene) {
    let did = scene.alice.did.as_str();
    let act = |action| Expected::of(did, action);
    let (up, down) = (json!({ "takedown": null }), json!({ "takedown": "case 7" }));
    let expected = act("account.takedown").from(up.clone()).to(down.clone());
    scene.moderate(SUBJECT_STATUS, takedown(&account(did), true), expected).await;
    let expected = act("account.restore").from(down).to(up);
    scene.admin(SUBJECT_STATUS, takedown(&account(did), false), expected).await;
    let input = json!({ "subject": account(did), "deactivated": { "applied": true } });
    let open = json!({ "handle": "alice.test", "deactivatedAt": null });
    scene.admin(SUBJECT_STATUS, input, act("account.deactivate").from(open.clone()).to(json!({}))).await;
    let input = json!({ "subject": account(did), "deactivated": { "applied": false } });
    scene.admin(SUBJECT_STATUS, input, act("account.activate").from(json!({})).to(open.clone())).await;
    let expected = act("account.announce").from(open.clone()).to(open);
    scene.admin(SUBJECT_STATUS, json!({ "subject": account(did) }), expected).await;

    let expected = act("account.update_email")
        .from(json!({ "email": "alice@mail.test", "confirmed": false }))
        .to(json!({ "email": "new@mail.test", "confirmed": false }));
    let input = json!({ "account": "alice.test", "email": "New@mail.test" });
    scene.admin("com.atproto.admin.updateAccountEmail", input, expected).await;
    let input = json!({ "did": did, "password": PASSWORD });
    scene.admin("com.atproto.admin.updateAccountPassword", input, act("account.update_password")).await;
    let expected = act("account.update_handle")
        .from(json!({ "handle": "alice.test" }))
        .to(json!({ "handle": "admin.test" }))
        .witnessed();
    let input = json!({ "did": did, "handle": "Admin.test" });
    scene.admin("com.atproto.admin.updateAccountHandle", input, expected).await;
    let key = scene.alice.signing_key(scene.cluster.plc()).to_string();
    let named = json!({ "signingKey": key });
    let expected = act("account.update_signing_key").from(named.clone()).to(named).witnessed();
    let input = json!({ "did": did, "signingKey": key });
    scene.admin("com.atproto.admin.updateAccountSigningKey", input, expected).await;
    let expected = act("account.send_email").to(json!({ "subject": "Hello", "comment": "case 9" }));
    let input = json!({ "recipientDid": did, "subject": "Hello", "content": "<p>Hi</p>", "comment": "case 9" });
    scene.moderate("com.atproto.admin.sendEmail", input, expected).await;
    let expected = act("account.delete").from(json!({ "handle": "admin.test" }));
    scene.admin("com.atproto.admin.deleteAccount", json!({ "did": did }), expected).await;
}

async fn act_on_what_an_account_has(scene: &Scene) {
    let did = scene.alice.did.as_str();
    let record = scene.alice.post(&scene.cluster.api(0), "hi", None).await.unwrap();
    let (uri, cid) = (record["uri"].as_str().unwrap(), &record["cid"]);
    let subject = json!({ "$type": "com.atproto.repo.strongRef", "uri": uri, "cid": cid });
    let (up, down) = (json!({ "takedown": null }), json!({ "takedown": "case 7" }));
    let expected = Expected::of_part(did, uri, "record.takedown").from(up.clone()).to(down.clone());
    scene.moderate(SUBJECT_STATUS, takedown(&subject, true), expected).await;
    let expected = Expected::of_part(did, uri, "record.restore").from(down.clone()).to(up.clone());
    scene.admin(SUBJECT_STATUS, takedown(&subject, false), expected).await;

    let blob = seed::blob(&scene.cluster.db().pool(), did, b"picture").await;
    let subject = json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": did, "cid": blob });
    let path = format!("{did}/blobs/{blob}");
    let expected = Expected::of_part(did, &path, "blob.takedown").from(up.clone()).to(down.clone());
    scene.moderate(SUBJECT_STATUS, takedown(&subject, true), expected).await;
    let expected = Expected::of_part(did, &path, "blob.restore").from(down).to(up);
    scene.admin(SUBJECT_STATUS, takedown(&subject, false), expected).await;

    let [may, may_not] = [false, true].map(|disabled| json!({ "invitesDisabled": disabled }));
    let input = json!({ "account": did, "note": "why" });
    let stopped = json!({ "invitesDisabled": true, "note": "why" });
    let expected = Expected::of(did, "account.disable_invites").from(may.clone()).to(stopped);
    scene.moderate("com.atproto.admin.disableAccountInvites", input, expected).await;
    let expected = Expected::of(did, "account.enable_invites").from(may_not).to(may);
    scene.admin("com.atproto.admin.enableAccountInvites", json!({ "account": did }), expected).await;
    let expected = Expected::of_server("invite.create").to(json!({ "codes": 1, "uses": 2 }));
    scene.admin("com.atproto.server.createInviteCode", json!({ "useCount": 2 }), expected).await;
    let expected = Expected::of(did, "invite.create").to(json!({ "codes": 3, "uses": 1, "accounts": [did] }));
    let input = json!({ "codeCount": 3, "useCount": 1, "forAccounts": [did] });
    scene.admin("com.atproto.server.createInviteCodes", input, expected).await;
    let expected = Expected::of(did, "invite.disable").to(json!({ "codes": [], "accounts": [did] }));
    scene.moderate("com.atproto.admin.disableInviteCodes", json!({ "accounts": [did] }), expected).await;
}

/// Gives the password that the account got.
async fn act_by_command(scene: &Scene) -> String {
    let did = scene.bob.did.as_str();
    let act = |action| Expected::of(did, action);
    let (up, down) = (json!({ "takedown": null }), json!({ "takedown": "case 7" }));
    let expected = act("account.takedown").from(up.clone()).to(down.clone());
    scene.command(&["admin", "account", "takedown", did, "--reference", "case 7"], expected).await;
    scene.command(&["admin", "account", "untakedown", did], act("account.restore").from(down).to(up)).await;
    let later = "2100-01-01T00:00:00Z";
    let expected = act("account.deactivate").from(json!({ "deactivatedAt": null })).to(json!({ "takedown": null }));
    scene.command(&["admin", "account", "deactivate", did, "--delete-after", later], expected).await;
    let expected = act("account.activate").from(json!({})).to(json!({ "deactivatedAt": null, "deleteAfter": null }));
    scene.command(&["admin", "account", "activate", did], expected).await;
    let expected = act("account.update_email").from(json!({ "email": "bob@mail.test" })).to(json!({}));
    scene.command(&["admin", "account", "set-email", did, "newer@mail.test"], expected).await;
    let own = json!({ "bytes": 1000, "count": null });
    let expected = act("account.set_blob_quota").to(own.clone());
    scene.command(&["admin", "account", "set-quota", did, "--bytes", "1000"], expected).await;
    let expected = act("account.set_blob_quota").from(own);
    scene.command(&["admin", "account", "set-quota", did, "--default"], expected).await;
    let expected = act("account.update_handle")
        .from(json!({ "handle": "bob.test" }))
        .to(json!({ "handle": "support.test" }))
        .witnessed();
    scene.command(&["admin", "account", "set-handle", "bob.test", "support.test"], expected).await;
    let reset = scene.command(&["admin", "account", "reset-password", did], act("account.update_password")).await;
    scene.command(&["publish-identity", did], act("identity.announce")).await;
    let expected = Expected::of_server("identity.announce").to(json!({ "all": true })).witnessed();
    scene.command(&["publish-identity", "--all"], expected).await;
    let expected = act("invite.create").to(json!({ "codes": 1, "uses": 2 }));
    let made = scene.command(&["invite", "create", "--uses", "2", "--for", did], expected).await;
    let code = made[0]["code"].as_str().unwrap();
    let expected = Expected { did: None, ..Expected::of_part(did, code, "invite.disable") };
    let expected = expected.to(json!({ "codes": [code], "stopped": [code] }));
    scene.command(&["invite", "disable", code], expected).await;
    let pool = scene.cluster.db().pool();
    let kept = seed::blob(&pool, did, b"kept").await;
    blobs::quarantine_blob(&pool, kept).await;
    let expected = Expected::of_part(did, &format!("{did}/blobs/{kept}"), "blob.keep").from(json!({}));
    scene.command(&["blob", "restore", "--did", did, &kept.to_string()], expected).await;
    let expected = act("account.delete").from(json!({ "handle": "support.test" }));
    scene.command(&["admin", "account", "delete", did, "--yes"], expected).await;
    reset[0]["password"].as_str().unwrap().to_owned()
}

async fn make_and_ask_by_command(scene: &Scene) {
    let (before, since) = (scene.log(0).await, Clock::system().now());
    let create = ["admin", "account", "create", "--handle", "carol.test", "--email", "carol@mail.test", "--json"];
    let made = scene.operator.run(&create).await.unwrap();
    assert_eq!(made.code, 0, "{made:?}");
    let did = made.json()[0]["did"].as_str().unwrap().to_owned();
    let expected =
        Expected::of(&did, "account.create").to(json!({ "handle": "carol.test", "email": "carol@mail.test" }));
    scene.check(&before, "command:", since, &expected).await;
    let again = scene.operator.run(&create).await.unwrap();
    assert_eq!((again.code, scene.log(0).await.len()), (2, before.len() + 1), "nothing was made: {again:?}");

    let (before, since) = (scene.log(0).await, Clock::system().now());
    let relay = scene.cluster.api(0).origin().to_owned();
    let asked = scene.operator.run(&["request-crawl", "--relay", &relay]).await.unwrap();
    assert_eq!(asked.code, 1, "it is no relay: {asked:?}");
    let expected = Expected::of_server("crawl.request").to(json!({ "hostname": "localhost" })).witnessed();
    scene.check(&before, "command:", since, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_is_noted() {
    let scene = Scene::start().await;
    act_on_what_an_account_has(&scene).await;
    act_on_an_account(&scene).await;
    let password = act_by_command(&scene).await;
    make_and_ask_by_command(&scene).await;

    let log = scene.log(1).await;
    let noted: BTreeSet<&str> = log.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(noted, Action::ALL.iter().map(|action| action.name()).collect());
    let text = json!(log).to_string();
    assert!([PASSWORD, &password].iter().all(|secret| !text.contains(secret)));
}
