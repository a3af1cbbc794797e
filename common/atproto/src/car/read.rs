//! Reading archives, piece by piece as they arrive.

use std::ops::RangeInclusive;

use bytes::{Buf, Bytes, BytesMut};

use super::varint;
use crate::data::{CID_LEN, Cid, CidError};
use crate::wire::{self, WireError};

/// Longest header in bytes: room for about 25 roots.
pub const MAX_HEADER_LEN: usize = 1024;

/// Longest section in bytes. The protocol allows records of 1 MB and tree nodes that fit an event of 2 MB.
pub const MAX_SECTION_LEN: usize = 2 << 20;

/// Why bytes are not an archive of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CarError {
    /// The archive ends in the middle of its header or of a section.
    #[error("archive ends early")]
    Truncated,
    /// A length that is no varint.
    #[error("archive has a malformed length")]
    Length,
    /// A header or section longer than [`MAX_HEADER_LEN`] or [`MAX_SECTION_LEN`].
    #[error("archive has a section of {0} bytes, which is too long")]
    TooLong(usize),
    /// The header is not the DAG-CBOR of one, or of another version.
    #[error("archive has a malformed header")]
    Header(#[from] WireError),
    /// Another number of roots than expected.
    #[error("archive has an unexpected number of roots: {0}")]
    Roots(usize),
    /// A section that does not start with a CID.
    #[error("archive has a block without a proper CID")]
    Cid(#[from] CidError),
    /// A block whose hash is not that of its CID.
    #[error("block does not match its CID {0}")]
    Hash(Cid),
}

/// Reads an archive from chunks of any size.
///
/// [`Reader::push`] a chunk, take blocks with [`Reader::next_block`] until there are no more, push the next one, and
/// [`Reader::finish`] at the end. Holds what of a section has arrived, and the last chunk. After an error it is of no
/// further use.
#[derive(Debug)]
pub struct Reader {
    buffer: BytesMut,
    /// Empty until the header has been read.
    roots: Option<Vec<Cid>>,
    allowed_roots: RangeInclusive<usize>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader of archives with exactly one root, such as every method of this protocol gives.
    pub fn new() -> Self {
        Self::with_roots(1..=1)
    }

    /// A reader of archives with so many roots.
    pub fn with_roots(allowed_roots: RangeInclusive<usize>) -> Self {
        Self { buffer: BytesMut::new(), roots: None, allowed_roots }
    }

    /// Adds the next bytes of the archive.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The first root, once the header has been read, if it has any.
    pub fn root(&self) -> Option<Cid> {
        self.roots().first().copied()
    }

    /// The roots; none before the header has been read.
    pub fn roots(&self) -> &[Cid] {
        self.roots.as_deref().unwrap_or_default()
    }

    /// The next block with its CID, which is checked against the block's hash; `None` if more bytes are needed.
    pub fn next_block(&mut self) -> Result<Option<(Cid, Bytes)>, CarError> {
        if self.roots.is_none() {
            let Some(header) = self.next_section(MAX_HEADER_LEN)? else { return Ok(None) };
            let roots = read_header(&header)?;
            if !self.allowed_roots.contains(&roots.len()) {
                return Err(CarError::Roots(roots.len()));
            }
            self.roots = Some(roots);
        }
        let Some(mut section) = self.next_section(MAX_SECTION_LEN)? else { return Ok(None) };
        if section.len() < CID_LEN {
            return Err(CidError::Length.into());
        }
        let cid = Cid::from_bytes(&section.split_to(CID_LEN))?;
        if cid.verifies(&section) { Ok(Some((cid, section))) } else { Err(CarError::Hash(cid)) }
    }

    /// Checks that the archive ended with the bytes pushed last, and returns its roots.
    pub fn finish(self) -> Result<Vec<Cid>, CarError> {
        match self.roots {
            Some(roots) if self.buffer.is_empty() => Ok(roots),
            _ => Err(CarError::Truncated),
        }
    }

    fn next_section(&mut self, max: usize) -> Result<Option<Bytes>, CarError> {
        let length = varint::read(&self.buffer).map_err(|varint::Malformed| CarError::Length)?;
        let Some((len, width)) = length else { return Ok(None) };
        if len > max {
            return Err(CarError::TooLong(len));
        }
        if self.buffer.len() < width + len {
            return Ok(None);
        }
        self.buffer.advance(width);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }
}

/// Reads an archive with one root that is at hand as a whole: its root and its blocks in their order.
pub fn read(archive: &[u8]) -> Result<(Cid, Vec<(Cid, Bytes)>), CarError> {
    let mut reader = Reader::new();
    reader.push(archive);
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block()? {
        blocks.push(block);
    }
    let root = reader.root().ok_or(CarError::Truncated)?;
    reader.finish()?;
    Ok((root, blocks))
}

fn read_header(header: &[u8]) -> Result<Vec<Cid>, WireError> {
    let mut reader = wire::Reader::new(header);
    let count = reader.fields(2)?.key("roots")?.array()?;
    let roots = (0..count).map(|_| reader.cid()).collect::<Result<_, _>>()?;
    if reader.key("version")?.int()? != 1 {
        return Err(WireError::Expected("version 1"));
    }
    reader.finish()?;
    Ok(roots)
}
