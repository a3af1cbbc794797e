use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::testing::{Block, PROFILE, assemble, device, gps, inspect, picture};

const FORMATS: [Format; 4] = [Format::Jpeg, Format::Png, Format::WebP, Format::Heif];

/// A picture as a phone takes it.
fn from_phone(format: Format) -> Vec<u8> {
    picture(format, &Block { values: device(), gps: gps(), ..Block::default() })
}

fn strip(bytes: &[u8]) -> Vec<u8> {
    assemble(bytes, inspect(bytes).unwrap().stripped())
}

pub(crate) fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn formats_are_recognised_by_their_beginning() {
    for format in FORMATS {
        assert_eq!(Format::of(&from_phone(format)), Some(format));
    }
    for other in [&b""[..], b"GIF89a", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftypisom\0\0\x02\0avc1mp41", b"<svg/>"] {
        assert_eq!(Format::of(other), None);
        assert!(crate::inspect(io::Cursor::new(other)).unwrap().is_none());
    }
}

#[test]
fn either_exif_or_xmp_gives_a_place_away() {
    for format in FORMATS {
        assert!(inspect(&from_phone(format)).unwrap().carries_location());
        // Spoils the names of the positions in XMP.
        let bytes = picture(format, &Block { values: device(), gps: gps(), ..Block::default() });
        let mut only_exif = bytes.clone();
        for at in 0..only_exif.len() - 4 {
            if &only_exif[at..at + 4] == b":GPS" {
                only_exif[at + 1] = b'X';
            }
        }
        assert!(inspect(&only_exif).unwrap().carries_location(), "{format:?}");
        let only_xmp = picture(format, &Block { values: device(), ..Block::default() });
        assert!(inspect(&only_xmp).unwrap().carries_location(), "{format:?}");
    }
}

#[test]
fn what_is_personal_goes_and_what_is_needed_stays() {
    for format in FORMATS {
        let bytes = from_phone(format);
        let stripped = strip(&bytes);
        let inspection = inspect(&stripped).unwrap();
        assert!(!inspection.carries_location());
        assert_eq!(inspection.stripped(), None, "{format:?}: there is nothing left to remove");
        for personal in [&b"Camera"[..], b"2024:02:03", b"GPSLatitude"] {
            assert!(contains(&bytes, personal) && !contains(&stripped, personal), "{format:?}");
        }
        for kept in [&b"Somebody"[..], b"(c) Somebody", b"\x01\x12\0\x03\0\0\0\x01\0\x06"] {
            assert!(contains(&stripped, kept), "{format:?}");
        }
        if format != Format::Png {
            assert!(contains(&stripped, PROFILE), "{format:?}");
        }
    }
}

#[test]
fn what_no_picture_needs_is_searched() {
    let block = Block { gps: gps(), ..Block::default() }.to_bytes();
    for secret in [testing::XMP.to_vec(), block] {
        let within = [
            testing::jpeg(&[(0xeb, secret.clone())]),
            testing::png(&[(*b"caBX", secret.clone())]),
            testing::webp(&[(*b"note", secret.clone())]),
            [testing::heif(&[(*b"hvc1", vec![1; 9])]), testing::part(*b"note", &secret)].concat(),
        ];
        let clean =
            [testing::jpeg(&[]), testing::png(&[]), testing::webp(&[]), testing::heif(&[(*b"hvc1", vec![1; 9])])];
        let behind = clean.map(|bytes| [bytes.as_slice(), &[0, 0, 0, 2], &secret].concat());
        for bytes in within.into_iter().chain(behind) {
            let format = Format::of(&bytes);
            assert!(inspect(&bytes).unwrap().carries_location(), "{format:?}");
            let stripped = strip(&bytes);
            assert!(!inspect(&stripped).unwrap().carries_location() && !contains(&stripped, &secret), "{format:?}");
        }
        assert!(
            !inspect(&testing::jpeg(&[(0xfe, secret)])).unwrap().carries_location(),
            "a comment says what it likes"
        );
    }
}

#[test]
fn a_clean_picture_stays_as_it_is() {
    let block = Block { values: vec![(0x0112, 3, vec![0, 8])], ..Block::default() };
    for (bytes, format) in [
        (testing::jpeg(&[(0xe1, [b"Exif\0\0", block.to_bytes().as_slice()].concat())]), Format::Jpeg),
        (testing::png(&[(*b"eXIf", block.to_bytes()), (*b"tEXt", b"Author\0Somebody".to_vec())]), Format::Png),
        (testing::webp(&[(*b"EXIF", block.to_bytes())]), Format::WebP),
        (testing::heif(&[(*b"hvc1", vec![1; 9])]), Format::Heif),
    ] {
        assert_eq!(Format::of(&bytes), Some(format));
        let inspection = inspect(&bytes).unwrap();
        assert_eq!((inspection.carries_location(), inspection.stripped()), (false, None), "{format:?}");
    }
}

#[test]
fn a_picture_that_breaks_off_is_judged_by_what_is_there() {
    for format in FORMATS {
        let bytes = from_phone(format);
        for len in 0..bytes.len() {
            let cut = &bytes[..len];
            let stripped = strip(cut);
            assert!(!inspect(&stripped).unwrap().carries_location(), "{format:?} {len}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    struct Broken(io::Cursor<Vec<u8>>);
    impl Read for Broken {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0.position() > 70_000 { Err(io::Error::other("the disk")) } else { self.0.read(into) }
        }
    }
    impl Seek for Broken {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    let mut bytes = testing::jpeg(&[]);
    bytes.truncate(bytes.len() - 2);
    bytes.resize(200_000, 7);
    let found = crate::inspect(Broken(io::Cursor::new(bytes)));
    assert!(matches!(found, Err(InspectError::Io(_))), "{found:?}");
}

/// A picture of which some bytes were changed, put in, or taken out.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0_usize..4, vec(any::<u8>(), 0..6));
    (prop::sample::select(FORMATS.to_vec()), vec(change, 0..8)).prop_map(|(format, changes)| {
        let mut bytes = from_phone(format);
        for (at, taken, put) in changes {
            let at = at.index(bytes.len().max(1)).min(bytes.len());
            let end = (at + taken).min(bytes.len());
            bytes.splice(at..end, put);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_damaged_picture_is_clean_when_it_was_stripped(bytes in damaged()) {
        let Ok(inspection) = inspect(&bytes) else { return Ok(()) };
        let stripped = assemble(&bytes, inspection.stripped());
        if let Ok(inspection) = inspect(&stripped) {
            prop_assert!(!inspection.carries_location() && inspection.opaque().is_none());
            prop_assert_eq!(inspection.stripped(), None);
        }
    }
}
