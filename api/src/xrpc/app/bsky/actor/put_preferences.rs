//! `app.bsky.actor.putPreferences`: replaces what clients keep for the caller.

use axum::extract::State;
use common::preference::{Preference, Preferences, PutError};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::access_of;
use crate::auth::{AccessAuth, Checked};
use crate::xrpc::{Method, XrpcBody, XrpcError, check_input};

/// The method.
pub const METHOD: Method = Method::procedure("app.bsky.actor.putPreferences");

/// All preferences, in their order.
#[derive(Deserialize)]
pub struct Input {
    preferences: Vec<Box<RawValue>>,
}

/// Allowed to deactivated accounts, which may be moving in.
pub async fn handle(
    State(preferences): State<Preferences>,
    Checked { auth, account }: Checked<AccessAuth>,
    XrpcBody(input): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    let put = read(input)?;
    Ok(preferences.put(account.id, put, access_of(auth.scope())).await?)
}

/// The preferences with their types; known types have the shape that clients rely on.
fn read(input: Input) -> Result<Vec<Preference>, XrpcError> {
    let values: Result<Vec<Value>, _> = input.preferences.iter().map(|raw| serde_json::from_str(raw.get())).collect();
    let values = values.map_err(|error| XrpcError::invalid_request(format_args!("Malformed JSON: {error}")))?;
    let names: Option<Vec<String>> =
        values.iter().map(|value| Some(value.get("$type")?.as_str()?.to_owned())).collect();
    let names = names.ok_or_else(|| XrpcError::invalid_request("Preference is missing a $type"))?;
    check_input(METHOD, &json!({ "preferences": values }))?;
    Ok(names.into_iter().zip(input.preferences).map(|(name, raw)| Preference::new(name, raw)).collect())
}

impl From<PutError> for XrpcError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Namespace | PutError::Unauthorized => Self::invalid_request(error),
            PutError::AccountNotFound => Self::forbidden("AccountNotFound", error),
            PutError::Storage(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::testing::seed;

    use super::super::get_preferences;
    use super::*;
    use crate::auth::AccessScope;
    use crate::testing::{TestAccount, TestApi};

    const ADULT: &str = "app.bsky.actor.defs#adultContentPref";
    const PERSONAL: &str = "app.bsky.actor.defs#personalDetailsPref";

    async fn put(api: &TestApi, token: &str, preferences: Value) -> crate::testing::Reply {
        api.call(METHOD).bearer(token).json(&json!({ "preferences": preferences })).send().await
    }

    async fn get(api: &TestApi, token: &str) -> Value {
        api.call(get_preferences::METHOD).bearer(token).send().await.expect_ok()["preferences"].take()
    }

    /// The token of an app password's session.
    fn app_password(api: &TestApi, account: &TestAccount) -> String {
        api.app().tokens.issue_access(&account.did.parse().unwrap(), AccessScope::AppPass).unwrap()
    }

    #[tokio::test]
    async fn what_is_put_is_what_is_got() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        assert_eq!(get(&api, &alice.access).await, json!([]));
        let preferences = json!([
            { "$type": ADULT, "enabled": true, "unknown": { "deep": [null, "\u{0}"] } },
            { "$type": "app.bsky.actor.defs#somethingNew", "x": 1 }
        ]);
        put(&api, &alice.access, preferences.clone()).await.expect_ok();
        assert_eq!(get(&api, &alice.access).await, preferences);
    }

    #[tokio::test]
    async fn every_refusal_has_its_message() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let app = app_password(&api, &alice);
        let born = json!({ "$type": PERSONAL, "birthDate": "2000-01-01T00:00:00.000Z" });
        put(&api, &alice.access, json!([born])).await.expect_ok();
        let before = get(&api, &alice.access).await;
        for (token, preferences, message) in [
            (&alice.access, json!([{ "enabled": true }]), "Preference is missing a $type"),
            (&alice.access, json!([{ "$type": 1 }]), "Preference is missing a $type"),
            (&alice.access, json!([{ "$type": ADULT, "enabled": true }, 7]), "Preference is missing a $type"),
            (
                &alice.access,
                json!([{ "$type": "com.example.pref" }]),
                "Some preferences are not in the app.bsky namespace",
            ),
            (
                &app,
                json!([born]),
                "Do not have authorization to set preferences: app.bsky.actor.defs#personalDetailsPref",
            ),
        ] {
            let refused = put(&api, token, preferences).await.error_with_message();
            assert_eq!(refused, (400, "InvalidRequest".to_owned(), message.to_owned()));
        }
        for malformed in [json!([{ "$type": ADULT }]), json!([{ "$type": ADULT, "enabled": "yes" }]), json!({})] {
            assert_eq!(put(&api, &alice.access, malformed).await.error(), (400, "InvalidRequest".to_owned()));
        }
        assert_eq!(get(&api, &alice.access).await, before);
        let visible: Vec<Value> = get(&api, &app).await.as_array().unwrap().clone();
        assert_eq!(visible.len(), 1, "the declared age only");
        assert_eq!(visible[0]["isOverAge18"], json!(true));
    }

    #[tokio::test]
    async fn who_may_put_depends_on_the_account() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        seed::set_deactivated(&api.db.pool(), &alice.did, true).await;
        put(&api, &alice.access, json!([{ "$type": ADULT, "enabled": true }])).await.expect_ok();
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        assert_eq!(put(&api, &alice.access, json!([])).await.error(), (401, "AccountTakedown".to_owned()));
        assert_eq!(get(&api, &alice.access).await.as_array().unwrap().len(), 1, "to be taken along");
        seed::delete_account(&api.db.pool(), &alice.did).await;
        assert_eq!(put(&api, &alice.access, json!([])).await.error(), (403, "AccountNotFound".to_owned()));
        assert_eq!(api.call(METHOD).json(&json!({})).send().await.error(), (401, "AuthMissing".to_owned()));
    }
}
