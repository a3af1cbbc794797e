use crate::testing::{Block, XMP, assemble, dataset, device, gps, inspect, jpeg, part, resource};
use crate::{InspectError, tests::contains};

fn exif() -> (u8, Vec<u8>) {
    (0xe1, [b"Exif\0\0", Block { gps: gps(), ..Block::default() }.to_bytes().as_slice()].concat())
}

fn names_place(bytes: &[u8]) -> bool {
    inspect(bytes).unwrap().carries_location()
}

fn strip(bytes: &[u8]) -> Vec<u8> {
    assemble(bytes, inspect(bytes).unwrap().stripped())
}

fn extended_xmp(portions: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
    let len: usize = portions.iter().map(|portion| portion.len()).sum();
    let mut at = 0;
    let portions = portions.iter().map(|portion| {
        let numbers = [len, at].map(|number| u32::try_from(number).unwrap().to_be_bytes());
        let head = [&[b'0'; 32], numbers.as_flattened()].concat();
        at += portion.len();
        (0xe1, [b"http://ns.adobe.com/xmp/extension/\0", head.as_slice(), portion].concat())
    });
    portions.collect()
}

#[test]
fn every_kind_of_metadata_gives_a_place_away() {
    let iptc = resource(0x0404, &dataset(90, b"Munich"));
    let (first, second) = iptc.split_at(15);
    let photoshop = |bytes: &[u8]| (0xed, [b"Photoshop 3.0\0", bytes].concat());
    for segments in [
        vec![exif()],
        vec![(0xe1, [b"http://ns.adobe.com/xap/1.0/\0", XMP].concat())],
        vec![photoshop(&iptc)],
        vec![photoshop(first), photoshop(second)],
        extended_xmp(&[b"<x>", XMP]),
    ] {
        let bytes = jpeg(&segments);
        assert!(names_place(&bytes), "{segments:?}");
        assert_eq!(strip(&bytes), jpeg(&[]));
    }
    assert!(!names_place(&jpeg(&[(0xfe, b"exif:GPSLatitude=\"1\"".to_vec())])), "a comment");
}

#[test]
fn a_thumbnail_is_cut_off() {
    let jfif = |size: [u8; 2], thumbnail: &[u8]| {
        (0xe0, [b"JFIF\0\x01\x02\0\0\x01\0\x01".as_slice(), &size, thumbnail].concat())
    };
    let plain = jpeg(&[jfif([0, 0], b"")]);
    assert_eq!(strip(&plain), plain);
    assert_eq!(strip(&jpeg(&[jfif([1, 1], b"rgb")])), plain);
    assert!(names_place(&jpeg(&[jfif([0, 0], XMP)])));
    assert_eq!(strip(&jpeg(&[jfif([0, 0], XMP)])), plain);
}

#[test]
fn portions_of_xmp_are_one_text_in_their_order() {
    let cut = XMP.windows(6).position(|window| window == b"GPSLat").unwrap() + 4;
    let (first, second) = XMP[..cut + 12].split_at(cut);
    let mut segments = extended_xmp(&[first, second]);
    assert!(names_place(&jpeg(&segments)));
    segments.reverse();
    assert!(names_place(&jpeg(&segments)));
    segments.truncate(1);
    assert!(!names_place(&jpeg(&segments)));
}

#[test]
fn what_is_not_needed_goes() {
    let segments: Vec<_> = (0xe0..=0xef).map(|marker| (marker, b"something".to_vec())).collect();
    assert_eq!(strip(&jpeg(&segments)), jpeg(&[]));
    let needed = [(0xe2, b"ICC_PROFILE\0\x01\x01colours".to_vec()), (0xee, b"Adobe\0\x64\0\0\0\0\x01".to_vec())];
    assert_eq!(strip(&jpeg(&needed)), jpeg(&needed));
    let comment = [needed.as_slice(), &[(0xfe, b"made with a phone".to_vec())]].concat();
    assert_eq!(strip(&jpeg(&comment)), jpeg(&needed));
}

#[test]
fn metadata_among_the_data_is_found() {
    let bytes = jpeg(&[]);
    let (front, end) = bytes.split_at(bytes.len() - 2);
    let late = jpeg(&[exif()]);
    let start = late.windows(4).position(|window| window == b"Exif").unwrap() - 4;
    let late = &late[start..start + late.len() - bytes.len()];
    for between in [&b""[..], b"\xff\0data\xff\xd3 and more \xff\xff\xff"] {
        let whole = [front, between, late, end].concat();
        assert!(names_place(&whole));
        assert!(!contains(&strip(&whole), b"Exif"));
    }
}

#[test]
fn what_follows_the_picture_is_looked_at_and_cut_off() {
    let clean = jpeg(&[]);
    let film = |kind: [u8; 4], inner: &[u8]| {
        let film = part(*b"moov", &part(*b"trak", &part(*b"udta", &part(kind, inner))));
        [part(*b"ftyp", b"mp42\0\0\0\0"), part(*b"mdat", &[7; 50]), film].concat()
    };
    for (rest, place) in [
        (jpeg(&[exif()]), true),
        ([b"padding \xff\xd8\xff".as_slice(), &jpeg(&[]), &jpeg(&[exif()])].concat(), true),
        (film(*b"\xa9xyz", b"\0\x08\x15\xc7+48+011/"), true),
        (film(*b"name", b"a film"), false),
        ([b"a word: ftyp. ".as_slice(), &film(*b"\xa9xyz", b"\0\x08\x15\xc7+48+011/")].concat(), true),
        (b"something else".to_vec(), false),
    ] {
        let bytes = [clean.as_slice(), &rest].concat();
        assert_eq!(names_place(&bytes), place);
        assert_eq!(strip(&bytes), clean);
    }
}

#[test]
fn a_picture_without_an_end_keeps_all_its_data() {
    let whole = jpeg(&[(0xfe, b"comment".to_vec())]);
    let cut = [&whole[..whole.len() - 2], &[0x55; 500]].concat();
    let clean = [&jpeg(&[])[..jpeg(&[]).len() - 2], &[0x55; 500]].concat();
    assert_eq!(strip(&cut), clean);
}

#[test]
fn exif_stays_once_and_in_its_place() {
    let block = Block { values: device(), ..Block::default() }.to_bytes();
    let exif = (0xe1, [b"Exif\0\0", block.as_slice()].concat());
    let once = strip(&jpeg(std::slice::from_ref(&exif)));
    let comment = (0xfe, b"comment".to_vec());
    assert_eq!(strip(&jpeg(&[comment.clone(), exif.clone(), comment, exif])), once);
}

#[test]
fn too_many_parts_are_refused() {
    let portions = extended_xmp(&vec![b"x".as_slice(); 30_000]);
    assert!(matches!(inspect(&jpeg(&portions)), Err(InspectError::Unreadable(_))));
    let alternating: Vec<_> = (0..20_000).map(|n| (if n % 2 == 0 { 0xfe } else { 0xdd }, vec![0, 0])).collect();
    assert!(matches!(inspect(&jpeg(&alternating)), Err(InspectError::Unreadable(_))));
    let comments = vec![(0xfe, b"x".to_vec()); 100_000];
    assert_eq!(strip(&jpeg(&comments)), jpeg(&[]), "what is next to each other is one");
    let photoshop = vec![(0xed, [b"Photoshop 3.0\0", vec![1; 60_000].as_slice()].concat()); 20];
    assert!(matches!(inspect(&jpeg(&photoshop)), Err(InspectError::Unreadable(_))));
}
