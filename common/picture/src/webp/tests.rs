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

#[test]
fn frames_keep_what_is_shown_only() {
    let chunk = |kind: &[u8; 4], payload: &[u8]| {
        let mut bytes = [kind, u32::try_from(payload.len()).unwrap().to_le_bytes().as_slice(), payload].concat();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    };
    let shown = [vec![9; 16], chunk(b"ALPH", &[1; 5]), chunk(b"VP8 ", &[2; 7])].concat();
    let exif = chunk(b"EXIF", &Block { gps: gps(), ..Block::default() }.to_bytes());
    for (more, place) in [
        (chunk(b"XMP ", XMP), true),
        (exif.clone(), true),
        ([chunk(b"note", b"odd"), exif].concat(), true),
        (chunk(b"note", b"odd"), false),
        (b"odd".to_vec(), false),
    ] {
        for frame in [[shown.as_slice(), &more].concat(), [&shown[..16], &more, &shown[16..]].concat()] {
            // What is too short for a chunk is at the end only.
            if more.len() < 8 && !frame.ends_with(&more) {
                continue;
            }
            let bytes = webp(&[(*b"ANMF", frame), (*b"ANMF", shown.clone())]);
            assert_eq!(inspect(&bytes).unwrap().carries_location(), place);
            assert_eq!(strip(&bytes), webp(&[(*b"ANMF", shown.clone()), (*b"ANMF", shown.clone())]));
        }
    }
    for len in 0..16 {
        let short = webp(&[(*b"ANMF", vec![1; len])]);
        assert_eq!(strip(&short), short);
    }
}
