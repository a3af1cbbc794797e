//! Blob references inside records.

use std::collections::BTreeMap;

use super::issue::{Issue, show_name};
use super::schema::BlobRule;
use crate::data::Ipld;

/// Checks a blob reference: its shape, then the media types and the size its schema permits.
///
/// Reference: the CID's codec is not checked here, as the interoperability vectors have blobs with dag-cbor CIDs; a blob that
/// no one uploaded is refused later anyway. The old form without `$type` is refused.
pub(super) fn check_blob(rule: &BlobRule, value: &Ipld) -> Result<(), Issue> {
    let (mime_type, size) = read(value).ok_or_else(|| Issue::unexpected_type(value, "blob"))?;
    if let Some(accept) = &rule.accept
        && !accept.iter().any(|pattern| is_accepted(pattern, mime_type))
    {
        let found = Ipld::String(mime_type.into());
        let accept = accept.iter().map(|pattern| show_name(pattern));
        return Err(Issue::not_one_of(Some(&found), accept).in_key("mimeType"));
    }
    match rule.max_size {
        Some(max) if size > max => Err(Issue::too_big("blob", max, size)),
        _ => Ok(()),
    }
}

/// True for what claims to be a blob reference.
pub(super) fn has_blob_type(map: &BTreeMap<String, Ipld>) -> bool {
    matches!(map.get("$type"), Some(Ipld::String(name)) if name == "blob")
}

/// Media type and size of a blob reference; `None` for anything else, one with further keys included.
fn read(value: &Ipld) -> Option<(&str, u64)> {
    let Ipld::Map(map) = value else {
        return None;
    };
    let (Ipld::String(mime_type), Ipld::Integer(size), Ipld::Link(_)) =
        (map.get("mimeType")?, map.get("size")?, map.get("ref")?)
    else {
        return None;
    };
    let is_blob = map.len() == 4 && has_blob_type(map) && mime_type.contains('/');
    let size = u64::try_from(*size).ok().filter(|size| *size < 1 << 53)?;
    is_blob.then_some((mime_type, size))
}

fn is_accepted(pattern: &str, mime_type: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("*/") => true,
        Some(prefix) if prefix.ends_with('/') => mime_type.starts_with(prefix),
        _ => pattern == mime_type,
    }
}
