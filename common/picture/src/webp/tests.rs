use crate::testing::{Block, XMP, assemble, device, gps, inspect, webp};

fn strip(bytes: &[u8]) -> Vec<u8> {
    assemble(bytes, inspect(bytes).unwrap().stripped())
}

#[test]
fn flags_and_length_say_what_is_left() {
    let exif = (*b"EXIF", Block { gps: gps(), ..Block::default() }.to_bytes());
    let xmp = (*b"XMP ", XMP.to_vec());
    for chunks in [vec![exif.clone()], vec![xmp.clone()], vec![exif, xmp, (*b"note", vec![1; 5])]] {
        assert_eq!(strip(&webp(&chunks)), webp(&[]));
    }
    let device = Block { values: device(), ..Block::default() };
    let small = Block { values: vec![device.values[1].clone()], ..Block::default() };
    let turned = Block { values: device.values[..3].to_vec(), ..device };
    assert_eq!(strip(&webp(&[(*b"EXIF", turned.to_bytes())])), webp(&[(*b"EXIF", small.to_bytes())]));
}

#[test]
fn what_is_behind_the_end_is_cut_off() {
    let clean = webp(&[(*b"ICCP", vec![1; 9])]);
    assert_eq!(strip(&[clean.as_slice(), b"more"].concat()), clean);
    let mut open = clean.clone();
    open[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(strip(&open), open, "a length that lies is not ours to mend");
    assert_eq!(strip(&[open.as_slice(), b"XMP \x02\0\0\0ab"].concat()), clean);
}
