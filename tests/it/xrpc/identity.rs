//! Identities as the methods that look them up tell them, the same at every replica.

use atproto::crypto::SigningKey;
use atproto::identity::plc::{State, UnsignedOperation};
use common::config::PlcRotationKey;
use common::testing::FakePlc;
use serde_json::{Value, json};

use crate::harness::account::Account;
use crate::harness::client::{Client, Refusal};
use crate::harness::cluster::{Cluster, Replicas};

const RESOLVE_DID: &str = "com.atproto.identity.resolveDid";
const RESOLVE: &str = "com.atproto.identity.resolveIdentity";
const REFRESH: &str = "com.atproto.identity.refreshIdentity";

/// Two replicas and somebody with an account.
pub(super) struct Scene {
    pub(super) cluster: Cluster,
    pub(super) apis: [Client; 2],
    pub(super) alice: Account,
}

pub(super) async fn scene() -> Scene {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    Scene { apis: [cluster.api(0), cluster.api(1)], cluster, alice }
}

/// Status, name and message of an answer that is none.
pub(super) fn refusal(result: anyhow::Result<Value>) -> (u16, String, String) {
    let Refusal { status, name, message } = result.unwrap_err().downcast().unwrap();
    (status, name, message)
}

pub(super) fn bad_request(name: &str, message: &str) -> (u16, String, String) {
    (400, name.to_owned(), message.to_owned())
}

impl Scene {
    pub(super) fn plc(&self) -> &FakePlc {
        self.cluster.plc()
    }

    /// The rotation key of all replicas.
    pub(super) fn server_key(&self) -> SigningKey {
        let PlcRotationKey::K256(key) = &self.cluster.replica(0).ctx().config.secrets.plc_rotation_key else {
            panic!("the key is not at hand")
        };
        SigningKey::from_bytes(key.expose()).unwrap()
    }

