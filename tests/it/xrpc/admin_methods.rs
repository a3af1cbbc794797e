//! Every method for operators and moderators: who may call it, what it refuses, and that what it does at one replica is so
//! at the other.

use common::testing::seed;
use reqwest::Method;
use serde_json::{Value, json};

use super::identity::refusal;
use crate::harness::account::{Account, PASSWORD};
use crate::harness::client::{Client, Refusal};
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::moderator::Moderator;

const COLLECTION: &str = "app.bsky.feed.post";
const UNKNOWN: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";

/// Two replicas that trust a moderation service, two accounts, and what one of them has.
struct Scene {
    cluster: Cluster,
    moderator: Moderator,
    alice: Account,
    bob: Account,
    /// A record of alice's.
    record: Value,
    /// A blob of alice's.
    picture: String,
}

impl Scene {
    async fn start() -> Self {
        let moderator = Moderator::new();
        let cluster = moderator.cluster(Replicas(2)).await.unwrap();
        let alice = cluster.create_account("alice.test").await.unwrap();
        let bob = cluster.create_account("bob.test").await.unwrap();
        let record = alice.post(&cluster.api(0), "hi", Some("3jzfcijpj2z2a")).await.unwrap();
        let picture = seed::blob(&cluster.db().pool(), alice.did.as_str(), b"picture").await.to_string();
        Self { cluster, moderator, alice, bob, record, picture }
    }

    /// The key of an account, as its DID has it.
    fn key(&self, account: &Account) -> String {
        account.signing_key(self.cluster.plc()).to_string()
    }

    async fn newest_seq(&self) -> i64 {
        self.cluster.replica(0).ctx().sequencer.newest().await.unwrap()
    }

    /// The acts that were done, by the log.
    async fn done(&self) -> usize {
        let log = self.cluster.api(0).get_as_admin("internal.rookery.admin.listAuditLog", &[]).await.unwrap();
        log["entries"].as_array().unwrap().iter().filter(|entry| entry["outcome"] == "done").count()
    }
}

