//! Searching bytes whose form is not known.

use std::io::{self, Read, Seek};
use std::ops::Range;

use crate::exif::Exif;
use crate::source::Source;
use crate::{InspectError, Picture, jpeg, movie, xmp};

/// How a block of Exif begins, which is a TIFF file.
const BEGINNINGS: [[u8; 4]; 2] = [*b"MM\0\x2a", *b"II\x2a\0"];
/// Bytes of a block that are looked at: as many as the segment of a JPEG has.
const BLOCK_LEN: u64 = 64 * 1024;
/// Bytes that name a place are more than these.
const SHORTEST: u64 = 16;

impl<R: Read + Seek> Picture<R> {
    /// Notes a location in bytes that have Exif or XMP somewhere. Each byte is read a few times at most, so it takes no more
    /// of the budget than what is found.
    pub(crate) fn search(&mut self, range: Range<u64>) -> Result<(), InspectError> {
        let end = range.end.min(self.source.len());
        if end.saturating_sub(range.start) < SHORTEST {
            return Ok(());
        }
        let mut scanner = xmp::Scanner::default();
        self.scan(range.start..end, &mut scanner)?;
        self.location |= scanner.finish();
        let mut at = range.start;
        while let Some(start) = next_block(&mut self.source, at..end)? {
            self.budget.spend_found()?;
            let block = self.source.read(start..end.min(start + BLOCK_LEN))?;
            self.location |= Exif::parse(&block).location;
            at = start + 1;
        }
        Ok(())
    }

    /// Notes a location in what follows a picture: other pictures, a film of the moment, or anything else.
    pub(crate) fn search_rest(&mut self, at: u64) -> Result<(), InspectError> {
        let end = self.source.len();
        if at < end {
            self.search(at..end)?;
            movie::find(self, at)?;
            jpeg::inspect_all(self, at)?;
        }
        Ok(())
    }
}

/// Where the first block in a range begins, which lies in the file.
fn next_block<R: Read + Seek>(source: &mut Source<R>, range: Range<u64>) -> io::Result<Option<u64>> {
    let mut at = range.start;
    while at < range.end {
        let window = source.window(at)?;
        let window = &window[..window.len().min(usize::try_from(range.end - at).unwrap_or(usize::MAX))];
        if window.is_empty() {
            break;
        }
        let begins = |byte: &u8| BEGINNINGS.iter().any(|beginning| beginning[0] == *byte);
        let Some(offset) = window.iter().position(begins) else {
            at += window.len() as u64;
            continue;
        };
        at += offset as u64;
        if source.array(at)?.is_some_and(|found| BEGINNINGS.contains(&found)) {
            return Ok(Some(at));
        }
        at += 1;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::testing::{Block, XMP, gps};

    fn names_place(bytes: &[u8], range: Range<u64>) -> Result<bool, InspectError> {
        let mut picture = Picture::new(Source::new(Cursor::new(bytes)).unwrap());
        picture.search(range).map(|()| picture.location)
    }

    #[test]
    fn places_are_found_wherever_they_begin() {
        for big_endian in [true, false] {
            let block = Block { big_endian, gps: gps(), ..Block::default() }.to_bytes();
            for secret in [block.as_slice(), XMP] {
                for offset in [0, 1, 65_530, 65_535, 65_536, 200_000] {
                    let bytes = [vec![b'M'; offset].as_slice(), secret, b"III"].concat();
                    let len = bytes.len() as u64;
                    assert!(names_place(&bytes, 0..len).unwrap(), "{offset}");
                    assert!(names_place(&bytes, offset as u64..u64::MAX).unwrap(), "{offset}");
                    assert!(!names_place(&bytes, 0..offset as u64 + 3).unwrap(), "{offset}");
                    assert!(!names_place(&bytes, len - 10..len).unwrap(), "{offset}");
                }
            }
        }
    }

    #[test]
    fn blocks_in_blocks_are_not_read_without_end() {
        let bytes = b"MM\0\x2a".repeat(10_000);
        assert!(matches!(names_place(&bytes, 0..u64::MAX), Err(InspectError::Unreadable(_))));
    }
}
