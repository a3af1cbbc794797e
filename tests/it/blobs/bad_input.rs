//! Uploads that are wrong in every way that is known, at two replicas on either store.

use std::time::Duration;

use atproto::data::Cid;
use futures_util::future::join_all;
use picture::Format;
use picture::testing::{self, Block, deflate, gps, part};
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::blob_cluster::{BlobCluster, entries, reference};
use crate::harness::client::Client;

/// Bytes that one upload may have: more than wait in memory.
const MAX_SIZE: usize = 3 << 20;
const TYPED: &str = "content-type: image/png";
const CHUNKED: &str = "transfer-encoding: chunked";
const DEFLATED: &str = "content-encoding: deflate";

async fn scenes() -> [BlobCluster; 2] {
    BlobCluster::on_each_store(|config| config.service.blob_upload_limit = MAX_SIZE as u64).await
}

/// Status, name and message of an answer.
type Answer = (u16, Value, Value);

/// An upload, byte by byte as it goes over a connection of its own.
async fn begin(api: &Client, token: &str, headers: &[&str], body: &[u8]) -> TcpStream {
    let host = api.origin().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /xrpc/com.atproto.repo.uploadBlob HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
         connection: close\r\n{}\r\n\r\n",
        headers.join("\r\n"),
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Who refuses need not read it.
    let _ = stream.write_all(body).await;
    stream
}

/// The answer to what was sent; `None` if the server just went.
async fn answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut envelope: Value = serde_json::from_str(body).unwrap_or_default();
    Some((status, envelope["error"].take(), envelope["message"].take()))
}

fn length(bytes: &[u8]) -> String {
    format!("content-length: {}", bytes.len())
}

/// As the body of a request that does not say how long it is.
fn in_chunks(bytes: &[u8]) -> Vec<u8> {
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let chunks: Vec<Vec<u8>> = bytes.chunks(100_000).map(chunk).collect();
    [chunks.concat(), b"0\r\n\r\n".to_vec()].concat()
}

/// Headers, body, and the answer.
type Case = (&'static str, Vec<String>, Vec<u8>, (u16, Option<&'static str>));

