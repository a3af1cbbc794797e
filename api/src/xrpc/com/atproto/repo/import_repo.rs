//! `com.atproto.repo.importRepo`: replaces the caller's repo by the one in an archive.

use std::pin::pin;
use std::sync::Arc;

use axum::extract::State;
use bytes::Bytes;
use common::config::Config;
use common::repo::{ImportError, Repos, Upload};
use futures_util::{Stream, StreamExt};
use http::StatusCode;

use crate::auth::{Checked, FullAuth, account_taken_down};
use crate::xrpc::{Method, XrpcError, XrpcStream};

/// The method. Its input is a stream, which has its own limit.
pub const METHOD: Method = Method::procedure("com.atproto.repo.importRepo");

/// The media type of archives.
const CAR: &str = "application/vnd.ipld.car";

/// Imports the archive, also for a deactivated account: that is how accounts move in.
///
/// A bad archive is read to its end all the same, within the limit, because many clients do not look for an answer before
/// they have sent everything.
pub async fn handle(
    State(config): State<Arc<Config>>,
    State(repos): State<Repos>,
    Checked { account, .. }: Checked<FullAuth>,
    input: XrpcStream,
) -> Result<(), XrpcError> {
    if !config.service.accepting_repo_imports {
        return Err(XrpcError::invalid_request("Service is not accepting repo imports"));
    }
    // Reference: an unset limit means the one of blobs.
    let limit = config.service.max_repo_import_size.unwrap_or(config.service.blob_upload_limit);
    let archive = input.of_type(CAR)?.limited(limit)?;
    let mut upload = repos.import(account.id, &account.did, limit).await?;
    if let Err(error) = feed(&mut upload, archive).await {
        upload.give_up().await;
        return Err(error);
    }
    upload.finish().await?;
    Ok(())
}

async fn feed(upload: &mut Upload, archive: impl Stream<Item = Result<Bytes, XrpcError>>) -> Result<(), XrpcError> {
    let mut archive = pin!(archive);
    while let Some(piece) = archive.next().await {
        upload.push(piece?).await;
    }
    Ok(())
}

