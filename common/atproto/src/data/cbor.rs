//! Values as DAG-CBOR, in the one form each value has: what decodes here encodes to the same bytes again.
//!
//! Source: atproto.com/specs/data-model, "Data encoding"; DRISL.

use super::{Ipld, ValueError, check};

/// Longest encoding of one value: the protocol's limit for a record, read generously.
pub const MAX_LEN: usize = 1 << 20;

/// Most items (scalars, lists, maps and map keys) in one value. In memory an item takes up to 500 bytes, in maps of one
/// entry, so without this a block within [`MAX_LEN`] could claim 400 MB.
pub const MAX_ITEMS: usize = 1 << 17;

/// Tag 42, which makes a link of the bytes that follow.
const LINK_TAG: [u8; 2] = [0xd8, 42];

/// How the bytes of every allowed link start: 37 of them, a zero and the CID.
const LINK_START: [u8; 3] = [0x58, 37, 0];

/// Why bytes are not a value, or a value not encodable.
#[derive(Debug, thiserror::Error)]
pub enum CborError {
    /// More than [`MAX_LEN`] bytes.
    #[error("CBOR is too long ({MAX_LEN} bytes max)")]
    TooLong,
    /// More than [`MAX_ITEMS`] items.
    #[error("CBOR has too many items ({MAX_ITEMS} max)")]
    TooManyItems,
    /// Not DAG-CBOR in its canonical form, or followed by more bytes.
    #[error("malformed DAG-CBOR")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// DAG-CBOR that holds what the data model does not allow.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// Encodes a value. What encodes can also be decoded: a record that is stored can be read again.
///
/// # Errors
/// `Value` if the value is not one of the data model, `TooLong` and `TooManyItems` if it is too big.
pub fn encode(value: &Ipld) -> Result<Vec<u8>, CborError> {
    check(value)?;
    let bytes = serde_ipld_dagcbor::to_vec(value).map_err(|error| CborError::Malformed(error.into()))?;
    check_heads(&bytes)?;
    Ok(bytes)
}

/// Decodes exactly one value, strictly; memory use is bounded by [`MAX_LEN`] and [`MAX_ITEMS`].
pub fn decode(bytes: &[u8]) -> Result<Ipld, CborError> {
    check_heads(bytes)?;
    let value = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| CborError::Malformed(error.into()))?;
    check(&value)?;
    Ok(value)
}

/// Goes through the item heads without decoding and counts them, and refuses what the decoder lets pass although it has a
/// second, shorter encoding: indefinite lengths of map keys, and links with more bytes after their CID.
///
/// Lists and maps that promise more items than can follow are refused as well: the decoder allocates by their promises.
fn check_heads(mut bytes: &[u8]) -> Result<(), CborError> {
    if bytes.len() > MAX_LEN {
        return Err(CborError::TooLong);
    }
    // Items that were promised and have not come by yet.
    let mut pending = 1_usize;
    for seen in 1..=MAX_ITEMS {
        if bytes.strip_prefix(&LINK_TAG).is_some_and(|link| !link.starts_with(&LINK_START)) {
            return Err(ValueError::Link.into());
        }
        let (inside, rest) = skip_head(bytes).ok_or_else(|| malformed("not canonical, or cut off"))?;
        bytes = rest;
        pending = (pending - 1).saturating_add(inside);
        if pending > bytes.len() {
            return Err(malformed("cut off"));
        }
        if pending == 0 {
            return if bytes.is_empty() { Ok(()) } else { Err(malformed("bytes after the end")) };
        }
        if pending > MAX_ITEMS - seen {
            break;
        }
    }
    Err(CborError::TooManyItems)
}

fn malformed(what: &'static str) -> CborError {
    CborError::Malformed(what.into())
}

/// How many items the first head promises, and what follows it and its text or bytes if it has any; `None` if that is
/// cut off, or if the head is of indefinite length or longer than it need be.
fn skip_head(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&head, rest) = bytes.split_first()?;
    let (major, short) = (head >> 5, head & 0x1f);
    let argument_len = match short {
        0..=23 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let (argument, rest) = rest.split_at_checked(argument_len)?;
    let argument = argument.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    let (argument, minimal) = match argument_len {
        0 => (u64::from(short), true),
        1 => (argument, argument >= 24),
        len => (argument, argument >> (len * 4) != 0),
    };
    if !minimal {
        return None;
    }
    let argument = usize::try_from(argument).ok();
    match major {
        2 | 3 => Some((0, rest.get(argument?..)?)),
        4 => Some((argument?, rest)),
        5 => Some((argument?.checked_mul(2)?, rest)),
        6 => Some((1, rest)),
        _ => Some((0, rest)),
    }
}

#[cfg(test)]
mod tests {
    use ipld_core::ipld;

    use super::*;
    use crate::data::Cid;

