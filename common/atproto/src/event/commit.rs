//! `#commit`.

use std::collections::HashSet;

use bytes::Bytes;

use super::frame::{FrameError, parse};
use crate::car;
use crate::commit::Commit;
use crate::data::Cid;
use crate::mst::AppliedOp;
use crate::syntax::{Datetime, Did, Tid};
use crate::wire::{Reader, WireError, Writer};

/// Longest archive in a `#commit`, in bytes. Source: atproto.com/specs/sync.
pub const MAX_BLOCKS_LEN: usize = 2_000_000;

/// Most operations in a `#commit`. Source: atproto.com/specs/sync.
pub const MAX_OPS: usize = 200;

/// Records were changed.
///
/// The fields `rebase`, `tooBig` (false) and `blobs` (empty) are only written, for readers that still want them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitEvent {
    /// The account.
    pub repo: Did,
    /// CID of the commit.
    pub commit: Cid,
    /// Rev of the commit.
    pub rev: Tid,
    /// Rev of the commit before; `None` for the first one.
    pub since: Option<Tid>,
    /// Root of the tree before; `None` for the first commit.
    pub prev_data: Option<Cid>,
    /// What was changed; each path once.
    pub ops: Vec<AppliedOp>,
    /// An archive of the commit (its root), the covering proof of the operations, and the new records.
    pub blocks: Bytes,
    /// When the event was made.
    pub time: Datetime,
}

/// What a [`CommitEvent`] is made of.
#[derive(Debug)]
pub struct CommitParts<'a> {
    /// The new commit.
    pub commit: &'a Commit,
    /// Rev of the commit before; `None` for the first one.
    pub since: Option<Tid>,
    /// Root of the tree before; `None` for the first commit.
    pub prev_data: Option<Cid>,
    /// [`crate::mst::Applied::ops`].
    pub ops: &'a [AppliedOp],
    /// [`crate::mst::Applied::proof`], which also holds every new node.
    pub proof: &'a [(Cid, Bytes)],
    /// The records created or updated, also those that the repo holds elsewhere too.
    pub records: &'a [(Cid, Bytes)],
    /// When the event is made.
    pub time: Datetime,
}

/// More operations or bytes than an event may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("commit does not fit an event: {ops} operations, {bytes} bytes of blocks")]
pub struct TooBig {
    /// Operations of the commit.
    pub ops: usize,
    /// Bytes of the archive.
    pub bytes: usize,
}

impl CommitEvent {
    /// Makes the event of a commit. The archive holds the commit, then the proof, then the records, each block once.
    ///
    /// # Errors
    /// `TooBig` above [`MAX_OPS`] operations or `max_bytes` bytes of blocks (the protocol allows [`MAX_BLOCKS_LEN`]).
    pub fn new(parts: CommitParts<'_>, max_bytes: usize) -> Result<Self, TooBig> {
        let commit = parts.commit.to_block();
        let mut seen = HashSet::new();
        let blocks = std::iter::once(&commit).chain(parts.proof).chain(parts.records);
        let blocks: Vec<_> = blocks.filter(|(cid, _)| seen.insert(*cid)).collect();

        let sections: usize = blocks.iter().map(|(_, block)| car::section_len(block.len())).sum();
        let (ops, bytes) = (parts.ops.len(), car::HEADER_LEN + sections);
        if ops > MAX_OPS || bytes > max_bytes {
            return Err(TooBig { ops, bytes });
        }
        Ok(Self {
            repo: parts.commit.did.clone(),
            commit: commit.0,
            rev: parts.commit.rev,
            since: parts.since,
            prev_data: parts.prev_data,
            ops: parts.ops.to_vec(),
            blocks: car::archive(&commit.0, blocks.iter().map(|(cid, block)| (cid, &block[..]))),
            time: parts.time,
        })
    }

