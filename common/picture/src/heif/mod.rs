//! HEIC, HEIF and AVIF: boxes, and a table of the items that are in them.
//!
//! Whatever is in such a file is found by its position, so nothing may move: what is to go is overwritten with zeros, and
//! boxes that nobody needs are renamed to `free`, which is how the format says that there is nothing in them.
//!
//! Source: ISO/IEC 14496-12 (boxes, `meta`, `iloc`, `iinf`), ISO/IEC 23008-12 (HEIF, annex A for Exif and XMP), AVIF.

mod content;
mod items;

use std::io::{Read, Seek};
use std::ops::Range;

use crate::movie::{self, FREE, Part, next_part};
use crate::{InspectError, Picture};
use content::{clear, inspect_item};
use items::Item;

/// Brands of pictures and of series of them.
const BRANDS: [&[u8]; 12] =
    [b"avif", b"avis", b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevm", b"hevs", b"hevx", b"mif1", b"msf1"];
/// Boxes that pictures need, and that say nothing of whoever took them.
const NEEDED: [&[u8; 4]; 4] = [b"ftyp", b"styp", b"mdat", b"pdin"];
/// The same within `meta`: the table of items, what they look like, belong to and are protected by.
const NEEDED_OF_ITEMS: [&[u8; 4]; 10] =
    [b"hdlr", b"pitm", b"iloc", b"iinf", b"iprp", b"iref", b"idat", b"ipro", b"dinf", b"grpl"];
/// Bytes in front of what is in a box.
const HEAD_LEN: u64 = 8;

/// Whether a file that begins like this is a picture.
pub(crate) fn begins(front: &[u8]) -> bool {
    let Some(([a, b, c, d, b'f', b't', b'y', b'p'], brands)) = front.split_first_chunk() else { return false };
    let len = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(8).min(brands.len());
    // The second is a version.
    brands[..len].chunks_exact(4).enumerate().any(|(number, brand)| number != 1 && BRANDS.contains(&brand))
}

pub(crate) fn inspect<R: Read + Seek>(picture: &mut Picture<R>) -> Result<(), InspectError> {
    let whole = 0..picture.source.len();
    let (parts, rest) = parts(picture, whole)?;
    let data: Vec<_> = parts.iter().filter(|part| part.kind == *b"mdat").map(|part| part.content.clone()).collect();
    for part in parts {
        match &part.kind {
            b"meta" => inspect_items(picture, &part, &data)?,
            b"moov" | b"moof" => {
                for part in movie::descriptions(picture, part.content)? {
                    movie::look_at(picture, &part)?;
                    if FREE.contains(&&part.kind) {
                        clear(picture, part.content)?;
                    } else {
                        retire(picture, &part)?;
                    }
                }
            }
            // A table in another form, which hardly anybody writes yet.
            b"mini" => return Err(InspectError::Unreadable("metadata in an unexpected place")),
            kind if FREE.contains(&kind) => empty(picture, &part)?,
            kind if NEEDED.contains(&kind) => {}
            _ => {
                look_into(picture, &part)?;
                retire(picture, &part)?;
            }
        }
    }
    picture.search_rest(rest.start)?;
    bury(picture, rest)
}

/// The boxes in a range, and what follows them and is none.
fn parts<R: Read + Seek>(
    picture: &mut Picture<R>,
    mut rest: Range<u64>,
) -> Result<(Vec<Part>, Range<u64>), InspectError> {
    let mut parts = Vec::new();
    while let Some(part) = next_part(picture, &rest)? {
        rest.start = part.range.end;
        parts.push(part);
    }
    Ok((parts, rest))
}

/// Notes a location in a box that pictures do not need.
fn look_into<R: Read + Seek>(picture: &mut Picture<R>, part: &Part) -> Result<(), InspectError> {
    match &part.kind {
        b"udta" | b"keys" | b"ilst" => movie::look_at(picture, part),
        // A film of the moment.
        b"mpvd" => movie::inspect(picture, part.content.clone()),
        _ => {
            movie::inspect(picture, part.content.clone())?;
            picture.search(part.content.clone())
        }
    }
}

/// Looks into what should be empty, and makes it so.
fn empty<R: Read + Seek>(picture: &mut Picture<R>, part: &Part) -> Result<(), InspectError> {
    movie::look_at(picture, part)?;
    movie::inspect(picture, part.content.clone())?;
    clear(picture, part.content.clone())
}

/// Empties a box.
fn retire<R: Read + Seek>(picture: &mut Picture<R>, part: &Part) -> Result<(), InspectError> {
    let name = part.range.start + 4;
    picture.edits.replace(name..name + 4, b"free".to_vec())?;
    clear(picture, part.content.clone())
}

/// Empties what is no box. Viewers do not look there, but whoever looks for a place would.
fn bury<R: Read + Seek>(picture: &mut Picture<R>, rest: Range<u64>) -> Result<(), InspectError> {
    if rest.end - rest.start < HEAD_LEN {
        return clear(picture, rest);
    }
    // Zero is up to the end.
    let len = u32::try_from(rest.end - rest.start).unwrap_or(0);
    let content = rest.start + HEAD_LEN;
    picture.edits.replace(rest.start..content, [&len.to_be_bytes(), b"free".as_slice()].concat())?;
    clear(picture, content..rest.end)
}

/// Inspects the items of a `meta` box, and what else is in it; `data` is where items may lie, in the order of the file.
fn inspect_items<R: Read + Seek>(
    picture: &mut Picture<R>,
    meta: &Part,
    data: &[Range<u64>],
) -> Result<(), InspectError> {
    // A version and flags are in front.
    let content = (meta.content.start + 4).min(meta.content.end)..meta.content.end;
    let (parts, rest) = parts(picture, content)?;
    let (mut kinds, mut places, mut own_data) = (Vec::new(), Vec::new(), None);
    for part in parts {
        match &part.kind {
            b"iinf" => kinds = picture.block(part.content)?,
            b"iloc" => places = picture.block(part.content)?,
            b"idat" => own_data = Some(part.content),
            kind if FREE.contains(&kind) => empty(picture, &part)?,
            kind if NEEDED_OF_ITEMS.contains(&kind) => {}
            _ => {
                look_into(picture, &part)?;
                retire(picture, &part)?;
            }
        }
    }
    picture.search(rest.clone())?;
    bury(picture, rest)?;
    let kinds = items::kinds(&kinds, &mut picture.budget)?;
    for item in items::places(&places, &kinds, own_data.as_ref(), &mut picture.budget)? {
        let len = picture.source.len();
        let extents: Vec<_> = item.extents.iter().map(|extent| extent.start.min(len)..extent.end.min(len)).collect();
        let extents: Vec<_> = extents.into_iter().filter(|extent| !extent.is_empty()).collect();
        if !extents.iter().all(|extent| is_within(extent, data, own_data.as_ref())) {
            return Err(InspectError::Unreadable("metadata in an unexpected place"));
        }
        inspect_item(picture, &Item { extents, ..item })?;
    }
    Ok(())
}

/// Whether bytes of an item lie where data are.
fn is_within(extent: &Range<u64>, data: &[Range<u64>], own_data: Option<&Range<u64>>) -> bool {
    let before = data.partition_point(|place| place.start <= extent.start);
    let last = before.checked_sub(1).and_then(|last| data.get(last));
    last.into_iter().chain(own_data).any(|place| place.start <= extent.start && extent.end <= place.end)
}

#[cfg(test)]
mod tests;
