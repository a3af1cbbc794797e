//! Changes of users' own DIDs: a code or an operation counts once on all replicas, and every replica shows what it did.

use std::time::Duration;

use api::auth::AccessScope;
use atproto::crypto::SigningKey;
use atproto::event::Event;
use atproto::identity::plc::{Operation, State, UnsignedOperation};
use atproto::syntax::Did;
use common::account::{CODE_LIFETIME, CodePurpose};
use common::testing::seed;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::identity::{Scene, bad_request, refusal, scene};
use crate::harness::account::Account;
use crate::harness::consumer::Consumer;

const RECOMMENDED: &str = "com.atproto.identity.getRecommendedDidCredentials";
const REQUEST: &str = "com.atproto.identity.requestPlcOperationSignature";
const SIGN: &str = "com.atproto.identity.signPlcOperation";
const SUBMIT: &str = "com.atproto.identity.submitPlcOperation";
const RESOLVE_DID: &str = "com.atproto.identity.resolveDid";

const LIMIT: Duration = Duration::from_secs(30);
/// Events of a sign-up: identity, account, commit, sync.
const SIGN_UP_EVENTS: i64 = 4;

impl Scene {
    /// An access token, as a session of this kind has it.
    fn token(&self, did: &Did, scope: AccessScope) -> String {
        self.cluster.replica(0).ctx().tokens.issue_access(did, scope).unwrap()
    }

    /// Asks for a code at one replica, and takes it where the worker finds it.
    async fn code(&self, account: &Account) -> String {
        self.apis[0].post_empty(REQUEST, Some(&account.token)).await.unwrap();
        let accounts = &self.cluster.replica(1).ctx().accounts;
        let mail = accounts.find_code(&account.did, CodePurpose::PlcOperation).await.unwrap().unwrap();
        mail.code.as_str().to_owned()
    }

    async fn sign(&self, replica: usize, account: &Account, input: &Value) -> anyhow::Result<Value> {
        self.apis[replica].post(SIGN, Some(&account.token), input).await
    }

    async fn submit(&self, replica: usize, operation: &Value) -> anyhow::Result<Value> {
        self.apis[replica].post(SUBMIT, Some(&self.alice.token), &json!({ "operation": operation })).await
    }

    fn state(&self, did: &Did) -> State {
        self.plc().state(did).unwrap()
    }

