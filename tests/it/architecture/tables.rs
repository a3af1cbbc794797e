//! Each table has an owner, which is the only module that writes it.

use std::collections::BTreeMap;

use super::source::{self, Source};
use super::{Violation, assert_none};

/// Makes states for tests that no owner would.
const EXEMPT: &str = "testing";

/// Owner of each table by its name, and the tables whose owner is not named.
fn owners(migrations: &[Source]) -> (BTreeMap<String, String>, Vec<Violation>) {
    let mut owners = BTreeMap::new();
    let mut violations = Vec::new();
    for migration in migrations {
        for table in created_tables(&migration.text) {
            let comment = format!("COMMENT ON TABLE {table} IS 'owner: common::");
            match migration.text.split_once(&comment).and_then(|(_, rest)| rest.split_once('\'')) {
                Some((owner, _)) => drop(owners.insert(table, owner.to_owned())),
                None => violations.push(format!("{}: no `{comment}…'`", migration.path)),
            }
        }
    }
    (owners, violations)
}

/// The tables a migration creates, partitions left out.
fn created_tables(sql: &str) -> Vec<String> {
    let starts = ["CREATE TABLE ", "CREATE UNLOGGED TABLE "];
    let statements = sql.lines().filter_map(|line| starts.iter().find_map(|start| line.strip_prefix(start)));
    let tables = statements.filter(|rest| !rest.contains(" PARTITION OF "));
    tables.map(|rest| first_word(rest.trim_start_matches("IF NOT EXISTS ")).to_owned()).collect()
}

/// The writes to tables of other modules.
fn foreign_writes(sources: &[Source], owners: &BTreeMap<String, String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        let Some(module) = module_of(&source.path).filter(|module| *module != EXEMPT) else { continue };
        for table in written_tables(source.code()) {
            if let Some(owner) = owners.get(table).filter(|owner| *owner != module) {
                violations.push(format!("{}: writes {table}, which belongs to common::{owner}", source.path));
            }
        }
    }
    violations
}

/// The top-level module of common that a file belongs to.
fn module_of(path: &str) -> Option<&str> {
    let (module, _) = path.strip_prefix("common/src/")?.split_once('/')?;
    Some(module)
}

/// Whatever stands where a statement names the table it writes.
fn written_tables(code: &str) -> Vec<&str> {
    let keywords = ["INSERT INTO ", "UPDATE ", "DELETE FROM "];
    keywords.iter().flat_map(|keyword| code.split(keyword).skip(1).map(first_word)).collect()
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[test]
fn every_table_has_an_owner_that_exists() {
    let (owners, violations) = owners(&source::migrations());
    assert_none(&violations);
    let sources = source::rust();
    let exists = |owner: &str| sources.iter().any(|source| source.path == format!("common/src/{owner}/mod.rs"));
    let missing = owners.iter().filter(|(_, owner)| !exists(owner));
    assert_none(&missing.map(|(table, owner)| format!("{table}: no module common::{owner}")).collect::<Vec<_>>());
}

#[test]
fn tables_are_written_by_their_owners_only() {
    let (owners, _) = owners(&source::migrations());
    assert_none(&foreign_writes(&source::rust(), &owners));
}

#[test]
fn the_rules_can_be_broken() {
    let orphan = Source::planted("m.sql", "CREATE TABLE a (x int);\nCREATE TABLE b_p1 PARTITION OF b DEFAULT;\n");
    assert_eq!(owners(&[orphan]).1.len(), 1);

    let owned = Source::planted("m.sql", "CREATE TABLE a (\n);\nCOMMENT ON TABLE a IS 'owner: common::account';\n");
    let (owners, violations) = owners(&[owned]);
    assert_none(&violations);
    let writes = "\"WITH x AS (UPDATE a SET y = 1) SELECT 1 FOR UPDATE SKIP LOCKED\"";
    let own = Source::planted("common/src/account/store.rs", writes);
    let foreign = Source::planted("common/src/repo/store.rs", writes);
    assert_none(&foreign_writes(&[own], &owners));
    assert_eq!(foreign_writes(&[foreign], &owners).len(), 1);
}
