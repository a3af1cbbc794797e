//! The fuzz targets without a fuzzer: their seeds, what the fuzzer once found, and random bytes.

#[cfg(test)]
#[expect(unreachable_pub, reason = "public in the package of the fuzz targets, which this folder belongs to")]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;
use proptest::collection::vec;
use proptest::prelude::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn seeds_hold() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        for seed in seeds {
            (target.run)(&seed);
            for at in 0..seed.len() {
                (target.run)(&seed[..at]);
            }
        }
    }
}

/// One file for each fault, named after it, in the folder of its target.
#[test]
fn what_was_found_once_holds() {
    for folder in fs::read_dir(folder().join("regressions")).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap();
        let target = TARGETS.into_iter().find(|target| target.name == name).unwrap();
        for file in fs::read_dir(&folder).unwrap() {
            (target.run)(&fs::read(file.unwrap().path()).unwrap());
        }
    }
}

#[test]
fn every_target_has_its_binary() {
    let files = fs::read_dir(folder().join("fuzz_targets")).unwrap();
    let mut found: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, TARGETS.map(|target| format!("{}.rs", target.name)));
}

proptest! {
    #[test]
    fn no_bytes_break_a_target(bytes in vec(any::<u8>(), 0..600), which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), with_seed: bool) {
        let target = TARGETS[which.index(TARGETS.len())];
        if with_seed {
            let mut seed = at.get(&(target.seeds)()).clone();
            let at = at.index(seed.len() + 1);
            seed.splice(at..seed.len().min(at + bytes.len()), bytes);
            (target.run)(&seed);
        } else {
            (target.run)(&bytes);
        }
    }
}
