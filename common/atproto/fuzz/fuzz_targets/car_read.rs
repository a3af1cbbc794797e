//! An archive reads the same in one piece and in many, and what was read writes the same archive.
#![no_main]

use atproto::car;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, archive) = input;
    let mut reader = car::Reader::new();
    let mut blocks = Vec::new();
    let outcome = archive.chunks(1 + usize::from(piece)).try_for_each(|chunk| {
        reader.push(chunk);
        while let Some(block) = reader.next_block()? {
            blocks.push(block);
        }
        Ok(())
    });
    let root = reader.root();
    match outcome.and_then(|()| reader.finish()) {
        Ok(_) => {
            let root = root.expect("an archive has a root");
            assert_eq!(car::read(archive), Ok((root, blocks.clone())));
            assert_eq!(car::archive(&root, blocks.iter().map(|(cid, block)| (cid, &block[..]))), archive);
        }
        Err(error) => assert_eq!(car::read(archive), Err(error)),
    }
});
