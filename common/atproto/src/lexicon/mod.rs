//! Lexicons: schemas of records and methods, compiled once, and the validator that runs on them.
//!
//! ```
//! # use atproto::lexicon::Catalog;
//! let lexicons = Catalog::builtin();
//! assert!(lexicons.is_record(&"app.bsky.feed.post".parse()?));
//! # Ok::<_, atproto::syntax::NsidError>(())
//! ```
//!
//! Source: atproto.com/specs/lexicon.

mod blob;
mod builtin;
mod catalog;
mod compile;
mod constraint;
mod document;
mod error;
mod format;
mod issue;
mod method;
mod permission;
mod record;
mod schema;
mod string;
mod validate;

#[cfg(test)]
mod tests;

pub use builtin::builtin_documents;
pub use catalog::Catalog;
pub use document::Document;
pub use error::{CompileError, CompileFault, ValidationError};
pub use issue::Issue;
pub use method::{Method, MethodKind, MethodPart};
pub use permission::{Permission, PermissionSet};
