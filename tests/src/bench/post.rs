//! Requests that write posts of an ordinary size.

use anyhow::Result;
use serde_json::{Value, json};

use crate::connection::Call;
use crate::session::Account;

/// The collection of everything that is written.
pub(crate) const COLLECTION: &str = "app.bsky.feed.post";

/// A post.
fn record() -> Value {
    json!({
        "$type": COLLECTION,
        "text": "The rooks came back to the tall elms behind the church this morning, \
                 and by noon they had quarrelled about every single branch.",
        "langs": ["en"],
        "createdAt": "2026-01-01T00:00:00.000Z",
    })
}

/// The request that writes one post; the server chooses the record's key unless one is given.
///
/// # Errors
/// None that can happen.
pub(crate) fn create(account: &Account, rkey: Option<&str>) -> Result<Call> {
    let mut input = json!({ "repo": account.did, "collection": COLLECTION, "record": record() });
    if let Some(rkey) = rkey {
        input["rkey"] = rkey.into();
    }
    Ok(Call::procedure("com.atproto.repo.createRecord", &input)?.signed_in(&account.token))
}

/// The request that writes `count` posts as one commit.
///
/// # Errors
/// None that can happen.
pub(crate) fn batch(account: &Account, count: usize) -> Result<Call> {
    let write = json!({
        "$type": "com.atproto.repo.applyWrites#create",
        "collection": COLLECTION,
        "value": record(),
    });
    let input = json!({ "repo": account.did, "writes": vec![write; count] });
    Ok(Call::procedure("com.atproto.repo.applyWrites", &input)?.signed_in(&account.token))
}
