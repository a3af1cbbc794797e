//! Values as DAG-CBOR, in the one form each value has: what decodes here encodes to the same bytes again.
//!
//! Source: atproto.com/specs/data-model, "Data encoding"; DRISL.

use super::{Ipld, ValueError, check};

/// Longest encoding of one value: the protocol's limit for a record, read generously.
pub const MAX_LEN: usize = 1 << 20;

/// Most items (scalars, lists, maps and map keys) in one value. In memory an item takes up to 130 times its shortest
/// encoding, so without this a block within [`MAX_LEN`] could claim more than 100 MB.
pub const MAX_ITEMS: usize = 1 << 17;

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
    check_size(&bytes)?;
    Ok(bytes)
}

/// Decodes exactly one value, strictly; memory use is bounded by [`MAX_LEN`] and [`MAX_ITEMS`].
pub fn decode(bytes: &[u8]) -> Result<Ipld, CborError> {
    check_size(bytes)?;
    let value = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| CborError::Malformed(error.into()))?;
    check(&value)?;
    Ok(value)
}

fn check_size(bytes: &[u8]) -> Result<(), CborError> {
    if bytes.len() > MAX_LEN {
        return Err(CborError::TooLong);
    }
    if has_more_items_than(bytes, MAX_ITEMS) {
        return Err(CborError::TooManyItems);
    }
    Ok(())
}

/// Counts item heads without decoding. Of malformed bytes it looks only at what comes before the mistake, as the decoder does.
fn has_more_items_than(mut bytes: &[u8], max: usize) -> bool {
    if bytes.len() <= max {
        return false;
    }
    for _ in 0..max {
        match skip_head(bytes) {
            Some(rest) => bytes = rest,
            None => return false,
        }
    }
    !bytes.is_empty()
}

/// What follows the first head, and its text or bytes if it has any; `None` at the end or at a mistake.
fn skip_head(bytes: &[u8]) -> Option<&[u8]> {
    let (&head, rest) = bytes.split_first()?;
    let argument_len = match head & 0x1f {
        0..=23 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let (argument, rest) = rest.split_at_checked(argument_len)?;
    if !matches!(head >> 5, 2 | 3) {
        return Some(rest);
    }
    let len = match argument {
        [] => u64::from(head & 0x1f),
        _ => argument.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)),
    };
    rest.get(usize::try_from(len).ok()?..)
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
            ("undefined", b"\xf7"),
            ("half float", b"\xf9\x3c\x00"),
            ("other tag", b"\xc1\x01"),
            ("tag 42 over an integer", b"\xd8\x2a\x01"),
            ("bad UTF-8", b"\x61\xff"),
            ("bytes cut off", b"\x42\x01"),
            ("list of 2^64-1 items", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
            ("text of 2^64-1 bytes", b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff"),
        ] {
            assert!(matches!(decode(bytes), Err(CborError::Malformed(_))), "{what}");
        }
    }

    #[test]
    fn values_outside_the_data_model_are_refused() {
        let mut too_deep = vec![0x81; 101];
        too_deep.push(0xf6);
        for (bytes, error) in [
            (&b"\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00"[..], ValueError::Float),
            (b"\x1b\x00\x20\x00\x00\x00\x00\x00\x00", ValueError::IntegerRange),
            (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", ValueError::IntegerRange),
            (&too_deep, ValueError::TooDeep),
        ] {
            assert!(matches!(decode(bytes), Err(CborError::Value(found)) if found == error), "{bytes:?}");
        }
        assert!(matches!(encode(&ipld!(1.0)), Err(CborError::Value(ValueError::Float))));
        assert!(decode(&vec![0x81; 5000]).is_err());
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
