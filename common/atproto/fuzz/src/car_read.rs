//! An archive reads the same in one piece and in many, what was read writes the same archive, and what is cut off is
//! missed.

use atproto::car::{self, CarError};
use atproto::data::Cid;

use super::draw::Draw;

type Blocks = Vec<(Cid, Vec<u8>)>;

pub fn run(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let (kind, sizes) = (draw.byte(), draw.pair());
    let archive = if kind & 1 == 0 { draw.rest().to_vec() } else { draw_archive(&mut draw) };
    let whole = car::read(&archive);
    assert_eq!(read_pieces(&archive, sizes), whole.clone().map(|(root, blocks)| (root, plain(blocks))));
    if let Ok((root, blocks)) = whole {
        assert_eq!(car::archive(&root, blocks.iter().map(|(cid, block)| (cid, &block[..]))), archive);
        let cut = usize::from(sizes) % archive.len();
        match car::read(&archive[..cut]) {
            Ok((_, found)) => assert!(found.len() < blocks.len() && blocks.starts_with(&found)),
            Err(error) => assert_eq!(error, CarError::Truncated),
        }
    }
    read_with_any_roots(&archive);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let blocks = [&b"\xa0"[..], b"", &[7; 300]].map(|block| (Cid::dag_cbor(block), block));
    let archive = car::archive(&blocks[0].0, blocks.iter().map(|(cid, block)| (cid, *block)));
    let recipe = [1, 0, 9, 2, 3, 1, 2, 3, 5, 9, 8, 7, 6, 5];
    vec![[&[0, 1, 2][..], &archive].concat(), [&[0, 0, 0][..], &archive[..car::HEADER_LEN]].concat(), recipe.to_vec()]
}

/// Reads in pieces of many sizes, the smallest most often.
fn read_pieces(archive: &[u8], sizes: u16) -> Result<(Cid, Blocks), CarError> {
    let mut reader = car::Reader::new();
    let (mut blocks, mut rest, mut state) = (Blocks::new(), archive, u32::from(sizes) + 1);
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = (state >> 16) as usize % (1 << (state >> 28)) + 1;
        let (piece, left) = rest.split_at(size.min(rest.len()));
        reader.push(piece);
        while let Some((cid, block)) = reader.next_block()? {
            assert!(cid.verifies(&block));
            blocks.push((cid, block.to_vec()));
        }
        rest = left;
    }
    let root = reader.root().ok_or(CarError::Truncated)?;
    reader.finish()?;
    Ok((root, blocks))
}

fn plain(blocks: Vec<(Cid, impl AsRef<[u8]>)>) -> Blocks {
    blocks.into_iter().map(|(cid, block)| (cid, block.as_ref().to_vec())).collect()
}

fn read_with_any_roots(archive: &[u8]) {
    let mut reader = car::Reader::with_roots(0..=3);
    reader.push(archive);
    let mut blocks = 0;
    while let Ok(Some(_)) = reader.next_block() {
        blocks += 1;
    }
    assert!(reader.roots().len() <= 3 && blocks <= archive.len() / 37);
}

/// An archive with some bytes changed: the hashes keep a fuzzer from ever guessing one.
fn draw_archive(draw: &mut Draw<'_>) -> Vec<u8> {
    let edits = draw.byte() % 4;
    let positions: Vec<_> = (0..edits).map(|_| (draw.pair(), draw.byte())).collect();
    let mut blocks = Vec::new();
    while !draw.is_empty() && blocks.len() < 64 {
        let block = draw.bytes();
        blocks.push((if block.len().is_multiple_of(2) { Cid::dag_cbor(block) } else { Cid::raw(block) }, block));
    }
    let root = blocks.first().map_or(Cid::raw(b""), |(cid, _)| *cid);
    let mut archive = car::archive(&root, blocks.iter().map(|(cid, block)| (cid, *block))).to_vec();
    for (at, byte) in positions {
        let at = usize::from(at) % archive.len();
        archive[at] ^= byte;
    }
    archive
}
