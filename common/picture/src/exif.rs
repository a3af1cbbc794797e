//! Exif: directories of tagged values, in the form of a TIFF file.
//!
//! Source: CIPA DC-008 (Exif), TIFF 6.0.

use crate::{iptc, xmp};

/// Directories that are looked at, which ends every circle of them.
const DIRECTORY_LIMIT: usize = 16;
/// Longest text that is kept, in bytes.
const TEXT_LIMIT: usize = 1_024;
/// Bytes of a position that are looked at; it has three fractions.
const POSITION_LEN: usize = 64;

const ASCII: u16 = 2;
const SHORT: u16 = 3;

const SUB_DIRECTORIES: u16 = 0x014a;
const XMP: u16 = 0x02bc;
const IPTC: u16 = 0x83bb;
const EXIF_DIRECTORY: u16 = 0x8769;
const GPS_DIRECTORY: u16 = 0x8825;

const ORIENTATION: u16 = 0x0112;
const ARTIST: u16 = 0x013b;
const COPYRIGHT: u16 = 0x8298;

/// Latitude and longitude of the camera and of what it shows, and the area's name.
const GPS_PLACES: [u16; 5] = [2, 4, 20, 22, 28];

/// What matters of an Exif block.
#[derive(Default, Debug)]
pub(crate) struct Exif {
    /// Whether it names a place. Cameras that did not know where they were leave zeros.
    pub(crate) location: bool,
    /// What stays of it.
    pub(crate) kept: Kept,
}

/// What may stay of an Exif block.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Kept {
    /// How to turn the picture, 2 to 8; 1 is as it is.
    pub(crate) orientation: Option<u16>,
    pub(crate) artist: Option<Vec<u8>>,
    pub(crate) copyright: Option<Vec<u8>>,
}

impl Exif {
    /// Reads a block, which may begin with the marker that some formats put in front. Of one that is no TIFF nothing is
    /// known.
    pub(crate) fn parse(block: &[u8]) -> Self {
        let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        let mut exif = Self::default();
        let Some(tiff) = Tiff::open(block) else { return exif };
        let first = tiff.u32(4);
        let mut waiting: Vec<(u32, bool)> = first.map(|at| (at, false)).into_iter().collect();
        // Values lie beside each other. Those of a hostile block, thousands of them, may each be all of it.
        let (mut seen, mut unread) = (Vec::new(), block.len());
        while let Some((at, is_gps)) = waiting.pop() {
            if seen.contains(&(at, is_gps)) || seen.len() >= DIRECTORY_LIMIT {
                continue;
            }
            seen.push((at, is_gps));
            for entry in tiff.entries(at) {
                if is_gps {
                    exif.location |= GPS_PLACES.contains(&entry.tag) && tiff.is_set(&entry);
                    continue;
                }
                match entry.tag {
                    GPS_DIRECTORY => waiting.push((entry.value, true)),
                    EXIF_DIRECTORY | SUB_DIRECTORIES => waiting.push((entry.value, false)),
                    XMP | IPTC => {
                        let bytes = tiff.bytes(&entry);
                        let bytes = &bytes[..bytes.len().min(unread)];
                        unread -= bytes.len();
                        exif.location |= xmp::names_place(bytes) || iptc::names_place(bytes);
                    }
                    _ if Some(at) == first => exif.kept.take(&tiff, &entry),
                    _ => {}
                }
            }
            if !is_gps {
                waiting.extend(tiff.next_directory(at).map(|next| (next, false)));
            }
        }
        exif
    }
}

impl Kept {
    fn take(&mut self, tiff: &Tiff<'_>, entry: &Entry) {
        match entry.tag {
            ORIENTATION if entry.kind == SHORT && entry.count == 1 => {
                self.orientation = tiff.u16(entry.inline_at).filter(|value| (2..=8).contains(value));
            }
            ARTIST => self.artist = text(tiff, entry),
            COPYRIGHT => self.copyright = text(tiff, entry),
            _ => {}
        }
    }

    /// A block with nothing but this. `None` if this is nothing.
    pub(crate) fn to_block(&self) -> Option<Vec<u8>> {
        let orientation = self.orientation.map(|value| (ORIENTATION, SHORT, value.to_be_bytes().to_vec()));
        let ascii =
            |tag, text: &Option<Vec<u8>>| text.as_ref().map(|text| (tag, ASCII, [text.as_slice(), &[0]].concat()));
        let values = [orientation, ascii(ARTIST, &self.artist), ascii(COPYRIGHT, &self.copyright)];
        let values: Vec<_> = values.into_iter().flatten().collect();
        (!values.is_empty()).then(|| write(&values))
    }

