//! Secrets that change while replicas with the old and the new ones serve side by side.

use std::cell::Cell;

use api::{Overrides, Pds};
use common::config::{Config, Key32};
use serde_json::json;

use crate::harness::account::Account;
use crate::harness::client::{Client, Refusal};
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::operator::Operator;

const GET_SESSION: &str = "com.atproto.server.getSession";
const REFRESH_SESSION: &str = "com.atproto.server.refreshSession";

/// The settings before, or after, each variable and its `…_PREVIOUS` were exchanged; both accept the other's work.
fn exchange(config: &mut Config, exchanged: bool) {
    let secrets = &mut config.secrets;
    let (old, new) = (("old secret", [2; 32]), ("new secret", [3; 32]));
    let ((secret, key), (other_secret, other_key)) = if exchanged { (new, old) } else { (old, new) };
    secrets.jwt_secret = secret.into();
    secrets.jwt_secret_previous = Some(other_secret.into());
    secrets.key_encryption_key = Key32::from_bytes(key);
    secrets.key_encryption_keys_previous = vec![Key32::from_bytes(other_key)];
}

/// A replica with the new secrets only, as after the last step.
async fn newest_replica(cluster: &Cluster) -> Pds {
    let mut config = Config::for_tests();
    config.identity.plc_url = cluster.plc().url();
    exchange(&mut config, true);
    config.secrets.jwt_secret_previous = None;
    config.secrets.key_encryption_keys_previous = Vec::new();
    let mut overrides = Overrides::default();
    overrides.database = Some(cluster.db().other_pool());
    let mut replica = Pds::create(config, overrides).await.unwrap();
    replica.start();
    replica
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_change_without_signing_anybody_out() {
    let started = Cell::new(0);
    let cluster = Cluster::start_with(Replicas(2), |config| exchange(config, started.replace(1) == 1)).await.unwrap();
    let apis = [cluster.api(0), cluster.api(1)];
    let mut sessions = Vec::new();
    for (replica, name) in ["alice", "bob"].into_iter().enumerate() {
        let account = Account::create(&apis[replica], &format!("{name}.test")).await.unwrap();
        let input = json!({ "identifier": format!("{name}.test"), "password": crate::harness::account::PASSWORD });
        let session = apis[replica].post("com.atproto.server.createSession", None, &input).await.unwrap();
        sessions.push((account, session["refreshJwt"].as_str().unwrap().to_owned()));
    }
    // Each replica takes the tokens, and opens the keys, of the other.
    for (account, refresh) in &mut sessions {
        for api in &apis {
            api.get_as(&account.token, GET_SESSION, &[]).await.unwrap();
            account.post(api, "hi", None).await.unwrap();
            let session = api.post_empty(REFRESH_SESSION, Some(refresh)).await.unwrap();
            account.token = session["accessJwt"].as_str().unwrap().to_owned();
            *refresh = session["refreshJwt"].as_str().unwrap().to_owned();
        }
    }

    // The last tokens were signed by the replica with the new secret, so the old one may go; the keys are sealed anew.
    let hex = |seed: &str| seed.repeat(32);
    let operator = Operator::of(&cluster).unwrap().with("PDS_KEY_ENCRYPTION_KEY", &hex("03"));
    let incomplete = operator.run(&["keys", "status", "--json"]).await.unwrap();
    assert_eq!(incomplete.code, 1, "{incomplete:?}");
    let failed = operator.run(&["keys", "rewrap", "--json"]).await.unwrap();
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_eq!(failed.json().last(), Some(&json!({ "resealed": 0, "unopened": 1 })), "{failed:?}");
    let operator = operator.with("PDS_KEY_ENCRYPTION_KEY_PREVIOUS", &hex("02"));
    let counts = async || {
        let status = operator.run(&["keys", "status", "--json"]).await.unwrap();
        assert_eq!(status.code, 0, "{status:?}");
        let mut counts = status.json();
        counts.sort_by_key(|count| count["state"].to_string());
        counts.into_iter().map(|count| (count["state"].clone(), count["keys"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(counts().await, [(json!("current"), json!(1)), (json!("previous"), json!(1))]);
    let done = operator.run(&["keys", "rewrap", "--batch", "1"]).await.unwrap();
    assert_eq!((done.code, done.out.as_str()), (0, "1 keys sealed anew; 0 could not be opened\n"), "{done:?}");
    assert_eq!(counts().await, [(json!("current"), json!(2))]);

    let newest = newest_replica(&cluster).await;
    let api = Client::new(newest.local_url());
    for (account, refresh) in &sessions {
        api.get_as(&account.token, GET_SESSION, &[]).await.unwrap();
        account.post(&api, "hi again", None).await.unwrap();
        api.post_empty(REFRESH_SESSION, Some(refresh)).await.unwrap();
    }
    // A server that skips the steps signs everybody out.
    let stranger = Cluster::start(Replicas(1)).await.unwrap();
    let refused = stranger.api(0).get_as(&sessions[0].0.token, GET_SESSION, &[]).await.unwrap_err();
    assert_eq!(refused.downcast::<Refusal>().unwrap().name, "InvalidToken");
}
