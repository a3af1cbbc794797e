//! The rules of the tree, checked: who owns which table, who may call whom, where SQL stands, how long a file gets.
//!
//! Each rule is a function from sources to the places that break it. It is applied to this tree, where it must find
//! nothing, and to a few planted lines, where it must find something.

mod crates;
mod files;
mod methods;
mod modules;
mod source;
mod sql;
mod tables;

/// A place that breaks a rule, with the rule: `path: why`.
type Violation = String;

/// Fails with all violations of a rule at once.
fn assert_none(violations: &[Violation]) {
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
