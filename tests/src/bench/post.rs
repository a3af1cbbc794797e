//! Requests that write posts of an ordinary size.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use serde_json::{Value, json};

use crate::connection::Call;
use crate::session::Account;

/// The collection of everything that is written.
pub(crate) const COLLECTION: &str = "app.bsky.feed.post";

/// The number of the next post.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A post unlike all others: a server may store equal records once.
fn record() -> Value {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let text = format!(
        "The rooks came back to the tall elms behind the church this morning, \
         and by noon they had quarrelled {number:08} times about every single branch."
    );
    json!({
        "$type": COLLECTION,
        "text": text,
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

/// The request that writes one post with something embedded.
///
/// # Errors
/// None that can happen.
pub(crate) fn create_with(account: &Account, embed: Value) -> Result<Call> {
    let mut record = record();
    record["embed"] = embed;
    let input = json!({ "repo": account.did, "collection": COLLECTION, "record": record });
    Ok(Call::procedure("com.atproto.repo.createRecord", &input)?.signed_in(&account.token))
}

/// The request that writes `count` posts as one commit.
///
/// # Errors
/// None that can happen.
pub(crate) fn batch(account: &Account, count: usize) -> Result<Call> {
    let write = || {
        json!({
            "$type": "com.atproto.repo.applyWrites#create",
            "collection": COLLECTION,
            "value": record(),
        })
    };
    let writes: Vec<Value> = (0..count).map(|_| write()).collect();
    let input = json!({ "repo": account.did, "writes": writes });
    Ok(Call::procedure("com.atproto.repo.applyWrites", &input)?.signed_in(&account.token))
}
