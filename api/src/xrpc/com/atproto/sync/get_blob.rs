//! `com.atproto.sync.getBlob`: the bytes of a blob.

use std::ops::Range;

use atproto::data::Cid;
use atproto::syntax::Did;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use common::blob::{Blobs, Location, ObjectId, StoredBlob};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method as Verb, StatusCode};
use serde::Deserialize;

use super::readable;
use crate::auth::{ReaderAuth, TakeoutAuth};
use crate::http::{AsItIs, Wanted};
use crate::state::AppState;
use crate::xrpc::{Method, XrpcError, XrpcQuery};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.getBlob");

/// Caches need not ask for a day. The bytes of a CID never change, but they may be deleted or taken down.
const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=86400, immutable");

/// Which blob.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
    cid: Cid,
    /// Ours: false for the bytes themselves, which whoever lies in front of this server asks for.
    #[serde(default = "yes")]
    redirect: bool,
}

fn yes() -> bool {
    true
}

/// Streams a blob, or a part of it, as long as a record refers to it; or sends those who read what everybody may to where it
/// is, if the settings say so.
///
/// Whatever is in it, a browser neither runs nor shows it as a page of this server's.
///
/// Reference: knows neither parts nor entity tags, and says nothing about caches.
pub async fn handle(
    State(app): State<AppState>,
    XrpcQuery(Params { did, cid, redirect }): XrpcQuery<Params>,
    TakeoutAuth(reader): TakeoutAuth,
    verb: Verb,
    headers: HeaderMap,
) -> Result<Response, XrpcError> {
    let is_public = matches!(reader, ReaderAuth::Anonymous);
    let repo = readable(&app.repos, &reader, did.clone()).await?;
    let blob = app.blobs.find_readable(repo.account, cid).await.map_err(XrpcError::internal)?;
    let blob = blob.ok_or_else(not_found)?;
    let id = ObjectId { did: &did, cid };
    // HEAD is answered here: an address that is signed for GET refuses it.
    if is_public
        && redirect
        && verb == Verb::GET
        && let Some(location) = app.blobs.locate(id, &blob).await?
    {
        return elsewhere(&location);
    }
    let etag = format!("\"{cid}\"");
    let mut response = match Wanted::read(&headers, &etag, blob.size) {
        Wanted::Unchanged => StatusCode::NOT_MODIFIED.into_response(),
        // A range is of GET only.
        _ if verb == Verb::HEAD => head(&app.blobs, id, &blob).await?,
        Wanted::Whole => body(&app.blobs, id, &blob, None).await?,
        Wanted::Part(range) => body(&app.blobs, id, &blob, Some(range)).await?,
        Wanted::Unsatisfiable => return Err(unsatisfiable(blob.size)),
    };
    describe(&mut response, &blob, &etag);
    if is_public {
        response.headers_mut().insert(CACHE_CONTROL, PUBLIC);
    }
    Ok(response)
}

/// Sends the caller to who has the bytes.
fn elsewhere(location: &Location) -> Result<Response, XrpcError> {
    let url = header(location.url.clone())?;
    let cached = header(format!("public, max-age={}", location.max_age.as_secs()))?;
    Ok((StatusCode::FOUND, [(LOCATION, url), (CACHE_CONTROL, cached)]).into_response())
}

/// All bytes, or those in `range`.
async fn body(
    blobs: &Blobs,
    id: ObjectId<'_>,
    blob: &StoredBlob,
    range: Option<Range<u64>>,
) -> Result<Response, XrpcError> {
    let expected = range.as_ref().map_or(blob.size, |range| range.end - range.start);
    let object =
        blobs.read(id, range.clone()).await?.filter(|object| object.len == expected).ok_or_else(|| lost(id))?;
    let mut response = Body::from_stream(object.bytes).into_response();
    response.headers_mut().insert(CONTENT_LENGTH, expected.into());
    if let Some(Range { start, end }) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let part = format!("bytes {start}-{}/{}", end - 1, blob.size);
        response.headers_mut().insert(CONTENT_RANGE, header(part)?);
    }
    Ok(response)
}

/// What [`body`] would answer, without the bytes.
async fn head(blobs: &Blobs, id: ObjectId<'_>, blob: &StoredBlob) -> Result<Response, XrpcError> {
    if !blobs.has_bytes(id, blob.size).await? {
        return Err(lost(id));
    }
    Ok([(CONTENT_LENGTH, HeaderValue::from(blob.size))].into_response())
}