    /// The next operation on alice's DID, with `change` made, signed by `key`.
    pub(super) fn next_operation(&self, key: &SigningKey, change: impl FnOnce(&mut State)) -> Value {
        let last = self.plc().operations(&self.alice.did).pop().unwrap();
        let mut state = last.state().unwrap();
        change(&mut state);
        let operation = UnsignedOperation::Update { state, prev: Some(last.cid().unwrap()) };
        serde_json::to_value(operation.sign(key).unwrap()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_are_resolved_in_both_directions() {
    let scene = scene().await;
    let did = scene.alice.did.as_str();
    for api in &scene.apis {
        for identifier in ["alice.test", "ALICE.test", did] {
            let info = api.get(RESOLVE, &[("identifier", identifier)]).await.unwrap();
            assert_eq!((&info["did"], &info["handle"]), (&json!(did), &json!("alice.test")), "{identifier}");
            assert_eq!(info["didDoc"]["id"], did);
            let refresh = json!({ "identifier": identifier });
            assert_eq!(api.post(REFRESH, Some(&scene.alice.token), &refresh).await.unwrap(), info, "{identifier}");
        }
    }

    // The document claims a handle that is somebody else's, or nobody's.
    let bob = scene.cluster.create_account("bob.test").await.unwrap();
    for name in ["at://bob.test", "at://nobody.test", "at://not a handle"] {
        let operation = scene.next_operation(&scene.server_key(), |state| state.also_known_as = vec![name.to_owned()]);
        scene.plc().submit(&scene.alice.did, serde_json::from_value(operation).unwrap());
        let refresh = json!({ "identifier": did });
        let info = scene.apis[0].post(REFRESH, Some(&scene.alice.token), &refresh).await.unwrap();
        assert_eq!(info["handle"], "handle.invalid", "{name}");
        let seen = scene.apis[1].get(RESOLVE, &[("identifier", did)]).await.unwrap();
        assert_eq!(seen, info, "{name}");
    }
    let info = scene.apis[1].get(RESOLVE, &[("identifier", "bob.test")]).await.unwrap();
    assert_eq!(info["did"], bob.did.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_unknown_has_an_error() {
    let scene = scene().await;
    let unknown = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
    let did_not_found = bad_request("DidNotFound", &format!("Unable to resolve DID: {unknown}"));
    let handle_not_found = bad_request("HandleNotFound", "Unable to resolve handle");
    let other = "did:example:alice";
    for api in &scene.apis {
        assert_eq!(refusal(api.get(RESOLVE_DID, &[("did", unknown)]).await), did_not_found);
        let (status, name, _) = refusal(api.get(RESOLVE_DID, &[("did", other)]).await);
        assert_eq!((status, name.as_str()), (400, "DidNotFound"), "a method that the network does not use");
        for (identifier, expected) in [(unknown, &did_not_found), ("nobody.test", &handle_not_found)] {
            assert_eq!(&refusal(api.get(RESOLVE, &[("identifier", identifier)]).await), expected);
            let refresh = json!({ "identifier": identifier });
            assert_eq!(&refusal(api.post(REFRESH, Some(&scene.alice.token), &refresh).await), expected);
        }
        for (method, parameter, value) in
            [(RESOLVE_DID, "did", "alice.test"), (RESOLVE, "identifier", "alice"), (RESOLVE_DID, "other", unknown)]
        {
            let (status, name, _) = refusal(api.get(method, &[(parameter, value)]).await);
            assert_eq!((status, name.as_str()), (400, "InvalidRequest"), "{method} {value}");
        }
        // Hosts that nobody outside may make us call.
        for host in ["localhost", "localhost%3A2583", "169.254.169.254", "example.com"] {
            let (status, ..) = refusal(api.get(RESOLVE_DID, &[("did", &format!("did:web:{host}"))]).await);
            assert_eq!(status, 400, "{host}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_did_says_so_at_every_replica() {
    let scene = scene().await;
    let (did, apis) = (&scene.alice.did, &scene.apis);
    for api in apis {
        api.get(RESOLVE_DID, &[("did", did.as_str())]).await.unwrap();
    }
    let tombstone = UnsignedOperation::Tombstone { prev: scene.plc().operations(did)[0].cid().unwrap() };
    scene.plc().submit(did, tombstone.sign(&scene.server_key()).unwrap());
    let deactivated = bad_request("DidDeactivated", &format!("DID has been deactivated: {did}"));
    let refresh = json!({ "identifier": did });
    assert_eq!(refusal(apis[0].post(REFRESH, Some(&scene.alice.token), &refresh).await), deactivated);
    for api in apis {
        for (method, parameter) in [(RESOLVE_DID, "did"), (RESOLVE, "identifier")] {
            assert_eq!(refusal(api.get(method, &[(parameter, did.as_str())]).await), deactivated, "{method}");
        }
        assert_eq!(refusal(api.get(RESOLVE, &[("identifier", "alice.test")]).await), deactivated);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_away_stops_only_what_needs_it() {
    let scene = scene().await;
    let did = scene.alice.did.as_str();
    scene.plc().set_down(true);
    let refresh = json!({ "identifier": did });
    for api in &scene.apis {
        let mut answers: Vec<(u16, String, String)> = Vec::new();
        // It is asked until it has failed often enough, then it is left alone.
        while answers.last().is_none_or(|(status, ..)| *status != 503) {
            answers.push(refusal(api.post(REFRESH, Some(&scene.alice.token), &refresh).await));
            assert!(answers.len() <= 20, "{answers:?}");
        }
        let (rest, failed) = answers.split_last().unwrap();
        assert_eq!(
            (rest.1.as_str(), rest.2.as_str()),
            ("NotEnoughResources", "PLC directory is not available right now")
        );
        assert!(failed.iter().all(|(status, name, _)| (*status, name.as_str()) == (502, "UpstreamFailure")));
        let info = api.get(RESOLVE, &[("identifier", "alice.test")]).await.unwrap();
        assert_eq!(info["did"], did, "the document that is known serves on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_have_somebody_looked_up_anew() {
    let scene = scene().await;
    let api = &scene.apis[0];
    let input = json!({ "identifier": "alice.test" });
    let missing = (401, "AuthMissing".to_owned(), "Authentication Required".to_owned());
    assert_eq!(refusal(api.post(REFRESH, None, &input).await), missing);
    let malformed = refusal(api.post(REFRESH, Some(&scene.alice.token), &json!({ "identifier": "alice" })).await);
    assert_eq!((malformed.0, malformed.1.as_str()), (400, "InvalidRequest"));
    api.post(REFRESH, Some(&scene.alice.token), &input).await.unwrap();
}
