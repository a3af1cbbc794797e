//! What the tests of `com.atproto.repo` start from.

use atproto::data::Cid;
use atproto::syntax::{AtUri, Tid};
use common::testing::seed;
use serde_json::{Value, json};

use super::Method;
use super::com::atproto::repo::{create_record, delete_record, get_record, list_records};
use crate::testing::{Reply, TestAccount, TestApi};

pub(in crate::xrpc) const POST: &str = "app.bsky.feed.post";
pub(in crate::xrpc) const LIKE: &str = "app.bsky.feed.like";
pub(in crate::xrpc) const FOLLOW: &str = "app.bsky.graph.follow";
/// A collection without schema.
pub(in crate::xrpc) const CUSTOM: &str = "com.example.thing";

const CREATED_AT: &str = "2026-11-21T00:00:00.000Z";

pub(in crate::xrpc) fn post(text: &str) -> Value {
    json!({ "$type": POST, "text": text, "createdAt": CREATED_AT })
}

pub(in crate::xrpc) fn like(uri: &str) -> Value {
    json!({ "$type": LIKE, "subject": { "uri": uri, "cid": Cid::dag_cbor(b"") }, "createdAt": CREATED_AT })
}

pub(in crate::xrpc) fn follow(did: &str) -> Value {
    json!({ "$type": FOLLOW, "subject": did, "createdAt": CREATED_AT })
}

/// A map of so many levels.
pub(in crate::xrpc) fn deep(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }))
}

/// The object with these entries put in.
pub(in crate::xrpc) fn with(object: &Value, entries: Value) -> Value {
    let (mut object, Value::Object(entries)) = (object.clone(), entries) else { panic!("no object") };
    object.as_object_mut().unwrap().extend(entries);
    object
}

/// The object without this entry.
pub(in crate::xrpc) fn without(object: &Value, key: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(key).unwrap();
    object
}

/// An answer other than success.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::xrpc) struct Failure {
    pub(in crate::xrpc) status: u16,
    pub(in crate::xrpc) error: String,
    pub(in crate::xrpc) message: String,
}

/// Where a repo stands.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::xrpc) struct Standing {
    pub(in crate::xrpc) head: Cid,
    pub(in crate::xrpc) rev: Tid,
}

/// A server of its own with two accounts. Alice is the one who calls.
pub(in crate::xrpc) struct Scene {
    api: TestApi,
    pub(in crate::xrpc) alice: TestAccount,
    pub(in crate::xrpc) bob: TestAccount,
}

impl Scene {
    pub(in crate::xrpc) async fn start() -> Self {
        let api = TestApi::start().await;
        let (alice, bob) = tokio::join!(api.create_account("alice"), api.create_account("bob"));
        Self { api, alice, bob }
    }

    /// Calls a procedure as Alice.
    pub(in crate::xrpc) async fn call(&self, method: Method, input: &Value) -> Result<Value, Failure> {
        result(self.api.call(method).bearer(&self.alice.access).json(input).send().await)
    }

    /// Calls a procedure as Alice with any body.
    pub(in crate::xrpc) async fn call_raw(&self, method: Method, body: Vec<u8>) -> Result<Value, Failure> {
        result(self.api.call(method).bearer(&self.alice.access).malformed_json(body).send().await)
    }

    /// Calls a procedure without credentials.
    pub(in crate::xrpc) async fn call_anonymous(&self, method: Method, input: &Value) -> Result<Value, Failure> {
        result(self.api.call(method).json(input).send().await)
    }

    /// Calls a query without credentials.
    pub(in crate::xrpc) async fn query(&self, method: Method, params: &[(&str, &str)]) -> Result<Value, Failure> {
        result(self.api.call(method).query(params).send().await)
    }

    /// Calls a query with an object of texts for parameters.
    pub(in crate::xrpc) async fn query_json(&self, method: Method, params: &Value) -> Result<Value, Failure> {
        let params = params.as_object().unwrap().iter();
        let params: Vec<_> = params.map(|(key, value)| (&**key, value.as_str().unwrap())).collect();
        self.query(method, &params).await
    }