    async fn newest_seq(&self) -> i64 {
        self.cluster.replica(0).ctx().sequencer.newest().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_announced_and_seen_at_every_replica() {
    let scene = scene().await;
    let (did, apis) = (&scene.alice.did, &scene.apis);
    let mut events = Consumer::connect(apis[1].origin(), Some(SIGN_UP_EVENTS)).await.unwrap();
    for api in apis {
        let recommended = api.get_as(&scene.alice.token, RECOMMENDED, &[]).await.unwrap();
        assert_eq!(recommended, serde_json::to_value(scene.state(did)).unwrap());
        // Now each has the old document in its memory.
        api.get(RESOLVE_DID, &[("did", did.as_str())]).await.unwrap();
    }
    let names = ["at://alice.test", "https://alice.example"];
    let change = |state: &mut State| state.also_known_as = names.map(str::to_owned).to_vec();
    scene.submit(0, &scene.next_operation(&scene.server_key(), change)).await.unwrap();
    for api in apis {
        let seen = api.get(RESOLVE_DID, &[("did", did.as_str())]).await.unwrap();
        assert_eq!(seen["didDoc"]["alsoKnownAs"], json!(names), "{}", api.origin());
    }
    let Event::Identity(event) = events.next(LIMIT).await.unwrap().event else { panic!("no #identity") };
    assert_eq!((&event.did, event.handle), (did, None));
    assert_eq!(scene.newest_seq().await, SIGN_UP_EVENTS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_changes_their_did_with_the_servers_signature() {
    let scene = scene().await;
    let did = &scene.alice.did;
    let before = scene.state(did);
    let own_key = SigningKey::generate(&mut rand::rng()).public_key().to_string();
    let rotation_keys: Vec<String> = [own_key].into_iter().chain(before.rotation_keys.clone()).collect();
    let token = scene.code(&scene.alice).await;
    let change = json!({ "token": token.to_lowercase(), "rotationKeys": rotation_keys });
    let signed = scene.sign(1, &scene.alice, &change).await.unwrap()["operation"].take();
    assert_eq!(scene.plc().operations(did).len(), 1, "signing sends nothing");
    let operation: Operation = serde_json::from_value(signed.clone()).unwrap();
    operation.verify(&[scene.server_key().public_key()]).unwrap();
    let expected = State { rotation_keys, ..before };
    assert_eq!(operation.state().unwrap(), expected);
    assert_eq!(refusal(scene.sign(0, &scene.alice, &change).await), bad_request("InvalidToken", "Token is invalid"));
    scene.submit(0, &signed).await.unwrap();
    assert_eq!(scene.state(did), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_gives_one_signature_on_all_replicas_together() {
    let scene = scene().await;
    let input = json!({ "token": scene.code(&scene.alice).await });
    let tries = join_all((0..8).map(|turn| scene.sign(turn % 2, &scene.alice, &input))).await;
    let (signed, refused): (Vec<_>, Vec<_>) = tries.into_iter().partition(Result::is_ok);
    assert_eq!(signed.len(), 1);
    for refused in refused {
        assert_eq!(refusal(refused), bad_request("InvalidToken", "Token is invalid"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_kept_by_whatever_is_refused_for_another_reason() {
    let scene = scene().await;
    let bob = scene.cluster.create_account("bob.test").await.unwrap();
    let code = scene.code(&scene.alice).await;
    let bobs = scene.code(&bob).await;
    let missing = "email confirmation token required to sign PLC operations";
    let invalid = bad_request("InvalidToken", "Token is invalid");
    let many: Vec<String> = (0..11).map(|turn| format!("at://alice{turn}.test")).collect();
    for (input, expected) in [
        (json!({}), bad_request("InvalidRequest", missing)),
        (json!({ "token": "" }), invalid.clone()),
        (json!({ "token": "AAAAA-AAAAA" }), invalid.clone()),
        (json!({ "token": bobs }), invalid.clone()),
        (json!({ "token": format!("{code}0") }), invalid.clone()),
    ] {
        for replica in 0..2 {
            assert_eq!(refusal(scene.sign(replica, &scene.alice, &input).await), expected, "{input}");
        }
    }
    for (change, part) in [
        (json!({ "alsoKnownAs": many }), "alsoKnownAs"),
        (json!({ "rotationKeys": [] }), "rotationKeys"),
        (json!({ "rotationKeys": ["did:key:zzz"] }), "rotation key"),
        (json!({ "verificationMethods": { "atproto": "zzz" } }), "verification methods"),
        (json!({ "verificationMethods": ["did:key:zzz"] }), "expected a map"),
        (json!({ "services": { "atproto_pds": "https://pds.test" } }), "PlcService"),
        (json!({ "alsoKnownAs": null }), "expected a sequence"),
    ] {
        let mut input = change;
        input["token"] = code.as_str().into();
        let (status, name, message) = refusal(scene.sign(0, &scene.alice, &input).await);
        assert_eq!((status, name.as_str()), (400, "InvalidRequest"), "{message}");
        assert!(message.contains(part), "{message}");
    }
    scene.plc().set_down(true);
    let (status, name, _) = refusal(scene.sign(1, &scene.alice, &json!({ "token": code })).await);
    assert_eq!((status, name.as_str()), (502, "UpstreamFailure"));
    scene.plc().set_down(false);
    scene.sign(1, &scene.alice, &json!({ "token": code })).await.unwrap();

    let late = scene.code(&scene.alice).await;
    seed::age_codes(&scene.cluster.db().pool(), CODE_LIFETIME).await;
    let expired = refusal(scene.sign(0, &scene.alice, &json!({ "token": late })).await);
    assert_eq!(expired, bad_request("ExpiredToken", "Token is expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_did_cannot_be_changed() {
    let scene = scene().await;
    let code = scene.code(&scene.alice).await;
    let tombstone = UnsignedOperation::Tombstone { prev: scene.plc().operations(&scene.alice.did)[0].cid().unwrap() };
    scene.plc().submit(&scene.alice.did, tombstone.sign(&scene.server_key()).unwrap());
    let refused = refusal(scene.sign(0, &scene.alice, &json!({ "token": code })).await);
    assert_eq!(refused, bad_request("InvalidRequest", "Did is tombstoned"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_that_would_part_the_did_from_its_account() {
    let scene = scene().await;
    let (server, other) = (scene.server_key(), SigningKey::generate(&mut rand::rng()));
    let others = other.public_key().to_string();
    let changed = |change: &dyn Fn(&mut State)| scene.next_operation(&server, change);
    let same = changed(&|_| {});
    let with = |name: &str, value: Value| {
        let mut operation = same.clone();
        operation[name] = value;
        operation
    };
    let tombstone = UnsignedOperation::Tombstone { prev: scene.plc().operations(&scene.alice.did)[0].cid().unwrap() };
    for (operation, message) in [
        (json!({}), "Invalid operation"),
        (json!("plc_operation"), "Invalid operation"),
        (with("extra", json!(1)), "Invalid operation"),
        (with("sig", Value::Null), "Invalid operation"),
        (with("type", json!("create")), "Invalid operation"),
        (serde_json::to_value(tombstone.sign(&server).unwrap()).unwrap(), "Invalid operation"),
        (changed(&|state| state.also_known_as.push("at://a\0.test".to_owned())), "Invalid operation"),
        (
            changed(&|state| state.rotation_keys = vec![others.clone()]),
            "Rotation keys do not include server's rotation key",
        ),
        (changed(&|state| state.services.clear()), "Incorrect type on atproto_pds service"),
        (
            changed(&|state| state.services.get_mut("atproto_pds").unwrap().kind = "Other".to_owned()),
            "Incorrect type on atproto_pds service",
        ),
        (
            changed(&|state| state.services.get_mut("atproto_pds").unwrap().endpoint += "/"),
            "Incorrect endpoint on atproto_pds service",
        ),
        (
            changed(&|state| drop(state.verification_methods.insert("atproto".to_owned(), others.clone()))),
            "Incorrect signing key",
        ),
        (
            changed(&|state| state.also_known_as.insert(0, "at://eve.test".to_owned())),
            "Incorrect handle in alsoKnownAs",
        ),
        (changed(&|state| state.also_known_as.clear()), "Incorrect handle in alsoKnownAs"),
    ] {
        for replica in 0..2 {
            let refused = refusal(scene.submit(replica, &operation).await);
            assert_eq!(refused, bad_request("InvalidRequest", message), "{operation}");
        }
    }
    // What only the directory can tell.
    let forged = scene.next_operation(&other, |_| {});
    let (status, name, _) = refusal(scene.submit(0, &forged).await);
    assert_eq!((status, name.as_str()), (400, "InvalidRequest"));
    scene.plc().set_down(true);
    let (status, name, _) = refusal(scene.submit(1, &same).await);
    assert_eq!((status, name.as_str()), (502, "UpstreamFailure"));
    scene.plc().set_down(false);
    assert_eq!(scene.plc().operations(&scene.alice.did).len(), 1);
    assert_eq!(scene.newest_seq().await, SIGN_UP_EVENTS, "nothing was announced");

    scene.submit(0, &same).await.unwrap();
    let (status, ..) = refusal(scene.submit(1, &same).await);
    assert_eq!(status, 400, "an operation counts once");
    assert_eq!(scene.newest_seq().await, SIGN_UP_EVENTS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_did_web_is_its_owners_affair() {
    let scene = scene().await;
    let did: Did = "did:web:alice.example.net".parse().unwrap();
    seed::set_did(&scene.cluster.db().pool(), &scene.alice.did, &did).await;
    let token = scene.token(&did, AccessScope::Full);
    let api = &scene.apis[1];
    let recommended = api.get_as(&token, RECOMMENDED, &[]).await.unwrap();
    assert!(recommended.get("rotationKeys").is_none(), "{recommended}");
    let expected = serde_json::to_value(scene.state(&scene.alice.did)).unwrap();
    for part in ["alsoKnownAs", "verificationMethods", "services"] {
        assert_eq!(recommended[part], expected[part]);
    }
    let refused = bad_request("InvalidRequest", "Only a did:plc is changed through its server");
    assert_eq!(refusal(api.post_empty(REQUEST, Some(&token)).await), refused);
    let operation = json!({ "operation": scene.next_operation(&scene.server_key(), |_| {}) });
    assert_eq!(refusal(api.post(SUBMIT, Some(&token), &operation).await), refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_checked_first() {
    let scene = scene().await;
    let [full, app_password] =
        [AccessScope::Full, AccessScope::AppPass].map(|scope| scene.token(&scene.alice.did, scope));
    let missing = (401, "AuthMissing".to_owned(), "Authentication Required".to_owned());
    let scope = bad_request("InvalidToken", "Bad token scope");
    let gone = scene.token(&"did:plc:gone".parse().unwrap(), AccessScope::Full);
    let api = &scene.apis[0];
    for (method, input) in [
        (REQUEST, None),
        (SIGN, Some(json!({}))),
        (SUBMIT, Some(json!({ "operation": scene.next_operation(&scene.server_key(), |_| {}) }))),
    ] {
        let call = async |token: Option<&str>| match &input {
            Some(input) => api.post(method, token, input).await,
            None => api.post_empty(method, token).await,
        };
        assert_eq!(refusal(call(None).await), missing, "{method}");
        if method != SUBMIT {
            assert_eq!(refusal(call(Some(&app_password)).await), scope, "{method}");
        }
        let (status, name, _) = refusal(call(Some(&gone)).await);
        // The first of all checks is that there is a code.
        let expected = if method == SIGN { (400, "InvalidRequest") } else { (403, "AccountNotFound") };
        assert_eq!((status, name.as_str()), expected, "{method}");
        let full = call(Some(&full)).await;
        assert_eq!(full.is_err(), method == SIGN, "{method}: {full:?}");
    }
}
