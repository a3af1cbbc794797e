//! HEIC, HEIF and AVIF: boxes, and a table of the items that are in them.
//!
//! Whatever is in such a file is found by its position, so nothing may move: what is to go is overwritten with zeros, and
//! boxes that nobody needs are renamed to `free`, which is how the format says that there is nothing in them.
//!
//! Source: ISO/IEC 14496-12 (boxes, `meta`, `iloc`, `iinf`), ISO/IEC 23008-12 (HEIF, annex A for Exif and XMP), AVIF.

mod items;

use std::io::{Read, Seek};
use std::ops::Range;

use crate::exif::Exif;
use crate::movie::{self, Part, next_part};
use crate::{BLOCK_LIMIT, InspectError, Picture, xmp};
use items::{Item, ItemKind};

/// Brands of pictures and of series of them.
const BRANDS: [&[u8]; 12] =
    [b"avif", b"avis", b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevm", b"hevs", b"hevx", b"mif1", b"msf1"];
/// Boxes that pictures need, or that hold nothing.
const NEEDED: [&[u8; 4]; 9] = [b"ftyp", b"styp", b"meta", b"mdat", b"moov", b"moof", b"free", b"skip", b"pdin"];

/// Whether a file that begins like this is a picture.
pub(crate) fn begins(front: &[u8]) -> bool {
    let Some(([a, b, c, d, b'f', b't', b'y', b'p'], brands)) = front.split_first_chunk() else { return false };
    let len = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(8).min(brands.len());
    // The second is a version.
    brands[..len].chunks_exact(4).enumerate().any(|(number, brand)| number != 1 && BRANDS.contains(&brand))
}

pub(crate) fn inspect<R: Read + Seek>(picture: &mut Picture<R>) -> Result<(), InspectError> {
    let (mut parts, mut rest) = (Vec::new(), 0..picture.source.len());
    while let Some(part) = next_part(picture, &rest)? {
        rest.start = part.range.end;
        parts.push(part);
    }
    let data: Vec<_> = parts.iter().filter(|part| part.kind == *b"mdat").map(|part| part.content.clone()).collect();
    for part in parts {
        match &part.kind {
            b"meta" => inspect_items(picture, &part, &data)?,
            b"moov" => {
                for part in movie::descriptions(picture, part.content)? {
                    movie::look_at(picture, &part)?;
                    retire(picture, &part)?;
                }
            }
            // A table in another form, which hardly anybody writes yet.
            b"mini" => return Err(InspectError::Unreadable("metadata in an unexpected place")),
            kind if NEEDED.contains(&kind) => {}
            kind => {
                match kind {
                    b"uuid" => picture.xmp(part.content.clone())?,
                    // A film of the moment.
                    _ => movie::inspect(picture, part.content.clone())?,
                }
                retire(picture, &part)?;
            }
        }
    }
    Ok(())
}

/// Empties a box.
fn retire<R: Read + Seek>(picture: &mut Picture<R>, part: &Part) -> Result<(), InspectError> {
    let name = part.range.start + 4;
    picture.edits.replace(name..name + 4, b"free".to_vec())?;
    clear(picture, part.content.clone())
}

/// Overwrites a range with zeros, if it is not.
fn clear<R: Read + Seek>(picture: &mut Picture<R>, range: Range<u64>) -> Result<(), InspectError> {
    let mut at = range.start;
    while at < range.end {
        let window = picture.source.window(at)?;
        let len = window.len().min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
        if len == 0 || window[..len].iter().any(|byte| *byte != 0) {
            return picture.edits.clear(range);
        }
        at += len as u64;
    }
    Ok(())
}

/// Inspects the items of a `meta` box; `data` is where they may lie.
fn inspect_items<R: Read + Seek>(
    picture: &mut Picture<R>,
    meta: &Part,
    data: &[Range<u64>],
) -> Result<(), InspectError> {
    // A version and flags are in front.
    let mut rest = (meta.content.start + 4).min(meta.content.end)..meta.content.end;
    let (mut kinds, mut places, mut own_data) = (Vec::new(), Vec::new(), None);
    while let Some(part) = next_part(picture, &rest)? {
        rest.start = part.range.end;
        match &part.kind {
            b"iinf" => kinds = picture.block(part.content)?,
            b"iloc" => places = picture.block(part.content)?,
            b"idat" => own_data = Some(part.content),
            _ => {}
        }
    }
    let kinds = items::kinds(&kinds, &mut picture.budget)?;
    for item in items::places(&places, &kinds, own_data.as_ref(), &mut picture.budget)? {
        let len = picture.source.len();
        let extents: Vec<_> = item.extents.iter().map(|extent| extent.start.min(len)..extent.end.min(len)).collect();
        let extents: Vec<_> = extents.into_iter().filter(|extent| !extent.is_empty()).collect();
        let lies_in = |place: &Range<u64>, extent: &Range<u64>| place.start <= extent.start && extent.end <= place.end;
        let known = |extent: &Range<u64>| data.iter().chain(&own_data).any(|place| lies_in(place, extent));
        if !extents.iter().all(known) {
            return Err(InspectError::Unreadable("metadata in an unexpected place"));
        }
        inspect_item(picture, &Item { extents, ..item })?;
    }
    Ok(())
}

fn inspect_item<R: Read + Seek>(picture: &mut Picture<R>, item: &Item) -> Result<(), InspectError> {
    match item.kind {
        ItemKind::Exif => inspect_exif(picture, &item.extents),
        ItemKind::Text => {
            let mut scanner = xmp::Scanner::default();
            for extent in &item.extents {
                picture.xmp_part(extent.clone(), &mut scanner)?;
            }
            picture.location |= scanner.finish();
            item.extents.iter().try_for_each(|extent| clear(picture, extent.clone()))
        }
    }
}

/// Exif, after the number of bytes that follow the number before the block begins.
fn inspect_exif<R: Read + Seek>(picture: &mut Picture<R>, extents: &[Range<u64>]) -> Result<(), InspectError> {
    let mut old = Vec::new();
    for extent in extents {
        old.extend(picture.block(extent.clone())?);
        if old.len() as u64 > BLOCK_LIMIT {
            return Err(InspectError::Unreadable("a part of metadata that is too large"));
        }
    }
    let begin = old.first_chunk().map_or(0, |number| (u32::from_be_bytes(*number) as usize).saturating_add(4));
    let exif = Exif::parse(old.get(begin..).unwrap_or_default());
    picture.location |= exif.location || Exif::parse(old.get(4..).unwrap_or_default()).location;

    let mut new = vec![0; 4];
    new.extend(exif.kept.to_block_of_len(old.len().saturating_sub(4)));
    new.resize(old.len(), 0);
    if new == old {
        return Ok(());
    }
    let mut rest = new.as_slice();
    for extent in extents {
        let len = usize::try_from(extent.end - extent.start).unwrap_or(usize::MAX).min(rest.len());
        let (bytes, behind) = rest.split_at(len);
        picture.edits.replace(extent.clone(), bytes.to_vec())?;
        rest = behind;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
