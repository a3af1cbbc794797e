use super::*;
use crate::testing::{Block, XMP, assemble, device, gps, heif, inspect, part};
use crate::tests::contains;

fn strip(bytes: &[u8]) -> Vec<u8> {
    assemble(bytes, crate::testing::inspect(bytes).unwrap().stripped())
}

fn number(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_be_bytes()
}

fn exif() -> Vec<u8> {
    [&[0; 4], Block { values: device(), gps: gps(), ..Block::default() }.to_bytes().as_slice()].concat()
}

#[test]
fn nothing_moves() {
    let image = (*b"hvc1", vec![7; 100]);
    let bytes = heif(&[image.clone(), (*b"Exif", exif()), (*b"mime", XMP.to_vec()), image.clone()]);
    let stripped = strip(&bytes);
    assert_eq!(stripped.len(), bytes.len());
    let start = bytes.windows(100).position(|window| window == image.1).unwrap();
    let personal = exif().len() + XMP.len();
    assert_eq!(stripped[..start + 100], bytes[..start + 100]);
    assert_eq!(stripped[start + 100 + personal..], image.1);
    assert!(contains(&stripped, b"Somebody") && !contains(&stripped, b"Camera"));
}

#[test]
fn exif_may_have_a_marker_in_front() {
    let block = Block { values: device(), gps: gps(), ..Block::default() }.to_bytes();
    for front in [&b"\0\0\0\x06Exif\0\0"[..], b"\0\0\0\0Exif\0\0", b"\0\0\0\x02??"] {
        let bytes = heif(&[(*b"Exif", [front, &block].concat())]);
        assert!(inspect(&bytes).unwrap().carries_location(), "{front:?}");
        assert!(contains(&strip(&bytes), b"Somebody"), "{front:?}");
    }
}

#[test]
fn exif_that_is_too_short_for_what_stays_becomes_nothing() {
    for len in 1..40 {
        let stripped = strip(&heif(&[(*b"Exif", vec![9; len])]));
        assert!(!stripped.ends_with(&[9]), "{len}");
    }
}

#[test]
fn boxes_that_say_more_are_emptied() {
    let picture = heif(&[(*b"hvc1", vec![7; 9])]);
    let film = |kind| part(*b"moov", &part(*b"udta", &part(kind, b"\0\x08\x15\xc7+48+011/")));
    let attached = [part(*b"ftyp", b"mp42\0\0\0\0"), film(*b"\xa9xyz")].concat();
    for (more, place) in [
        (part(*b"uuid", &[&[1; 16], XMP].concat()), true),
        (part(*b"uuid", &[1; 40]), false),
        (film(*b"loci"), true),
        (film(*b"name"), false),
        (part(*b"mpvd", &attached), true),
    ] {
        let bytes = [picture.as_slice(), &more].concat();
        assert_eq!(inspect(&bytes).unwrap().carries_location(), place);
        let stripped = strip(&bytes);
        assert_eq!((&stripped[..picture.len()], stripped.len()), (picture.as_slice(), bytes.len()));
        assert!(contains(&stripped[picture.len()..], b"free"));
        assert_eq!(inspect(&stripped).unwrap().stripped(), None);
    }
    let free = [picture.as_slice(), &part(*b"free", &[3; 9])].concat();
    assert_eq!(strip(&free), free);
}

#[test]
fn the_own_data_of_the_table_are_found() {
    // As `heif` makes them, but with the wide numbers of version 2, and data in `idat` in two extents.
    let (first, second) = XMP.split_at(100);
    let entry = [&[3, 0, 0, 0, 0, 0, 0, 9, 0, 0], b"mime\0application/rdf+xml\0".as_slice()].concat();
    let kinds = [&[1, 0, 0, 0, 0, 0, 0, 1], part(*b"infe", &entry).as_slice()].concat();
    let mut places = vec![2, 0, 0, 0, 0x48, 0x41, 0, 0, 0, 1, 0, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 3, 0, 2];
    for (index, offset, len) in [(0, second.len(), first.len()), (0, 0, second.len())] {
        places.push(index);
        places.extend(number(offset));
        places.extend((len as u64).to_be_bytes());
    }
    let data = [b"abc", second, first, b"xyz"].concat();
    let parts = [part(*b"iinf", &kinds), part(*b"iloc", &places), part(*b"idat", &data)].concat();
    let table = part(*b"meta", &[&[0; 4], parts.as_slice()].concat());
    let bytes = [part(*b"ftyp", b"avif\0\0\0\0"), table].concat();
    assert!(inspect(&bytes).unwrap().carries_location());
    let stripped = strip(&bytes);
    let end = [b"abc".as_slice(), &vec![0; XMP.len()], b"xyz"].concat();
    assert!(stripped.ends_with(&end) && stripped.len() == bytes.len());
}

#[test]
fn items_that_lie_where_no_data_are_make_it_unreadable() {
    let bytes = heif(&[(*b"Exif", exif())]);
    let meta = part(*b"mdat", &exif()).len();
    let at = bytes.len() - meta + 8;
    let place = bytes.windows(4).position(|window| window == number(at)).unwrap();
    for wrong in [0, 40, at - 1] {
        let mut bytes = bytes.clone();
        bytes[place..place + 4].copy_from_slice(&number(wrong));
        assert!(matches!(inspect(&bytes), Err(InspectError::Unreadable(_))), "{wrong}");
    }
    let mut outside = bytes.clone();
    outside[place..place + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(inspect(&outside).unwrap().stripped(), None);
}

#[test]
fn many_items_with_the_same_bytes_cost_no_more_than_is_allowed() {
    let bytes = heif(&vec![(*b"mime", vec![b' '; 100_000]); 400]);
    assert!(matches!(inspect(&bytes), Err(InspectError::Unreadable(_))));
    let bytes = heif(&vec![(*b"mime", b"x".to_vec()); 30_000]);
    assert!(matches!(inspect(&bytes), Err(InspectError::Unreadable(_))));
}
