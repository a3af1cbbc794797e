//! IPTC: datasets in a resource block of Photoshop's.
//!
//! Source: IPTC IIM 4.2, Adobe Photoshop file formats specification ("Image Resource Blocks").

use crate::exif::Exif;
use crate::xmp;

/// Datasets of record 2: content location (code, name), city, sublocation, province, country (code, name).
const PLACES: [u8; 7] = [26, 27, 90, 92, 95, 100, 101];

const IPTC: u16 = 0x0404;
const EXIF: [u16; 2] = [0x0422, 0x0423];
const XMP: u16 = 0x0424;

/// Whether a series of datasets names a place.
pub(crate) fn names_place(mut datasets: &[u8]) -> bool {
    while let Some(([0x1c, record, dataset, high, low], rest)) = datasets.split_first_chunk() {
        let len = u16::from_be_bytes([*high, *low]);
        let (len, rest) = if len & 0x8000 == 0 { (usize::from(len), rest) } else { extended_len(len & 0x7fff, rest) };
        let (value, rest) = rest.split_at(len.min(rest.len()));
        if *record == 2 && PLACES.contains(dataset) && value.iter().any(|byte| *byte > b' ') {
            return true;
        }
        datasets = rest;
    }
    false
}

/// The length of a large dataset, which is a number of so many bytes, and what follows it.
fn extended_len(bytes: u16, rest: &[u8]) -> (usize, &[u8]) {
    let (number, rest) = rest.split_at(usize::from(bytes).min(rest.len()));
    let len = number.iter().fold(0_usize, |len, byte| len.saturating_mul(256).saturating_add(usize::from(*byte)));
    (len, rest)
}

/// Whether a series of resources has one that names a place.
pub(crate) fn resources_name_place(mut resources: &[u8]) -> bool {
    while let Some((id, data, rest)) = next_resource(resources) {
        let found = match id {
            IPTC => names_place(data),
            XMP => xmp::names_place(data),
            id if EXIF.contains(&id) => Exif::parse(data).location,
            _ => false,
        };
        if found {
            return true;
        }
        resources = rest;
    }
    false
}

fn next_resource(resources: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let rest = resources.strip_prefix(b"8BIM")?;
    let (id, rest) = rest.split_first_chunk()?;
    // A name with its length in front, of an even number of bytes together.
    let name = (1 + usize::from(*rest.first()?)).next_multiple_of(2);
    let (len, rest) = rest.get(name..)?.split_first_chunk()?;
    let len = u32::from_be_bytes(*len) as usize;
    let (data, rest) = rest.split_at(len.min(rest.len()));
    Some((u16::from_be_bytes(*id), data, rest.get(len % 2..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{dataset, resource};

    #[test]
    fn places_are_found_among_other_datasets() {
        let title = dataset(5, b"At the lake");
        for place in PLACES {
            let datasets = [title.clone(), dataset(place, b"Munich"), title.clone()].concat();
            assert!(names_place(&datasets));
            assert!(resources_name_place(&[resource(0x03ed, &[1; 7]), resource(IPTC, &datasets)].concat()));
            let large = [&[0x1c, 2, place, 0x80, 4, 0, 0, 0, 6], b"Munich".as_slice()].concat();
            assert!(names_place(&[title.clone(), large].concat()));
            assert!(!names_place(&dataset(place, b" ")));
        }
        assert!(!names_place(&[title, dataset(80, b"somebody")].concat()));
        assert!(resources_name_place(&resource(XMP, br#"<x exif:GPSLatitude="1,0N">"#)));
    }

    #[test]
    fn resources_within_resources_are_not_followed_for_ever() {
        // An Exif block with resources in it, which have an Exif block, and so on.
        const LEVELS: u32 = 100_000;
        let level = |number: u32| {
            let inner = (38 * (LEVELS - number - 1)).to_be_bytes();
            let block = (26 + 38 * (LEVELS - number - 1)).to_be_bytes();
            let head = [b"8BIM\x04\x22\0\0", block.as_slice(), b"MM\0\x2a\0\0\0\x08\0\x01"].concat();
            [&head, b"\x86\x49\0\x01".as_slice(), &inner, b"\0\0\0\x1a\0\0\0\0"].concat()
        };
        let resources: Vec<u8> = (0..LEVELS).flat_map(level).collect();
        assert_eq!(resources.len(), 38 * LEVELS as usize);
        assert!(!resources_name_place(&resources));
    }

    #[test]
    fn lengths_that_lie_end_where_the_bytes_do() {
        for bytes in [&b"\x1c\x02\x5a\xff\xff"[..], b"\x1c\x02\x5a\x80\x00", b"\x1c\x02\x05\x7f\xff\x01", b"\x1c"] {
            assert!(!names_place(bytes));
        }
        for bytes in [&b"8BIM"[..], b"8BIM\x04\x04\xff", b"8BIM\x04\x04\0\0\xff\xff\xff\xff", b"8BIM\x04\x04\0\0\0\0"] {
            assert!(!resources_name_place(bytes));
        }
    }
}