    /// Checks that a call of Alice's fails with this status, this name and a message that has this part, and that her repo
    /// stands where it stood.
    pub(in crate::xrpc) async fn assert_refused(
        &self,
        method: Method,
        input: &Value,
        (status, name, part): (u16, &str, &str),
    ) {
        let before = self.head().await;
        let shown: String = input.to_string().chars().take(200).collect();
        match self.call(method, input).await {
            Ok(answer) => panic!("{shown}: {answer}"),
            Err(failure) => {
                assert_eq!((failure.status, failure.error.as_str()), (status, name), "{shown}: {failure:?}");
                assert!(failure.message.contains(part), "{shown}: {failure:?}, not {part:?}");
            }
        }
        assert_eq!(self.head().await, before, "{shown}");
    }

    /// Where Alice's repo stands.
    pub(in crate::xrpc) async fn head(&self) -> Standing {
        let did = self.alice.did.parse().unwrap();
        let repo = self.api.app().repos.find(&did).await.unwrap().unwrap();
        Standing { head: repo.head, rev: repo.rev }
    }

    /// Creates a record in Alice's repo and gives its key.
    pub(in crate::xrpc) async fn create(&self, input: &Value) -> String {
        let written = self.call(create_record::METHOD, input).await.unwrap();
        let uri: AtUri = written["uri"].as_str().unwrap().parse().unwrap();
        uri.rkey().unwrap().to_string()
    }

    /// Deletes a record of Alice's.
    pub(in crate::xrpc) async fn delete(&self, collection: &str, rkey: &str) {
        let input = json!({ "repo": self.alice.did, "collection": collection, "rkey": rkey });
        self.call(delete_record::METHOD, &input).await.unwrap();
    }

    /// The value of a record of Alice's.
    pub(in crate::xrpc) async fn value(&self, collection: &str, rkey: &str) -> Option<Value> {
        let params = [("repo", &*self.alice.did), ("collection", collection), ("rkey", rkey)];
        match self.query(get_record::METHOD, &params).await {
            Ok(mut record) => Some(record["value"].take()),
            Err(failure) if failure.error == "RecordNotFound" => None,
            Err(failure) => panic!("{failure:?}"),
        }
    }

    /// The keys of a collection of Alice's, in order.
    pub(in crate::xrpc) async fn keys(&self, collection: &str) -> Vec<String> {
        let params = [("repo", &*self.alice.did), ("collection", collection), ("reverse", "true")];
        let answer = self.query(list_records::METHOD, &params).await.unwrap();
        let uris = answer["records"].as_array().unwrap().iter().map(|record| record["uri"].as_str().unwrap());
        uris.map(|uri| uri.rsplit('/').next().unwrap().to_owned()).collect()
    }

    pub(in crate::xrpc) async fn set_deactivated(&self, account: &TestAccount, deactivated: bool) {
        seed::set_deactivated(&self.api.db.pool(), &account.did, deactivated).await;
    }

    pub(in crate::xrpc) async fn set_taken_down(&self, account: &TestAccount, taken_down: bool) {
        seed::set_taken_down(&self.api.db.pool(), &account.did, taken_down).await;
    }

    /// A blob of Alice's, of type `image/png`.
    pub(in crate::xrpc) async fn blob(&self, bytes: &[u8]) -> Cid {
        seed::blob(&self.api.db.pool(), &self.alice.did, bytes).await
    }

    /// Hides a record of Alice's as a moderator would.
    pub(in crate::xrpc) async fn take_record_down(&self, collection: &str, rkey: &str) {
        seed::take_record_down(&self.api.db.pool(), &self.alice.did, collection, rkey).await;
    }
}

fn result(reply: Reply) -> Result<Value, Failure> {
    if reply.status.is_success() {
        return Ok(reply.expect_ok());
    }
    let (status, error, message) = reply.error_with_message();
    Err(Failure { status, error, message })
}
