//! Pictures with personal metadata, uploaded at one replica and read at the other.

use atproto::data::{self, Cid};
use common::config::MetadataPolicy;
use common::testing::{FakeS3, RepoArchive};
use futures_util::stream;
use picture::testing::{self, Block, PROFILE, device, gps};
use picture::{Format, Piece};
use reqwest::Body;
use serde_json::{Value, json};

use crate::harness::account::Account;
use crate::harness::blob_cluster::BlobCluster;
use crate::harness::client::Client;
use crate::harness::cluster::{Cluster, Replicas};

const COLLECTION: &str = "com.example.picture";
const FORMATS: [Format; 4] = [Format::Jpeg, Format::Png, Format::WebP, Format::Heif];
/// The orientation as Exif has it.
const TURNED: &[u8] = b"\x01\x12\0\x03\0\0\0\x01\0\x06";

async fn cluster(s3: &FakeS3, policy: MetadataPolicy) -> Cluster {
    Cluster::start_with(Replicas(2), |config| {
        config.blobstore = s3.config();
        config.blob.metadata_policy = policy;
        config.service.max_repo_import_size = Some(1 << 20);
    })
    .await
    .unwrap()
}

/// A picture as a phone takes it.
fn from_phone(format: Format) -> Vec<u8> {
    testing::picture(format, &Block { values: device(), gps: gps(), ..Block::default() })
}

/// One that is too large to wait in memory.
fn large() -> Vec<u8> {
    let small = from_phone(Format::Jpeg);
    let (front, end) = small.split_at(small.len() - 2);
    [front, &vec![0x55; 3 << 20], end].concat()
}

