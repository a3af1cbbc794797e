//! Writing archives.

use bytes::{Bytes, BytesMut};

use super::varint;
use crate::data::{CID_LEN, Cid};
use crate::wire::Writer;

/// Bytes of the [`header`] of an archive with one root.
pub const HEADER_LEN: usize = 59;

/// The start of an archive whose root is `root`.
pub fn header(root: &Cid) -> Bytes {
    let mut header = Writer::with_capacity(HEADER_LEN);
    header.map(2).text("roots").array(1).cid(root).text("version").count(1);
    let header = header.finish();
    let mut out = BytesMut::with_capacity(HEADER_LEN);
    varint::write(header.len(), &mut out);
    out.extend_from_slice(&header);
    out.freeze()
}

/// Appends a block.
pub fn section(cid: &Cid, block: &[u8], out: &mut BytesMut) {
    out.reserve(section_len(block.len()));
    varint::write(CID_LEN + block.len(), out);
    out.extend_from_slice(cid.as_bytes());
    out.extend_from_slice(block);
}

/// Bytes that a block of `block_len` bytes takes in an archive.
pub fn section_len(block_len: usize) -> usize {
    let len = CID_LEN + block_len;
    varint::width(len) + len
}

/// A whole archive, for few blocks.
pub fn archive<'a>(root: &Cid, blocks: impl Iterator<Item = (&'a Cid, &'a [u8])> + Clone) -> Bytes {
    let len: usize = blocks.clone().map(|(_, block)| section_len(block.len())).sum();
    let mut out = BytesMut::with_capacity(HEADER_LEN + len);
    out.extend_from_slice(&header(root));
    for (cid, block) in blocks {
        section(cid, block, &mut out);
    }
    out.freeze()
}