impl From<ImportError> for XrpcError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Archive(_)
            | ImportError::Roots
            | ImportError::Commit(_)
            | ImportError::WrongDid(_)
            | ImportError::MissingBlock(_)
            | ImportError::Node(..)
            | ImportError::NodeTooLarge(_)
            | ImportError::Tree(_)
            | ImportError::Root
            | ImportError::Record { .. }
            | ImportError::RepoNotFound
            | ImportError::Aborted => Self::invalid_request(error),
            ImportError::TooManyBlocks | ImportError::TooLarge => {
                Self::from_status(StatusCode::PAYLOAD_TOO_LARGE, error)
            }
            ImportError::InProgress => Self::new(StatusCode::CONFLICT, "ImportInProgress", error),
            ImportError::Takendown => account_taken_down(),
            ImportError::Busy
            | ImportError::Contended
            | ImportError::Superseded
            | ImportError::Unknown
            | ImportError::Interrupted => Self::unavailable(error),
            ImportError::Spool(_) | ImportError::Key(_) | ImportError::Storage(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use atproto::data::{self, Cid};
    use atproto::syntax::Did;
    use common::repo::ImportLeftovers;
    use common::testing::{RepoArchive, seed, to_car};
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::AccessScope;
    use crate::testing::{Reply, TestAccount, TestApi};
    use crate::xrpc::com::atproto::repo::{create_record, get_record, list_records};
    use crate::xrpc::com::atproto::sync::{get_latest_commit, get_repo};

    const THING: &str = "com.example.thing";
    /// Of the servers here.
    const MAX_SIZE: u64 = 200_000;

    struct Scene {
        api: TestApi,
        alice: TestAccount,
    }

    impl Scene {
        async fn start() -> Self {
            Self::start_with(|_| {}).await
        }

        async fn start_with(adjust: impl Fn(&mut Config)) -> Self {
            let api = TestApi::start_with(2, |config| {
                config.service.max_repo_import_size = Some(MAX_SIZE);
                adjust(config);
            });
            let api = api.await;
            let alice = api.create_account("alice").await;
            Self { api, alice }
        }

        fn did(&self) -> Did {
            self.alice.did.parse().unwrap()
        }

        /// Imports at the first replica.
        async fn import(&self, body: impl Into<reqwest::Body>) -> Reply {
            self.api.call(METHOD).bearer(&self.alice.access).archive(body).send().await
        }

        /// What a stranger sees at the second replica.
        async fn query(&self, method: Method, params: &[(&str, &str)]) -> Reply {
            self.api.call_on(1, method).query(params).send().await
        }

        async fn head(&self) -> Value {
            self.query(get_latest_commit::METHOD, &[("did", &self.alice.did)]).await.expect_ok()
        }

        async fn create(&self, rkey: &str) {
            let input = json!({ "repo": self.alice.did, "collection": THING, "rkey": rkey, "record": {} });
            self.api.call_on(1, create_record::METHOD).bearer(&self.alice.access).json(&input).send().await.expect_ok();
        }

        /// Keys of the records, in order.
        async fn keys(&self) -> Vec<String> {
            let params = [("repo", &*self.alice.did), ("collection", THING), ("reverse", "true"), ("limit", "100")];
            let page = self.query(list_records::METHOD, &params).await.expect_ok();
            let uris = page["records"].as_array().unwrap().iter().map(|record| record["uri"].as_str().unwrap());
            uris.map(|uri| uri.rsplit('/').next().unwrap().to_owned()).collect()
        }

        /// Checks that the answer is this error, that nothing has changed, and that the account still works.
        async fn assert_refused(&self, reply: Reply, (status, name, message): (u16, &str, &str), before: &Value) {
            let (found_status, found_name, found_message) = reply.error_with_message();
            assert_eq!((found_status, &*found_name), (status, name), "{found_message}");
            assert!(found_message.contains(message), "{found_message}, not {message}");
            assert_eq!(self.head().await, *before, "{message}");
            assert_eq!(ImportLeftovers::new(&self.api.db.pool()).purge().await.unwrap(), 0);
        }
    }

    fn archive(did: &Did, count: usize) -> RepoArchive {
        let value = data::json::from_json(&json!({ "$type": THING })).unwrap();
        RepoArchive::new(did, (0..count).map(|number| (format!("{THING}/{number:04}"), value.clone())))
    }

    #[tokio::test]
    async fn an_archive_becomes_the_repo() {
        let scene = Scene::start().await;
        scene.create("old").await;
        let before = scene.head().await;
        let reply = scene.import(archive(&scene.did(), 40).to_car()).await;
        assert_eq!((reply.status.as_u16(), &*reply.text), (200, ""));
        assert_eq!(scene.keys().await.len(), 40);
        let head = scene.head().await;
        assert!(head["rev"].as_str() > before["rev"].as_str());
        let params = [("repo", &*scene.alice.did), ("collection", THING), ("rkey", "0007")];
        assert_eq!(scene.query(get_record::METHOD, &params).await.expect_ok()["value"], json!({ "$type": THING }));

        scene.create("new").await;
        let export = scene.query(get_repo::METHOD, &[("did", &scene.alice.did)]).await;
        assert_eq!(scene.import(export.body).await.status, 200, "a repo's own export can be imported");
        assert_eq!(scene.keys().await.len(), 41);
        let since = [("did", &*scene.alice.did), ("since", head["rev"].as_str().unwrap())];
        let changed = atproto::car::read(&scene.query(get_repo::METHOD, &since).await.body).unwrap().1;
        assert!(changed.len() > 3, "all of it is new to a reader of the repo before");
    }

    #[tokio::test]
    async fn a_deactivated_account_may_import() {
        let scene = Scene::start().await;
        seed::set_deactivated(&scene.api.db.pool(), &scene.alice.did, true).await;
        assert_eq!(scene.import(archive(&scene.did(), 3).to_car()).await.status, 200);
        seed::set_deactivated(&scene.api.db.pool(), &scene.alice.did, false).await;
        assert_eq!(scene.keys().await, ["0000", "0001", "0002"]);
    }

    #[tokio::test]
    async fn bad_archives_are_refused() {
        let scene = Scene::start().await;
        scene.create("kept").await;
        let before = scene.head().await;
        let good = archive(&scene.did(), 100);
        let (root, car) = (good.commit.to_block().0, good.to_car());
        let bob = archive(&scene.api.create_account("bob").await.did.parse().unwrap(), 2);
        let mut damaged = car.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let nodeless: Vec<_> = good.blocks().into_iter().filter(|(cid, _)| *cid != good.nodes[0].0).collect();
        let list = Bytes::from_static(b"\x80");
        let listed = RepoArchive::of_blocks(&scene.did(), [(format!("{THING}/a").parse().unwrap(), list)].into());
        let no_roots = b"\x11\xa2\x65roots\x80\x67version\x01".to_vec();
        for (archive, message) in [
            (car.slice(..1), "archive ends early"),
            (car.slice(..car.len() - 1), "archive ends early"),
            (damaged.into(), "block does not match its CID"),
            (no_roots.into(), "expected one root"),
            (vec![0xff; 100].into(), "malformed length"),
            (vec![0xff, 0xff, 0x7f].into(), "too long"),
            (bob.to_car(), "Archive holds the repo of did:"),
            (to_car(&good.nodes[0].0, &good.blocks()), "Malformed commit"),
            (to_car(&Cid::raw(b""), &good.blocks()), "Missing block"),
            (to_car(&root, &nodeless), "Missing block"),
            (listed.to_car(), &format!("Could not parse record at '{THING}/a': not an object")),
        ] {
            let reply = scene.import(archive).await;
            scene.assert_refused(reply, (400, "InvalidRequest", message), &before).await;
        }
        scene.create("more").await;
        assert_eq!(scene.import(car).await.status, 200);
        assert_eq!(scene.keys().await.len(), 100);
    }

    #[tokio::test]
    async fn a_body_is_bounded() {
        let scene = Scene::start().await;
        let before = scene.head().await;
        let too_large = (413, "PayloadTooLarge", "");
        let reply = scene.import(vec![0; 200_001]).await;
        scene.assert_refused(reply, too_large, &before).await;
        // Without a length, and without an end.
        let car = archive(&scene.did(), 100).to_car();
        let section = vec![0x80_u8; 16 * 1024];
        let endless = futures_util::stream::once(async { car })
            .chain(futures_util::stream::repeat_with(move || Bytes::from(section.clone())))
            .map(Ok::<_, std::io::Error>);
        let reply = scene.import(reqwest::Body::wrap_stream(endless)).await;
        scene.assert_refused(reply, too_large, &before).await;

        let fields = data::json::from_json(&json!({ "text": "a".repeat(50_000) })).unwrap();
        let repeated = (0..10).map(|number| (format!("{THING}/{number}"), fields.clone()));
        let reply = scene.import(each_block_once(&RepoArchive::new(&scene.did(), repeated))).await;
        scene.assert_refused(reply, (413, "PayloadTooLarge", "Records are too large in total"), &before).await;
        assert_eq!(scene.import(archive(&scene.did(), 5).to_car()).await.status, 200);
    }

    /// The archive with no block twice, however many records it is.
    fn each_block_once(archive: &RepoArchive) -> Bytes {
        let mut blocks = archive.blocks();
        blocks.sort_unstable_by_key(|(cid, _)| *cid);
        blocks.dedup_by_key(|(cid, _)| *cid);
        to_car(&archive.commit.to_block().0, &blocks)
    }

    #[tokio::test]
    async fn only_the_owner_may_import() {
        let scene = Scene::start().await;
        let before = scene.head().await;
        let car = archive(&scene.did(), 1).to_car();
        let reply = scene.api.call(METHOD).archive(car.clone()).send().await;
        assert_eq!(reply.error().0, 401);
        let app_password = scene.api.app().tokens.issue_access(&scene.did(), AccessScope::AppPass).unwrap();
        let reply = scene.api.call(METHOD).bearer(&app_password).archive(car.clone()).send().await;
        assert_eq!(reply.error_with_message(), (400, "InvalidToken".to_owned(), "Bad token scope".to_owned()));
        let reply = scene.api.call(METHOD).bearer(&scene.alice.access).json(&json!({})).send().await;
        let expected = (400, "InvalidRequest", "Wrong request encoding (Content-Type): application/json");
        scene.assert_refused(reply, expected, &before).await;
        seed::set_taken_down(&scene.api.db.pool(), &scene.alice.did, true).await;
        assert_eq!(scene.import(car).await.error(), (401, "AccountTakedown".to_owned()));
    }

    #[tokio::test]
    async fn a_server_may_be_closed_to_imports() {
        let scene = Scene::start_with(|config| config.service.accepting_repo_imports = false).await;
        let before = scene.head().await;
        let reply = scene.import(archive(&scene.did(), 1).to_car()).await;
        scene.assert_refused(reply, (400, "InvalidRequest", "Service is not accepting repo imports"), &before).await;
    }

    #[tokio::test]
    async fn a_second_import_has_to_wait() {
        let scene = Scene::start().await;
        let did = scene.did();
        let account = scene.api.app().repos.find(&did).await.unwrap().unwrap().account;
        let first = scene.api.app().repos.import(account, &did, MAX_SIZE).await.unwrap();
        let call = scene.api.call_on(1, METHOD).bearer(&scene.alice.access);
        let reply = call.archive(archive(&did, 1).to_car()).send().await;
        assert_eq!(reply.error(), (409, "ImportInProgress".to_owned()));
        drop(first);
    }
}
