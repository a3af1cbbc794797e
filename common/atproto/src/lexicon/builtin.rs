//! The documents that come with the program, from `lexicons/`.

use std::sync::LazyLock;

use super::catalog::Catalog;
use super::document::Document;

/// One document per line. Where they come from is in `lexicons/README.md`.
const LEXICONS: &str = include_str!("../../lexicons/lexicons.jsonl");

#[expect(clippy::expect_used, reason = "the documents are part of the program; a test compiles them")]
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let documents = builtin_documents().collect::<Result<Vec<_>, _>>().expect("built-in lexicons are documents");
    Catalog::compile(documents).expect("built-in lexicons compile")
});

impl Catalog {
    /// The lexicons of the `app.bsky`, `chat.bsky`, `com.atproto` and `com.germnetwork` namespaces.
    ///
    /// Its record types are those that writes are checked against without being asked to.
    pub fn builtin() -> &'static Self {
        &CATALOG
    }
}

/// The documents behind [`Catalog::builtin`], for a catalog that holds others beside them.
///
/// # Errors
/// None in practice: the data is part of the program.
pub fn builtin_documents() -> impl Iterator<Item = serde_json::Result<Document>> {
    LEXICONS.lines().map(serde_json::from_str)
}
