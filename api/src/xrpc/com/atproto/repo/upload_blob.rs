//! `com.atproto.repo.uploadBlob`: takes in bytes that records of the caller may refer to.

use std::pin::pin;
use std::sync::Arc;

use atproto::data::{BlobRef, Ipld};
use axum::extract::State;
use bytes::Bytes;
use common::blob::{Blobs, Content, StoreError, UploadError, media_type};
use common::config::{Config, MetadataPolicy};
use futures_util::{Stream, StreamExt};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use crate::auth::{UploaderAuth, account_not_found};
use crate::xrpc::{Method, XrpcError, XrpcJson, XrpcResult, XrpcStream, too_large};

/// The method. Its input is a stream, which has its own limit.
pub const METHOD: Method = Method::procedure("com.atproto.repo.uploadBlob");

/// With the value `true` a picture is stored with all it says, whatever the policy.
const ALLOW_METADATA: &str = "x-allow-metadata";
/// Seconds until bytes that are being deleted can be uploaded again.
const DELETED_BY: HeaderValue = HeaderValue::from_static("1800");

/// What a record says to refer to the blob.
#[derive(Serialize)]
pub struct Output {
    #[serde(with = "atproto::data::json")]
    blob: Ipld,
}

/// Stores the blob, also for a deactivated account: that is how accounts move in.
///
/// Nobody can read it before a record refers to it. A picture that says where it was taken is refused, or stored without
/// that: the answer has the CID and size of what is stored.
pub async fn handle(
    State(config): State<Arc<Config>>,
    State(blobs): State<Blobs>,
    UploaderAuth(account): UploaderAuth,
    headers: HeaderMap,
    input: XrpcStream,
) -> XrpcResult<Output> {
    let claimed = input.media_type();
    let limits = Limits::of(&config);
    let pieces = input.limited(limits.video.max(limits.other))?;
    let content = receive(&blobs, pieces, &claimed, limits).await?;
    if content.size() == 0 {
        // Reference: takes it, though there is nothing to take.
        return Err(XrpcError::invalid_request("Blob is empty"));
    }
    let mime_type = media_type(content.front(), &claimed)
        .ok_or_else(|| XrpcError::invalid_request("Malformed request encoding (Content-Type)"))?;
    let content = blobs.screen(account.id, content, policy(&config, &headers)).await?;
    let blob = blobs.upload(account.id, &account.did, content, &mime_type).await?;
    let reference = BlobRef { cid: blob.cid, mime_type: blob.mime_type, size: Some(blob.size) };
    Ok(XrpcJson(Output { blob: reference.to_ipld() }))
}

/// Bytes that blobs may have.
#[derive(Clone, Copy)]
struct Limits {
    video: u64,
    other: u64,
}

impl Limits {
    fn of(config: &Config) -> Self {
        let other = config.service.blob_upload_limit;
        Self { video: config.service.video_upload_limit.unwrap_or(other), other }
    }

    /// Whether so many bytes, which begin like this, are too many. As always they are believed before their uploader, so
    /// what calls itself a video and is a picture may be as large as a picture.
    fn forbid(self, size: u64, front: &[u8], claimed: &str) -> bool {
        let is_video = || media_type(front, claimed).is_some_and(|found| found.starts_with("video/"));
        size > self.video.min(self.other) && size > if is_video() { self.video } else { self.other }
    }
}

/// The policy for this upload.
fn policy(config: &Config, headers: &HeaderMap) -> MetadataPolicy {
    let allowed = headers.get(ALLOW_METADATA).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if allowed { MetadataPolicy::Allow } else { config.blob.metadata_policy }
}

async fn receive(
    blobs: &Blobs,
    pieces: impl Stream<Item = Result<Bytes, XrpcError>>,
    claimed: &str,
    limits: Limits,
) -> Result<Content, XrpcError> {
    let (mut pieces, mut spool) = (pin!(pieces), blobs.spool());
    while let Some(piece) = pieces.next().await {
        spool.push(&piece?).await?;
        if limits.forbid(spool.size(), spool.front(), claimed) {
            return Err(too_large());
        }
    }
    Ok(spool.finish().await?)
}