/// A body that does not say how long it is.
fn in_pieces(bytes: &[u8]) -> Body {
    let pieces: Vec<_> = bytes.chunks(50_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    Body::wrap_stream(stream::iter(pieces))
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

async fn show(api: &Client, account: &Account, rkey: &str, blob: &Value) {
    let record = json!({ "picture": blob });
    let input = json!({ "repo": account.did, "collection": COLLECTION, "rkey": rkey, "record": record });
    api.post("com.atproto.repo.createRecord", Some(&account.token), &input).await.unwrap();
}

async fn read(api: &Client, account: &Account, blob: &Value) -> Vec<u8> {
    let cid = blob["ref"]["$link"].as_str().unwrap();
    let params = [("did", account.did.as_str()), ("cid", cid)];
    api.get_bytes("com.atproto.sync.getBlob", &params).await.unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_stored_and_shown_without_what_is_personal() {
    let s3 = FakeS3::start().await;
    let cluster = cluster(&s3, MetadataPolicy::Strip).await;
    let alice = cluster.create_account("alice.test").await.unwrap();
    let (here, there) = (cluster.api(0), cluster.api(1));
    let small = FORMATS.map(|format| (from_phone(format), format));
    for (number, (picture, format)) in small.into_iter().chain([(large(), Format::Jpeg)]).enumerate() {
        let blob = here.upload(&alice.token, "image/jpeg", in_pieces(&picture)).await.unwrap();
        show(&there, &alice, &format!("r{number}"), &blob).await;
        let shown = read(&there, &alice, &blob).await;
        assert_eq!(blob["ref"]["$link"], json!(Cid::raw(&shown)), "the CID is that of the stored bytes");
        assert_eq!(blob["size"], json!(shown.len()));
        for personal in [&b"GPSLatitude"[..], b"Camera works", b"2024:02:03"] {
            assert!(contains(&picture, personal) && !contains(&shown, personal), "{format:?}");
        }
        assert!(contains(&shown, TURNED), "{format:?}");
        assert!(contains(&shown, PROFILE) || format == Format::Png, "{format:?}");
        let found = testing::inspect(&shown).unwrap();
        assert!(!found.carries_location() && found.stripped().is_none());
        // Whoever has the clean picture has the same blob.
        assert_eq!(there.upload(&alice.token, "image/jpeg", shown).await.unwrap(), blob);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_name_a_place_are_refused() {
    let s3 = FakeS3::start().await;
    let cluster = cluster(&s3, MetadataPolicy::Reject).await;
    let alice = cluster.create_account("alice.test").await.unwrap();
    let small = FORMATS.map(from_phone);
    for (number, picture) in small.into_iter().chain([large()]).enumerate() {
        let refused = cluster.api(number % 2).upload(&alice.token, "image/jpeg", in_pieces(&picture)).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.starts_with("400 LocationInMetadata: This picture says where it was taken."), "{refused}");
    }
    // Turned, claimed, and without a place: such a picture is nobody's secret.
    let claimed = Block { values: device(), ..Block::default() }.to_bytes();
    let picture = testing::jpeg(&[(0xe1, [b"Exif\0\0", claimed.as_slice()].concat())]);
    let blob = cluster.api(0).upload(&alice.token, "image/jpeg", picture.clone()).await.unwrap();
    assert_eq!(blob["ref"]["$link"], json!(Cid::raw(&picture)));
    let found = testing::inspect(&picture).unwrap().stripped().unwrap();
    assert!(found.iter().any(|piece| matches!(piece, Piece::New(_))), "stripping would have changed it");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_insists_may_show_a_place_on_each_replica_and_store() {
    for scene in BlobCluster::on_each_store(|_| {}).await {
        let pictures: Vec<_> = FORMATS.map(from_phone).into_iter().chain([large()]).collect();
        for (number, picture) in pictures.iter().enumerate() {
            let upload = async |number: usize, allow: Option<&str>| {
                let headers = allow.map(|value| ("x-allow-metadata", value));
                let headers = headers.into_iter().chain([("content-type", "image/jpeg")]);
                scene.api(number).upload_with(&scene.alice.token, headers, in_pieces(picture)).await
            };
            for allow in [None, Some("false"), Some("1"), Some("")] {
                for replica in 0..2 {
                    let refused = upload(replica, allow).await.unwrap_err().to_string();
                    assert!(refused.starts_with("400 LocationInMetadata: "), "{allow:?}: {refused}");
                }
            }
            let blob = upload(number, Some("true")).await.unwrap();
            assert_eq!(blob["ref"]["$link"], json!(Cid::raw(picture)));
            let refused = upload(number + 1, None).await.unwrap_err().to_string();
            assert!(refused.starts_with("400 LocationInMetadata: "), "once is not for ever: {refused}");
            assert_eq!(upload(number + 1, Some("TRUE")).await.unwrap(), blob);
            scene.show(number + 1, &number.to_string(), &blob).await.unwrap();
            for replica in 0..2 {
                assert!(scene.read(replica, Cid::raw(picture)).await.unwrap() == picture[..]);
            }
        }
        scene.assert_kept(pictures.len()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_who_moves_in_stay_as_they_are() {
    let s3 = FakeS3::start().await;
    for policy in [MetadataPolicy::Reject, MetadataPolicy::Strip] {
        let cluster = cluster(&s3, policy).await;
        let alice = cluster.create_account("alice.test").await.unwrap();
        let picture = large();
        let link = json!({ "$link": Cid::raw(&picture) });
        let blob = json!({ "$type": "blob", "ref": link, "mimeType": "image/jpeg", "size": picture.len() });
        let value = data::json::from_json(&json!({ "$type": COLLECTION, "picture": blob })).unwrap();
        let archive = RepoArchive::new(&alice.did, [(format!("{COLLECTION}/a"), value)]).to_car();
        cluster.api(0).post_archive("com.atproto.repo.importRepo", &alice.token, archive).await.unwrap();
        assert_eq!(cluster.api(1).upload(&alice.token, "image/jpeg", in_pieces(&picture)).await.unwrap(), blob);
        assert!(read(&cluster.api(0), &alice, &blob).await == picture);
    }
}
