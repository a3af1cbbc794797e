//! PNG: chunks up to `IEND`.
//!
//! Source: W3C PNG (third edition), Adobe XMP specification part 3. "Raw profile type" texts are `ImageMagick`'s.

use std::io::{self, ErrorKind, Read, Seek};
use std::ops::Range;

use flate2::Crc;
use flate2::read::ZlibDecoder;

use crate::exif::{Exif, Kept};
use crate::source::Section;
use crate::{BLOCK_LIMIT, InspectError, Picture, iptc, xmp};

/// How every PNG begins.
pub(crate) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Chunks that change what is shown, besides those that no decoder may pass over.
const NEEDED: [&[u8; 4]; 16] = [
    b"acTL", b"bKGD", b"cHRM", b"cICP", b"cLLI", b"cLLi", b"fcTL", b"fdAT", b"gAMA", b"hIST", b"iCCP", b"mDCV",
    b"pHYs", b"sBIT", b"sRGB", b"tRNS",
];
/// Texts that stay, if they are short and not compressed.
const CLAIMS: [&[u8]; 2] = [b"Author", b"Copyright"];
const CLAIM_LIMIT: u64 = 1_024;

const RAW_PROFILE: &str = "Raw profile type ";
/// Of a text chunk what is in front of the text.
const HEAD_LEN: usize = 512;

/// A piece of the file with a length, a name and a checksum.
struct Chunk {
    kind: [u8; 4],
    /// All of it, up to the end of the file if that is missing some.
    range: Range<u64>,
    payload: Range<u64>,
}

