//! WebP: chunks of a RIFF file.
//!
//! Source: RFC 9649 (WebP container).

use std::io::{Read, Seek};

use crate::exif::Kept;
use crate::{InspectError, Picture};

/// Chunks that are shown or say how. All others may be passed over.
const NEEDED: [&[u8; 4]; 7] = [b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"ICCP"];
/// Flags of `VP8X`: there is Exif, there is XMP.
const HAS_EXIF: u8 = 0x08;
const HAS_XMP: u8 = 0x04;
/// Where the chunks begin.
const FIRST: u64 = 12;

/// Whether a file that begins like this is a WebP.
pub(crate) fn begins(front: &[u8]) -> bool {
    front.starts_with(b"RIFF") && front.get(8..12) == Some(b"WEBP")
}

pub(crate) fn inspect<R: Read + Seek>(picture: &mut Picture<R>) -> Result<(), InspectError> {
    let len = picture.source.len();
    let riff = picture.source.array(4)?.map_or(len, |len| 8 + u64::from(u32::from_le_bytes(len)));
    let end = riff.clamp(FIRST, len);
    let (mut at, mut flags, mut kept) = (FIRST, None, None);
    while at + 8 <= end {
        let Some([a, b, c, d, size @ ..]) = picture.source.array::<8>(at)? else { break };
        let (start, size) = (at + 8, u64::from(u32::from_le_bytes(size)));
        let payload = start..(start + size).min(end);
        let range = at..(start + size.next_multiple_of(2)).min(end);
        at = range.end;
        match &[a, b, c, d] {
            b"VP8X" if !payload.is_empty() => flags = flags.or(Some(payload.start)),
            b"EXIF" => {
                let exif = picture.exif(payload)?;
                let chunk = if kept.is_none() { exif_chunk(&exif.kept) } else { None };
                picture.replace(range, chunk)?;
                kept.get_or_insert(exif.kept);
            }
            b"XMP " => {
                picture.xmp(payload)?;
                picture.edits.remove(range)?;
            }
            kind if NEEDED.contains(&kind) => {}
            _ => picture.edits.remove(range)?,
        }
    }
    if at < len {
        // Too short for a chunk, or behind the end of the file that RIFF knows.
        picture.edits.remove(at..len)?;
    }
    mend(picture, flags, kept.is_some_and(|kept| kept.to_block().is_some()))
}

/// A chunk with what stays of Exif.
fn exif_chunk(kept: &Kept) -> Option<Vec<u8>> {
    let mut block = kept.to_block()?;
    let len = u32::try_from(block.len()).ok()?;
    block.resize(block.len().next_multiple_of(2), 0);
    Some([b"EXIF", len.to_le_bytes().as_slice(), &block].concat())
}

/// Lets the flags and the length in front say what is there now.
fn mend<R: Read + Seek>(picture: &mut Picture<R>, flags: Option<u64>, has_exif: bool) -> Result<(), InspectError> {
    if picture.edits.is_empty() {
        return Ok(());
    }
    if let Some(at) = flags
        && let Some([old]) = picture.source.array(at)?
    {
        let new = old & !HAS_EXIF & !HAS_XMP | if has_exif { HAS_EXIF } else { 0 };
        if new != old {
            picture.edits.replace(at..at + 1, vec![new])?;
        }
    }
    let len = picture.edits.len_after(picture.source.len()).saturating_sub(8);
    picture.edits.replace(4..8, u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes().to_vec())
}

#[cfg(test)]
mod tests;
