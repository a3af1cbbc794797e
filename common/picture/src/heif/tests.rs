use super::*;
use crate::exif::Exif;
use crate::testing::{Block, Heif, Item, XMP, assemble, deflate, device, gps, heif, inspect, part};
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
    for kind in [*b"free", *b"skip"] {
        let empty = [picture.as_slice(), &part(kind, &vec![0; XMP.len()])].concat();
        assert_eq!(strip(&empty), empty);
        let renamed = [picture.as_slice(), &part(kind, XMP)].concat();
        assert!(inspect(&renamed).unwrap().carries_location());
        assert_eq!(strip(&renamed), empty);
        for secret in [film(*b"loci"), part(*b"\xa9xyz", b"\0\x08\x15\xc7+48+011/")] {
            let renamed = [picture.as_slice(), &part(kind, &secret)].concat();
            assert!(inspect(&renamed).unwrap().carries_location());
            assert_eq!(strip(&renamed), [picture.as_slice(), &part(kind, &vec![0; secret.len()])].concat());
        }
        let description = [vec![0; 65_526], b"loci".to_vec()].concat();
        for film in [*b"moov", *b"moof"] {
            let deep = [picture.as_slice(), &part(film, &part(*b"traf", &part(kind, &description)))].concat();
            assert!(inspect(&deep).unwrap().carries_location());
            assert_clean(&deep);
        }
    }
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

#[test]
fn the_file_of_a_phone_stays_valid() {
    // What the tiles are, to what the metadata belong, how the picture is shown, and its grid; as phones write them.
    let properties = part(*b"iprp", &[part(*b"ipco", &part(*b"colr", b"prof")), part(*b"ipma", &[0; 8])].concat());
    let references = part(*b"iref", &[&[0; 4], part(*b"cdsc", &[0, 4, 0, 1, 0, 1]).as_slice()].concat());
    for is_in_table in [false, true] {
        let grid = Item { is_in_table: true, ..Item::new(*b"grid", vec![0, 0, 0, 1, 2, 0, 2, 0]) };
        let tiles = [vec![1; 300], vec![2; 300]].map(|tile| Item::new(*b"hvc1", tile));
        let personal = [(*b"Exif", exif()), (*b"mime", XMP.to_vec())];
        let personal = personal.map(|(kind, data)| Item { is_in_table, ..Item::new(kind, data) });
        let items = [vec![grid], personal.to_vec(), tiles.to_vec()].concat();
        let bytes = Heif { items, boxes: vec![properties.clone(), references.clone()] }.to_bytes();
        assert!(inspect(&bytes).unwrap().carries_location());
        let stripped = strip(&bytes);
        let start = bytes.windows(exif().len()).position(|window| window == exif()).unwrap();
        let end = start + exif().len() + XMP.len();
        let (kept, shown) = (&stripped[start..end], [&stripped[..start], &stripped[end..]].concat());
        assert_eq!(shown, [&bytes[..start], &bytes[end..]].concat(), "nothing else changes");
        let left = Exif::parse(&kept[4..exif().len()]);
        assert_eq!((left.location, left.kept.orientation), (false, Some(6)));
        assert!(kept[exif().len()..].iter().all(|byte| *byte == 0));
    }
}

fn with_coding(coding: &'static str, data: Vec<u8>) -> Vec<u8> {
    let item = Item { coding, ..Item::new(*b"mime", data) };
    Heif { items: vec![Item::new(*b"hvc1", vec![7; 9]), item], boxes: Vec::new() }.to_bytes()
}

