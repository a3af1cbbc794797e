//! What a taken-down user may still do, and what a moderation service sees of users, at replicas in turn.

use common::account::CodePurpose;
use serde_json::{Value, json};

use super::identity::refusal;
use crate::harness::account::{Account, PASSWORD};
use crate::harness::client::Client;
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::moderator::Moderator;

const GET_PREFERENCES: &str = "app.bsky.actor.getPreferences";
const PERSONAL: &str = "app.bsky.actor.defs#personalDetailsPref";
const DECLARED_AGE: &str = "app.bsky.actor.defs#declaredAgePref";
const TAGS: &str = "app.bsky.actor.defs#interestsPref";

async fn take_down(api: &Client, account: &Account, applied: bool) {
    let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": account.did });
    let input = json!({ "subject": subject, "takedown": { "applied": applied } });
    api.post_as_admin("com.atproto.admin.updateSubjectStatus", &input).await.unwrap();
}

async fn sign_in(api: &Client, allow_takendown: bool) -> anyhow::Result<Value> {
    let input = json!({ "identifier": "alice.test", "password": PASSWORD, "allowTakendown": allow_takendown });
    api.post("com.atproto.server.createSession", None, &input).await
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_down_user_opens_a_session_to_leave_with() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let (here, there) = (cluster.api(0), cluster.api(1));
    let alice = cluster.create_account("alice.test").await.unwrap();
    let before = sign_in(&here, false).await.unwrap();
    take_down(&here, &alice, true).await;
    assert_eq!(refusal(sign_in(&there, false).await).1, "AccountTakedown");
    let refreshed = there.post_empty("com.atproto.server.refreshSession", Some(text(&before, "refreshJwt"))).await;
    assert_eq!(refusal(refreshed).1, "AccountTakedown");

    let session = sign_in(&there, true).await.unwrap();
    assert_eq!((&session["active"], &session["status"]), (&json!(false), &json!("takendown")));
    let token = text(&session, "accessJwt");
    let did = [("did", alice.did.as_str())];
    for api in [&here, &there] {
        api.get_as(token, GET_PREFERENCES, &[]).await.unwrap();
        api.get_as(token, "com.atproto.sync.listBlobs", &did).await.unwrap();
        let repo = api.get_as(token, "com.atproto.sync.getRepo", &did).await;
        // An archive is no JSON.
        assert!(repo.unwrap_err().to_string().contains("no JSON"));
        let audience = ("aud", "did:web:new.test");
        let method = "com.atproto.server.getServiceAuth";
        api.get_as(token, method, &[audience, ("lxm", "com.atproto.server.createAccount")]).await.unwrap();
        let other = api.get_as(token, method, &[audience, ("lxm", "com.atproto.server.getSession")]).await;
        assert_eq!(refusal(other).1, "InvalidToken");
        let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": alice.did });
        let appeal = json!({ "reasonType": "com.atproto.moderation.defs#reasonAppeal", "subject": subject });
        api.post("com.atproto.moderation.createReport", Some(token), &appeal).await.unwrap();
    }
    let request = "com.atproto.identity.requestPlcOperationSignature";
    here.post_empty(request, Some(token)).await.unwrap();
    let mail = cluster.replica(1).ctx().accounts.find_code(&alice.did, CodePurpose::PlcOperation).await.unwrap();
    let code = json!({ "token": mail.unwrap().code.as_str() });
    there.post("com.atproto.identity.signPlcOperation", Some(token), &code).await.unwrap();
    here.post("com.atproto.server.deactivateAccount", Some(token), &json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_to_leave_with_is_for_nothing_else() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    take_down(&cluster.api(0), &alice, true).await;
    let session = sign_in(&cluster.api(1), true).await.unwrap();
    let token = text(&session, "accessJwt");
    let record = json!({ "repo": alice.did, "collection": "com.example.note", "record": {} });
    let preferences = json!({ "preferences": [] });
    let handle = json!({ "handle": "new.test" });
    let name = json!({ "name": "phone" });
    for (turn, (method, input)) in [
        ("com.atproto.repo.createRecord", &record),
        ("app.bsky.actor.putPreferences", &preferences),
        ("com.atproto.identity.updateHandle", &handle),
        ("com.atproto.server.createAppPassword", &name),
    ]
    .into_iter()
    .enumerate()
    {
        let refused = refusal(cluster.api(turn % 2).post(method, Some(token), input).await);
        assert_eq!((refused.0, refused.2.as_str()), (400, "Bad token scope"), "{method}");
    }
    for method in ["com.atproto.server.getSession", "com.atproto.server.checkAccountStatus"] {
        let refused = refusal(cluster.api(0).get_as(token, method, &[]).await);
        assert_eq!((refused.0, refused.2.as_str()), (400, "Bad token scope"), "{method}");
    }
    // It ends by itself, also if the takedown ends before.
    take_down(&cluster.api(0), &alice, false).await;
    let refreshed =
        cluster.api(1).post_empty("com.atproto.server.refreshSession", Some(text(&session, "refreshJwt"))).await;
    assert_eq!(refusal(refreshed).1, "ExpiredToken");
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_are_shown_as_far_as_the_caller_may_see_them() {
    let moderator = Moderator::new();
    let cluster = moderator.cluster(Replicas(2)).await.unwrap();
    let (here, there) = (cluster.api(0), cluster.api(1));
    let alice = cluster.create_account("alice.test").await.unwrap();
    let name = json!({ "name": "phone" });
    let made = here.post("com.atproto.server.createAppPassword", Some(&alice.token), &name).await.unwrap();
    let login = json!({ "identifier": "alice.test", "password": made["password"] });
    let phone = there.post("com.atproto.server.createSession", None, &login).await.unwrap();
    let born = json!({ "$type": PERSONAL, "birthDate": "2000-01-01T00:00:00.000Z" });
    let tags = json!({ "$type": TAGS, "tags": ["birds"] });
    let input = json!({ "preferences": [born, tags] });
    here.post("app.bsky.actor.putPreferences", Some(&alice.token), &input).await.unwrap();
    let age = json!({ "$type": DECLARED_AGE, "isOverAge13": true, "isOverAge16": true, "isOverAge18": true });

    let (full, limited) = (json!([born, tags, age]), json!([tags, age]));
    let did = [("did", alice.did.as_str())];
    let token = moderator.token(GET_PREFERENCES);
    let seen = async |api: &Client, token: &str, params: &[(&str, &str)]| {
        api.get_as(token, GET_PREFERENCES, params).await.unwrap()["preferences"].take()
    };
    for api in [&here, &there] {
        assert_eq!(seen(api, &alice.token, &[]).await, full);
        assert_eq!(seen(api, text(&phone, "accessJwt"), &[]).await, limited);
        assert_eq!(seen(api, &token, &did).await, full, "a moderation service may know");
    }
    take_down(&here, &alice, true).await;
    let leaving = sign_in(&there, true).await.unwrap();
    for api in [&here, &there] {
        assert_eq!(seen(api, text(&leaving, "accessJwt"), &[]).await, limited);
        assert_eq!(seen(api, &token, &did).await, full);
    }

    // A user sees their own, whoever they name; a moderation service has to name somebody who is here.
    let bob = cluster.create_account("bob.test").await.unwrap();
    assert_eq!(seen(&there, &bob.token, &did).await, json!([]));
    assert_eq!(refusal(here.get_as(&token, GET_PREFERENCES, &[]).await).1, "InvalidRequest");
    let unknown = [("did", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")];
    assert_eq!(refusal(here.get_as(&token, GET_PREFERENCES, &unknown).await).1, "AccountNotFound");
    assert_eq!(refusal(here.get_as("no token", GET_PREFERENCES, &did).await).0, 400);
    assert_eq!(refusal(here.get_as(&moderator.token("app.bsky.actor.getProfile"), GET_PREFERENCES, &did).await).0, 400);
    assert_eq!(refusal(there.get(GET_PREFERENCES, &did).await).1, "AuthMissing");
}
