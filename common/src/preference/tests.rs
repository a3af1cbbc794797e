use futures_util::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::testing::{TestDb, seed};

const ADULT: &str = "app.bsky.actor.defs#adultContentPref";
const SAVED: &str = "app.bsky.actor.defs#savedFeedsPrefV2";

struct Scene {
    db: TestDb,
    preferences: Preferences,
    alice: AccountId,
}

impl Scene {
    async fn start() -> Self {
        let db = TestDb::create().await;
        let clock = Clock::manual("2026-11-21T00:00:00Z".parse().unwrap());
        let alice = seed::account(&db.pool(), "alice.test").await;
        Self { preferences: Preferences::new(db.pool(), clock), alice, db }
    }

    async fn put(&self, values: &[Value], access: Access) -> Result<(), PutError> {
        self.preferences.put(self.alice, values.iter().map(preference).collect(), access).await
    }

    async fn list(&self, access: Access) -> Vec<Value> {
        let found = self.preferences.list(self.alice, access).await.unwrap();
        found.iter().map(|preference| serde_json::to_value(preference).unwrap()).collect()
    }
}

fn preference(value: &Value) -> Preference {
    let name = value["$type"].as_str().unwrap().to_owned();
    Preference::new(name, RawValue::from_string(value.to_string()).unwrap())
}

fn born(date: &str) -> Value {
    json!({ "$type": PERSONAL_DETAILS, "birthDate": date })
}

fn age(over: [bool; 3]) -> Value {
    json!({ "$type": DECLARED_AGE, "isOverAge13": over[0], "isOverAge16": over[1], "isOverAge18": over[2] })
}

#[tokio::test]
async fn what_was_put_is_read_in_its_order_and_replaced_as_a_whole() {
    let scene = Scene::start().await;
    assert_eq!(scene.list(Access::Full).await, Vec::<Value>::new());
    let first = [json!({ "$type": SAVED, "items": ["b", "a"] }), json!({ "$type": ADULT, "enabled": true })];
    scene.put(&first, Access::Full).await.unwrap();
    assert_eq!(scene.list(Access::Full).await, first);
    let twice = [json!({ "$type": ADULT, "n": "\0 \u{1F600}" }), json!({ "$type": ADULT, "n": 2 })];
    scene.put(&twice, Access::Limited).await.unwrap();
    assert_eq!(scene.list(Access::Limited).await, twice, "one type may come twice, and any text in it");
    scene.put(&[], Access::Full).await.unwrap();
    assert_eq!(scene.list(Access::Full).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_birth_date_is_for_the_main_password_and_the_age_for_all() {
    let scene = Scene::start().await;
    let adult = json!({ "$type": ADULT, "enabled": true });
    scene.put(&[born("2010-01-01T00:00:00.000Z"), adult.clone()], Access::Full).await.unwrap();
    let declared = age([true, true, false]);
    let full = [born("2010-01-01T00:00:00.000Z"), adult.clone(), declared.clone()];
    assert_eq!(scene.list(Access::Full).await, full);
    assert_eq!(scene.list(Access::Limited).await, [adult, declared.clone()]);

    // Who may not see it does not erase it, and who puts back what it was given changes nothing of it.
    let saved = json!({ "$type": SAVED, "items": [] });
    scene.put(&[saved.clone(), age([true, true, true])], Access::Limited).await.unwrap();
    assert_eq!(scene.list(Access::Full).await, [born("2010-01-01T00:00:00.000Z"), saved.clone(), declared]);
    let refused = scene.put(&[born("1990-01-01T00:00:00.000Z")], Access::Limited).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Do not have authorization to set preferences: app.bsky.actor.defs#personalDetailsPref"
    );
    scene.put(std::slice::from_ref(&saved), Access::Full).await.unwrap();
    assert_eq!(scene.list(Access::Full).await, [saved], "who may see it erases it by leaving it out");
}

#[tokio::test]
async fn other_namespaces_are_refused() {
    let scene = Scene::start().await;
    for (name, is_taken) in
        [("app.bsky", true), ("app.bsky.x", true), ("app.bskyx", false), ("com.example.pref", false), ("", false)]
    {
        let put = scene.put(&[json!({ "$type": name })], Access::Full).await;
        assert_eq!(put.is_ok(), is_taken, "{name}");
        assert!(is_taken || matches!(put, Err(PutError::Namespace)), "{put:?}");
    }
    assert_eq!(scene.list(Access::Full).await, [json!({ "$type": "app.bsky.x" })]);
}

#[tokio::test]
async fn of_many_at_once_one_is_left_as_a_whole() {
    let scene = Scene::start().await;
    scene.put(&[born("2000-01-01T00:00:00.000Z")], Access::Full).await.unwrap();
    let other = Preferences::new(scene.db.other_pool(), Clock::system());
    let puts = (0..10).map(|n| {
        let preferences = if n % 2 == 0 { &scene.preferences } else { &other };
        let values = [json!({ "$type": ADULT, "n": n }), json!({ "$type": SAVED, "n": n })];
        preferences.put(scene.alice, values.iter().map(preference).collect(), Access::Limited)
    });
    for put in join_all(puts).await {
        put.unwrap();
    }
    let left = scene.list(Access::Full).await;
    assert_eq!(left.len(), 4, "{left:?}");
    assert_eq!(left[0], born("2000-01-01T00:00:00.000Z"));
    assert_eq!(left[1]["n"], left[2]["n"]);
}

#[tokio::test]
async fn preferences_go_with_their_account() {
    let scene = Scene::start().await;
    scene.put(&[json!({ "$type": ADULT })], Access::Full).await.unwrap();
    seed::delete_account(&scene.db.pool(), &seed::did_of("alice.test")).await;
    assert_eq!(scene.list(Access::Full).await, Vec::<Value>::new());
    assert!(matches!(scene.put(&[], Access::Full).await, Err(PutError::AccountNotFound)));
}
