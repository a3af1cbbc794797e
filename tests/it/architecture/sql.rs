//! SQL stands in `store.rs` and in migrations, and nothing but common knows sqlx.

use super::source::{self, Source};
use super::{Violation, assert_none};

/// What shows that there is SQL in a source.
const SIGNS: [&str; 9] = [
    "query!(",
    "query_as!(",
    "query_scalar!(",
    "query_file",
    "AssertSqlSafe",
    "\"SELECT ",
    "\"INSERT INTO ",
    "\"UPDATE ",
    "\"DELETE FROM ",
];

/// The pool and the schema's version own no table, and the test databases are no part of the server.
const EXEMPT: [&str; 2] = ["common/src/db/", "common/src/testing/"];

fn misplaced(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        let path = source.path.as_str();
        let exempt = EXEMPT.iter().any(|folder| path.starts_with(folder)) || path.starts_with("tests/it/architecture");
        if !exempt && !path.ends_with("/store.rs") {
            let found = SIGNS.iter().filter(|sign| source.code().contains(**sign));
            violations.extend(found.map(|sign| format!("{path}: `{sign}` belongs in store.rs")));
        }
        if !path.starts_with("common/src/") && !exempt && source.code().contains("sqlx::") {
            violations.push(format!("{path}: only common uses sqlx"));
        }
    }
    violations
}

#[test]
fn sql_stands_in_stores_only() {
    assert_none(&misplaced(&source::rust()));
}

#[test]
fn the_rule_can_be_broken() {
    let planted = |path| [Source::planted(path, "sqlx::query!(\"SELECT 1\")")];
    assert_eq!(misplaced(&planted("common/src/repo/write.rs")).len(), 2);
    assert_eq!(misplaced(&planted("api/src/lib.rs")).len(), 3);
    assert_none(&misplaced(&planted("common/src/repo/store.rs")));
}
