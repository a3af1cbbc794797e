//! A picture without its personal metadata has none, whatever it was before.

use ::picture::testing::{
    Block, Heif, Item, Value, XMP, assemble, dataset, deflate, device, gps, inspect, jpeg, part, picture, png,
    resource, webp,
};
use ::picture::{Format, Piece};

/// A file.
pub fn run(bytes: &[u8]) {
    let Ok(inspection) = inspect(bytes) else { return };
    let pieces = inspection.stripped();
    if let Some(pieces) = &pieces {
        assert_kept_in_order(bytes, pieces);
    }
    let stripped = assemble(bytes, pieces);
    if Format::of(bytes) == Some(Format::Heif) {
        assert_eq!(stripped.len(), bytes.len(), "nothing moves");
    }
    let Ok(inspection) = inspect(&stripped) else { return };
    assert!(!inspection.carries_location(), "a place is left");
    assert_eq!(inspection.opaque(), None, "something is left that cannot be read");
    assert_eq!(inspection.stripped(), None, "there is more to remove");
}

/// What is kept lies in the file, once, and in its order.
fn assert_kept_in_order(bytes: &[u8], pieces: &[Piece]) {
    let mut at = 0;
    for piece in pieces {
        if let Piece::Kept(range) = piece {
            assert!(at <= range.start && range.start < range.end && range.end <= bytes.len() as u64);
            at = range.end;
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let small = || vec![device()[1].clone()];
    let block = |values: Vec<Value>| Block { big_endian: false, values, gps: gps() };
    let formats = [Format::Jpeg, Format::Png, Format::WebP, Format::Heif];
    let iptc = resource(0x0404, &dataset(90, b"Munich"));
    let zipped = deflate(b"\nexif\n      14\n4d4d002a00000008000000000000\n");
    let packed = Item { coding: "deflate", ..Item::new(*b"mime", deflate(XMP)) };
    let sealed = Item { coding: "br", is_in_table: true, ..Item::new(*b"mime", vec![7; 9]) };
    let table = Heif { items: vec![packed, sealed], boxes: vec![part(*b"xml ", XMP), part(*b"uuid", &[1; 20])] };
    let more = [
        jpeg(&[(0xed, [b"Photoshop 3.0\0", iptc.as_slice()].concat()), (0xfe, b"comment".to_vec())]),
        png(&[(*b"zTXt", [b"Raw profile type exif\0\0", zipped.as_slice()].concat())]),
        [jpeg(&[]), jpeg(&[])].concat(),
        webp(&[(*b"ANMF", [&[0; 16], b"XMP \x02\0\0\0abVP8L\0\0\0\0".as_slice()].concat())]),
        table.to_bytes(),
        [table.to_bytes(), b"\0\0\0\x04behind".to_vec()].concat(),
    ];
    formats.into_iter().map(|format| picture(format, &block(small()))).chain(more).collect()
}