    /// A block with as much of this as fits into `len` bytes, at least that the picture is as it is. Empty if that is too
    /// long.
    pub(crate) fn to_block_of_len(&self, len: usize) -> Vec<u8> {
        let turned = Self { orientation: self.orientation.or(Some(1)), ..Self::default() };
        let whole = Self { orientation: turned.orientation, ..self.clone() };
        let blocks = [whole, turned].into_iter().filter_map(|kept| kept.to_block());
        blocks.into_iter().find(|block| block.len() <= len).unwrap_or_default()
    }
}

fn number(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes()
}

/// A TIFF file with one directory; tags rise.
fn write(values: &[(u16, u16, Vec<u8>)]) -> Vec<u8> {
    let mut block = b"MM\0\x2a\0\0\0\x08".to_vec();
    let mut far = Vec::new();
    let far_at = block.len() + 2 + 12 * values.len() + 4;
    block.extend(&number(values.len())[2..]);
    for (tag, kind, bytes) in values {
        let count = if *kind == SHORT { bytes.len() / 2 } else { bytes.len() };
        block.extend(tag.to_be_bytes());
        block.extend(kind.to_be_bytes());
        block.extend(number(count));
        if bytes.len() <= 4 {
            let mut inline = [0; 4];
            inline[..bytes.len()].copy_from_slice(bytes);
            block.extend(inline);
        } else {
            block.extend(number(far_at + far.len()));
            far.extend_from_slice(bytes);
            // Values begin at even offsets.
            far.resize(far.len().next_multiple_of(2), 0);
        }
    }
    block.extend([0; 4]);
    block.extend(far);
    block
}

/// A text of one line that fits. Of a copyright that has an editor's besides the photographer's the first.
fn text(tiff: &Tiff<'_>, entry: &Entry) -> Option<Vec<u8>> {
    let bytes = tiff.bytes(entry);
    let bytes = &bytes[..bytes.len().min(TEXT_LIMIT + 1)];
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    let fits = entry.kind == ASCII && !text.is_empty() && text.len() <= TEXT_LIMIT;
    (fits && text.iter().all(|byte| *byte >= b' ')).then(|| text.to_vec())
}

struct Tiff<'a> {
    block: &'a [u8],
    big_endian: bool,
}

/// One value of a directory.
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    /// Where the value is if it fits into four bytes, else where it says where it is.
    inline_at: usize,
    /// These four bytes as a number.
    value: u32,
}

impl<'a> Tiff<'a> {
    fn open(block: &'a [u8]) -> Option<Self> {
        let big_endian = match block.get(..4)? {
            b"MM\0\x2a" => true,
            b"II\x2a\0" => false,
            _ => return None,
        };
        Some(Self { block, big_endian })
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = *self.block.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = *self.block.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// The values of the directory at this offset, as far as the block has them.
    fn entries(&self, directory: u32) -> impl Iterator<Item = Entry> {
        let at = directory as usize;
        let count = self.u16(at).unwrap_or(0);
        (0..usize::from(count)).map_while(move |number| self.entry(at.checked_add(2 + 12 * number)?))
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        let inline_at = at.checked_add(8)?;
        let (tag, kind, count) = (self.u16(at)?, self.u16(at + 2)?, self.u32(at + 4)?);
        Some(Entry { tag, kind, count, inline_at, value: self.u32(inline_at)? })
    }

    fn next_directory(&self, directory: u32) -> Option<u32> {
        let at = directory as usize;
        let count = usize::from(self.u16(at)?);
        self.u32(at.checked_add(2 + 12 * count)?).filter(|next| *next != 0)
    }

    /// The bytes of a value, as far as the block has them.
    fn bytes(&self, entry: &Entry) -> &'a [u8] {
        let unit = match entry.kind {
            SHORT | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 => 8,
            _ => 1,
        };
        let len = (entry.count as usize).saturating_mul(unit);
        let at = if len <= 4 { entry.inline_at } else { entry.value as usize };
        self.block.get(at..at.saturating_add(len).min(self.block.len())).unwrap_or_default()
    }

