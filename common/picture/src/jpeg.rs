//! JPEG: segments, each with a marker, and compressed data after some of them.
//!
//! What is no segment is passed over up to the next marker, as decoders do, whether it is compressed data or garbage.
//! So a file is understood from any of its segments on, and goes on being understood when one is left out.
//!
//! Source: ITU-T T.81 annex B, CIPA DC-008 (Exif), Adobe XMP specification part 3, CIPA DC-007 (several pictures).

use std::io::{Read, Seek};
use std::ops::Range;

use crate::exif::Kept;
use crate::{InspectError, Picture, iptc, xmp};

/// How every JPEG begins.
pub(crate) const START: &[u8] = b"\xff\xd8\xff";

const END: u8 = 0xd9;
const COMMENT: u8 = 0xfe;
const APP: Range<u8> = 0xe0..0xf0;

const EXIF: &[u8] = b"Exif\0";
/// Bytes before the TIFF block: the above, and one that may be anything.
const EXIF_LEN: u64 = 6;
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// Further XMP, in portions; a digest of all of them, the length of all, and the offset of this one follow.
const EXTENDED_XMP: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
const EXTENDED_XMP_LEN: u64 = EXTENDED_XMP.len() as u64 + 32 + 4 + 4;
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";
const JFIF: &[u8] = b"JFIF\0";
/// Bytes of what it says; a thumbnail follows.
const JFIF_LEN: u64 = 14;
const ICC: &[u8] = b"ICC_PROFILE\0";
const ADOBE: &[u8] = b"Adobe";

/// A marker and what belongs to it.
struct Segment {
    marker: u8,
    /// All of it.
    range: Range<u64>,
    payload: Range<u64>,
}

/// What application segments hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exif,
    Xmp,
    ExtendedXmp,
    Photoshop,
    /// JFIF without a thumbnail, colour profile, or how colours are stored.
    Needed,
    /// JFIF with a thumbnail, or something else in its place.
    LongJfif,
    Other,
}

/// What belongs together though several segments have it.
#[derive(Default)]
struct Gathered {
    /// Portions of further XMP by digest and offset.
    xmp: Vec<([u8; 40], Range<u64>)>,
    photoshop: Vec<u8>,
    /// What stays of the first Exif segment.
    kept: Option<Kept>,
}

pub(crate) fn inspect<R: Read + Seek>(picture: &mut Picture<R>) -> Result<(), InspectError> {
    let end = walk(picture, 0, true)?;
    let len = picture.source.len();
    if end < len {
        picture.edits.remove(end..len)?;
    }
    picture.search_rest(end)
}

/// All pictures that begin at or after `at`, such as previews, depth maps and brightness of one in front of them.
pub(crate) fn inspect_all<R: Read + Seek>(picture: &mut Picture<R>, mut at: u64) -> Result<(), InspectError> {
    while let Some(start) = picture.source.find(at, START)? {
        at = walk(picture, start, false)?;
    }
    Ok(())
}

/// Inspects one picture from where it starts, and gives where it ends: with the file if it does not say so. Only of the
/// `main` picture is anything removed.
fn walk<R: Read + Seek>(picture: &mut Picture<R>, start: u64, main: bool) -> Result<u64, InspectError> {
    let (mut at, mut end, mut gathered) = (start + 2, picture.source.len(), Gathered::default());
    while let Some(segment) = next_segment(picture, at)? {
        at = segment.range.end;
        if segment.marker == END {
            end = at;
            break;
        }
        if APP.contains(&segment.marker) || segment.marker == COMMENT {
            let kind = kind(picture, &segment)?;
            let first = gathered.kept.is_none();
            look_at(picture, &segment, kind, &mut gathered)?;
            let new = match kind {
                Kind::Needed => continue,
                Kind::Exif if first => gathered.kept.as_ref().and_then(exif_segment),
                Kind::LongJfif => jfif_segment(picture, &segment)?,
                _ => None,
            };
            if main {
                picture.replace(segment.range, new)?;
            }
        }
    }
    gathered.xmp.sort_by_key(|(key, _)| *key);
    let mut scanner = xmp::Scanner::default();
    for (_, range) in gathered.xmp {
        picture.xmp_part(range, &mut scanner)?;
    }
    picture.location |= scanner.finish() || iptc::resources_name_place(&gathered.photoshop);
    Ok(end)
}

