//! An archive on disk: its blocks in the order they came, and an index by CID in memory.
//!
//! The file has no name, so it is gone when the process is. The index takes 24 bytes a block; it is sorted once the archive
//! is complete.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

use atproto::car::Reader;
use atproto::data::{CID_LEN, Cid};

use super::error::ImportError;

/// Blocks in one archive at most: an index of 48 MiB, and a repo of some 1.5 million records.
pub(super) const MAX_BLOCKS: usize = 1 << 21;

/// Bits of a position that hold the block's length; [`atproto::car::MAX_SECTION_LEN`] takes 22.
const LENGTH_BITS: u32 = 22;

/// Where a block is. Nobody finds two blocks of the same front; still, the CID in the file decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    /// Codec and first 15 bytes of the digest.
    front: [u8; 16],
    /// Offset of the CID in the file, and the length of the block behind it.
    position: u64,
}

impl Slot {
    fn new(cid: &Cid, offset: u64, len: usize) -> Self {
        Self { front: front(cid), position: offset << LENGTH_BITS | len as u64 }
    }

    fn offset(self) -> u64 {
        self.position >> LENGTH_BITS
    }

    fn len(self) -> usize {
        usize::try_from(self.position & ((1 << LENGTH_BITS) - 1)).unwrap_or(usize::MAX)
    }
}

fn front(cid: &Cid) -> [u8; 16] {
    let mut front = [0; 16];
    front[0] = cid.codec() as u8;
    front[1..].copy_from_slice(&cid.digest()[..15]);
    front
}

/// An archive that is arriving. Blocks are checked against their CIDs as they come.
pub(super) struct Spooling {
    reader: Reader,
    file: BufWriter<File>,
    end: u64,
    slots: Vec<Slot>,
}

impl Spooling {
    /// Opens the file, in the system's folder for temporary ones.
    pub(super) fn start() -> io::Result<Self> {
        let file = BufWriter::new(tempfile::tempfile()?);
        Ok(Self { reader: Reader::new(), file, end: 0, slots: Vec::new() })
    }

    /// Takes the next bytes of the archive.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), ImportError> {
        self.reader.push(piece);
        while let Some((cid, block)) = self.reader.next_block()? {
            if self.slots.len() == MAX_BLOCKS {
                return Err(ImportError::TooManyBlocks);
            }
            self.file.write_all(cid.as_bytes())?;
            self.file.write_all(&block)?;
            self.slots.push(Slot::new(&cid, self.end, block.len()));
            self.end += (CID_LEN + block.len()) as u64;
        }
        Ok(())
    }

    /// Ends the archive, which must be complete and have one root.
    pub(super) fn finish(mut self) -> Result<Spool, ImportError> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        self.slots.sort_unstable();
        // Each once, for a block that comes a million times must not be looked through a million times.
        self.slots.dedup_by_key(|slot| slot.front);
        match self.reader.finish()?[..] {
            [root] => Ok(Spool { file, slots: self.slots, root }),
            _ => Err(ImportError::Roots),
        }
    }
}

/// A complete archive.
pub(super) struct Spool {
    file: File,
    slots: Vec<Slot>,
    /// The archive's root.
    pub(super) root: Cid,
}

impl Spool {
    /// A block; `None` if the archive has none of this CID.
    pub(super) fn find(&self, cid: &Cid) -> io::Result<Option<Vec<u8>>> {
        let Ok(index) = self.slots.binary_search_by_key(&front(cid), |slot| slot.front) else { return Ok(None) };
        let slot = self.slots[index];
        let mut section = vec![0; CID_LEN + slot.len()];
        self.file.read_exact_at(&mut section, slot.offset())?;
        if !section.starts_with(cid.as_bytes()) {
            return Ok(None);
        }
        section.drain(..CID_LEN);
        Ok(Some(section))
    }
}

#[cfg(test)]
mod tests {
    use atproto::car;

    use super::*;

    fn spool(archive: &[u8], piece: usize) -> Result<Spool, ImportError> {
        let mut spooling = Spooling::start().unwrap();
        for piece in archive.chunks(piece) {
            spooling.push(piece)?;
        }
        spooling.finish()
    }

    #[test]
    fn blocks_are_found_whatever_their_order_and_however_often_they_come() {
        let blocks: Vec<Vec<u8>> = (0..200_u32).map(|number| number.to_be_bytes().repeat(number as usize)).collect();
        let cids: Vec<Cid> = blocks.iter().map(|block| Cid::dag_cbor(block)).collect();
        let twice = cids.iter().zip(blocks.iter().map(Vec::as_slice)).rev().chain([(&cids[7], &blocks[7][..])]);
        let spool = spool(&car::archive(&cids[3], twice), 97).unwrap();
        assert_eq!(spool.root, cids[3]);
        for (cid, block) in cids.iter().zip(&blocks) {
            assert_eq!(spool.find(cid).unwrap().as_ref(), Some(block));
            // Of the same digest, but another CID.
            assert_eq!(spool.find(&Cid::raw(block)).unwrap(), None);
        }
    }

    #[test]
    fn a_block_that_comes_often_is_kept_once() {
        let (record, raw) = (Cid::dag_cbor(b"x"), Cid::raw(b"x"));
        let blocks = [&raw, &record, &raw, &raw, &record].map(|cid| (cid, &b"x"[..]));
        let spool = spool(&car::archive(&record, blocks.into_iter()), 50).unwrap();
        assert_eq!(spool.slots.len(), 2);
        for cid in [record, raw] {
            assert_eq!(spool.find(&cid).unwrap(), Some(b"x".to_vec()));
        }
    }

    #[test]
    fn the_longest_block_fits_its_slot() {
        let len = car::MAX_SECTION_LEN - CID_LEN;
        let slot = Slot::new(&Cid::raw(b""), 1 << 41, len);
        assert_eq!((slot.offset(), slot.len()), (1 << 41, len));
    }

    #[test]
    fn half_an_archive_is_refused() {
        let archive = car::archive(&Cid::raw(b""), [(&Cid::raw(b"x"), &b"x"[..])].into_iter());
        assert!(spool(&archive, 10).is_ok());
        assert!(matches!(
            spool(&archive[..archive.len() - 1], 10),
            Err(ImportError::Archive(car::CarError::Truncated))
        ));
        assert!(matches!(spool(b"", 10), Err(ImportError::Archive(car::CarError::Truncated))));
    }
}
