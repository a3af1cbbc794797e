//! Pictures for tests: small, valid, and with whatever metadata a test wants.

mod heif;

use std::io::Cursor;

pub use heif::{Heif, Item, heif};

use crate::{Format, InspectError, Inspection, Piece};

/// XMP with a position.
pub const XMP: &[u8] = br#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="48,8.5N" exif:GPSLongitude="11,34.5E"/></rdf:RDF></x:xmpmeta>"#;
/// What stands for a colour profile.
pub const PROFILE: &[u8] = b"what colours mean, for screens that know more than sRGB";

/// A picture of a format that has Exif with this block, XMP with a position, and a colour profile.
pub fn picture(format: Format, exif: &Block) -> Vec<u8> {
    let exif = exif.to_bytes();
    match format {
        Format::Jpeg => jpeg(&[
            (0xe1, [b"Exif\0\0", exif.as_slice()].concat()),
            (0xe1, [b"http://ns.adobe.com/xap/1.0/\0", XMP].concat()),
            (0xe2, [b"ICC_PROFILE\0\x01\x01", PROFILE].concat()),
        ]),
        Format::Png => png(&[
            (*b"iCCP", [b"icc\0\0", deflate(PROFILE).as_slice()].concat()),
            (*b"eXIf", exif),
            (*b"iTXt", [b"XML:com.adobe.xmp\0\0\0\0\0", XMP].concat()),
        ]),
        Format::WebP => webp(&[(*b"ICCP", PROFILE.to_vec()), (*b"EXIF", exif), (*b"XMP ", XMP.to_vec())]),
        Format::Heif => heif(&[
            (*b"hvc1", PROFILE.to_vec()),
            (*b"Exif", [&[0; 4], exif.as_slice()].concat()),
            (*b"mime", XMP.to_vec()),
        ]),
    }
}

/// Inspects bytes that are a picture.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    crate::inspect(Cursor::new(bytes))
        .map(|found| found.unwrap_or(Inspection { location: false, opaque: None, pieces: None }))
}

/// The bytes that pieces of these make.
pub fn assemble(bytes: &[u8], pieces: Option<Vec<Piece>>) -> Vec<u8> {
    let Some(pieces) = pieces else { return bytes.to_vec() };
    let to_bytes = |piece| match piece {
        Piece::Kept(range) => bytes[index(range.start)..index(range.end)].to_vec(),
        Piece::New(bytes) => bytes,
        Piece::Zeros(len) => vec![0; index(len)],
    };
    pieces.into_iter().flat_map(to_bytes).collect()
}

fn index(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// Tag, type and bytes of a value in Exif; numbers with their highest byte first.
pub type Value = (u16, u16, Vec<u8>);

/// An Exif block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Whether numbers have their highest byte first.
    pub big_endian: bool,
    /// What the first directory has, by rising tag.
    pub values: Vec<Value>,
    /// What the directory of positions has, if there is one.
    pub gps: Vec<Value>,
}

impl Default for Block {
    /// Nothing.
    fn default() -> Self {
        Self { big_endian: true, values: Vec::new(), gps: Vec::new() }
    }
}

/// A position.
pub fn gps() -> Vec<Value> {
    let degrees = |degrees: u32| [degrees, 1, 8, 1, 3050, 100].into_iter().flat_map(u32::to_be_bytes).collect();
    vec![
        (0, 1, vec![2, 3, 0, 0]),
        (1, 2, b"N\0".to_vec()),
        (2, 5, degrees(48)),
        (3, 2, b"E\0".to_vec()),
        (4, 5, degrees(11)),
    ]
}

/// A picture taken with a device, by somebody, to be turned to the right.
pub fn device() -> Vec<Value> {
    vec![
        (0x010f, 2, b"Camera works\0".to_vec()),
        (0x0112, 3, vec![0, 6]),
        (0x0132, 2, b"2024:02:03 04:05:06\0".to_vec()),
        (0x013b, 2, b"Somebody\0".to_vec()),
        (0x8298, 2, b"(c) Somebody\0".to_vec()),
    ]
}

impl Block {
    /// The block as a TIFF file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut values = self.values.clone();
        let gps_at = 8 + directory(&values, 8, self.big_endian).len() + 12;
        if !self.gps.is_empty() {
            let pointer = (0x8825, 4, u32::try_from(gps_at).unwrap_or(0).to_be_bytes().to_vec());
            let at = values.partition_point(|(tag, ..)| *tag < 0x8825);
            values.insert(at, pointer);
        }
        let start: &[u8] = if self.big_endian { b"MM\0\x2a\0\0\0\x08" } else { b"II\x2a\0\x08\0\0\0" };
        let mut bytes = [start, &directory(&values, 8, self.big_endian)].concat();
        if !self.gps.is_empty() {
            bytes.extend(directory(&self.gps, gps_at, self.big_endian));
        }
        bytes
    }
}