pub(crate) fn inspect<R: Read + Seek>(picture: &mut Picture<R>) -> Result<(), InspectError> {
    let (mut at, mut is_first) = (SIGNATURE.len() as u64, true);
    while let Some(chunk) = next_chunk(picture, at)? {
        at = chunk.range.end;
        match &chunk.kind {
            b"IEND" => {
                let len = picture.source.len();
                if at < len {
                    picture.edits.remove(at..len)?;
                }
                return picture.search_rest(at);
            }
            b"eXIf" => {
                let exif = picture.exif(chunk.payload)?;
                // A second one says nothing that viewers look at.
                let kept = if is_first { exif_chunk(&exif.kept) } else { None };
                picture.replace(chunk.range, kept)?;
                is_first = false;
            }
            b"tEXt" | b"zTXt" | b"iTXt" => inspect_text(picture, chunk)?,
            // Decoders may pass over what begins with a small letter.
            kind if kind[0].is_ascii_lowercase() && !NEEDED.contains(&kind) => {
                picture.search(chunk.payload)?;
                picture.edits.remove(chunk.range)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn next_chunk<R: Read + Seek>(picture: &mut Picture<R>, at: u64) -> Result<Option<Chunk>, InspectError> {
    let Some([a, b, c, d, kind @ ..]) = picture.source.array::<8>(at)? else { return Ok(None) };
    let len = u64::from(u32::from_be_bytes([a, b, c, d]));
    let (start, end) = (at + 8, picture.source.len());
    Ok(Some(Chunk { kind, range: at..(start + len + 4).min(end), payload: start..(start + len).min(end) }))
}

/// A chunk with what stays of Exif.
fn exif_chunk(kept: &Kept) -> Option<Vec<u8>> {
    let block = kept.to_block()?;
    let mut crc = Crc::new();
    crc.update(b"eXIf");
    crc.update(&block);
    let len = u32::try_from(block.len()).ok()?;
    Some([len.to_be_bytes().as_slice(), b"eXIf", &block, &crc.sum().to_be_bytes()].concat())
}

/// Text as it is in a chunk.
struct Text {
    keyword: String,
    range: Range<u64>,
    deflated: bool,
}

fn inspect_text<R: Read + Seek>(picture: &mut Picture<R>, chunk: Chunk) -> Result<(), InspectError> {
    if look_at_text(picture, &chunk)? { Ok(()) } else { picture.edits.remove(chunk.range) }
}

/// Notes a location in a text; whether the text may stay.
fn look_at_text<R: Read + Seek>(picture: &mut Picture<R>, chunk: &Chunk) -> Result<bool, InspectError> {
    picture.budget.spend_part()?;
    let text = open_text(picture, chunk)?;
    if text.keyword.starts_with(RAW_PROFILE) {
        let mut profile = Vec::new();
        read_text(picture, &text, &mut |piece| profile.extend_from_slice(piece), 2 * BLOCK_LIMIT)?;
        picture.location |= profile_names_place(&from_hex(&profile));
        return Ok(false);
    }
    let (mut scanner, mut is_blank) = (xmp::Scanner::default(), true);
    let mut take = |piece: &[u8]| {
        is_blank &= piece.trim_ascii().is_empty();
        scanner.push(piece);
    };
    read_text(picture, &text, &mut take, u64::MAX)?;
    // ImageMagick copies each value of Exif into a text, as `exif:GPSLatitude`.
    let name = text.keyword.rsplit(':').next().unwrap_or_default();
    picture.location |= scanner.finish() || (xmp::is_position(name.as_bytes()) && !is_blank);
    let short = chunk.range.end - chunk.range.start <= CLAIM_LIMIT;
    Ok(short && chunk.kind == *b"tEXt" && CLAIMS.contains(&text.keyword.as_bytes()))
}

/// Reads what is in front of a text.
fn open_text<R: Read + Seek>(picture: &mut Picture<R>, chunk: &Chunk) -> Result<Text, InspectError> {
    let Range { start, end } = chunk.payload;
    let head = picture.source.peek(start, HEAD_LEN)?;
    let head = &head[..head.len().min(usize::try_from(end - start).unwrap_or(usize::MAX))];
    let mut fields = head.splitn(2, |byte| *byte == 0);
    let (keyword, rest) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let after_keyword = keyword.len() + 1;
    let (in_front, deflated) = match &chunk.kind {
        b"tEXt" => (after_keyword, false),
        b"zTXt" => (after_keyword + 1, true),
        // A flag, a method, a language and the keyword in it, each of the latter with a zero behind.
        _ => {
            let names = rest.get(2..).unwrap_or_default();
            let names: usize = names.split(|byte| *byte == 0).take(2).map(|name| name.len() + 1).sum();
            (after_keyword + 2 + names, rest.first() == Some(&1))
        }
    };
    let keyword = String::from_utf8_lossy(keyword).into_owned();
    Ok(Text { keyword, range: (start + in_front as u64).min(end)..end, deflated })
}

/// Reads a text, as far as it can be unpacked. Fails if it is longer than `limit`.
fn read_text<R: Read + Seek>(
    picture: &mut Picture<R>,
    text: &Text,
    take: &mut dyn FnMut(&[u8]),
    mut limit: u64,
) -> Result<(), InspectError> {
    let section = Section { source: &mut picture.source, range: text.range.clone() };
    let mut plain;
    let mut inflating;
    let reader: &mut dyn Read = if text.deflated {
        inflating = ZlibDecoder::new(section);
        &mut inflating
    } else {
        plain = section;
        &mut plain
    };
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let len = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if text.deflated && is_corrupt(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        picture.budget.spend(len as u64)?;
        let left = limit.checked_sub(len as u64);
        limit = left.ok_or(InspectError::Unreadable("a part of metadata that is too large"))?;
        take(&buffer[..len]);
    }
}

/// Whether it is the bytes that are wrong, not the disk.
fn is_corrupt(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
}

/// The bytes of a profile in hexadecimal: a line with its name, one with its length, and the digits.
fn from_hex(text: &[u8]) -> Vec<u8> {
    let lines = text.trim_ascii_start().splitn(3, |byte| *byte == b'\n');
    let digits = lines.last().unwrap_or_default().iter().filter_map(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::new();
    let mut high = None;
    for digit in digits {
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.extend(u8::try_from(16 * high + digit)),
        }
    }
    bytes
}

/// Whether a profile of whatever type names a place.
fn profile_names_place(profile: &[u8]) -> bool {
    Exif::parse(profile).location
        || iptc::resources_name_place(profile)
        || iptc::names_place(profile)
        || xmp::names_place(profile)
}

#[cfg(test)]
mod tests;