fn cases() -> Vec<Case> {
    let headers = |headers: &[&str]| headers.iter().map(|header| (*header).to_owned()).collect::<Vec<_>>();
    let (large, small) = (vec![7; MAX_SIZE + 1], b"a picture".to_vec());
    // Of 3 MiB and more once unpacked.
    let bomb = deflate(&large);
    let texts = testing::png(&[(*b"zTXt", [b"Comment\0\0", deflate(&vec![b' '; 33 << 20]).as_slice()].concat())]);
    let invalid = (400, Some("InvalidRequest"));
    let too_large = (413, Some("PayloadTooLarge"));
    vec![
        ("too large", headers(&[TYPED, &length(&large)]), large.clone(), too_large),
        ("too large in chunks", headers(&[TYPED, CHUNKED]), in_chunks(&large), too_large),
        ("too large unpacked", headers(&[TYPED, DEFLATED, &length(&bomb)]), bomb.clone(), too_large),
        ("too large unpacked, in chunks", headers(&[TYPED, DEFLATED, CHUNKED]), in_chunks(&bomb), too_large),
        ("empty", headers(&[TYPED, "content-length: 0"]), Vec::new(), invalid),
        ("empty in chunks", headers(&[TYPED, CHUNKED]), in_chunks(b""), invalid),
        ("empty unpacked", headers(&[TYPED, DEFLATED, &length(&deflate(b""))]), deflate(b""), invalid),
        ("nothing", headers(&[TYPED]), Vec::new(), invalid),
        ("no type", headers(&[&length(&small)]), small.clone(), invalid),
        ("no type at all", headers(&["content-type:", &length(&small)]), small.clone(), invalid),
        ("no known type", headers(&["content-type: picture", &length(&small)]), small.clone(), invalid),
        ("not packed", headers(&[TYPED, DEFLATED, &length(&small)]), small.clone(), invalid),
        (
            "packed in an unknown way",
            headers(&[TYPED, "content-encoding: secret", &length(&small)]),
            small.clone(),
            (415, Some("UnsupportedMediaType")),
        ),
        ("chunks without length", headers(&[TYPED, CHUNKED]), b"many\r\na picture\r\n".to_vec(), invalid),
        // No request at all.
        ("of no length", headers(&[TYPED, "content-length: many"]), small.clone(), (400, None)),
        ("of two lengths", headers(&[TYPED, "content-length: 9", "content-length: 8"]), small, (400, None)),
        ("a text without end", headers(&[TYPED, &length(&texts)]), texts, (400, Some("MetadataUnreadable"))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_uploads_are_refused_and_leave_nothing() {
    for scene in scenes().await {
        for (number, (case, headers, body, (status, name))) in cases().into_iter().enumerate() {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let api = scene.api(number);
            let mut stream = begin(&api, &scene.alice.token, &headers, &body).await;
            let (found, error, message) = answer(&mut stream).await.expect(case);
            assert_eq!((found, error.as_str()), (status, name), "{case}: {message}");
        }
        scene.assert_kept(0).await;
        for number in 0..2 {
            let bytes = [vec![7; MAX_SIZE - 1], vec![u8::try_from(number).unwrap()]].concat();
            scene.api(number).upload(&scene.alice.token, "image/png", bytes).await.unwrap();
        }
        scene.assert_kept(2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_end_early_leave_nothing() {
    for scene in scenes().await {
        for (number, (headers, body)) in [
            ([TYPED, "content-length: 10"], b"a picture".to_vec()),
            ([TYPED, "content-length: 3000000"], vec![7; 2 << 20]),
            ([TYPED, CHUNKED], b"9\r\na picture\r\n".to_vec()),
            ([TYPED, CHUNKED], b"2000\r\na picture".to_vec()),
        ]
        .into_iter()
        .enumerate()
        {
            for replica in [number, number + 1] {
                let mut stream = begin(&scene.api(replica), &scene.alice.token, &headers, &body).await;
                // Nothing more comes; whether there is still somebody who listens is not known.
                stream.shutdown().await.unwrap();
                let answer = answer(&mut stream).await;
                assert!(answer.as_ref().is_none_or(|(status, ..)| *status == 400), "{answer:?}");
            }
        }
        scene.assert_kept(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_announced_length_is_another_request() {
    for scene in scenes().await {
        for number in 0..2 {
            let headers = [TYPED, "content-length: 9"];
            let body = format!("picture {number}, and what else there is");
            let mut stream = begin(&scene.api(number), &scene.alice.token, &headers, body.as_bytes()).await;
            assert_eq!(answer(&mut stream).await.unwrap().0, 200);
            let blob = reference(&body.as_bytes()[..9], "image/png");
            scene.show(number + 1, &number.to_string(), &blob).await.unwrap();
        }
        scene.assert_kept(2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_break_off_leave_nothing() {
    for scene in scenes().await {
        let headers = [TYPED, &format!("content-length: {MAX_SIZE}")];
        for number in 0..2 {
            let stream = begin(&scene.api(number), &scene.alice.token, &headers, &vec![7; 2 << 20]).await;
            while entries(scene.uploads()) == 0 {
                tokio::task::yield_now().await;
            }
            drop(stream);
            scene.assert_kept(0).await;
        }
    }
}

/// One byte after the other, until the server has had enough of it.
async fn drip(scene: &BlobCluster, number: usize) {
    let mut stream = begin(&scene.api(number), &scene.alice.token, &[TYPED, "content-length: 1000000"], b"").await;
    let mut answer = [0; 12];
    loop {
        if let Ok(read) = timeout(Duration::from_millis(500), stream.read_exact(&mut answer)).await {
            read.unwrap();
            assert_eq!(answer, *b"HTTP/1.1 408");
            return;
        }
        let _ = stream.write_all(b"a").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_drip_are_given_up() {
    let scenes = scenes().await;
    let drips = scenes.iter().flat_map(|scene| (0..2).map(move |number| drip(scene, number)));
    join_all(drips).await;
    for scene in scenes {
        scene.assert_kept(0).await;
    }
}

/// Bytes that are two things at once, or not what they say, what their uploader calls them, and what they are stored as.
fn polyglots() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let page = b"<script>alert(document.domain)</script>".to_vec();
    let archive = b"PK\x03\x04\x14\0\0\0\0\0".to_vec();
    // As many pixels as a header can say. Nobody here decodes them.
    let mut huge = testing::png(&[]);
    huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let film = [part(*b"ftyp", b"isom\0\0\x02\0isom"), page.clone()].concat();
    vec![
        (testing::jpeg(&[(0xfe, page.clone())]), "text/html", "image/jpeg"),
        ([testing::png(&[]), archive].concat(), "application/zip", "image/png"),
        ([b"GIF89a/*".to_vec(), page.clone()].concat(), "text/javascript", "image/gif"),
        (film, "image/png", "video/mp4"),
        (page.clone(), "text/html", "text/html"),
        (huge, "image/png", "image/png"),
        // What nobody recognises is what its uploader calls it.
        ([b"\0".to_vec(), page].concat(), "image/svg+xml", "image/svg+xml"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_several_things_are_shown_as_none_that_runs() {
    for scene in scenes().await {
        let polyglots = polyglots();
        for (number, (bytes, claimed, media_type)) in polyglots.iter().enumerate() {
            let blob = scene.api(number).upload(&scene.alice.token, claimed, bytes.clone()).await.unwrap();
            assert_eq!(blob, reference(bytes, media_type), "{claimed}");
            scene.show(number + 1, &number.to_string(), &blob).await.unwrap();
            let cid = Cid::raw(bytes).to_string();
            let params = [("did", scene.alice.did.as_str()), ("cid", cid.as_str())];
            for other in 0..2 {
                let method = "com.atproto.sync.getBlob";
                let shown = scene.api(other).ask(Method::GET, method, &params, ("accept", "*/*")).await.unwrap();
                let headers = shown.headers();
                assert_eq!(headers["content-type"], media_type);
                assert_eq!(headers["x-content-type-options"], "nosniff");
                assert_eq!(headers["content-security-policy"], "default-src 'none'; sandbox");
                assert!(headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
                assert!(shown.bytes().await.unwrap() == bytes[..]);
            }
        }
        scene.assert_kept(polyglots.len()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_do_not_hide_a_place_behind_another_type() {
    let picture = testing::picture(Format::Jpeg, &Block { gps: gps(), ..Block::default() });
    for scene in scenes().await {
        for (number, claimed) in ["text/plain", "video/mp4", "application/octet-stream"].into_iter().enumerate() {
            let refused = scene.api(number).upload(&scene.alice.token, claimed, picture.clone()).await.unwrap_err();
            assert!(refused.to_string().starts_with("400 LocationInMetadata: "), "{refused}");
        }
        scene.assert_kept(0).await;
        let shown = scene.show(0, "a", &reference(&picture, "image/jpeg")).await.unwrap_err();
        assert!(shown.to_string().starts_with("400 BlobNotFound: "), "{shown}");
    }
}