    /// Whether a value says something. Of a fraction only what is above the line counts.
    fn is_set(&self, entry: &Entry) -> bool {
        let bytes = self.bytes(entry);
        let bytes = &bytes[..bytes.len().min(POSITION_LEN)];
        match entry.kind {
            5 | 10 => bytes.chunks(8).any(|fraction| fraction.iter().take(4).any(|byte| *byte != 0)),
            _ => bytes.iter().any(|byte| !matches!(byte, 0 | b' ')),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Block, gps};

    #[test]
    fn a_place_is_found_in_either_byte_order() {
        for big_endian in [true, false] {
            let block = Block { big_endian, gps: gps(), ..Block::default() };
            assert!(Exif::parse(&block.to_bytes()).location);
            let marked = [b"Exif\0\0", block.to_bytes().as_slice()].concat();
            assert!(Exif::parse(&marked).location);
        }
    }

    #[test]
    fn a_camera_that_did_not_know_its_place_names_none() {
        let zeros = gps().into_iter().map(|(tag, kind, bytes)| match tag {
            2 | 4 => (tag, kind, [0, 0, 0, 0, 0, 0, 0, 1].repeat(3)),
            _ => (tag, kind, bytes),
        });
        for gps in [Vec::new(), vec![(0, 1, vec![2, 3, 0, 0])], zeros.collect()] {
            assert!(!Exif::parse(&Block { gps, ..Block::default() }.to_bytes()).location);
        }
    }

    #[test]
    fn what_stays_is_read_again_as_it_was() {
        for orientation in [None, Some(6)] {
            for artist in [None, Some(b"A".to_vec()), Some(b"Ansel Adams".to_vec())] {
                let copyright = Some("© 2024 somebody".as_bytes().to_vec());
                let kept = Kept { orientation, artist, copyright };
                assert_eq!(Exif::parse(&kept.to_block().unwrap()).kept, kept);
            }
        }
        assert_eq!(Kept::default().to_block(), None);
    }

    #[test]
    fn only_what_makes_sense_stays() {
        let with = |values| Exif::parse(&Block { values, ..Block::default() }.to_bytes()).kept;
        assert_eq!(with(vec![(ORIENTATION, SHORT, vec![0, 1])]), Kept::default());
        assert_eq!(with(vec![(ORIENTATION, SHORT, vec![0, 9])]), Kept::default());
        assert_eq!(with(vec![(ARTIST, ASCII, vec![b'a'; 2_000])]), Kept::default());
        assert_eq!(with(vec![(ARTIST, ASCII, b"two\nlines\0".to_vec())]), Kept::default());
        assert_eq!(with(vec![(COPYRIGHT, ASCII, b" \0the editor's\0".to_vec())]), Kept::default());
        assert_eq!(with(vec![(COPYRIGHT, ASCII, b"mine \0theirs\0".to_vec())]).copyright, Some(b"mine".to_vec()));
    }

    #[test]
    fn directories_that_go_in_circles_end() {
        let mut block = Block { gps: gps(), ..Block::default() }.to_bytes();
        let count = usize::from(u16::from_be_bytes([block[8], block[9]]));
        let next = 10 + 12 * count;
        block[next..next + 4].copy_from_slice(&8_u32.to_be_bytes());
        assert!(Exif::parse(&block).location);
    }

    #[test]
    fn a_block_made_to_be_slow_is_read_in_a_moment() {
        // As many values as there can be, each of which is all of the block.
        for tag in [2, XMP, IPTC, ARTIST, GPS_DIRECTORY] {
            let entry = [tag.to_be_bytes().as_slice(), &[0, 2, 0, 0x0f, 0xff, 0xff, 0, 0, 0, 0]].concat();
            let block = [b"MM\0\x2a\0\0\0\x08\xff\xff".as_slice(), &entry.repeat(65_535), &vec![0; 200_000]].concat();
            assert!(!Exif::parse(&block).location);
        }
    }

    proptest! {
        #[test]
        fn damage_is_no_panic(at in 0_usize..300, byte: u8, len in 0_usize..300) {
            let mut block = Block { gps: gps(), values: vec![(ARTIST, ASCII, b"somebody\0".to_vec())], ..Block::default() }.to_bytes();
            let len_before = block.len();
            block[at % len_before] = byte;
            block.truncate(len);
            Exif::parse(&block);
        }
    }
}
