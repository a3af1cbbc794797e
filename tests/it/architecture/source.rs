//! The files of this tree.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no sources of ours.
const SKIPPED: [&str; 3] = ["node_modules", "target", "fuzz"];

/// A text file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Path from the top of the tree, as `common/src/repo/write.rs`.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// A file that does not exist, for the tests of the rules.
    pub(super) fn planted(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The text without the module of unit tests at its end.
    pub(super) fn code(&self) -> &str {
        let end = self.text.match_indices("#[cfg(test)]").find(|(at, attribute)| {
            let item = self.text[at + attribute.len()..].trim_start();
            item.starts_with("mod ") && item.lines().next().is_some_and(|line| line.ends_with('{'))
        });
        end.map_or(&self.text, |(at, _)| &self.text[..at])
    }

    /// Whether the whole file is unit tests of its folder.
    pub(super) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

/// All Rust sources of the workspace.
pub(super) fn rust() -> Vec<Source> {
    ["api", "common", "tests", "worker"].iter().flat_map(|folder| below(folder, "rs")).collect()
}

/// All migrations, the oldest first.
pub(super) fn migrations() -> Vec<Source> {
    below("migrations", "sql")
}

/// One file.
pub(super) fn one(path: &str) -> Source {
    let text = fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Source { path: path.to_owned(), text }
}

/// All files below `folder` with this extension, sorted by path.
pub(super) fn below(folder: &str, extension: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&top().join(folder), extension, &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "no .{extension} below {folder}: has it moved?");
    paths.iter().map(|path| one(path.strip_prefix(top()).unwrap().to_str().unwrap())).collect()
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !SKIPPED.contains(&name) {
            collect(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

#[test]
fn unit_tests_are_cut_off_and_declarations_kept() {
    let source = Source::planted("x.rs", "#[cfg(test)]\nmod tests;\ncode\n#[cfg(test)]\nmod tests {\n    junk\n}\n");
    assert_eq!(source.code(), "#[cfg(test)]\nmod tests;\ncode\n");
}
