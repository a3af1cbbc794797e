//! Archives that are read back, in pieces, and archives that are damaged.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::data::{Cid, CidError};
use crate::wire::Writer;

fn blocks(contents: &[Vec<u8>]) -> Vec<(Cid, Bytes)> {
    contents.iter().map(|bytes| (Cid::dag_cbor(bytes), Bytes::from(bytes.clone()))).collect()
}

fn archive_of(blocks: &[(Cid, Bytes)]) -> Bytes {
    archive(&Cid::dag_cbor(b"root"), blocks.iter().map(|(cid, block)| (cid, &block[..])))
}

proptest! {
    #[test]
    fn an_archive_in_pieces_is_read_back(contents in vec(vec(any::<u8>(), 0..400), 0..12), piece in 1..200_usize) {
        let blocks = blocks(&contents);
        let archive = archive_of(&blocks);
        let mut reader = Reader::new();
        let mut found = Vec::new();
        for chunk in archive.chunks(piece) {
            reader.push(chunk);
            while let Some(block) = reader.next_block().unwrap() {
                found.push(block);
            }
        }
        prop_assert_eq!(found, blocks);
        prop_assert_eq!(reader.root(), Some(Cid::dag_cbor(b"root")));
        prop_assert_eq!(reader.finish(), Ok(vec![Cid::dag_cbor(b"root")]));
    }

    #[test]
    fn a_cut_or_changed_archive_is_refused(
        contents in vec(vec(any::<u8>(), 0..200), 1..5),
        at in any::<prop::sample::Index>(),
        change in 1..=u8::MAX,
    ) {
        let blocks = blocks(&contents);
        let whole = archive_of(&blocks);
        let at = at.index(whole.len());
        let cut = read(&whole[..at]);
        // A cut between two sections leaves an archive of fewer blocks.
        prop_assert!(cut.as_ref().map_or(true, |(_, found)| blocks.starts_with(found) && found.len() < blocks.len()));
        let mut changed = whole.to_vec();
        changed[at] ^= change;
        // The header's digest is the one thing that nothing else speaks for.
        prop_assert!(read(&changed).map_or(true, |(root, found)| root != Cid::dag_cbor(b"root") && found == blocks));
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in vec(any::<u8>(), 0..300), with_header: bool) {
        let mut archive = if with_header { header(&Cid::raw(b"")).to_vec() } else { Vec::new() };
        archive.extend(bytes);
        _ = read(&archive);
    }
}

#[test]
fn the_header_has_its_known_form() {
    let root = Cid::dag_cbor(b"");
    let header = header(&root);
    assert_eq!(header.len(), HEADER_LEN);
    assert_eq!(&header[..8], b"\x3a\xa2\x65roots");
    assert_eq!(read(&header), Ok((root, Vec::new())));
}

fn with_header(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut header = Writer::default();
    write(&mut header);
    let mut out = BytesMut::new();
    let header = header.finish();
    super::varint::write(header.len(), &mut out);
    out.extend_from_slice(&header);
    out.to_vec()
}

#[test]
fn headers_of_another_shape_are_refused() {
    let cid = Cid::raw(b"");
    let of_version =
        |version| with_header(|header| _ = header.map(2).text("roots").array(1).cid(&cid).text("version").int(version));
    assert!(read(&of_version(1)).is_ok());
    assert!(matches!(read(&of_version(2)), Err(CarError::Header(_))));
    let swapped = with_header(|header| _ = header.map(2).text("version").int(1).text("roots").array(1).cid(&cid));
    assert!(matches!(read(&swapped), Err(CarError::Header(_))));

    let two = with_header(|header| _ = header.map(2).text("roots").array(2).cid(&cid).cid(&cid).text("version").int(1));
    assert_eq!(read(&two), Err(CarError::Roots(2)));
    let mut reader = Reader::with_roots(0..=2);
    reader.push(&two);
    assert_eq!(reader.next_block(), Ok(None));
    assert_eq!(reader.roots(), [cid, cid]);
}

#[test]
fn sections_must_be_bounded_and_true() {
    let (cid, start) = (Cid::dag_cbor(b"x"), header(&Cid::dag_cbor(b"x")));
    let with = |rest: &[u8]| read(&[&start[..], rest].concat());
    assert_eq!(with(&[0]), Err(CarError::Cid(CidError::Length)));
    assert_eq!(with(&[0xff, 0xff, 0xff, 0x7f]), Err(CarError::TooLong((1 << 28) - 1)));
    assert_eq!(with(&[0xff, 0xff, 0xff, 0xff]), Err(CarError::Length));
    assert_eq!(with(&[5, 1]), Err(CarError::Truncated));
    let mut section = BytesMut::new();
    super::section(&cid, b"x", &mut section);
    assert_eq!(with(&section), Ok((cid, vec![(cid, Bytes::from_static(b"x"))])));
    section[5] ^= 1;
    assert!(matches!(with(&section), Err(CarError::Hash(_))));
    section[1] = 0;
    assert_eq!(with(&section), Err(CarError::Cid(CidError::Kind)));
}
