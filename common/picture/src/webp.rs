//! WebP: chunks of a RIFF file.
//!
//! Source: RFC 9649 (WebP container).

use std::io::{Read, Seek};
use std::ops::Range;

use crate::exif::Kept;
use crate::{InspectError, Picture};

/// Chunks that are shown or say how. All others may be passed over.
const NEEDED: [&[u8; 4]; 7] = [b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"ICCP"];
/// The same within a frame of an animation.
const NEEDED_OF_FRAMES: [&[u8; 4]; 3] = [b"VP8 ", b"VP8L", b"ALPH"];
/// What is in front of the chunks of a frame: where it is shown, and for how long.
const FRAME_HEAD_LEN: u64 = 16;
/// Flags of `VP8X`: there is Exif, there is XMP.
const HAS_EXIF: u8 = 0x08;
const HAS_XMP: u8 = 0x04;
/// Where the chunks begin.
const FIRST: u64 = 12;
/// The name and the length of a chunk.
const HEAD_LEN: u64 = 8;

/// Whether a file that begins like this is a WebP.
pub(crate) fn begins(front: &[u8]) -> bool {
    front.starts_with(b"RIFF") && front.get(8..12) == Some(b"WEBP")
}

/// A piece of the file with a name and a length.
struct Chunk {
    kind: [u8; 4],
    /// All of it, no more than what it is in.
    range: Range<u64>,
    payload: Range<u64>,
}

pub(crate) fn inspect<R: Read + Seek>(picture: &mut Picture<R>) -> Result<(), InspectError> {
    let len = picture.source.len();
    let riff = picture.source.array(4)?.map_or(len, |len| 8 + u64::from(u32::from_le_bytes(len)));
    let mut rest = FIRST..riff.clamp(FIRST, len);
    let (mut flags, mut kept) = (None, None);
    while let Some(Chunk { kind, range, payload }) = next_chunk(picture, &rest)? {
        rest.start = range.end;
        match &kind {
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
            b"ANMF" => inspect_frame(picture, range)?,
            kind if NEEDED.contains(&kind) => {}
            _ => {
                picture.search(payload)?;
                picture.edits.remove(range)?;
            }
        }
    }
    if rest.start < len {
        // Too short for a chunk, or behind the end of the file that RIFF knows.
        picture.edits.remove(rest.start..len)?;
    }
    picture.search_rest(rest.start)?;
    mend(picture, flags, kept.is_some_and(|kept| kept.to_block().is_some()))
}

/// The chunk at the beginning of a range, with what makes its length an even number.
fn next_chunk<R: Read + Seek>(picture: &mut Picture<R>, within: &Range<u64>) -> Result<Option<Chunk>, InspectError> {
    let Range { start: at, end } = *within;
    if at + HEAD_LEN > end {
        return Ok(None);
    }
    let Some([a, b, c, d, size @ ..]) = picture.source.array::<8>(at)? else { return Ok(None) };
    let (start, size) = (at + HEAD_LEN, u64::from(u32::from_le_bytes(size)));
    let range = at..(start + size.next_multiple_of(2)).min(end);
    Ok(Some(Chunk { kind: [a, b, c, d], range, payload: start..(start + size).min(end) }))
}

/// Inspects a frame of an animation, of which viewers look at the picture only.
fn inspect_frame<R: Read + Seek>(picture: &mut Picture<R>, frame: Range<u64>) -> Result<(), InspectError> {
    let content = frame.start + HEAD_LEN;
    let mut rest = (content + FRAME_HEAD_LEN).min(frame.end)..frame.end;
    let mut less = 0;
    while let Some(Chunk { kind, range, payload }) = next_chunk(picture, &rest)? {
        rest.start = range.end;
        match &kind {
            b"EXIF" => drop(picture.exif(payload)?),
            b"XMP " => picture.xmp(payload)?,
            kind if NEEDED_OF_FRAMES.contains(&kind) => continue,
            _ => picture.search(payload)?,
        }
        less += range.end - range.start;
        picture.edits.remove(range)?;
    }
    if !rest.is_empty() {
        less += rest.end - rest.start;
        picture.edits.remove(rest)?;
    }
    let Some(size) = picture.source.array(frame.start + 4)?.map(u32::from_le_bytes).filter(|_| less > 0) else {
        return Ok(());
    };
    // Also of a frame that breaks off: it lacks as much as before.
    let size = u64::from(size).next_multiple_of(2).saturating_sub(less);
    picture.edits.replace(frame.start + 4..content, u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes().to_vec())
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
