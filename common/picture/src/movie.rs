//! Boxes of ISO base media files, and where the films among them say where they were made.
//!
//! Source: ISO/IEC 14496-12 (boxes, `udta`), Apple `QuickTime` file format (`©xyz`, metadata keys), 3GPP TS 26.244 (`loci`).

use std::io::{Read, Seek};
use std::ops::Range;

use crate::{InspectError, Picture};

/// What gives a place away in what a film says of itself.
const PLACES: [&[u8]; 3] = [b"\xa9xyz", b"loci", b"quicktime.location"];
/// Bytes of the longest of them.
const LONGEST: u64 = 18;
/// Bytes that are looked at together.
const CHUNK: u64 = 64 * 1024;
/// Boxes that should hold nothing. An editor may have made one of a box by changing its name alone.
pub(crate) const FREE: [&[u8; 4]; 2] = [b"free", b"skip"];

/// One box.
pub(crate) struct Part {
    pub(crate) kind: [u8; 4],
    /// All of it, no more than what it is in.
    pub(crate) range: Range<u64>,
    /// What is in it.
    pub(crate) content: Range<u64>,
}

/// The box at the beginning of a range. `None` at its end, and where there is no box.
pub(crate) fn next_part<R: Read + Seek>(
    picture: &mut Picture<R>,
    within: &Range<u64>,
) -> Result<Option<Part>, InspectError> {
    let Range { start, end } = *within;
    let Some([a, b, c, d, kind @ ..]) = picture.source.array::<8>(start)? else { return Ok(None) };
    let (size, header) = match u32::from_be_bytes([a, b, c, d]) {
        0 => (end.saturating_sub(start), 8),
        1 => (picture.source.array(start + 8)?.map_or(0, u64::from_be_bytes), 16),
        size => (u64::from(size), 8),
    };
    if size < header || start + header > end {
        return Ok(None);
    }
    picture.budget.spend_part()?;
    let range = start..start.saturating_add(size).min(end);
    Ok(Some(Part { kind, content: start + header..range.end, range }))
}

/// Notes a location in a film.
pub(crate) fn inspect<R: Read + Seek>(picture: &mut Picture<R>, mut rest: Range<u64>) -> Result<(), InspectError> {
    while let Some(part) = next_part(picture, &rest)? {
        rest.start = part.range.end;
        if part.kind == *b"moov" {
            for part in descriptions(picture, part.content)? {
                look_at(picture, &part)?;
            }
        }
    }
    Ok(())
}

/// Notes a location in films that begin at or after `at`, whatever is in front of them.
pub(crate) fn find<R: Read + Seek>(picture: &mut Picture<R>, at: u64) -> Result<(), InspectError> {
    let mut next = at;
    while let Some(name) = picture.source.find(next, b"ftyp")? {
        picture.budget.spend_found()?;
        // The length of the box is in front of its name.
        inspect(picture, name.saturating_sub(4).max(at)..picture.source.len())?;
        // It may have been a word in something else.
        next = name + 1;
    }
    Ok(())
}

/// The boxes of a `moov` in which the film and its tracks say something of themselves.
pub(crate) fn descriptions<R: Read + Seek>(
    picture: &mut Picture<R>,
    film: Range<u64>,
) -> Result<Vec<Part>, InspectError> {
    let (mut waiting, mut found) = (vec![film], Vec::new());
    while let Some(mut rest) = waiting.pop() {
        while let Some(part) = next_part(picture, &rest)? {
            rest.start = part.range.end;
            match &part.kind {
                b"trak" | b"traf" => waiting.push(part.content),
                b"udta" | b"meta" | b"uuid" => found.push(part),
                kind if FREE.contains(&kind) => found.push(part),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Notes a location in a description, or in what may have been one.
pub(crate) fn look_at<R: Read + Seek>(picture: &mut Picture<R>, part: &Part) -> Result<(), InspectError> {
    picture.location |= names_place(picture, part.content.clone())?;
    picture.search(part.content.clone())
}

fn names_place<R: Read + Seek>(picture: &mut Picture<R>, content: Range<u64>) -> Result<bool, InspectError> {
    let (mut at, end) = (content.start, content.end.min(picture.source.len()));
    while at < end {
        let bytes = picture.source.read(at..end.min(at + CHUNK))?;
        if PLACES.iter().any(|place| bytes.windows(place.len()).any(|window| window == *place)) {
            return Ok(true);
        }
        // A name may lie across two of them.
        at += CHUNK - LONGEST;
    }
    Ok(false)
}