/// What a method is called with.
#[derive(Debug)]
enum Input {
    Params(Vec<(&'static str, String)>),
    Json(Value),
}

fn params<const N: usize>(params: [(&'static str, &str); N]) -> Input {
    Input::Params(params.into_iter().map(|(name, value)| (name, value.to_owned())).collect())
}

/// Who calls.
enum Caller<'a> {
    Nobody,
    Operator,
    Bearer(&'a str),
}

impl Input {
    async fn call(&self, api: &Client, method: &str, caller: &Caller<'_>) -> anyhow::Result<Value> {
        match (self, caller) {
            (Self::Params(params), caller) => {
                let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
                match caller {
                    Caller::Nobody => api.get(method, &params).await,
                    Caller::Operator => api.get_as_admin(method, &params).await,
                    Caller::Bearer(token) => api.get_as(token, method, &params).await,
                }
            }
            (Self::Json(input), Caller::Operator) => api.post_as_admin(method, input).await,
            (Self::Json(input), Caller::Nobody) => api.post(method, None, input).await,
            (Self::Json(input), Caller::Bearer(token)) => api.post(method, Some(token), input).await,
        }
    }

    fn verb(&self) -> Method {
        match self {
            Self::Params(_) => Method::GET,
            Self::Json(_) => Method::POST,
        }
    }
}

/// A method.
struct Spec {
    method: &'static str,
    /// A moderation service may call it as well.
    moderates: bool,
    /// What it does, also twice.
    good: Input,
    /// What it refuses with 400, and the error's name.
    bad: Vec<(Input, &'static str)>,
}

const INVALID: &str = "InvalidRequest";

fn spec<const N: usize>(
    (method, moderates): (&'static str, bool),
    good: Input,
    bad: [(Input, &'static str); N],
) -> Spec {
    Spec { method, moderates, good, bad: bad.into_iter().collect() }
}

fn invites(method: &'static str, alice: &str) -> Spec {
    let bad = [
        (Input::Json(json!({})), INVALID),
        (Input::Json(json!({ "account": "alice.test" })), INVALID),
        (Input::Json(json!({ "account": alice, "note": 7 })), INVALID),
        (Input::Json(json!({ "account": alice, "note": "\u{0}" })), INVALID),
    ];
    spec((method, true), Input::Json(json!({ "account": alice, "note": "why" })), bad)
}

fn invitations(scene: &Scene) -> Vec<Spec> {
    let alice = scene.alice.did.as_str();
    vec![
        invites("com.atproto.admin.disableAccountInvites", alice),
        invites("com.atproto.admin.enableAccountInvites", alice),
        spec(
            ("com.atproto.admin.disableInviteCodes", true),
            Input::Json(json!({ "codes": ["unknown"], "accounts": [alice] })),
            [
                (Input::Json(json!({ "accounts": ["admin"] })), INVALID),
                (Input::Json(json!({ "codes": "unknown" })), INVALID),
                (Input::Json(json!({ "codes": [7] })), INVALID),
            ],
        ),
        spec(
            ("com.atproto.admin.getInviteCodes", true),
            params([("sort", "usage"), ("limit", "500")]),
            [
                (params([("limit", "0")]), INVALID),
                (params([("limit", "501")]), INVALID),
                (params([("sort", "best")]), INVALID),
                (params([("cursor", "x")]), INVALID),
            ],
        ),
        spec(
            ("com.atproto.server.createInviteCode", false),
            Input::Json(json!({ "useCount": 1, "forAccount": alice })),
            [
                (Input::Json(json!({})), INVALID),
                (Input::Json(json!({ "useCount": 0 })), INVALID),
                (Input::Json(json!({ "useCount": "1" })), INVALID),
            ],
        ),
        spec(
            ("com.atproto.server.createInviteCodes", false),
            Input::Json(json!({ "useCount": 1, "codeCount": 2 })),
            [
                (Input::Json(json!({ "codeCount": 2 })), INVALID),
                (Input::Json(json!({ "useCount": 1, "codeCount": 0 })), INVALID),
                (Input::Json(json!({ "useCount": 1, "codeCount": 1_000_000_000_000_i64 })), INVALID),
            ],
        ),
    ]
}

fn reads(scene: &Scene) -> Vec<Spec> {
    let (alice, bob) = (scene.alice.did.as_str(), scene.bob.did.as_str());
    let gone = format!("at://{alice}/{COLLECTION}/gone");
    vec![
        spec(
            ("com.atproto.admin.getAccountInfo", true),
            params([("did", alice)]),
            [
                (params([]), INVALID),
                (params([("did", "alice.test")]), INVALID),
                (params([("did", UNKNOWN)]), "NotFound"),
            ],
        ),
        spec(
            ("com.atproto.admin.getAccountInfos", true),
            params([("dids", alice), ("dids", UNKNOWN), ("dids", bob)]),
            [(params([]), INVALID), (params([("dids", alice), ("dids", "bob")]), INVALID)],
        ),
        spec(
            ("com.atproto.admin.getSubjectStatus", true),
            params([("did", alice)]),
            [
                (params([]), INVALID),
                (params([("blob", &scene.picture)]), INVALID),
                (params([("did", alice), ("blob", "x")]), INVALID),
                (params([("uri", &format!("at://{alice}"))]), INVALID),
                (params([("did", UNKNOWN)]), "NotFound"),
                (params([("uri", &gone)]), "NotFound"),
                (params([("did", bob), ("blob", &scene.picture)]), "NotFound"),
            ],
        ),
        spec(
            ("com.atproto.admin.searchAccounts", true),
            params([("email", "@mail.test"), ("limit", "100")]),
            [
                (params([("limit", "0")]), INVALID),
                (params([("limit", "101")]), INVALID),
                (params([("cursor", "x")]), INVALID),
            ],
        ),
        spec(
            ("internal.rookery.admin.listAuditLog", false),
            params([("subject", alice)]),
            [(params([("since", "yesterday")]), INVALID), (params([("limit", "0")]), INVALID)],
        ),
    ]
}

fn changes(scene: &Scene) -> Vec<Spec> {
    let bob = scene.bob.did.as_str();
    vec![
        spec(
            ("com.atproto.admin.updateAccountEmail", false),
            Input::Json(json!({ "account": bob, "email": "bob.new@mail.test" })),
            [
                (Input::Json(json!({ "account": bob })), INVALID),
                (Input::Json(json!({ "account": bob, "email": "bob" })), INVALID),
                (Input::Json(json!({ "account": bob, "email": "bob@mail.test\u{0}" })), INVALID),
                (Input::Json(json!({ "account": bob, "email": "Alice@mail.test" })), INVALID),
                (Input::Json(json!({ "account": UNKNOWN, "email": "carol@mail.test" })), INVALID),
                (Input::Json(json!({ "account": "carol.test", "email": "carol@mail.test" })), INVALID),
            ],
        ),
        spec(
            ("com.atproto.admin.updateAccountHandle", false),
            Input::Json(json!({ "did": bob, "handle": "admin.test" })),
            [
                (Input::Json(json!({ "did": bob })), INVALID),
                (Input::Json(json!({ "did": bob, "handle": "no handle\u{0}" })), INVALID),
                (Input::Json(json!({ "did": bob, "handle": "bob.onion" })), "InvalidHandle"),
                (Input::Json(json!({ "did": bob, "handle": "b.test" })), "InvalidHandle"),
                (Input::Json(json!({ "did": bob, "handle": "alice.test" })), "HandleNotAvailable"),
                (Input::Json(json!({ "did": UNKNOWN, "handle": "carol.test" })), INVALID),
            ],
        ),
        spec(
            ("com.atproto.admin.updateAccountPassword", false),
            Input::Json(json!({ "did": bob, "password": "battery staple" })),
            [
                (Input::Json(json!({ "did": bob })), INVALID),
                (Input::Json(json!({ "did": bob, "password": "" })), INVALID),
                (Input::Json(json!({ "did": bob, "password": "x".repeat(257) })), INVALID),
                (Input::Json(json!({ "did": UNKNOWN, "password": "battery staple" })), INVALID),
            ],
        ),
        spec(
            ("com.atproto.admin.updateAccountSigningKey", false),
            Input::Json(json!({ "did": bob, "signingKey": scene.key(&scene.bob) })),
            [
                (Input::Json(json!({ "did": bob })), INVALID),
                (Input::Json(json!({ "did": bob, "signingKey": "did:key:z" })), INVALID),
                (Input::Json(json!({ "did": bob, "signingKey": scene.key(&scene.alice) })), INVALID),
                (Input::Json(json!({ "did": UNKNOWN, "signingKey": scene.key(&scene.bob) })), INVALID),
            ],
        ),
    ]
}

fn moderation(scene: &Scene) -> Vec<Spec> {
    let bob = scene.bob.did.as_str();
    let account = |did: &str| json!({ "$type": "com.atproto.admin.defs#repoRef", "did": did });
    let status = |subject: &Value, takedown: Value| json!({ "subject": subject, "takedown": takedown });
    let (on, bob_ref) = (json!({ "applied": true }), account(bob));
    let no_record = json!({
        "$type": "com.atproto.repo.strongRef", "uri": format!("at://{bob}"), "cid": scene.record["cid"]
    });
    vec![
        spec(
            ("com.atproto.admin.deleteAccount", false),
            Input::Json(json!({ "did": UNKNOWN })),
            [(Input::Json(json!({})), INVALID), (Input::Json(json!({ "did": "bob.test" })), INVALID)],
        ),
        spec(
            ("com.atproto.admin.sendEmail", true),
            Input::Json(json!({ "recipientDid": bob, "content": "<p>Please.</p>", "senderDid": UNKNOWN })),
            [
                (Input::Json(json!({ "recipientDid": bob })), INVALID),
                (Input::Json(json!({ "recipientDid": bob, "content": "\u{0}" })), INVALID),
                (Input::Json(json!({ "recipientDid": UNKNOWN, "content": "hi" })), INVALID),
            ],
        ),
        spec(
            ("com.atproto.admin.updateSubjectStatus", true),
            Input::Json(json!({ "subject": bob_ref, "takedown": { "applied": false } })),
            [
                (Input::Json(json!({})), INVALID),
                (Input::Json(status(&json!({ "did": bob }), on.clone())), INVALID),
                (Input::Json(status(&json!({ "$type": "com.example.other" }), on.clone())), INVALID),
                (Input::Json(status(&account("bob.test"), on.clone())), INVALID),
                (Input::Json(status(&no_record, on.clone())), INVALID),
                (Input::Json(status(&bob_ref, json!({}))), INVALID),
                (Input::Json(status(&bob_ref, json!({ "applied": true, "ref": "\u{0}" }))), INVALID),
                (
                    Input::Json(json!({ "subject": bob_ref, "takedown": on, "deactivated": { "applied": false } })),
                    INVALID,
                ),
                (Input::Json(status(&account(UNKNOWN), on.clone())), "NotFound"),
            ],
        ),
    ]
}

fn specs(scene: &Scene) -> Vec<Spec> {
    [invitations(scene), reads(scene), changes(scene), moderation(scene)].into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_in_the_table() {
    let scene = Scene::start().await;
    let tested: Vec<&str> = specs(&scene).iter().map(|spec| spec.method).collect();
    for name in [
        "deleteAccount",
        "disableAccountInvites",
        "disableInviteCodes",
        "enableAccountInvites",
        "getAccountInfo",
        "getAccountInfos",
        "getInviteCodes",
        "getSubjectStatus",
        "searchAccounts",
        "sendEmail",
        "updateAccountEmail",
        "updateAccountHandle",
        "updateAccountPassword",
        "updateAccountSigningKey",
        "updateSubjectStatus",
    ] {
        assert!(tested.contains(&format!("com.atproto.admin.{name}").as_str()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_changes_nothing() {
    let scene = Scene::start().await;
    let (seq, done) = (scene.newest_seq().await, scene.done().await);
    for (turn, spec) in specs(&scene).iter().enumerate() {
        for (input, name) in &spec.bad {
            let api = scene.cluster.api(turn % 2);
            let refused = input.call(&api, spec.method, &Caller::Operator).await;
            let (status, refused, message) = refusal(refused);
            assert_eq!((status, refused.as_str()), (400, *name), "{} {input:?}: {message}", spec.method);
        }
    }
    assert_eq!((scene.newest_seq().await, scene.done().await), (seq, done));
    for account in [&scene.alice, &scene.bob] {
        assert_eq!(scene.cluster.plc().operations(&account.did).len(), 1, "the DID is as it was");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_are_let_in_who_may() {
    let scene = Scene::start().await;
    let stranger = Moderator::new();
    stranger.register(&scene.cluster);
    for (turn, spec) in specs(&scene).iter().enumerate() {
        let (api, method) = (scene.cluster.api(turn % 2), spec.method);
        let call = async |caller: Caller<'_>| spec.good.call(&api, method, &caller).await;
        let done = scene.done().await;
        assert_eq!(refusal(call(Caller::Nobody).await).1, "AuthenticationRequired", "{method}");
        let wrong = api.ask(spec.good.verb(), method, &[], ("authorization", "Basic YWRtaW46d3Jvbmc=")).await.unwrap();
        // What comes before the credentials is a query that lacks what is required.
        assert!([400, 401].contains(&wrong.status().as_u16()), "{method}: {wrong:?}");
        let other = scene.moderator.token("com.atproto.admin.somethingElse");
        let elsewhere = scene.moderator.token_for(method, "did:web:elsewhere.test", 4_000_000_000);
        let old = scene.moderator.token_for(method, "did:web:localhost", 1);
        for (token, name) in [
            (&scene.alice.token, "BadJwtType"),
            (&other, "BadJwtLexiconMethod"),
            (&elsewhere, "BadJwtAudience"),
            (&old, "JwtExpired"),
            (&stranger.token(method), "UntrustedIss"),
        ] {
            let expected = if spec.moderates { name } else { "AuthenticationRequired" };
            let (status, found, _) = refusal(call(Caller::Bearer(token)).await);
            assert_eq!((status, found.as_str()), (401, expected), "{method}");
        }
        assert_eq!(scene.done().await, done, "{method}");

        call(Caller::Operator).await.unwrap_or_else(|error| panic!("{method}: {error}"));
        let moderated = call(Caller::Bearer(&scene.moderator.token(method))).await;
        if spec.moderates {
            moderated.unwrap_or_else(|error| panic!("{method}: {error}"));
        } else {
            assert_eq!(refusal(moderated).1, "AuthenticationRequired", "{method}");
        }
    }
}

/// The name of the error that a call was refused with.
fn name(result: anyhow::Result<Value>) -> String {
    result.unwrap_err().downcast::<Refusal>().unwrap().name
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_takes_down_the_other_does_not_show() {
    let scene = Scene::start().await;
    let (here, there) = (scene.cluster.api(0), scene.cluster.api(1));
    let alice = scene.alice.did.as_str();
    let update = async |subject: Value, applied: bool| {
        let input = json!({ "subject": subject, "takedown": { "applied": applied, "ref": "case 7" } });
        assert_eq!(here.post_as_admin("com.atproto.admin.updateSubjectStatus", &input).await.unwrap(), input);
    };
    let status = async |params: &[(&str, &str)]| {
        there.get_as_admin("com.atproto.admin.getSubjectStatus", params).await.unwrap()["takedown"].take()
    };
    let record = json!({
        "$type": "com.atproto.repo.strongRef", "uri": scene.record["uri"], "cid": scene.record["cid"]
    });
    let read = async || {
        let params = [("repo", alice), ("collection", COLLECTION), ("rkey", "3jzfcijpj2z2a")];
        there.get("com.atproto.repo.getRecord", &params).await
    };
    update(record.clone(), true).await;
    assert_eq!(name(read().await), "RecordNotFound");
    let uri = scene.record["uri"].as_str().unwrap();
    assert_eq!(status(&[("uri", uri)]).await, json!({ "applied": true, "ref": "case 7" }));
    update(record, false).await;
    read().await.unwrap();

    let blob = json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": alice, "cid": scene.picture });
    update(blob.clone(), true).await;
    let of_blob = [("did", alice), ("blob", scene.picture.as_str())];
    assert_eq!(status(&of_blob).await, json!({ "applied": true, "ref": "case 7" }));
    update(blob, false).await;
    assert_eq!(status(&of_blob).await, json!({ "applied": false }));

    let account = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": alice });
    let login = json!({ "identifier": "alice.test", "password": PASSWORD });
    update(account.clone(), true).await;
    assert_eq!(status(&[("did", alice)]).await, json!({ "applied": true, "ref": "case 7" }));
    assert_eq!(name(there.get("com.atproto.sync.getLatestCommit", &[("did", alice)]).await), "RepoTakendown");
    assert_eq!(name(there.post("com.atproto.server.createSession", None, &login).await), "AccountTakedown");
    assert_eq!(name(scene.alice.post(&there, "no", None).await), "AccountTakedown");
    update(account, false).await;
    there.get("com.atproto.sync.getLatestCommit", &[("did", alice)]).await.unwrap();
    there.post("com.atproto.server.createSession", None, &login).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_changes_the_other_knows() {
    let scene = Scene::start().await;
    let (here, there) = (scene.cluster.api(0), scene.cluster.api(1));
    let bob = scene.bob.did.as_str();
    let info = async || there.get_as_admin("com.atproto.admin.getAccountInfo", &[("did", bob)]).await;
    // Both remember the DID's document now.
    there.get("com.atproto.identity.resolveDid", &[("did", bob)]).await.unwrap();
    for spec in changes(&scene) {
        spec.good.call(&here, spec.method, &Caller::Operator).await.unwrap();
    }
    let found = info().await.unwrap();
    assert_eq!((&found["email"], &found["handle"]), (&json!("bob.new@mail.test"), &json!("admin.test")));
    let document = there.get("com.atproto.identity.resolveDid", &[("did", bob)]).await.unwrap();
    assert_eq!(document["didDoc"]["alsoKnownAs"], json!(["at://admin.test"]));
    let login = json!({ "identifier": "bob.new@mail.test", "password": "battery staple" });
    let session = there.post("com.atproto.server.createSession", None, &login).await.unwrap();
    assert_eq!(session["handle"], "admin.test");

    let input = json!({ "did": bob });
    here.post_as_admin("com.atproto.admin.deleteAccount", &input).await.unwrap();
    assert_eq!(name(info().await), "NotFound");
    assert_eq!(name(there.get("com.atproto.sync.getLatestCommit", &[("did", bob)]).await), "RepoNotFound");
    assert_eq!(name(there.post("com.atproto.server.createSession", None, &login).await), "AuthenticationRequired");
}