fn describe(response: &mut Response, blob: &StoredBlob, etag: &str) {
    // Stored types are checked, those of the database's other writers not.
    let media_type = HeaderValue::from_str(&blob.mime_type);
    let unknown = HeaderValue::from_static("application/octet-stream");
    response.extensions_mut().insert(AsItIs);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type.unwrap_or(unknown));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    for (name, value) in
        [(CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", blob.cid)), (ETAG, etag.to_owned())]
    {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// Reference: `BlobNotFound`, which the schema declares, is not used.
fn not_found() -> XrpcError {
    XrpcError::invalid_request("Blob not found")
}

/// The store has other bytes than it was given, or none.
fn lost(id: ObjectId<'_>) -> XrpcError {
    tracing::error!(did = %id.did, cid = %id.cid, "the blob store lost a blob");
    not_found()
}

fn unsatisfiable(size: u64) -> XrpcError {
    let error = XrpcError::from_status(StatusCode::RANGE_NOT_SATISFIABLE, "Range not satisfiable");
    match header(format!("bytes */{size}")) {
        Ok(range) => error.with_header(CONTENT_RANGE, range),
        Err(error) => error,
    }
}

fn header(text: String) -> Result<HeaderValue, XrpcError> {
    HeaderValue::try_from(text).map_err(XrpcError::internal)
}

#[cfg(test)]
mod tests {
    use common::config::BlobDelivery;
    use common::testing::{FakeS3, S3Fault, seed};
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::AccessScope;
    use crate::testing::{Call, TestAccount, TestApi};
    use crate::xrpc::com::atproto::repo::{create_record, delete_record, upload_blob};

    const COLLECTION: &str = "com.example.thing";

    struct Scene {
        api: TestApi,
        alice: TestAccount,
    }

    impl Scene {
        async fn start() -> Self {
            let api = TestApi::start().await;
            let alice = api.create_account("alice").await;
            Self { api, alice }
        }

        async fn upload(&self, account: &TestAccount, media_type: &str, bytes: &[u8]) -> Value {
            let call = self.api.call(upload_blob::METHOD).bearer(&account.access);
            call.bytes(media_type, bytes.to_vec()).send().await.expect_ok()["blob"].take()
        }

        /// Gives an account a record that refers to the blob.
        async fn show(&self, account: &TestAccount, rkey: &str, blob: &Value) {
            let record = json!({ "picture": blob });
            let input = json!({ "repo": account.did, "collection": COLLECTION, "rkey": rkey, "record": record });
            self.api.call(create_record::METHOD).bearer(&account.access).json(&input).send().await.expect_ok();
        }

        async fn publish(&self, media_type: &str, bytes: &[u8]) -> Cid {
            let blob = self.upload(&self.alice, media_type, bytes).await;
            let cid = Cid::raw(bytes);
            self.show(&self.alice, &cid.to_string(), &blob).await;
            cid
        }

        fn get(&self, account: &TestAccount, cid: Cid) -> Call {
            self.api.call(METHOD).query(&[("did", &account.did), ("cid", &cid.to_string())])
        }
    }

    const NOT_FOUND: (u16, &str, &str) = (400, "InvalidRequest", "Blob not found");

    fn owned((status, name, message): (u16, &str, &str)) -> (u16, String, String) {
        (status, name.to_owned(), message.to_owned())
    }

    #[tokio::test]
    async fn a_blob_is_there_as_long_as_a_record_refers_to_it() {
        let scene = Scene::start().await;
        let cid = Cid::raw(b"picture");
        assert_eq!(scene.get(&scene.alice, cid).send().await.error_with_message(), owned(NOT_FOUND));
        let blob = scene.upload(&scene.alice, "image/png", b"picture").await;
        assert_eq!(scene.get(&scene.alice, cid).send().await.error_with_message(), owned(NOT_FOUND));
        for rkey in ["a", "b"] {
            scene.show(&scene.alice, rkey, &blob).await;
        }
        for rkey in ["a", "b"] {
            assert_eq!(scene.get(&scene.alice, cid).send().await.text, "picture");
            let input = json!({ "repo": scene.alice.did, "collection": COLLECTION, "rkey": rkey });
            let call = scene.api.call(delete_record::METHOD).bearer(&scene.alice.access);
            call.json(&input).send().await.expect_ok();
        }
        assert_eq!(scene.get(&scene.alice, cid).send().await.error_with_message(), owned(NOT_FOUND));
    }

    #[tokio::test]
    async fn no_browser_takes_a_blob_for_a_page() {
        let scene = Scene::start().await;
        let page = "<script>alert(1)</script>".repeat(100);
        let cid = scene.publish("text/html", page.as_bytes()).await;
        let call = scene.get(&scene.alice, cid).header("accept-encoding", "gzip");
        let reply = call.send().await;
        assert_eq!((reply.status.as_u16(), &reply.text), (200, &page), "not compressed either");
        let filename = format!("attachment; filename=\"{cid}\"");
        for (name, expected) in [
            ("content-type", "text/html"),
            ("content-length", "2500"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("content-disposition", &*filename),
            ("cache-control", "public, max-age=86400, immutable"),
            ("etag", &*format!("\"{cid}\"")),
            ("accept-ranges", "bytes"),
            ("access-control-allow-origin", "*"),
        ] {
            assert_eq!(reply.headers[name], expected, "{name}");
        }
        let head = scene.get(&scene.alice, cid).verb(Verb::HEAD).header("range", "bytes=0-1").send().await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        for name in ["content-type", "content-length", "etag", "content-security-policy"] {
            assert_eq!(head.headers[name], reply.headers[name], "{name}");
        }
    }

    #[tokio::test]
    async fn parts_are_answered_and_what_is_known_is_not_sent_again() {
        let scene = Scene::start().await;
        let bytes: Vec<u8> = (0..=250).cycle().take(600_000).collect();
        let cid = scene.publish("image/png", &bytes).await;
        for (range, slice, part) in [
            ("bytes=0-0", &bytes[..1], "bytes 0-0/600000"),
            ("bytes=300000-", &bytes[300_000..], "bytes 300000-599999/600000"),
            ("bytes=-1", &bytes[599_999..], "bytes 599999-599999/600000"),
        ] {
            let reply = scene.get(&scene.alice, cid).header("range", range).send().await;
            assert_eq!((reply.status.as_u16(), reply.headers["content-range"].to_str().unwrap()), (206, part));
            assert!(reply.body == slice, "{range}");
        }
        let beyond = scene.get(&scene.alice, cid).header("range", "bytes=600000-").send().await;
        assert_eq!(
            (beyond.status.as_u16(), beyond.headers["content-range"].to_str().unwrap()),
            (416, "bytes */600000")
        );
        let known = scene.get(&scene.alice, cid).header("if-none-match", &format!("\"{cid}\"")).send().await;
        assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
        assert_eq!(known.headers["cache-control"], "public, max-age=86400, immutable");
    }

    #[tokio::test]
    async fn the_same_bytes_of_two_accounts_are_two_blobs() {
        let scene = Scene::start().await;
        let bob = scene.api.create_account("bob").await;
        let cid = scene.publish("image/png", b"both have it").await;
        assert_eq!(scene.get(&bob, cid).send().await.error_with_message(), owned(NOT_FOUND));
        let picture = scene.upload(&bob, "image/png", b"both have it").await;
        scene.show(&bob, "a", &picture).await;
        let blobs = &scene.api.app().blobs;
        let did = scene.alice.did.parse().unwrap();
        assert!(blobs.mark(&common::audit::Actor::Admin, &did, cid, Some("bad")).await.unwrap());
        assert_eq!(scene.get(&scene.alice, cid).send().await.error_with_message(), owned(NOT_FOUND));
        assert_eq!(scene.get(&bob, cid).send().await.text, "both have it");
        assert!(blobs.mark(&common::audit::Actor::Admin, &did, cid, None).await.unwrap());
        assert_eq!(scene.get(&scene.alice, cid).send().await.text, "both have it");
        std::fs::remove_file(scene.api.blobs().join(&bob.did).join(cid.to_string())).unwrap();
        assert_eq!(scene.get(&bob, cid).send().await.error_with_message(), owned(NOT_FOUND));
        assert_eq!(scene.get(&scene.alice, cid).send().await.text, "both have it");
    }

    #[tokio::test]
    async fn blobs_of_inactive_accounts_are_for_their_owner_and_the_operator_only() {
        let scene = Scene::start().await;
        let (cid, pool) = (scene.publish("image/png", b"picture").await, scene.api.db.pool());
        seed::set_deactivated(&pool, &scene.alice.did, true).await;
        assert_eq!(scene.get(&scene.alice, cid).send().await.error(), (400, "RepoDeactivated".to_owned()));
        seed::set_taken_down(&pool, &scene.alice.did, true).await;
        assert_eq!(scene.get(&scene.alice, cid).send().await.error(), (400, "RepoTakendown".to_owned()));
        let did = scene.alice.did.parse().unwrap();
        let leaving = scene.api.app().tokens.issue_access(&did, AccessScope::Takendown).unwrap();
        for call in [scene.get(&scene.alice, cid).bearer(&leaving), scene.get(&scene.alice, cid).admin()] {
            let reply = call.send().await;
            assert_eq!(
                (reply.text.as_str(), &reply.headers["cache-control"]),
                ("picture", &"private".parse().unwrap())
            );
        }
        let nobody = scene.api.call(METHOD).query(&[("did", "did:web:nobody.test"), ("cid", &cid.to_string())]);
        assert_eq!(nobody.send().await.error(), (400, "RepoNotFound".to_owned()));
        let bad = scene.api.call(METHOD).query(&[("did", &scene.alice.did), ("cid", "bafk")]);
        assert_eq!(bad.send().await.error(), (400, "InvalidRequest".to_owned()));
    }

    #[tokio::test]
    async fn readers_are_sent_to_the_network_in_front() {
        let api = TestApi::start_with(1, |config| {
            let pattern = "https://cdn.test/{did}/{cid}".parse().unwrap();
            config.blob.delivery = BlobDelivery::Cdn(pattern);
        });
        let api = api.await;
        let scene = Scene { alice: api.create_account("alice").await, api };
        let cid = scene.publish("image/png", b"picture").await;
        let reply = scene.get(&scene.alice, cid).send().await;
        let expected = format!("https://cdn.test/{}/{cid}", scene.alice.did);
        assert_eq!((reply.status.as_u16(), reply.headers["location"].to_str().unwrap()), (302, &*expected));
        assert_eq!(reply.headers["cache-control"], "public, max-age=60");
        let direct = [("did", &*scene.alice.did), ("cid", &*cid.to_string()), ("redirect", "false")];
        let own = scene.api.call(METHOD).query(&direct).send().await;
        assert_eq!((own.text.as_str(), &own.headers["content-type"]), ("picture", &"image/png".parse().unwrap()));
        assert_eq!(scene.get(&scene.alice, cid).admin().send().await.text, "picture", "it need not be public");
        assert_eq!(scene.get(&scene.alice, cid).verb(Verb::HEAD).send().await.headers["content-length"], "7");
        seed::take_blob_down(&scene.api.db.pool(), cid).await;
        assert_eq!(scene.get(&scene.alice, cid).send().await.error_with_message(), owned(NOT_FOUND));
    }

    #[tokio::test]
    async fn readers_are_sent_to_the_bucket() {
        let s3 = FakeS3::start().await;
        let api = TestApi::start_with(2, |config| {
            config.blobstore = s3.config();
            config.blob.delivery = BlobDelivery::Presign;
        });
        let api = api.await;
        let scene = Scene { alice: api.create_account("alice").await, api };
        let cid = scene.publish("image/png", b"picture").await;
        let reply = scene.get(&scene.alice, cid).send().await;
        assert_eq!(reply.status.as_u16(), 302);
        let address = reply.headers["location"].to_str().unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        assert_eq!(client.get(address).send().await.unwrap().text().await.unwrap(), "picture");
        seed::set_taken_down(&scene.api.db.pool(), &scene.alice.did, true).await;
        assert_eq!(scene.get(&scene.alice, cid).send().await.error(), (400, "RepoTakendown".to_owned()));
    }

    #[tokio::test]
    async fn a_store_that_fails_is_no_blob_that_is_gone() {
        let s3 = FakeS3::start().await;
        let api = TestApi::start_with(1, |config| config.blobstore = s3.config()).await;
        let scene = Scene { alice: api.create_account("alice").await, api };
        let cid = scene.publish("image/png", b"picture").await;
        s3.set_fault(Some(S3Fault::Down));
        for verb in [Verb::GET, Verb::HEAD] {
            let reply = scene.get(&scene.alice, cid).verb(verb).send().await;
            assert_eq!((reply.status.as_u16(), reply.headers["retry-after"].to_str().unwrap()), (503, "5"));
            assert!(!reply.headers["cache-control"].to_str().unwrap().contains("public"), "not to be remembered");
        }
        s3.set_fault(Some(S3Fault::BreaksOff));
        let response = scene.get(&scene.alice, cid).send_streaming().await;
        assert_eq!(response.status(), 200);
        response.bytes().await.expect_err("it ends early, which must not look like an end");
        s3.set_fault(None);
        assert_eq!(scene.get(&scene.alice, cid).send().await.text, "picture");
        std::fs::remove_file(s3.file(&format!("blocks/{}/{cid}", scene.alice.did))).unwrap();
        assert_eq!(scene.get(&scene.alice, cid).send().await.error_with_message(), owned(NOT_FOUND));
        assert_eq!(scene.get(&scene.alice, cid).verb(Verb::HEAD).send().await.status, 400);
    }
}
