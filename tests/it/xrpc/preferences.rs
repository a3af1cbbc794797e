//! Preferences, put and read at replicas in turn.

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::harness::account::Account;
use crate::harness::cluster::{Cluster, Replicas};

const GET: &str = "app.bsky.actor.getPreferences";
const PUT: &str = "app.bsky.actor.putPreferences";
const ADULT: &str = "app.bsky.actor.defs#adultContentPref";
const TAGS: &str = "app.bsky.actor.defs#interestsPref";

async fn get(cluster: &Cluster, replica: usize, account: &Account) -> Value {
    cluster.api(replica).get_as(&account.token, GET, &[]).await.unwrap()["preferences"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_took_the_other_gives() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let bob = cluster.create_account("bob.test").await.unwrap();
    for turn in 0..4 {
        let preferences =
            json!([{ "$type": ADULT, "enabled": turn % 2 == 0 }, { "$type": TAGS, "tags": [format!("{turn}")] }]);
        let input = json!({ "preferences": preferences });
        cluster.api(turn % 2).post(PUT, Some(&alice.token), &input).await.unwrap();
        assert_eq!(get(&cluster, (turn + 1) % 2, &alice).await, preferences);
    }
    assert_eq!(get(&cluster, 0, &bob).await, json!([]), "each has their own");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_puts_at_once_one_is_left_as_a_whole() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let puts = (0..16_usize).map(|n| {
        let tags = |part: &str| json!({ "$type": TAGS, "tags": [format!("{part} {n}")] });
        let input = json!({ "preferences": [tags("first"), tags("second")] });
        let (api, token) = (cluster.api(n % 2), alice.token.clone());
        async move { api.post(PUT, Some(&token), &input).await }
    });
    try_join_all(puts).await.unwrap();
    let left = get(&cluster, 0, &alice).await;
    assert_eq!(get(&cluster, 1, &alice).await, left);
    let [first, second] = &left.as_array().unwrap()[..] else { panic!("{left}") };
    let writer = |preference: &Value| preference["tags"][0].as_str().unwrap().split_once(' ').unwrap().1.to_owned();
    assert_eq!(writer(first), writer(second));
}
