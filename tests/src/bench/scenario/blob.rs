//! Pictures: put into posts, and looked at.

use anyhow::{Context as _, Result};
use atproto::data::Cid;
use bytes::Bytes;
use rand::RngExt as _;
use serde_json::json;

use crate::connection::{Call, Connection};
use crate::measure::{Done, Requests, Work};
use crate::post;
use crate::row::Row;
use crate::session::{Account, Session};

/// Users who post at once.
const WRITERS: usize = 8;
/// Connections that read at once.
const READERS: usize = 16;
/// Pictures that are read.
const PICTURES: usize = 32;
/// Bytes of a picture, as apps make them smaller before they send them.
const SIZE: usize = 200_000;
/// Users who upload videos at once, bytes of each, and of those that only show that it works.
const VIDEOS: usize = 10;
const VIDEO_SIZE: usize = 100_000_000;
const QUICK_VIDEO_SIZE: usize = 5_000_000;
/// What a picture begins with.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A picture and the post that shows it, one after the other.
struct Posts {
    connection: Connection,
    account: Account,
    prepared: Option<Result<[Call; 2]>>,
}

impl Work for Posts {
    /// Makes the requests, which is not to be measured.
    async fn due(&mut self) {
        let bytes = picture();
        self.prepared = Some(calls(&self.account, &bytes));
    }

    async fn step(&mut self) -> Result<Done> {
        for call in self.prepared.take().context("no requests")?? {
            self.connection.send(&call).await?;
        }
        Ok(Done { count: 1, bytes: SIZE as u64 })
    }
}

/// Posts with one picture each.
pub(super) async fn upload_blob(session: &mut Session) -> Result<Row> {
    let accounts = session.accounts(WRITERS).await?.to_vec();
    let writers = accounts
        .into_iter()
        .map(|account| Ok(Posts { connection: session.connection()?, account, prepared: None }))
        .collect::<Result<Vec<_>>>()?;
    session.measure(writers).await
}

/// The pictures of one account.
pub(super) async fn get_blob(session: &mut Session) -> Result<Row> {
    let account = session.new_accounts(1).await?.pop().context("no account")?;
    let mut connection = session.connection()?;
    let mut reads = Vec::with_capacity(PICTURES);
    for _ in 0..PICTURES {
        let bytes = picture();
        for call in calls(&account, &bytes)? {
            connection.send(&call).await.context("cannot post a picture")?;
        }
        let parameters = format!("did={}&cid={}", account.did, Cid::raw(&bytes));
        reads.push(Call::query(&format!("com.atproto.sync.getBlob?{parameters}"))?);
    }
    session.measure_calls(READERS, &reads).await
}

/// Large uploads all at once, which must not be in memory.
pub(super) async fn upload_large(session: &mut Session) -> Result<Row> {
    let server = session.connection()?.ask(&Call::query("com.atproto.server.describeServer")?).await?;
    let wanted = if session.scale.quick { QUICK_VIDEO_SIZE } else { VIDEO_SIZE };
    let size = server["blobUploadLimit"].as_u64().map_or(Ok(wanted), usize::try_from)?.min(wanted);
    let call = Call::upload("com.atproto.repo.uploadBlob", "video/x-noise", noise(size).into())?;
    let accounts = session.new_accounts(VIDEOS).await?;
    let uploads = accounts.iter().map(|account| {
        let call = call.clone().signed_in(&account.token);
        Ok(Requests::new(session.connection()?, vec![call], 0))
    });
    session.measure(uploads.collect::<Result<Vec<_>>>()?).await
}

/// A picture unlike all others.
fn picture() -> Bytes {
    let mut bytes = noise(SIZE);
    bytes[..SIGNATURE.len()].copy_from_slice(SIGNATURE);
    bytes.into()
}

fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    rand::rng().fill(&mut bytes[..]);
    bytes
}

/// The requests that upload a picture and post it.
fn calls(account: &Account, picture: &Bytes) -> Result<[Call; 2]> {
    let upload = Call::upload("com.atproto.repo.uploadBlob", "image/png", picture.clone())?;
    let link = json!({ "$link": Cid::raw(picture) });
    let blob = json!({ "$type": "blob", "ref": link, "mimeType": "image/png", "size": picture.len() });
    let embed = json!({ "$type": "app.bsky.embed.images", "images": [{ "alt": "A rook", "image": blob }] });
    Ok([upload.signed_in(&account.token), post::create_with(account, embed)?])
}
