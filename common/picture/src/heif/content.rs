//! What is in items: looked at, and overwritten.

use std::io::{Read, Seek};
use std::ops::Range;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::items::{Item, ItemKind};
use crate::exif::Exif;
use crate::{BLOCK_LIMIT, Budget, InspectError, Picture, xmp};

/// Inspects an item whose extents lie in the file, and not across others.
pub(super) fn inspect_item<R: Read + Seek>(picture: &mut Picture<R>, item: &Item) -> Result<(), InspectError> {
    match item.kind {
        ItemKind::Exif => return inspect_exif(picture, &item.extents),
        ItemKind::Text => {
            let mut scanner = xmp::Scanner::default();
            for extent in &item.extents {
                picture.xmp_part(extent.clone(), &mut scanner)?;
            }
            picture.location |= scanner.finish();
        }
        ItemKind::Packed => {
            let packed = gather(picture, &item.extents)?;
            let mut scanner = xmp::Scanner::default();
            if !unpack(&packed, &mut picture.budget, &mut scanner)? {
                picture.opaque = Some("metadata that cannot be unpacked");
            }
            picture.location |= scanner.finish();
        }
        ItemKind::Sealed => {
            for extent in &item.extents {
                if !is_empty(picture, extent.clone())? {
                    picture.opaque = Some("metadata that is encrypted or compressed in a way of its own");
                }
            }
        }
    }
    item.extents.iter().try_for_each(|extent| clear(picture, extent.clone()))
}

/// Exif, after the number of bytes that follow the number before the block begins.
fn inspect_exif<R: Read + Seek>(picture: &mut Picture<R>, extents: &[Range<u64>]) -> Result<(), InspectError> {
    let old = gather(picture, extents)?;
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

/// All bytes of an item.
fn gather<R: Read + Seek>(picture: &mut Picture<R>, extents: &[Range<u64>]) -> Result<Vec<u8>, InspectError> {
    let mut bytes = Vec::new();
    for extent in extents {
        bytes.extend(picture.block(extent.clone())?);
        if bytes.len() as u64 > BLOCK_LIMIT {
            return Err(InspectError::Unreadable("a part of metadata that is too large"));
        }
    }
    Ok(bytes)
}

/// Scans a packed text as far as it can be unpacked; false if not at all. Which of zlib's forms it has shows at its
/// beginning: writers do not agree on their names.
fn unpack(packed: &[u8], budget: &mut Budget, scanner: &mut xmp::Scanner) -> Result<bool, InspectError> {
    let mut reader: Box<dyn Read + '_> = match packed {
        // What was overwritten.
        packed if packed.iter().all(|byte| *byte == 0) => return Ok(true),
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(packed)),
        [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0 => {
            Box::new(ZlibDecoder::new(packed))
        }
        packed => Box::new(DeflateDecoder::new(packed)),
    };
    let (mut buffer, mut unpacked) = (vec![0; 16 * 1024], false);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(len) => {
                budget.spend(len as u64)?;
                scanner.push(&buffer[..len]);
                unpacked = true;
            }
            // What is read lies in memory, so this is damage.
            Err(_) => return Ok(unpacked),
        }
    }
}

/// Overwrites a range with zeros, if it is not.
pub(super) fn clear<R: Read + Seek>(picture: &mut Picture<R>, range: Range<u64>) -> Result<(), InspectError> {
    if is_empty(picture, range.clone())? { Ok(()) } else { picture.edits.clear(range) }
}

/// Whether a range is all zeros, and not longer than the file.
fn is_empty<R: Read + Seek>(picture: &mut Picture<R>, range: Range<u64>) -> Result<bool, InspectError> {
    let mut at = range.start;
    while at < range.end {
        let window = picture.source.window(at)?;
        let len = window.len().min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
        if len == 0 || window[..len].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}
