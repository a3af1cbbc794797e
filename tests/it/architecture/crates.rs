//! The crates depend on each other in one direction: `atproto, picture ← common ← api, worker ← tests`.

use super::source::{self, Source};
use super::{Violation, assert_none};

/// What a crate may not depend on, tests included.
const FORBIDDEN: [(&str, &[&str]); 5] = [
    ("common/atproto/Cargo.toml", &["api", "common", "reqwest", "sqlx", "tokio", "worker"]),
    ("common/picture/Cargo.toml", &["api", "atproto", "common", "reqwest", "sqlx", "tokio", "worker"]),
    ("common/Cargo.toml", &["api", "lettre", "worker"]),
    ("api/Cargo.toml", &["lettre", "sqlx", "worker"]),
    ("worker/Cargo.toml", &["api", "sqlx"]),
];

fn forbidden(manifest: &Source) -> Vec<Violation> {
    let rule = FORBIDDEN.iter().find(|(path, _)| *path == manifest.path);
    let names = rule.map_or(&[][..], |(_, names)| names);
    let depends = |name: &str| {
        manifest.text.lines().any(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('.') || rest.trim_start().starts_with('='))
        })
    };
    let bad = names.iter().filter(|name| depends(name));
    bad.map(|name| format!("{}: may not depend on {name}", manifest.path)).collect()
}

#[test]
fn crates_depend_in_one_direction() {
    let manifests = FORBIDDEN.map(|(path, _)| source::one(path));
    assert_none(&manifests.iter().flat_map(forbidden).collect::<Vec<_>>());
}

#[test]
fn the_rule_can_be_broken() {
    let planted = |text| forbidden(&Source::planted("api/Cargo.toml", text)).len();
    assert_eq!(planted("[dependencies]\nworker.workspace = true\nsqlx = \"0.9\"\n"), 2);
    assert_eq!(planted("[dependencies]\nworkers.workspace = true\ncommon.workspace = true\n"), 0);
}
