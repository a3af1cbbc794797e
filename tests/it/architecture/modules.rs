//! Inside common a module uses lower ranks only, never its equals.

use super::source::{self, Source};
use super::{Violation, assert_none};

/// The modules of common, the lowest rank first. Settings and time are below everything, logs included.
const RANKS: [&[&str]; 7] = [
    &["clock", "config"],
    &["db", "http", "telemetry"],
    &["audit", "identity", "jobs", "keys"],
    &["account", "blob", "lexicon", "oauth", "preference", "rate_limit", "report", "sequencer", "session"],
    &["relay", "repo"],
    &["lifecycle"],
    &["admin"],
];
/// Makes states for tests, so it may use everything.
const EXEMPT: &str = "testing";

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|modules| modules.contains(&module))
}

fn upward(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let Some(path) = source.path.strip_prefix("common/src/") else { continue };
        let here: Vec<&str> = path.trim_end_matches(".rs").split('/').filter(|name| *name != "mod").collect();
        if here == ["lib"] || here[0] == EXEMPT {
            continue;
        }
        let Some(own) = rank(here[0]) else {
            violations.push(format!("{}: `{}` has no rank", source.path, here[0]));
            continue;
        };
        for used in used_modules(source.code(), here.len()) {
            if used != here[0] && rank(&used).is_some_and(|rank| rank >= own) {
                violations.push(format!("{}: {} may not use {used}", source.path, here[0]));
            }
        }
    }
    violations
}

/// The top-level modules that paths beginning with `crate` or `super` lead to, in a file `depth` modules deep.
fn used_modules(code: &str, depth: usize) -> Vec<String> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let climbing = "super::".repeat(depth);
    let paths = code.split("crate::").skip(1).chain(code.split(&climbing).skip(1));
    paths.flat_map(first_names).map(str::to_owned).collect()
}

/// The first names of a path: one, or several of a group in braces.
fn first_names(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut depth = 0_usize;
    let mut names = vec![name(group.trim_start())];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    names
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[test]
fn modules_use_lower_ranks_only() {
    assert_none(&upward(&source::rust()));
}

#[test]
fn the_rule_can_be_broken() {
    let found = |path, text| upward(&[Source::planted(path, text)]);
    assert_eq!(found("common/src/account/create.rs", "use crate::repo::Repos;").len(), 1);
    assert_eq!(found("common/src/account/create.rs", "use crate::session::Sessions;").len(), 1);
    assert_eq!(
        found("common/src/account/create.rs", "use crate::{\n    db::{self, PgPool},\n    lifecycle,\n};").len(),
        1
    );
    assert_eq!(found("common/src/account/create.rs", "super::super::repo::Repos").len(), 1);
    assert_eq!(found("common/src/account/mod.rs", "use super::repo::Repos;").len(), 1);
    assert_eq!(found("common/src/misc/mod.rs", "").len(), 1);
    assert_none(&found("common/src/account/create.rs", "// crate::repo\nuse crate::{account, db, keys};\nsuper::x"));
    assert_none(&found("common/src/account/create.rs", "#[cfg(test)]\nmod tests {\n    use crate::repo;\n}"));
}
