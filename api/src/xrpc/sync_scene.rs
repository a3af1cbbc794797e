//! What the tests of `com.atproto.sync` start from.

use std::collections::HashMap;
use std::sync::Arc;

use atproto::car;
use atproto::commit::Commit;
use atproto::data::Cid;
use atproto::mst::Node;
use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::testing::seed;
use serde_json::{Value, json};

use super::Method;
use super::com::atproto::repo::apply_writes;
use super::com::atproto::sync::get_repo;
use crate::testing::{Call, Reply, TestAccount, TestApi};

/// A collection without schema, as all of these tests are not about schemas.
pub(in crate::xrpc) const COLLECTION: &str = "com.example.note";

/// Writes in one commit at most.
const MAX_WRITES: usize = 200;

/// A server with the account of Alice, whose repo is read by a stranger.
pub(in crate::xrpc) struct Scene {
    pub(in crate::xrpc) api: TestApi,
    pub(in crate::xrpc) alice: TestAccount,
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(in crate::xrpc) enum Caller<'a> {
    Stranger,
    Admin,
    Holder(&'a TestAccount),
}

/// An archive that was read: every block has the hash it should have.
#[derive(Debug)]
pub(in crate::xrpc) struct Archive {
    pub(in crate::xrpc) root: Cid,
    /// In the order in which they came.
    pub(in crate::xrpc) blocks: Vec<(Cid, Bytes)>,
}

impl Scene {
    pub(in crate::xrpc) async fn start() -> Self {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        Self { api, alice }
    }

    /// Creates records in Alice's repo, each with its path for a text and some filling.
    pub(in crate::xrpc) async fn create(&self, paths: &[(&str, String)], filling: usize) {
        for paths in paths.chunks(MAX_WRITES) {
            let writes = paths.iter().map(|(collection, rkey)| {
                let value = json!({ "text": format!("{collection}/{rkey}"), "filling": "x".repeat(filling) });
                let action = "com.atproto.repo.applyWrites#create";
                json!({ "$type": action, "collection": collection, "rkey": rkey, "value": value })
            });
            self.write(&writes.collect()).await;
        }
    }

    /// Applies writes to Alice's repo as one commit.
    pub(in crate::xrpc) async fn write(&self, writes: &Value) -> Value {
        let input = json!({ "repo": self.alice.did, "writes": writes });
        self.api.call(apply_writes::METHOD).bearer(&self.alice.access).json(&input).send().await.expect_ok()
    }

    /// Gives Alice a blob.
    pub(in crate::xrpc) async fn upload(&self, bytes: &[u8]) -> Cid {
        seed::blob(&self.api.db.pool(), &self.alice.did, bytes).await
    }

    /// The write of a new record that refers to blobs.
    pub(in crate::xrpc) fn showing(rkey: &str, blobs: &[Cid]) -> Value {
        let reference = |cid: &Cid| {
            let link = json!({ "$link": cid.to_string() });
            json!({ "$type": "blob", "ref": link, "mimeType": "image/png", "size": 1 })
        };
        let value = json!({ "images": blobs.iter().map(reference).collect::<Vec<_>>() });
        let action = "com.atproto.repo.applyWrites#create";
        json!({ "$type": action, "collection": COLLECTION, "rkey": rkey, "value": value })
    }

    /// A query of a stranger's about Alice's repo.
    pub(in crate::xrpc) async fn query(&self, method: Method, params: &[(&str, &str)]) -> Reply {
        self.query_as(Caller::Stranger, method, params).await
    }

    pub(in crate::xrpc) async fn query_as(&self, caller: Caller<'_>, method: Method, params: &[(&str, &str)]) -> Reply {
        self.call_as(caller, method, params).send().await
    }

    pub(in crate::xrpc) fn call_as(&self, caller: Caller<'_>, method: Method, params: &[(&str, &str)]) -> Call {
        let call = self.api.call(method).query(&[("did", &self.alice.did)]).query(params);
        match caller {
            Caller::Stranger => call,
            Caller::Admin => {
                let credentials = STANDARD.encode("admin:test-admin-password");
                call.header("authorization", &format!("Basic {credentials}"))
            }
            Caller::Holder(account) => call.bearer(&account.access),
        }
    }

    /// The archive that a query gives.
    pub(in crate::xrpc) async fn archive(&self, method: Method, params: &[(&str, &str)]) -> Archive {
        let reply = self.query(method, params).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.headers["content-type"], "application/vnd.ipld.car");
        let (root, blocks) = car::read(&reply.body).unwrap();
        Archive { root, blocks }
    }

    /// The whole repo.
    pub(in crate::xrpc) async fn export(&self) -> Archive {
        self.archive(get_repo::METHOD, &[]).await
    }

    pub(in crate::xrpc) async fn set_deactivated(&self, deactivated: bool) {
        seed::set_deactivated(&self.api.db.pool(), &self.alice.did, deactivated).await;
    }

    pub(in crate::xrpc) async fn set_taken_down(&self, taken_down: bool) {
        seed::set_taken_down(&self.api.db.pool(), &self.alice.did, taken_down).await;
    }
}

impl Archive {
    /// The commit, which must be the root and come first.
    pub(in crate::xrpc) fn commit(&self) -> Commit {
        let (cid, block) = &self.blocks[0];
        assert_eq!(*cid, self.root);
        Commit::decode(block).unwrap()
    }

    /// The blocks that are tree nodes.
    pub(in crate::xrpc) fn nodes(&self) -> HashMap<Cid, Arc<Node>> {
        let nodes = self.blocks.iter().filter_map(|(cid, block)| Some((*cid, Arc::new(Node::decode(block).ok()?))));
        nodes.collect()
    }

    pub(in crate::xrpc) fn cids(&self) -> Vec<Cid> {
        self.blocks.iter().map(|(cid, _)| *cid).collect()
    }
}