    /// The body without `seq`: `{ops, rev, repo, time, blobs: [], since, blocks, commit, rebase: false, tooBig: false,
    /// prevData?}`.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(512 + 256 * self.ops.len() + self.blocks.len());
        writer.map(10 + usize::from(self.prev_data.is_some()));
        writer.text("ops").array(self.ops.len());
        for op in &self.ops {
            write_op(op, &mut writer);
        }
        writer.text("rev").text(&self.rev.to_string()).text("repo").text(self.repo.as_str());
        writer.text("time").text(self.time.as_str()).text("blobs").array(0).text("since");
        match self.since {
            Some(since) => writer.text(&since.to_string()),
            None => writer.null(),
        };
        writer.text("blocks").bytes(&self.blocks).text("commit").cid(&self.commit);
        writer.text("rebase").bool(false).text("tooBig").bool(false);
        if let Some(prev_data) = &self.prev_data {
            writer.text("prevData").cid(prev_data);
        }
        writer.finish()
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<(i64, Self), FrameError> {
        let has_prev_data = reader.optional_field(11)?;
        let ops = read_ops(reader.key("ops")?)?;
        let rev = parse("rev", reader.key("rev")?.text()?)?;
        let seq = reader.key("seq")?.int()?;
        let repo = parse("repo", reader.key("repo")?.text()?)?;
        let time = parse("time", reader.key("time")?.text()?)?;
        expect(reader.key("blobs")?.array()? == 0, "no blobs")?;
        let since = if reader.key("since")?.null() { None } else { Some(parse("since", reader.text()?)?) };
        let blocks = reader.key("blocks")?.bytes()?;
        expect(blocks.len() <= MAX_BLOCKS_LEN, "at most 2,000,000 bytes of blocks")?;
        let commit = reader.key("commit")?.cid()?;
        expect(!reader.key("rebase")?.bool()?, "no rebase")?;
        expect(!reader.key("tooBig")?.bool()?, "a commit that fits")?;
        let prev_data = if has_prev_data { Some(reader.key("prevData")?.cid()?) } else { None };
        let blocks = Bytes::copy_from_slice(blocks);
        Ok((seq, Self { repo, commit, rev, since, prev_data, ops, blocks, time }))
    }
}

fn expect(condition: bool, what: &'static str) -> Result<(), WireError> {
    if condition { Ok(()) } else { Err(WireError::Expected(what)) }
}

/// The name of what an operation did. One that did nothing, which [`crate::mst::apply`] never gives, passes for a
/// deletion without `prev`.
fn action(op: &AppliedOp) -> &'static str {
    match (op.cid, op.prev) {
        (Some(_), None) => "create",
        (Some(_), Some(_)) => "update",
        (None, _) => "delete",
    }
}

/// Shape: `{cid: CID or null, path, prev?: CID, action}`.
fn write_op(op: &AppliedOp, writer: &mut Writer) {
    writer.map(3 + usize::from(op.prev.is_some()));
    writer.text("cid").optional_cid(op.cid.as_ref()).text("path").text(op.key.as_str());
    if let Some(prev) = &op.prev {
        writer.text("prev").cid(prev);
    }
    writer.text("action").text(action(op));
}

fn read_ops(reader: &mut Reader<'_>) -> Result<Vec<AppliedOp>, FrameError> {
    let count = reader.array()?;
    expect(count <= MAX_OPS, "at most 200 operations")?;
    (0..count).map(|_| read_op(reader)).collect()
}

fn read_op(reader: &mut Reader<'_>) -> Result<AppliedOp, FrameError> {
    let has_prev = reader.optional_field(3)?;
    let cid = reader.key("cid")?.optional_cid()?;
    let key = parse("path", reader.key("path")?.text()?)?;
    let prev = if has_prev { Some(reader.key("prev")?.cid()?) } else { None };
    let op = AppliedOp { key, cid, prev };
    expect(reader.key("action")?.text()? == action(&op), "an action that fits cid and prev")?;
    expect(op.cid.is_some() || op.prev.is_some(), "a deletion with prev")?;
    Ok(op)
}