impl From<UploadError> for XrpcError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Takendown => Self::invalid_request("Blob has been takendown, cannot re-upload"),
            UploadError::BeingDeleted => Self::unavailable(error).with_header(RETRY_AFTER, DELETED_BY),
            UploadError::Location => Self::bad_request(
                "LocationInMetadata",
                "This picture says where it was taken. Remove the location from it and upload it again. An app that has \
                 asked its user can send the header \"x-allow-metadata: true\".",
            ),
            UploadError::Unreadable(error) => Self::bad_request(
                "MetadataUnreadable",
                format_args!(
                    "It cannot be told whether this picture says where it was taken: {error}. An app that has asked its \
                     user can send the header \"x-allow-metadata: true\"."
                ),
            ),
            UploadError::Quota(error) => Self::bad_request("BlobQuotaExceeded", error),
            UploadError::AccountNotFound => account_not_found(),
            UploadError::Store(error) => error.into(),
            UploadError::Storage(error) => Self::internal(error),
        }
    }
}

impl From<StoreError> for XrpcError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Timeout => Self::upstream_timeout("Operation timed out, please try again."),
            StoreError::Failed(_) => Self::unavailable(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use atproto::data::Cid;
    use common::config::BlobstoreConfig;
    use common::testing::{FakeS3, S3Fault, seed};
    use picture::Format;
    use picture::testing::{self, Block, gps};
    use serde_json::{Value, json};
    use tokio::sync::oneshot;

    use super::*;
    use crate::auth::AccessScope;
    use crate::testing::{Reply, TestAccount, TestApi};
    use crate::xrpc::com::atproto::repo::create_record;
    use crate::xrpc::com::atproto::server::get_service_auth;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    /// Of the servers here: more than stays in memory.
    const MAX_SIZE: u64 = 3 << 20;

    struct Scene {
        api: TestApi,
        alice: TestAccount,
    }

    impl Scene {
        async fn start() -> Self {
            Self::start_with(|_| {}).await
        }

        async fn start_with(adjust: impl Fn(&mut Config)) -> Self {
            let api = TestApi::start_with(1, |config| {
                config.service.blob_upload_limit = MAX_SIZE;
                adjust(config);
            });
            let api = api.await;
            let alice = api.create_account("alice").await;
            Self { api, alice }
        }

        async fn upload(&self, media_type: &str, bytes: &[u8]) -> Reply {
            self.upload_as(&self.alice.access, media_type, bytes).await
        }

        async fn upload_as(&self, token: &str, media_type: &str, bytes: &[u8]) -> Reply {
            self.api.call(METHOD).bearer(token).bytes(media_type, bytes.to_vec()).send().await
        }

        /// Blobs that Alice has.
        async fn count(&self) -> i64 {
            let account = self.api.app().accounts.find_by_did(&self.alice.did.parse().unwrap()).await.unwrap().unwrap();
            self.api.app().blobs.count(account.id).await.unwrap().present
        }

        async fn write(&self, picture: &Value) -> Reply {
            let record = json!({ "picture": picture });
            let input = json!({ "repo": self.alice.did, "collection": "com.example.thing", "record": record });
            self.api.call(create_record::METHOD).bearer(&self.alice.access).json(&input).send().await
        }
    }

    fn reference(bytes: &[u8], media_type: &str) -> Value {
        let link = json!({ "$link": Cid::raw(bytes) });
        json!({ "$type": "blob", "ref": link, "mimeType": media_type, "size": bytes.len() })
    }

    /// Files in the folder of uploads under way.
    fn under_way(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn a_blob_is_stored_under_its_cid() {
        let scene = Scene::start().await;
        let large = [PNG, &vec![7; 2 << 20]].concat();
        for bytes in [PNG, b"a", &large] {
            let expected = reference(bytes, if bytes.starts_with(PNG) { "image/png" } else { "text/plain" });
            // The second time it is there already.
            for _ in 0..2 {
                let output = scene.upload("Text/Plain; charset=utf-8", bytes).await.expect_ok();
                assert_eq!(output, json!({ "blob": expected }));
            }
            let file = scene.api.blobs().join(&scene.alice.did).join(Cid::raw(bytes).to_string());
            assert!(std::fs::read(file).unwrap() == bytes);
        }
        assert_eq!((scene.count().await, under_way(&scene.api.blobs().join("tempt"))), (3, 0));
        seed::set_deactivated(&scene.api.db.pool(), &scene.alice.did, true).await;
        scene.upload("image/png", b"who moves in is not active yet").await.expect_ok();
    }

    #[tokio::test]
    async fn bad_bodies_are_refused_and_leave_nothing() {
        let scene = Scene::start().await;
        let too_large = vec![1; usize::try_from(MAX_SIZE).unwrap() + 1];
        let pieces = |bytes: &[u8]| {
            let pieces: Vec<_> = bytes.chunks(100_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
            reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
        };
        let call = || scene.api.call(METHOD).bearer(&scene.alice.access);
        let cases = [
            (call().bytes("image/png", too_large.clone()), 413, "PayloadTooLarge"),
            (call().bytes("image/png", pieces(&too_large)), 413, "PayloadTooLarge"),
            (call().bytes("image/png", ""), 400, "InvalidRequest"),
            (call().bytes("image/png", pieces(b"")), 400, "InvalidRequest"),
            (call().bytes("picture", "who knows"), 400, "InvalidRequest"),
            (call(), 400, "InvalidRequest"),
            (call().bytes("image/png", "no gzip").header("content-encoding", "gzip"), 400, "InvalidRequest"),
            (call().bytes("image/png", "?").header("content-encoding", "secret"), 415, "UnsupportedMediaType"),
        ];
        for (number, (call, status, name)) in cases.into_iter().enumerate() {
            assert_eq!(call.send().await.error(), (status, name.to_owned()), "{number}");
        }
        assert_eq!((scene.count().await, under_way(&scene.api.blobs().join("tempt"))), (0, 0));
        scene.upload("image/png", &too_large[1..]).await.expect_ok();
    }

    #[tokio::test]
    async fn videos_have_a_limit_of_their_own() {
        const FILM: &[u8] = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";
        let of_size =
            |front: &[u8], size: u64| [front, &vec![0; usize::try_from(size).unwrap() - front.len()]].concat();
        for (video_limit, limit) in [(Some(MAX_SIZE + 1000), MAX_SIZE + 1000), (Some(1000), 1000), (None, MAX_SIZE)] {
            let scene = Scene::start_with(|config| config.service.video_upload_limit = video_limit).await;
            for (media_type, front, limit) in [
                ("application/octet-stream", FILM, limit),
                ("video/x-unknown", b"who knows", limit),
                ("video/mp4", PNG, MAX_SIZE),
                ("image/png", PNG, MAX_SIZE),
            ] {
                scene.upload(media_type, &of_size(front, limit)).await.expect_ok();
                let large = of_size(front, limit + 1);
                let pieces = large.chunks(100_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
                let pieces: Vec<_> = pieces.collect();
                let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
                for body in [large.into(), chunked] {
                    let call = scene.api.call(METHOD).bearer(&scene.alice.access).bytes(media_type, body);
                    let expected = (413, "PayloadTooLarge".to_owned());
                    assert_eq!(call.send().await.error(), expected, "{media_type} {limit}");
                }
            }
            assert_eq!(under_way(&scene.api.blobs().join("tempt")), 0);
        }
    }

    #[tokio::test]
    async fn a_picture_that_names_a_place_is_refused_unless_its_uploader_insists() {
        let scene = Scene::start().await;
        let picture = testing::picture(Format::Jpeg, &Block { gps: gps(), ..Block::default() });
        let (status, name, message) = scene.upload("image/jpeg", &picture).await.error_with_message();
        assert_eq!((status, &*name), (400, "LocationInMetadata"));
        assert!(message.contains("where it was taken") && message.contains("x-allow-metadata: true"), "{message}");
        // The type that somebody claims does not matter.
        let reply = scene.upload("application/octet-stream", &picture).await;
        assert_eq!(reply.error(), (400, "LocationInMetadata".to_owned()));
        let large = testing::png(&[(*b"eXIf", vec![0; 2 << 20])]);
        let (status, name, message) = scene.upload("image/png", &large).await.error_with_message();
        assert_eq!((status, &*name), (400, "MetadataUnreadable"));
        assert!(message.contains("a part of metadata that is too large"), "{message}");
        assert_eq!((scene.count().await, under_way(&scene.api.blobs().join("tempt"))), (0, 0));

        for (number, picture) in (1..).zip([picture, large]) {
            let call = |value| {
                let call = scene.api.call(METHOD).bearer(&scene.alice.access).bytes("image/png", picture.clone());
                call.header("x-allow-metadata", value).send()
            };
            assert_eq!(call("false").await.error().0, 400);
            let blob = call("True").await.expect_ok()["blob"].take();
            assert_eq!(blob["ref"]["$link"], json!(Cid::raw(&picture)));
            assert_eq!(scene.count().await, number);
        }
    }

    #[tokio::test]
    async fn an_upload_that_breaks_off_leaves_nothing() {
        let scene = Scene::start().await;
        let uploads = scene.api.blobs().join("tempt");
        let (begun, wait) = oneshot::channel();
        let pieces = async_pieces(wait);
        let call = scene.api.call(METHOD).bearer(&scene.alice.access).bytes("image/png", pieces);
        let sending = tokio::spawn(call.try_send());
        while under_way(&uploads) == 0 {
            tokio::task::yield_now().await;
        }
        begun.send(()).unwrap();
        sending.await.unwrap().expect_err("the client gave up");
        while under_way(&uploads) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(scene.count().await, 0);
    }

    /// More than stays in memory, and once told so an error.
    fn async_pieces(wait: oneshot::Receiver<()>) -> reqwest::Body {
        let first = futures_util::stream::iter([Ok(vec![1; 2 << 20])]);
        let error = futures_util::stream::once(async {
            wait.await.unwrap();
            Err(std::io::Error::other("given up"))
        });
        reqwest::Body::wrap_stream(first.chain(error))
    }

    #[tokio::test]
    async fn sessions_and_services_that_act_for_an_account_may_upload() {
        let scene = Scene::start().await;
        let (did, pool) = (scene.alice.did.parse().unwrap(), scene.api.db.pool());
        let reply = scene.api.call(METHOD).bytes("image/png", PNG).send().await;
        assert_eq!(reply.error(), (401, "AuthMissing".to_owned()));
        let app_password = scene.api.app().tokens.issue_access(&did, AccessScope::AppPass).unwrap();
        scene.upload_as(&app_password, "image/png", PNG).await.expect_ok();
        let leaving = scene.api.app().tokens.issue_access(&did, AccessScope::Takendown).unwrap();
        assert_eq!(scene.upload_as(&leaving, "image/png", PNG).await.error(), (400, "InvalidToken".to_owned()));

        let service_token = async |method: &str| {
            let params = [("aud", "did:web:localhost"), ("lxm", method)];
            let call = scene.api.call(get_service_auth::METHOD).bearer(&scene.alice.access).query(&params);
            call.send().await.expect_ok()["token"].as_str().unwrap().to_owned()
        };
        let good = service_token(METHOD.nsid()).await;
        let other = service_token("com.atproto.server.createAccount").await;
        scene.upload_as(&good, "video/mp4", b"\0\0\0\x20ftypisom").await.expect_ok();
        assert_eq!(scene.upload_as(&other, "image/png", PNG).await.error(), (401, "BadJwtLexiconMethod".to_owned()));
        assert_eq!(scene.count().await, 2);

        seed::set_taken_down(&pool, &scene.alice.did, true).await;
        for token in [&scene.alice.access, &good] {
            assert_eq!(scene.upload_as(token, "image/png", PNG).await.error(), (401, "AccountTakedown".to_owned()));
        }
        seed::delete_account(&pool, &scene.alice.did).await;
        let reply = scene.upload_as(&scene.alice.access, "image/png", PNG).await;
        assert_eq!(reply.error(), (403, "AccountNotFound".to_owned()));
        assert_eq!(scene.upload_as(&good, "image/png", PNG).await.error(), (400, "NotFound".to_owned()));
    }

    #[tokio::test]
    async fn what_a_moderator_hid_does_not_come_back() {
        let scene = Scene::start().await;
        let bob = scene.api.create_account("bob").await;
        scene.upload("image/png", PNG).await.expect_ok();
        seed::take_blob_down(&scene.api.db.pool(), Cid::raw(PNG)).await;
        let message = "Blob has been takendown, cannot re-upload".to_owned();
        let refused = (400, "InvalidRequest".to_owned(), message);
        assert_eq!(scene.upload("image/png", PNG).await.error_with_message(), refused);
        scene.upload_as(&bob.access, "image/png", PNG).await.expect_ok();
    }

    #[tokio::test]
    async fn a_store_that_fails_has_its_answer_and_nothing_is_recorded() {
        let s3 = FakeS3::start().await;
        let scene = Scene::start_with(|config| {
            let mut store = s3.s3_config();
            store.upload_timeout = Duration::from_secs(1);
            config.blobstore = BlobstoreConfig::S3(store);
        });
        let scene = scene.await;
        for (fault, status, name) in
            [(S3Fault::Down, 503, "NotEnoughResources"), (S3Fault::Silent, 504, "UpstreamTimeout")]
        {
            s3.set_fault(Some(fault));
            for bytes in [PNG, &vec![1; 2 << 20]] {
                assert_eq!(scene.upload("image/png", bytes).await.error(), (status, name.to_owned()), "{fault:?}");
            }
        }
        assert_eq!((scene.count().await, under_way(&s3.uploads())), (0, 0));
        s3.set_fault(None);
        scene.upload("image/png", PNG).await.expect_ok();
        assert!(s3.file(&format!("blocks/{}/{}", scene.alice.did, Cid::raw(PNG))).exists());
    }

    #[tokio::test]
    async fn records_must_say_of_a_new_blob_what_it_is() {
        let scene = Scene::start().await;
        let good = scene.upload("image/jpeg", PNG).await.expect_ok()["blob"].take();
        let with = |key: &str, value: Value| {
            let mut changed = good.clone();
            changed[key] = value;
            changed
        };
        let (jpeg, small) = (with("mimeType", "image/jpeg".into()), with("size", 1.into()));
        for (picture, name) in [(&jpeg, "InvalidMimeType"), (&small, "InvalidSize")] {
            assert_eq!(scene.write(picture).await.error(), (400, name.to_owned()));
            let both = json!([good, picture]);
            assert_eq!(scene.write(&both).await.error(), (400, name.to_owned()), "each reference counts");
        }
        scene.write(&good).await.expect_ok();
        // Of one that a record refers to, others may say what they like.
        for picture in [jpeg, small, good] {
            scene.write(&picture).await.expect_ok();
        }
        let text = scene.upload("text/plain", b"text").await.expect_ok()["blob"].take();
        let again = scene.upload("text/vtt", b"text").await.expect_ok()["blob"].take();
        assert_eq!((&text["mimeType"], &again["mimeType"]), (&json!("text/plain"), &json!("text/vtt")));
        assert_eq!(scene.write(&text).await.error(), (400, "InvalidMimeType".to_owned()), "the last upload counts");
        scene.write(&again).await.expect_ok();
        let later = scene.upload("text/plain", b"text").await.expect_ok()["blob"].take();
        assert_eq!(later, again, "what records refer to keeps its type");
    }
}