/// A directory that begins at an offset, and behind it what does not fit into it.
fn directory(values: &[Value], at: usize, big_endian: bool) -> Vec<u8> {
    let ordered = |bytes: &[u8], unit: usize| -> Vec<u8> {
        let turn = |unit: &[u8]| if big_endian { unit.to_vec() } else { unit.iter().rev().copied().collect() };
        bytes.chunks(unit).flat_map(turn).collect()
    };
    let number = |number: usize| ordered(&u32::try_from(number).unwrap_or(0).to_be_bytes(), 4);
    let mut near = ordered(&u16::try_from(values.len()).unwrap_or(0).to_be_bytes(), 2);
    let (far_at, mut far) = (at + 2 + 12 * values.len() + 4, Vec::new());
    for (tag, kind, bytes) in values {
        let unit = match kind {
            3 => 2,
            4 | 5 => 4,
            _ => 1,
        };
        let bytes = ordered(bytes, unit);
        let count = if *kind == 5 { bytes.len() / 8 } else { bytes.len() / unit };
        near.extend([ordered(&tag.to_be_bytes(), 2), ordered(&kind.to_be_bytes(), 2), number(count)].concat());
        if bytes.len() <= 4 {
            near.extend(bytes.iter().copied().chain([0; 4]).take(4));
        } else {
            near.extend(number(far_at + far.len()));
            far.extend(bytes);
            far.resize(far.len().next_multiple_of(2), 0);
        }
    }
    [near, vec![0; 4], far].concat()
}

/// A grey JPEG of 8 by 8 with these segments, by marker.
pub fn jpeg(segments: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8];
    let mut segment = |marker: u8, payload: &[u8]| {
        bytes.extend([0xff, marker]);
        bytes.extend(u16::try_from(payload.len() + 2).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(payload);
    };
    segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    for (marker, payload) in segments {
        segment(*marker, payload);
    }
    segment(0xdb, &[[0].as_slice(), &[1; 64]].concat());
    segment(0xc0, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    // One code of one bit each: no change of brightness, no detail.
    for table in [0x00, 0x10] {
        segment(0xc4, &[[table, 1].as_slice(), &[0; 15], &[0]].concat());
    }
    segment(0xda, &[1, 1, 0, 0, 63, 0]);
    bytes.extend([0x3f, 0xff, 0xd9]);
    bytes
}

/// A black PNG of 1 by 1 with these chunks before its data.
pub fn png(chunks: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut bytes = crate::png::SIGNATURE.to_vec();
    let header = (*b"IHDR", vec![0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]);
    let data = [(*b"IDAT", deflate(&[0, 0])), (*b"IEND", Vec::new())];
    for (kind, payload) in [header].iter().chain(chunks).chain(&data) {
        bytes.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        let start = bytes.len();
        bytes.extend(kind);
        bytes.extend(payload);
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[start..]);
        bytes.extend(crc.sum().to_be_bytes());
    }
    bytes
}

/// Bytes compressed as in PNG.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::new();
    // Reading from memory does not fail.
    let _ = std::io::Read::read_to_end(
        &mut flate2::read::ZlibEncoder::new(bytes, flate2::Compression::fast()),
        &mut deflated,
    );
    deflated
}

/// A WebP of 1 by 1 with these chunks, a colour profile in front of the data, others behind.
pub fn webp(chunks: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let has = |kind: &[u8; 4]| chunks.iter().any(|(found, _)| found == kind);
    let flag = |kind, flag: u8| if has(kind) { flag } else { 0 };
    let flags = flag(b"ICCP", 0x20) | flag(b"EXIF", 0x08) | flag(b"XMP ", 0x04);
    let (front, behind): (Vec<_>, Vec<_>) = chunks.iter().cloned().partition(|(kind, _)| kind == b"ICCP");
    let header = (*b"VP8X", vec![flags, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let data = (*b"VP8L", b"\x2f\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07".to_vec());
    let mut content = b"WEBP".to_vec();
    for (kind, payload) in [header].into_iter().chain(front).chain([data]).chain(behind) {
        content.extend(kind);
        content.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        content.extend(&payload);
        content.resize(content.len().next_multiple_of(2), 0);
    }
    let len = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
    [b"RIFF", len.as_slice(), &content].concat()
}

/// A box of an ISO base media file.
pub fn part(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len() + 8).unwrap_or(u32::MAX).to_be_bytes();
    [len.as_slice(), &kind, content].concat()
}

/// A dataset of IPTC's second record.
pub fn dataset(number: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[0x1c, 2, number], len.as_slice(), value].concat()
}

/// A resource of Photoshop's.
pub fn resource(id: u16, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = [b"8BIM", id.to_be_bytes().as_slice(), &[0, 0], &len, data].concat();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}
