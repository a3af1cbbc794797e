//! `com.atproto.sync.getRepo`: a whole repo as an archive.

use std::convert::Infallible;

use atproto::syntax::{Did, Tid};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use common::repo::{Repo, Repos};
use futures_util::{StreamExt, stream};
use http::Method as Verb;
use serde::Deserialize;

use super::{car, readable};
use crate::auth::TakeoutAuth;
use crate::xrpc::{Method, XrpcError, XrpcQuery};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.getRepo");

/// Which repo, and how much of it.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
    /// Leave out blocks that came with this rev or before it.
    since: Option<Tid>,
}

/// Streams the archive.
pub async fn handle(
    State(repos): State<Repos>,
    XrpcQuery(Params { did, since }): XrpcQuery<Params>,
    TakeoutAuth(reader): TakeoutAuth,
    verb: Verb,
) -> Result<Response, XrpcError> {
    let repo = readable(&repos, &reader, did).await?;
    archive(&repos, &repo, since, &verb).await
}

/// The archive of a repo. A failure before the first byte is an error like any other; a later one breaks the connection,
/// so that nobody takes half a repo for a whole one. Who asks for the headers only (HEAD) costs no export.
pub(super) async fn archive(
    repos: &Repos,
    repo: &Repo,
    since: Option<Tid>,
    verb: &Verb,
) -> Result<Response, XrpcError> {
    if verb == Verb::HEAD {
        // A stream, whose length is not told either.
        return Ok(car(Body::from_stream(stream::empty::<Result<Bytes, Infallible>>())));
    }
    let mut archive = repos.export(repo.account, since).await?;
    let first = archive.next().await.transpose()?;
    // Nobody but the log is told what went wrong.
    let rest = stream::unfold(archive, |mut archive| async {
        Some((archive.next().await?.map_err(XrpcError::from), archive))
    });
    // Who compresses it asks again after the end.
    Ok(car(Body::from_stream(stream::iter(first.map(Ok)).chain(rest.fuse()))))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use async_compression::tokio::bufread::{GzipDecoder, ZlibDecoder};
    use atproto::data::Cid;
    use atproto::mst::{Step, Walker};
    use common::testing::seed;
    use serde_json::json;
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::xrpc::com::atproto::sync::get_blocks;
    use crate::xrpc::sync_scene::{Archive, COLLECTION, Caller, Scene};

    /// The records of a whole repo by path, if its blocks come in the order in which the tree is gone through, each record
    /// where its key stands, and nothing else comes.
    fn read_in_order(archive: &Archive) -> BTreeMap<String, Cid> {
        let (commit, nodes) = (archive.commit(), archive.nodes());
        let mut rest = archive.cids().into_iter().skip(1);
        let mut walker = Walker::new(commit.data);
        let mut records = BTreeMap::new();
        while let Some(step) = walker.next(&nodes).unwrap() {
            match step {
                Step::Node { cid, .. } => assert_eq!(rest.next(), Some(cid)),
                Step::Entry(entry) => {
                    assert_eq!(rest.next(), Some(entry.value), "{}", entry.key);
                    records.insert(entry.key.to_string(), entry.value);
                }
            }
        }
        assert_eq!(rest.next(), None);
        records
    }

    /// Names of collections that sort in another way once a slash follows them.
    fn paths() -> Vec<(&'static str, String)> {
        let collections = ["com.example.foo", "com.example.foo.bar", "com.example-x.foo", "com.example.fooBar"];
        (0..1200).map(|n| (collections[n % collections.len()], format!("key{}", n * 7919 % 1200))).collect()
    }

    #[tokio::test]
    async fn a_repo_comes_in_the_order_of_its_tree() {
        let scene = Scene::start().await;
        assert_eq!(read_in_order(&scene.export().await), BTreeMap::new(), "an empty repo");
        scene.create(&paths(), 100).await;
        let export = scene.export().await;
        let records = read_in_order(&export);
        let mut expected: Vec<String> =
            paths().iter().map(|(collection, rkey)| format!("{collection}/{rkey}")).collect();
        expected.sort();
        assert_eq!(records.keys().cloned().collect::<Vec<_>>(), expected);
        for (path, cid) in &records {
            let (_, block) = export.blocks.iter().find(|(found, _)| found == cid).unwrap();
            assert!(String::from_utf8_lossy(block).contains(path.as_str()));
        }
    }

    #[tokio::test]
    async fn equal_records_come_wherever_they_stand() {
        let scene = Scene::start().await;
        let write = |rkey: &str| {
            let action = "com.atproto.repo.applyWrites#create";
            json!({ "$type": action, "collection": COLLECTION, "rkey": rkey, "value": { "text": "twin" } })
        };
        scene.write(&json!([write("a"), write("b")])).await;
        let records = read_in_order(&scene.export().await);
        assert_eq!(records.len(), 2);
        assert_eq!(records.values().collect::<HashSet<_>>().len(), 1);
    }

    #[tokio::test]
    async fn hidden_records_come_too() {
        let scene = Scene::start().await;
        scene.create(&paths()[..20], 0).await;
        let before = scene.export().await;
        for (collection, rkey) in &paths()[..5] {
            seed::take_record_down(&scene.api.db.pool(), &scene.alice.did, collection, rkey).await;
        }
        // Reference: a moderator's mark hides a record from those who ask for it, not from those who verify the repo.
        assert_eq!(scene.export().await.blocks, before.blocks);
        let cid = before.blocks.last().unwrap().0.to_string();
        assert_eq!(
            scene.archive(get_blocks::METHOD, &[("cids", &cid)]).await.blocks,
            before.blocks[before.blocks.len() - 1..]
        );
    }

    #[tokio::test]
    async fn since_leaves_out_what_the_caller_has() {
        let scene = Scene::start().await;
        scene.create(&paths()[..600], 0).await;
        let before = scene.export().await;
        let (old, rev) = (before.cids().into_iter().collect::<HashSet<_>>(), before.commit().rev.to_string());
        scene.create(&paths()[600..605], 0).await;
        scene.create(&paths()[605..610], 20_000).await;
        let delete = json!([{
            "$type": "com.atproto.repo.applyWrites#delete", "collection": paths()[0].0, "rkey": paths()[0].1
        }]);
        scene.write(&delete).await;

        let after = scene.archive(METHOD, &[("since", &rev)]).await;
        assert!(after.cids().iter().all(|cid| !old.contains(cid)), "nothing that was there before");
        let mut together: HashMap<_, _> = before.blocks.iter().cloned().collect();
        together.extend(after.blocks.iter().cloned());
        let now = scene.export().await;
        assert_eq!(after.root, now.root);
        assert!(now.blocks.iter().all(|(cid, block)| together.get(cid) == Some(block)), "everything that is new");
        assert!(after.blocks.len() < now.blocks.len() / 4);

        let rev = now.commit().rev.to_string();
        assert_eq!(scene.archive(METHOD, &[("since", &rev)]).await.cids(), [now.root]);
        let reply = scene.query(METHOD, &[("since", "yesterday")]).await;
        assert_eq!(reply.error(), (400, "InvalidRequest".to_owned()));
    }

    #[tokio::test]
    async fn a_small_repo_that_is_damaged_is_an_error() {
        let scene = Scene::start().await;
        scene.create(&[(COLLECTION, "lost".to_owned())], 0).await;
        seed::lose_record(&scene.api.db.pool(), &scene.alice.did, COLLECTION, "lost").await;
        assert_eq!(scene.query(METHOD, &[]).await.error(), (500, "InternalServerError".to_owned()));
    }

    #[tokio::test]
    async fn a_failure_in_the_middle_breaks_the_answer_off() {
        let scene = Scene::start().await;
        let paths: Vec<_> = (0..2000).map(|n| (COLLECTION, format!("{n:04}"))).collect();
        scene.create(&paths, 1000).await;
        seed::lose_record(&scene.api.db.pool(), &scene.alice.did, COLLECTION, "1999").await;
        let mut response = scene.call_as(Caller::Stranger, METHOD, &[]).send_streaming().await;
        assert_eq!(response.status(), 200);
        let mut received = 0;
        let error = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => received += chunk.len(),
                Ok(None) => panic!("half a repo was taken for a whole one"),
                Err(error) => break error,
            }
        };
        assert!(received > 200_000, "{received} bytes");
        assert!(error.is_body() || error.is_decode(), "{error:?}");
    }

    #[tokio::test]
    async fn head_has_no_body() {
        let scene = Scene::start().await;
        let reply = scene.call_as(Caller::Stranger, METHOD, &[]).verb(http::Method::HEAD).send().await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
        assert_eq!(reply.headers["content-type"], "application/vnd.ipld.car");
        assert!(!reply.headers.contains_key("content-length"), "which nobody knows yet");

        scene.create(&[(COLLECTION, "lost".to_owned())], 0).await;
        seed::lose_record(&scene.api.db.pool(), &scene.alice.did, COLLECTION, "lost").await;
        let reply = scene.call_as(Caller::Stranger, METHOD, &[]).verb(http::Method::HEAD).send().await;
        assert_eq!(reply.status, 200, "nothing was read");
        scene.set_deactivated(true).await;
        let reply = scene.call_as(Caller::Stranger, METHOD, &[]).verb(http::Method::HEAD).send().await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (400, 0));
    }

    #[tokio::test]
    async fn who_accepts_compression_gets_less() {
        let scene = Scene::start().await;
        scene.create(&paths()[..400], 1000).await;
        let plain = scene.query(METHOD, &[]).await;
        assert!(!plain.headers.contains_key("content-encoding"));
        for encoding in ["gzip", "deflate"] {
            let call = scene.call_as(Caller::Stranger, METHOD, &[]).header("accept-encoding", encoding);
            let reply = call.send().await;
            assert_eq!(reply.headers["content-encoding"], encoding);
            assert_eq!(reply.headers["content-type"], "application/vnd.ipld.car");
            assert!(reply.body.len() < plain.body.len() / 3, "{} of {} bytes", reply.body.len(), plain.body.len());
            assert_eq!(decode(encoding, &reply.body).await, plain.body);
        }
    }

    async fn decode(encoding: &str, body: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        match encoding {
            "gzip" => GzipDecoder::new(body).read_to_end(&mut decoded).await.unwrap(),
            _ => ZlibDecoder::new(body).read_to_end(&mut decoded).await.unwrap(),
        };
        decoded
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn writes_in_the_meantime_do_not_tear_the_repo() {
        let scene = Scene::start().await;
        scene.create(&paths()[..400], 1000).await;
        let reading = async {
            for _ in 0..10 {
                read_in_order(&scene.export().await);
            }
        };
        let writing = async {
            for path in paths()[400..].chunks(20) {
                scene.create(path, 1000).await;
            }
        };
        tokio::join!(reading, writing);
    }
}
