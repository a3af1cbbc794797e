//! `#sync`.

use bytes::Bytes;

use super::frame::{FrameError, parse};
use crate::car;
use crate::commit::Commit;
use crate::syntax::{Datetime, Did, Tid};
use crate::wire::{Reader, WireError, Writer};

/// Longest archive in a `#sync`, in bytes. Source: atproto.com/specs/sync.
pub const MAX_SYNC_BLOCKS_LEN: usize = 10_000;

/// The repo is now at this commit, whatever came before: readers whose copy is at another must fetch it anew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncEvent {
    /// The account.
    pub did: Did,
    /// Rev of the commit.
    pub rev: Tid,
    /// An archive of the commit's block, which is also its root.
    pub blocks: Bytes,
    /// When the event was made.
    pub time: Datetime,
}

impl SyncEvent {
    /// The event that announces `commit`.
    pub fn new(commit: &Commit, time: Datetime) -> Self {
        let (cid, block) = commit.to_block();
        let blocks = car::archive(&cid, [(&cid, &block[..])].into_iter());
        Self { did: commit.did.clone(), rev: commit.rev, blocks, time }
    }

    /// The body without `seq`: `{did, rev, time, blocks}`.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(192 + self.blocks.len());
        writer.map(4);
        writer.text("did").text(self.did.as_str()).text("rev").text(&self.rev.to_string());
        writer.text("time").text(self.time.as_str()).text("blocks").bytes(&self.blocks);
        writer.finish()
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<(i64, Self), FrameError> {
        let did = parse("did", reader.fields(5)?.key("did")?.text()?)?;
        let rev = parse("rev", reader.key("rev")?.text()?)?;
        let seq = reader.key("seq")?.int()?;
        let time = parse("time", reader.key("time")?.text()?)?;
        let blocks = reader.key("blocks")?.bytes()?;
        if blocks.len() > MAX_SYNC_BLOCKS_LEN {
            return Err(WireError::Expected("at most 10,000 bytes of blocks").into());
        }
        Ok((seq, Self { did, rev, blocks: Bytes::copy_from_slice(blocks), time }))
    }
}
