//! Which values the protocol allows, whatever their encoding.

use super::cbor::MAX_ITEMS;
use super::{Cid, Ipld};

/// Deepest nesting of lists and maps. The protocol names no limit; this one is far above any lexicon, and low enough for
/// every recursive reader, here and elsewhere (serde's JSON and CBOR readers stop at 127).
pub const MAX_DEPTH: usize = 100;

/// Largest magnitude of an integer: what a JavaScript number holds exactly.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Why a value is not one of the data model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A number that is not whole.
    #[error("floating point numbers are not allowed")]
    Float,
    /// An integer beyond ±(2^53 − 1).
    #[error("integer is out of range")]
    IntegerRange,
    /// A link to something other than a dag-cbor or raw block under SHA-256.
    #[error("link has an unsupported CID")]
    Link,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("value is nested too deeply ({MAX_DEPTH} levels max)")]
    TooDeep,
    /// More than [`MAX_ITEMS`] items.
    #[error("value has too many items ({MAX_ITEMS} max)")]
    TooManyItems,
}

/// Checks that `value` holds only what the data model allows: no floats, integers within ±[`MAX_INTEGER`], links of the
/// two known kinds, at most [`MAX_DEPTH`] levels.
pub fn check(value: &Ipld) -> Result<(), ValueError> {
    check_below(value, MAX_DEPTH)
}

fn check_below(value: &Ipld, levels: usize) -> Result<(), ValueError> {
    match value {
        Ipld::Null | Ipld::Bool(_) | Ipld::String(_) | Ipld::Bytes(_) => Ok(()),
        Ipld::Integer(integer) if integer.unsigned_abs() <= u128::from(MAX_INTEGER.unsigned_abs()) => Ok(()),
        Ipld::Integer(_) => Err(ValueError::IntegerRange),
        Ipld::Float(_) => Err(ValueError::Float),
        Ipld::Link(cid) => Cid::try_from(cid).map(|_| ()).map_err(|_| ValueError::Link),
        Ipld::List(_) | Ipld::Map(_) if levels == 0 => Err(ValueError::TooDeep),
        Ipld::List(items) => items.iter().try_for_each(|item| check_below(item, levels - 1)),
        Ipld::Map(entries) => entries.values().try_for_each(|entry| check_below(entry, levels - 1)),
    }
}

/// The `$type` of a record or union member; `None` if there is none, or if it is not a text or empty.
pub fn record_type(value: &Ipld) -> Option<&str> {
    match value {
        Ipld::Map(entries) => match entries.get("$type") {
            Some(Ipld::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ipld_core::ipld;

    use super::*;

    fn nested(levels: usize) -> Ipld {
        (0..levels).fold(Ipld::Null, |inner, _| Ipld::List(vec![inner]))
    }

    #[test]
    fn limits_hold_at_their_edges() {
        let dag_pb = cid::Cid::new_v1(0x70, cid::Cid::from(Cid::raw(b"")).hash().to_owned());
        for (value, result) in [
            (ipld!({ "a": [1, null, true, "b"] }), Ok(())),
            (Ipld::Integer(MAX_INTEGER.into()), Ok(())),
            (Ipld::Integer((-MAX_INTEGER).into()), Ok(())),
            (Ipld::Integer(i128::from(MAX_INTEGER) + 1), Err(ValueError::IntegerRange)),
            (Ipld::Integer(i128::MIN), Err(ValueError::IntegerRange)),
            (ipld!({ "a": [1.5] }), Err(ValueError::Float)),
            (Ipld::Link(Cid::raw(b"").into()), Ok(())),
            (Ipld::Link(dag_pb), Err(ValueError::Link)),
            (nested(MAX_DEPTH), Ok(())),
            (nested(MAX_DEPTH + 1), Err(ValueError::TooDeep)),
        ] {
            assert_eq!(check(&value), result, "{value:?}");
        }
    }

    #[test]
    fn record_types() {
        assert_eq!(record_type(&ipld!({ "$type": "a.b.c" })), Some("a.b.c"));
        for value in [ipld!({ "$type": "" }), ipld!({ "$type": 1 }), ipld!({}), ipld!("a.b.c")] {
            assert_eq!(record_type(&value), None, "{value:?}");
        }
    }
}
