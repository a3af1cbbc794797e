//! How a file changes: parts of it that are left out or replaced.

use std::ops::Range;

use crate::InspectError;

/// Changes of one file. What is next to each other becomes one, so there are few.
const EDIT_LIMIT: usize = 4_096;

/// A part of the file as it shall be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// These bytes of the file as it is.
    Kept(Range<u64>),
    /// These bytes.
    New(Vec<u8>),
    /// So many zeros.
    Zeros(u64),
}

/// What takes the place of a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Replacement {
    Bytes(Vec<u8>),
    /// As many zeros as there were bytes.
    Zeros,
}

/// Changes in any order.
#[derive(Default)]
pub(crate) struct Edits(Vec<(Range<u64>, Replacement)>);

impl Edits {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long a file of `len` bytes will be.
    pub(crate) fn len_after(&self, len: u64) -> u64 {
        self.0.iter().fold(len, |len, (range, replacement)| match replacement {
            Replacement::Bytes(bytes) => len.saturating_sub(range.end - range.start).saturating_add(bytes.len() as u64),
            Replacement::Zeros => len,
        })
    }

    /// Leaves a part out.
    pub(crate) fn remove(&mut self, range: Range<u64>) -> Result<(), InspectError> {
        self.replace(range, Vec::new())
    }

    /// Overwrites a part with zeros.
    pub(crate) fn clear(&mut self, range: Range<u64>) -> Result<(), InspectError> {
        self.push(range, Replacement::Zeros)
    }

    /// Puts bytes in the place of a part.
    pub(crate) fn replace(&mut self, range: Range<u64>, bytes: Vec<u8>) -> Result<(), InspectError> {
        self.push(range, Replacement::Bytes(bytes))
    }

    fn push(&mut self, range: Range<u64>, replacement: Replacement) -> Result<(), InspectError> {
        if let Some((last, Replacement::Bytes(bytes))) = self.0.last_mut()
            && let Replacement::Bytes(more) = &replacement
            && last.end == range.start
        {
            last.end = range.end;
            bytes.extend_from_slice(more);
            return Ok(());
        }
        if self.0.len() >= EDIT_LIMIT {
            return Err(InspectError::Unreadable("metadata in too many places"));
        }
        self.0.push((range, replacement));
        Ok(())
    }

    /// The changed file of `len` bytes. `None` if nothing changes. Fails if the same bytes change twice, as in a file made
    /// for it.
    pub(crate) fn into_pieces(mut self, len: u64) -> Result<Option<Vec<Piece>>, InspectError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        self.0.sort_by_key(|(range, _)| (range.start, range.end));
        let (mut pieces, mut at) = (Vec::new(), 0);
        for (range, replacement) in self.0 {
            if range.start < at || range.end > len {
                return Err(InspectError::Unreadable("metadata that overlaps"));
            }
            if range.start > at {
                pieces.push(Piece::Kept(at..range.start));
            }
            at = range.end;
            match replacement {
                Replacement::Bytes(bytes) if bytes.is_empty() => {}
                Replacement::Bytes(bytes) => pieces.push(Piece::New(bytes)),
                Replacement::Zeros => pieces.push(Piece::Zeros(range.end - range.start)),
            }
        }
        if at < len {
            pieces.push(Piece::Kept(at..len));
        }
        Ok(Some(pieces))
    }
}
