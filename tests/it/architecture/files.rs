//! Files have a bounded length and a name that says something.

use super::source::{self, Source};
use super::{Violation, assert_none};

/// Lines of a file before its unit tests, at most.
const LINE_LIMIT: usize = 500;
/// Names that say nothing.
const FORBIDDEN: [&str; 8] = ["common", "helper", "helpers", "misc", "prelude", "types", "util", "utils"];

fn too_long(sources: &[Source]) -> Vec<Violation> {
    let lengths = sources.iter().map(|source| (source, source.code().lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > LINE_LIMIT);
    long.map(|(source, lines)| format!("{}: {lines} lines, at most {LINE_LIMIT}", source.path)).collect()
}

fn badly_named(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        // Below the top folder, where `common` is a crate.
        let names = source.path.trim_end_matches(".rs").split('/').skip(1);
        let bad = names.filter(|name| FORBIDDEN.contains(name));
        violations.extend(bad.map(|name| format!("{}: `{name}` says nothing", source.path)));
    }
    violations
}

#[test]
fn files_are_short() {
    assert_none(&too_long(&source::rust()));
}

#[test]
fn names_say_something() {
    assert_none(&badly_named(&source::rust()));
}

/// Cargo compiles only what `main.rs` leads to: a forgotten file would be a test that never runs.
#[test]
fn every_test_file_is_declared() {
    assert_none(&undeclared(&source::below("tests/it", "rs")));
}

fn undeclared(sources: &[Source]) -> Vec<Violation> {
    let declared = |source: &Source| {
        let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
        let (parent, name) = match file.trim_end_matches(".rs") {
            "mod" => folder.rsplit_once('/').unwrap_or(("", folder)),
            name => (folder, name),
        };
        let line = format!("mod {name};");
        let parents = [format!("{parent}/main.rs"), format!("{parent}/mod.rs"), format!("{parent}.rs")];
        let mut parents = sources.iter().filter(|source| parents.contains(&source.path));
        parents.any(|parent| parent.text.lines().any(|found| found.trim_start_matches("pub(crate) ") == line))
    };
    let files = sources.iter().filter(|source| source.path != "tests/it/main.rs");
    files.filter(|source| !declared(source)).map(|source| format!("{}: no `mod` line", source.path)).collect()
}

#[test]
fn the_rules_can_be_broken() {
    let long = Source::planted("api/src/x.rs", &"line\n".repeat(LINE_LIMIT + 1));
    assert_eq!(too_long(&[long]).len(), 1);
    let tested = format!("code\n#[cfg(test)]\nmod tests {{\n{}}}\n", "line\n".repeat(LINE_LIMIT));
    assert_none(&too_long(&[Source::planted("api/src/x.rs", &tested)]));

    assert_eq!(badly_named(&[Source::planted("api/src/util/time.rs", "")]).len(), 1);
    assert_none(&badly_named(&[Source::planted("common/src/repo/mod.rs", "")]));

    let main = Source::planted("tests/it/main.rs", "mod a;\nmod b;\n");
    let files = ["tests/it/a.rs", "tests/it/a/x.rs", "tests/it/b/mod.rs", "tests/it/c.rs"];
    let planted = files.map(|path| Source::planted(path, "mod x;\n"));
    let violations = undeclared(&[&[main][..], &planted].concat());
    assert_eq!(violations, ["tests/it/c.rs: no `mod` line"]);
}