    #[test]
    fn values_have_one_encoding() {
        for (value, bytes) in [
            (ipld!({}), &b"\xa0"[..]),
            (ipld!({ "b": 1, "aa": 2 }), b"\xa2\x61b\x01\x62aa\x02"),
            (ipld!([null, true, false, -1, 24]), b"\x85\xf6\xf5\xf4\x20\x18\x18"),
            (Ipld::Bytes(vec![1, 2]), b"\x42\x01\x02"),
        ] {
            assert_eq!(encode(&value).unwrap(), bytes);
            assert_eq!(decode(bytes).unwrap(), value);
        }
        let link = Ipld::Link(Cid::raw(b"").into());
        assert_eq!(decode(&encode(&link).unwrap()).unwrap(), link);
    }

    #[test]
    fn other_encodings_are_malformed() {
        for (what, bytes) in [
            ("nothing", &b""[..]),
            ("trailing byte", b"\xa0\x00"),
            ("keys out of order", b"\xa2\x62aa\x02\x61b\x01"),
            ("duplicate key", b"\xa2\x61a\x01\x61a\x01"),
            ("key that is no text", b"\xa1\x01\x01"),
            ("long form of an integer", b"\x18\x01"),
            ("long form of a length", b"\x58\x01a"),
            ("indefinite list", b"\x9f\xff"),
            ("indefinite text", b"\x7f\x61a\xff"),
            ("indefinite key", b"\xa1\x7f\xff\x01"),
            ("long form of a key's length", b"\xa1\x78\x01a\x01"),
            ("undefined", b"\xf7"),
            ("half float", b"\xf9\x3c\x00"),
            ("other tag", b"\xc1\x01"),
            ("bad UTF-8", b"\x61\xff"),
            ("bytes cut off", b"\x42\x01"),
            ("list of 2^64-1 items", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
            ("list with one item too few", b"\x82\x01"),
            ("map without its last value", b"\xa1\x61a"),
            ("map of 2^63 entries", b"\xbb\x80\x00\x00\x00\x00\x00\x00\x00"),
            ("text of 2^64-1 bytes", b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff"),
        ] {
            assert!(matches!(decode(bytes), Err(CborError::Malformed(_))), "{what}");
        }
    }

    #[test]
    fn values_outside_the_data_model_are_refused() {
        let mut long_link = encode(&Ipld::Link(Cid::raw(b"").into())).unwrap();
        long_link[3] += 1;
        long_link.push(0);
        let mut too_deep = vec![0x81; 101];
        too_deep.push(0xf6);
        for (bytes, error) in [
            (&b"\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00"[..], ValueError::Float),
            (b"\x1b\x00\x20\x00\x00\x00\x00\x00\x00", ValueError::IntegerRange),
            (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", ValueError::IntegerRange),
            (b"\xd8\x2a\x01", ValueError::Link),
            (&long_link, ValueError::Link),
            (&too_deep, ValueError::TooDeep),
        ] {
            assert!(matches!(decode(bytes), Err(CborError::Value(found)) if found == error), "{bytes:?}");
        }
        assert!(matches!(encode(&ipld!(1.0)), Err(CborError::Value(ValueError::Float))));
    }

    #[test]
    fn promises_are_not_believed() {
        // Lists of a million items each, one in the other: the decoder would allocate for each.
        let lists = [0x9a, 0, 0x10, 0, 0].repeat(90);
        assert!(matches!(decode(&lists), Err(CborError::Malformed(_))));
        // And with so much behind them that the first promise could be kept.
        let promised = [&lists[..], &vec![0; MAX_LEN - lists.len()]].concat();
        assert!(matches!(decode(&promised), Err(CborError::Malformed(_) | CborError::TooManyItems)));
        for levels in [5000, MAX_ITEMS - 1] {
            let deep = [vec![0x81; levels], vec![0x80]].concat();
            assert!(matches!(decode(&deep), Err(CborError::Malformed(_) | CborError::Value(ValueError::TooDeep))));
        }
    }

    #[test]
    fn size_and_number_of_items_are_bounded() {
        let mut ones = vec![0x9a, 0, 2, 0, 0];
        ones.resize(5 + MAX_ITEMS, 1);
        assert!(matches!(decode(&ones), Err(CborError::TooManyItems)));
        ones[4] = 0xff;
        ones[3] = 0xff;
        ones[2] = 1;
        ones.pop();
        assert!(decode(&ones).is_ok());
        assert!(matches!(decode(&vec![0; MAX_LEN + 1]), Err(CborError::TooLong)));

        let text = Ipld::String("a".repeat(MAX_LEN - 5));
        assert_eq!(decode(&encode(&text).unwrap()).unwrap(), text);
        assert!(matches!(encode(&Ipld::String("a".repeat(MAX_LEN))), Err(CborError::TooLong)));
        assert!(matches!(encode(&Ipld::List(vec![Ipld::Null; MAX_ITEMS])), Err(CborError::TooManyItems)));
        assert!(encode(&Ipld::List(vec![Ipld::Null; MAX_ITEMS - 1])).is_ok());
    }
}
