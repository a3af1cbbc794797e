use std::io::Read;

use flate2::Compression;
use flate2::read::ZlibEncoder;

use crate::InspectError;
use crate::testing::{Block, XMP, assemble, dataset, deflate, device, gps, inspect, png, resource};

fn names_place(bytes: &[u8]) -> bool {
    inspect(bytes).unwrap().carries_location()
}

fn strip(bytes: &[u8]) -> Vec<u8> {
    assemble(bytes, inspect(bytes).unwrap().stripped())
}

fn hex(kind: &str, bytes: &[u8]) -> Vec<u8> {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let lines: Vec<String> = bytes.chunks(36).map(line).collect();
    format!("\n{kind}\n{:8}\n{}\n", bytes.len(), lines.join("\n")).into_bytes()
}

#[test]
fn every_kind_of_metadata_gives_a_place_away() {
    let exif = Block { gps: gps(), ..Block::default() }.to_bytes();
    let marked = [b"Exif\0\0", exif.as_slice()].concat();
    let iptc = resource(0x0404, &dataset(101, b"Germany"));
    let zipped = |keyword: &str, text: &[u8]| [keyword.as_bytes(), b"\0\0", &deflate(text)].concat();
    for chunk in [
        (*b"eXIf", exif),
        (*b"iTXt", [b"XML:com.adobe.xmp\0\0\0\0\0", XMP].concat()),
        (*b"iTXt", [b"XML:com.adobe.xmp\0\x01\0de\0Karte\0", deflate(XMP).as_slice()].concat()),
        (*b"tEXt", [b"XML:com.adobe.xmp\0", XMP].concat()),
        (*b"zTXt", zipped("xmp", XMP)),
        (*b"zTXt", zipped("Raw profile type exif", &hex("exif", &marked))),
        (*b"zTXt", zipped("Raw profile type APP1", &hex("generic profile", &marked))),
        (*b"tEXt", [b"Raw profile type iptc\0", hex("iptc", &iptc).as_slice()].concat()),
        (*b"zTXt", zipped("Raw profile type xmp", &hex("xmp", XMP))),
        (*b"tEXt", b"exif:GPSLatitude\x0048/1, 8/1, 30/1".to_vec()),
    ] {
        let bytes = png(std::slice::from_ref(&chunk));
        assert!(names_place(&bytes), "{}", String::from_utf8_lossy(&chunk.1));
        assert_eq!(strip(&bytes), png(&[]));
    }
    for text in [&b"Comment\0photoshop:City"[..], b"exif:GPSLatitude\0 ", b"no text", b""] {
        assert!(!names_place(&png(&[(*b"tEXt", text.to_vec())])));
    }
}

#[test]
fn what_is_needed_or_claimed_stays() {
    let needed = [
        (*b"iCCP", b"icc\0\0profile".to_vec()),
        (*b"acTL", vec![0; 8]),
        (*b"pHYs", vec![0; 9]),
        (*b"tEXt", b"Copyright\0Somebody".to_vec()),
    ];
    let personal = [
        (*b"tIME", vec![7, 0xe8, 1, 2, 3, 4, 5]),
        (*b"caBX", vec![1; 50]),
        (*b"tEXt", b"Software\0An editor".to_vec()),
        (*b"zTXt", b"Author\0\0junk".to_vec()),
        (*b"tEXt", [b"Author\0", [b'x'; 2_000].as_slice()].concat()),
    ];
    assert_eq!(strip(&png(&[needed.as_slice(), &personal].concat())), png(&needed));
}

#[test]
fn exif_shrinks_to_what_stays_and_its_checksum_is_right() {
    let block = Block { values: device(), gps: gps(), ..Block::default() };
    let small =
        Block { values: vec![device()[1].clone(), device()[3].clone(), device()[4].clone()], ..Block::default() };
    assert_eq!(strip(&png(&[(*b"eXIf", block.to_bytes())])), png(&[(*b"eXIf", small.to_bytes())]));
}

#[test]
fn what_follows_the_picture_is_cut_off() {
    let bytes = png(&[]);
    assert_eq!(strip(&[bytes.as_slice(), b"and a film"].concat()), bytes);
}

#[test]
fn texts_without_end_are_refused() {
    let mut bomb = Vec::new();
    ZlibEncoder::new(std::io::repeat(b' ').take(40 << 20), Compression::fast()).read_to_end(&mut bomb).unwrap();
    assert!(bomb.len() < 1 << 20);
    for keyword in ["Comment", "Raw profile type exif"] {
        let chunk = [keyword.as_bytes(), b"\0\0", &bomb].concat();
        let found = inspect(&png(&[(*b"zTXt", chunk)]));
        assert!(matches!(found, Err(InspectError::Unreadable(_))), "{found:?}");
    }
    let many = inspect(&png(&vec![(*b"tEXt", b"a\0b".to_vec()); 30_000]));
    assert!(matches!(many, Err(InspectError::Unreadable(_))), "{many:?}");
    let large = inspect(&png(&[(*b"eXIf", vec![0; 2 << 20])]));
    assert!(matches!(large, Err(InspectError::Unreadable(_))), "{large:?}");
}

#[test]
fn a_checksum_in_the_middle_of_nothing_is_no_end() {
    let bytes = png(&[(*b"tEXt", b"Comment\0x".to_vec())]);
    let cut = &bytes[..bytes.len() - 2];
    assert_eq!(strip(cut), png(&[])[..png(&[]).len() - 2]);
}