fn read(mut reader: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn texts_are_unpacked() {
    use flate2::Compression;
    use flate2::read::{DeflateEncoder, GzEncoder};

    let level = Compression::fast();
    let gzip = |bytes: &[u8]| read(GzEncoder::new(bytes, level));
    let raw = |bytes: &[u8]| read(DeflateEncoder::new(bytes, level));
    for coding in ["deflate", "GZIP", "zlib", "compress_zlib", "compress_deflate"] {
        for pack in [&gzip as &dyn Fn(&[u8]) -> Vec<u8>, &raw, &deflate] {
            for (text, place) in [(XMP, true), (b"<x:xmpmeta/>", false), (b"", false)] {
                let bytes = with_coding(coding, pack(text));
                let found = inspect(&bytes).unwrap();
                assert_eq!((found.carries_location(), found.opaque()), (place, None), "{coding}");
                assert_clean(&bytes);
            }
        }
        let members = [gzip(b"<x:xmpmeta>"), gzip(XMP)].concat();
        assert!(inspect(&with_coding(coding, members)).unwrap().carries_location());
        // It breaks off.
        let whole = deflate(&XMP.repeat(50));
        let bytes = with_coding(coding, whole[..whole.len() - 5].to_vec());
        assert!(inspect(&bytes).unwrap().carries_location());
    }
    let bomb = with_coding("deflate", deflate(&vec![b' '; 33 << 20]));
    assert!(matches!(inspect(&bomb), Err(InspectError::Unreadable("too much metadata"))));
}

/// Checks that nothing is left of what was removed, and that nothing moved.
fn assert_clean(bytes: &[u8]) {
    let stripped = strip(bytes);
    let found = inspect(&stripped).unwrap();
    assert_eq!((found.carries_location(), found.opaque(), stripped.len()), (false, None, bytes.len()));
    assert_eq!(found.stripped(), None);
}

#[test]
fn what_cannot_be_read_may_name_a_place_and_can_be_removed() {
    let sealed = [
        with_coding("br", vec![7; 50]),
        with_coding("deflate", vec![0xff; 50]),
        Heif { items: vec![Item { is_protected: true, ..Item::new(*b"Exif", exif()) }], boxes: Vec::new() }.to_bytes(),
    ];
    for bytes in sealed {
        let found = inspect(&bytes).unwrap();
        assert!(!found.carries_location() && found.opaque().is_some());
        assert_clean(&bytes);
    }
    let shown = with_coding("br", vec![0; 50]);
    assert_eq!((inspect(&shown).unwrap().opaque(), strip(&shown)), (None, shown));
}

#[test]
fn other_boxes_than_the_picture_needs_are_emptied_wherever_they_are() {
    let block = Block { gps: gps(), ..Block::default() }.to_bytes();
    let tagged = |front: &[u8], secret: &[u8]| [front, secret].concat();
    for (kind, content, place) in [
        (*b"xml ", tagged(&[0; 4], XMP), true),
        (*b"bxml", tagged(&[0; 4], XMP), true),
        (*b"uuid", tagged(&[1; 16], XMP), true),
        (*b"uuid", tagged(&[1; 16], &block), true),
        (*b"Exif", tagged(&[0; 4], &block), true),
        (*b"udta", part(*b"\xa9xyz", b"\0\x08\x15\xc7+48+011/"), true),
        (*b"udta", tagged(b"", XMP), true),
        (*b"xml ", b"\0\0\0\0<note/>".to_vec(), false),
    ] {
        let (more, items) = (part(kind, &content), vec![Item::new(*b"hvc1", vec![7; 9])]);
        let within = Heif { items: items.clone(), boxes: vec![more.clone()] }.to_bytes();
        let behind = [Heif { items, boxes: Vec::new() }.to_bytes(), more].concat();
        for bytes in [within, behind] {
            assert_eq!(inspect(&bytes).unwrap().carries_location(), place, "{kind:?}");
            assert_clean(&bytes);
            assert!(!contains(&strip(&bytes), &content) && contains(&strip(&bytes), b"free"));
        }
    }
}

#[test]
fn what_follows_the_boxes_is_looked_at_and_emptied() {
    let picture = heif(&[(*b"hvc1", vec![7; 9])]);
    let block = Block { gps: gps(), ..Block::default() }.to_bytes();
    let film = [part(*b"ftyp", b"mp42\0\0\0\0"), part(*b"moov", &part(*b"udta", &part(*b"loci", b"here")))].concat();
    // No box is so short.
    let short = [0, 0, 0, 4];
    for (rest, place) in
        [(XMP, true), (&*block, true), (&*film, true), (b"a note of somebody's", false), (b"abc", false)]
    {
        let bytes = [&picture, &short[..], rest].concat();
        assert_eq!(inspect(&bytes).unwrap().carries_location(), place);
        assert_clean(&bytes);
        assert_eq!(strip(&bytes)[..picture.len()], picture);
        assert!(!contains(&strip(&bytes), rest));
        let boxes = vec![[&short[..], rest].concat()];
        let within = Heif { items: vec![Item::new(*b"hvc1", vec![7; 9])], boxes }.to_bytes();
        // No film is in a table.
        assert_eq!(inspect(&within).unwrap().carries_location(), place && rest != film);
        assert_clean(&within);
    }
}

#[test]
fn items_are_known_in_all_versions_of_the_table() {
    let media_type = b"\0application/rdf+xml\0";
    for entry in [
        [&[0, 0, 0, 0, 0, 2, 0, 0], media_type.as_slice()].concat(),
        [&[1, 0, 0, 0, 0, 2, 0, 0], media_type.as_slice()].concat(),
        [&[2, 0, 0, 0, 0, 2, 0, 0], b"uri \0tag:example.com\0".as_slice()].concat(),
    ] {
        let mut items = vec![Item::new(*b"hvc1", vec![7; 9]), Item::new(*b"none", XMP.to_vec())];
        let old = Heif { items: items.clone(), boxes: Vec::new() }.to_bytes();
        assert!(!inspect(&old).unwrap().carries_location());
        // As long as the entry that takes its place.
        items[1].coding = &"                    "[..entry.len() - 14];
        let bytes = Heif { items, boxes: Vec::new() }.to_bytes();
        let at = bytes.windows(4).rposition(|window| window == b"infe").unwrap() + 4;
        let bytes = [&bytes[..at], &entry, &bytes[at + entry.len()..]].concat();
        assert!(inspect(&bytes).unwrap().carries_location(), "{entry:?}");
        assert_clean(&bytes);
    }
}
