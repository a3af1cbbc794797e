//! The protocol's shared test vectors (the `interop-test-files` of the reference repository, CC0).
//!
//! They are not part of this repository: set `INTEROP_VECTORS` to the folder that holds `syntax/`, `data-model/` and so
//! on. Without it every test here passes and says that it was skipped.

mod crypto;
mod data_model;
mod firehose;
mod lexicon;
mod mst;
mod syntax;

use std::path::PathBuf;

use serde::de::DeserializeOwned;

/// Text of a vector file, or `None` (and a note) if there are no vectors on this machine.
fn read(path: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "where the vectors are is a setting of the test run, not of a program"
    )]
    let folder = std::env::var_os("INTEROP_VECTORS");
    let Some(folder) = folder else {
        #[expect(clippy::print_stderr, reason = "a skipped test must say so")]
        {
            eprintln!("skipped {path}: INTEROP_VECTORS is not set");
        }
        return None;
    };
    let file = PathBuf::from(folder).join(path);
    Some(std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// Vectors of a text file, one a line; empty lines and comments (`#`) are left out. Spaces are part of a vector.
fn lines(path: &str) -> Vec<String> {
    let text = read(path).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Vectors of a JSON file that holds a list.
fn vectors<T: DeserializeOwned>(path: &str) -> Vec<T> {
    let Some(text) = read(path) else {
        return Vec::new();
    };
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}
