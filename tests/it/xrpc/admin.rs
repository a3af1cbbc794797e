//! What operators do at one replica, seen from another.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::account::{Account, PASSWORD};
use crate::harness::client::Refusal;
use crate::harness::cluster::{Cluster, Replicas};

/// The audit log's entries, the oldest first: action, outcome, subject.
async fn audited(cluster: &Cluster, replica: usize) -> Vec<[String; 3]> {
    let api = cluster.api(replica);
    let log = api.get_as_admin("internal.rookery.admin.listAuditLog", &[]).await.unwrap();
    let entries = log["entries"].as_array().unwrap().iter().rev();
    let texts = |entry: &Value| ["action", "outcome", "subject"].map(|name| entry[name].as_str().unwrap().to_owned());
    entries.map(texts).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_made_and_stopped_for_all_replicas() {
    let cluster = Cluster::start_with(Replicas(2), |config| config.invites.required = true).await.unwrap();
    let create = json!({ "useCount": 3 });
    let made = cluster.api(0).post_as_admin("com.atproto.server.createInviteCode", &create).await.unwrap();
    let code = made["code"].as_str().unwrap();
    let sign_up = |n: usize| {
        let handle = format!("user{n}.test");
        let input = json!({ "handle": handle, "email": format!("user{n}@mail.test"), "password": PASSWORD, "inviteCode": code });
        let api = cluster.api(n % 2);
        async move { api.post("com.atproto.server.createAccount", None, &input).await }
    };
    let answers = join_all((0..8).map(sign_up)).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3, "{answers:?}");
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(error.downcast_ref::<Refusal>().unwrap().name, "InvalidInviteCode");
    }
    let listed = cluster.api(1).get_as_admin("com.atproto.admin.getInviteCodes", &[]).await.unwrap();
    assert_eq!(listed["codes"][0]["uses"].as_array().unwrap().len(), 3);

    let create = json!({ "useCount": 5 });
    let made = cluster.api(1).post_as_admin("com.atproto.server.createInviteCode", &create).await.unwrap();
    let stop = json!({ "codes": [made["code"]] });
    cluster.api(0).post_as_admin("com.atproto.admin.disableInviteCodes", &stop).await.unwrap();
    let input =
        json!({ "handle": "late.test", "email": "late@mail.test", "password": PASSWORD, "inviteCode": made["code"] });
    let late = cluster.api(1).post("com.atproto.server.createAccount", None, &input).await.unwrap_err();
    assert_eq!(late.downcast_ref::<Refusal>().unwrap().name, "InvalidInviteCode");
    let actions: Vec<String> = audited(&cluster, 1).await.into_iter().map(|[action, ..]| action).collect();
    assert_eq!(actions, ["invite.create", "invite.create", "invite.disable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn earned_codes_are_made_once_by_whichever_replica() {
    let cluster = Cluster::start_with(Replicas(2), |config| {
        config.invites.required = true;
        // So short that five are due at once.
        config.invites.interval = Some(Duration::from_millis(1));
    });
    let cluster = cluster.await.unwrap();
    let create = json!({ "useCount": 1 });
    let made = cluster.api(0).post_as_admin("com.atproto.server.createInviteCode", &create).await.unwrap();
    let input =
        json!({ "handle": "alice.test", "email": "alice@mail.test", "password": PASSWORD, "inviteCode": made["code"] });
    let session = cluster.api(0).post("com.atproto.server.createAccount", None, &input).await.unwrap();
    let token = session["accessJwt"].as_str().unwrap();
    let list = |n: usize| {
        let api = cluster.api(n % 2);
        async move { api.get_as(token, "com.atproto.server.getAccountInviteCodes", &[]).await.unwrap() }
    };
    let lists = join_all((0..10).map(list)).await;
    let codes: HashSet<&str> = lists
        .iter()
        .flat_map(|list| list["codes"].as_array().unwrap())
        .map(|code| code["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes.len(), 5, "{lists:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_may() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let did = alice.did.as_str();
    let queries: [(&str, &[(&str, &str)]); 6] = [
        ("com.atproto.admin.getAccountInfo", &[("did", did)]),
        ("com.atproto.admin.getAccountInfos", &[("dids", did)]),
        ("com.atproto.admin.getInviteCodes", &[]),
        ("com.atproto.admin.getSubjectStatus", &[("did", did)]),
        ("com.atproto.admin.searchAccounts", &[("email", "alice")]),
        ("internal.rookery.admin.listAuditLog", &[]),
    ];
    for (method, params) in queries {
        cluster.api(0).get_as_admin(method, params).await.unwrap();
        let anonymous = cluster.api(1).get(method, params).await.unwrap_err();
        let user = cluster.api(1).get_as(&alice.token, method, params).await.unwrap_err();
        for error in [anonymous, user] {
            assert_eq!(error.downcast_ref::<Refusal>().unwrap().status, 401, "{method}: {error}");
        }
    }
    let note = json!({ "account": did });
    let codes = json!({ "codes": ["x"] });
    let one = json!({ "useCount": 1 });
    for (method, input) in [
        ("com.atproto.admin.disableAccountInvites", &note),
        ("com.atproto.admin.enableAccountInvites", &note),
        ("com.atproto.admin.disableInviteCodes", &codes),
        ("com.atproto.server.createInviteCode", &one),
        ("com.atproto.server.createInviteCodes", &one),
    ] {
        for token in [None, Some(alice.token.as_str())] {
            let error = cluster.api(1).post(method, token, input).await.unwrap_err();
            assert_eq!(error.downcast_ref::<Refusal>().unwrap().status, 401, "{method}: {error}");
        }
        assert_eq!(audited(&cluster, 0).await.len(), 0, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_the_same_from_every_side() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let accounts = ["alice", "bob"].map(|name| format!("{name}.test"));
    let mut dids = Vec::new();
    for handle in &accounts {
        let Account { did, .. } = cluster.create_account(handle).await.unwrap();
        dids.push(did.to_string());
    }
    let dids: Vec<(&str, &str)> = dids.iter().map(|did| ("dids", did.as_str())).collect();
    let infos = cluster.api(0).get_as_admin("com.atproto.admin.getAccountInfos", &dids).await.unwrap();
    let found =
        cluster.api(1).get_as_admin("com.atproto.admin.searchAccounts", &[("email", "@mail.test")]).await.unwrap();
    assert_eq!(infos["infos"], found["accounts"]);
    for ((_, did), info) in dids.iter().zip(infos["infos"].as_array().unwrap()) {
        let one = cluster.api(1).get_as_admin("com.atproto.admin.getAccountInfo", &[("did", did)]).await.unwrap();
        assert_eq!(one, *info);
    }
}
