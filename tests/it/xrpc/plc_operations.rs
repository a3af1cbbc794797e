//! Changes of users' own DIDs: a code or an operation counts once on all replicas, and every replica shows what it did.

use std::time::Duration;

use api::auth::AccessScope;
use atproto::crypto::SigningKey;
use atproto::event::Event;
use atproto::identity::plc::{State, UnsignedOperation};
use atproto::syntax::Did;
use common::testing::seed;
use serde_json::{Value, json};

use super::identity::{Scene, bad_request, refusal, scene};
use crate::harness::consumer::Consumer;

const RECOMMENDED: &str = "com.atproto.identity.getRecommendedDidCredentials";
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
    let operation = json!({ "operation": scene.next_operation(&scene.server_key(), |_| {}) });
    assert_eq!(refusal(api.post(SUBMIT, Some(&token), &operation).await), refused);
}