/// The next segment at or after `at`. Its end may lie behind the file's, where a file breaks off in it.
fn next_segment<R: Read + Seek>(picture: &mut Picture<R>, mut at: u64) -> Result<Option<Segment>, InspectError> {
    let source = &mut picture.source;
    while let Some(start) = source.find(at, &[0xff])? {
        // Any number of these may stand before a marker.
        at = start + 1;
        while source.array(at)? == Some([0xff]) {
            at += 1;
        }
        let Some([marker]) = source.array(at)? else { return Ok(None) };
        at += 1;
        match marker {
            // Data, and marks in it to start anew.
            0 | 1 | 0xd0..=0xd8 => {}
            END => return Ok(Some(Segment { marker, range: start..at, payload: at..at })),
            _ => {
                let Some(len) = source.array(at)?.map(u16::from_be_bytes) else { return Ok(None) };
                let end = (at + u64::from(len.max(2))).min(source.len());
                return Ok(Some(Segment { marker, range: start..end, payload: (at + 2).min(end)..end }));
            }
        }
    }
    Ok(None)
}

fn kind<R: Read + Seek>(picture: &mut Picture<R>, segment: &Segment) -> Result<Kind, InspectError> {
    let Range { start, end } = segment.payload;
    let front = picture.source.peek(start, 64)?;
    let front = &front[..front.len().min(usize::try_from(end - start).unwrap_or(usize::MAX))];
    Ok(match segment.marker {
        0xe0 if front.starts_with(JFIF) && end - start > JFIF_LEN => Kind::LongJfif,
        0xe0 if front.starts_with(JFIF) => Kind::Needed,
        0xe1 if front.starts_with(EXIF) => Kind::Exif,
        0xe1 if front.starts_with(XMP) => Kind::Xmp,
        0xe1 if front.starts_with(EXTENDED_XMP) => Kind::ExtendedXmp,
        0xe2 if front.starts_with(ICC) => Kind::Needed,
        0xed if front.starts_with(PHOTOSHOP) => Kind::Photoshop,
        0xee if front.starts_with(ADOBE) => Kind::Needed,
        _ => Kind::Other,
    })
}

/// Reads a segment, or notes that it belongs to others.
fn look_at<R: Read + Seek>(
    picture: &mut Picture<R>,
    segment: &Segment,
    kind: Kind,
    gathered: &mut Gathered,
) -> Result<(), InspectError> {
    let Range { start, end } = segment.payload;
    match kind {
        Kind::Exif => {
            let exif = picture.exif((start + EXIF_LEN).min(end)..end)?;
            gathered.kept.get_or_insert(exif.kept);
        }
        Kind::Xmp => picture.xmp(start + XMP.len() as u64..end)?,
        Kind::ExtendedXmp => {
            picture.budget.spend_part()?;
            let portion = (start + EXTENDED_XMP_LEN).min(end)..end;
            let key = picture.source.array(start + EXTENDED_XMP.len() as u64)?;
            gathered.xmp.extend(key.map(|key| (key, portion)));
        }
        Kind::Photoshop => {
            let block = picture.block(start + PHOTOSHOP.len() as u64..end)?;
            gathered.photoshop.extend(block);
            if gathered.photoshop.len() as u64 > crate::BLOCK_LIMIT {
                return Err(InspectError::Unreadable("a part of metadata that is too large"));
            }
        }
        Kind::LongJfif => picture.search(segment.payload.clone())?,
        Kind::Other if segment.marker != COMMENT => picture.search(segment.payload.clone())?,
        Kind::Needed | Kind::Other => {}
    }
    Ok(())
}

/// The segment of JFIF, without a thumbnail.
fn jfif_segment<R: Read + Seek>(picture: &mut Picture<R>, segment: &Segment) -> Result<Option<Vec<u8>>, InspectError> {
    let fields = picture.source.array::<12>(segment.payload.start)?;
    // Its length, and at its end how wide and high the thumbnail is.
    Ok(fields.map(|fields| [b"\xff\xe0\0\x10".as_slice(), &fields, &[0, 0]].concat()))
}

/// A segment with what stays of Exif.
fn exif_segment(kept: &Kept) -> Option<Vec<u8>> {
    let block = kept.to_block()?;
    let len = u16::try_from(2 + EXIF_LEN + block.len() as u64).ok()?;
    Some([b"\xff\xe1".as_slice(), &len.to_be_bytes(), b"Exif\0\0", &block].concat())
}

#[cfg(test)]
mod tests;
