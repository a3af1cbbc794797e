//! What the specification forbids in a value although the reference stores it.

use std::collections::BTreeMap;

use super::{BlobRef, Ipld, ValueError};

/// Why a value does not keep to the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StrictError {
    /// The outermost value is not a map.
    #[error("value must be an object")]
    NotAnObject,
    /// A `$type` that is not a text, or empty.
    #[error("$type must be a non-empty string")]
    Type,
    /// A map with the key `$link` or `$bytes`: in JSON, a malformed link or malformed bytes.
    #[error("malformed $link or $bytes")]
    Special,
    /// A map with the type `blob` that is no blob reference.
    #[error("malformed blob reference")]
    Blob,
    /// Not of the data model at all.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// Checks a value that a decoder of this module has let in, and so bounded in depth, against the rest of the data model:
/// the outermost is a map, each `$type` a non-empty text, each blob reference complete, and the reserved keys `$link` and
/// `$bytes` do not occur.
pub fn check_strict(value: &Ipld) -> Result<(), StrictError> {
    match value {
        Ipld::Map(_) => check_inner(value),
        _ => Err(StrictError::NotAnObject),
    }
}

fn check_inner(value: &Ipld) -> Result<(), StrictError> {
    match value {
        Ipld::List(items) => items.iter().try_for_each(check_inner),
        Ipld::Map(entries) => {
            check_reserved_keys(value, entries)?;
            entries.values().try_for_each(check_inner)
        }
        _ => Ok(()),
    }
}

fn check_reserved_keys(value: &Ipld, entries: &BTreeMap<String, Ipld>) -> Result<(), StrictError> {
    if entries.contains_key("$link") || entries.contains_key("$bytes") {
        return Err(StrictError::Special);
    }
    match entries.get("$type") {
        None => Ok(()),
        Some(Ipld::String(text)) if text == "blob" => {
            let well_formed = BlobRef::from_ipld(value).is_some_and(|blob| blob.is_strict());
            if well_formed { Ok(()) } else { Err(StrictError::Blob) }
        }
        Some(Ipld::String(text)) if !text.is_empty() => Ok(()),
        Some(_) => Err(StrictError::Type),
    }
}

#[cfg(test)]
mod tests {
    use ipld_core::ipld;

    use super::*;
    use crate::data::Cid;

    #[test]
    fn each_rule_has_its_error() {
        let blob = BlobRef { cid: Cid::raw(b""), mime_type: "image/png".to_owned(), size: Some(0) };
        for (value, result) in [
            (ipld!({ "$type": "a.b.c", "a": [{ "b": 1 }], "c": blob.to_ipld() }), Ok(())),
            (ipld!([]), Err(StrictError::NotAnObject)),
            (ipld!({ "a": { "$type": null } }), Err(StrictError::Type)),
            (ipld!({ "a": { "$type": "" } }), Err(StrictError::Type)),
            (ipld!({ "a": [{ "$link": "x" }] }), Err(StrictError::Special)),
            (ipld!({ "$bytes": "x" }), Err(StrictError::Special)),
            (ipld!({ "a": { "$type": "blob" } }), Err(StrictError::Blob)),
            (ipld!({ "a": BlobRef { size: None, ..blob }.to_ipld() }), Err(StrictError::Blob)),
        ] {
            assert_eq!(check_strict(&value), result, "{value:?}");
        }
    }
}
