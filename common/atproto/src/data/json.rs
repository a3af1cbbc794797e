//! Values as JSON: links are `{"$link": "<cid>"}`, bytes are `{"$bytes": "<base64>"}`.
//!
//! A field of type [`Ipld`] gets this form from `#[serde(with = "atproto::data::json")]`.
//!
//! Source: atproto.com/specs/data-model, "JSON representation".

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Number, Value};

use super::value::{MAX_DEPTH, MAX_INTEGER, ValueError};
use super::{Cid, Ipld, StrictError, check_strict};

const LINK: &str = "$link";
const BYTES: &str = "$bytes";

/// Writes no padding; reads with or without, and ignores bits that are left over at the end.
/// Reference: `{"$bytes": "123"}` is taken, as the interop vectors ask.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads a value as the reference does: leniently.
///
/// A malformed `$link` or `$bytes` object stays an ordinary map, and a number such as `123.0` is an integer.
///
/// # Errors
/// `Float` for a number that is not whole, `IntegerRange`, `TooDeep`.
pub fn from_json(json: &Value) -> Result<Ipld, ValueError> {
    read(json, MAX_DEPTH)
}

/// Reads a value as the specification asks: everything [`check_strict`] refuses is an error.
pub fn from_json_strict(json: &Value) -> Result<Ipld, StrictError> {
    let value = from_json(json)?;
    check_strict(&value)?;
    Ok(value)
}

/// Writes a value. What no decoder here lets in (a float, a foreign link, an integer beyond 64 bits) becomes `null`.
pub fn to_json(value: &Ipld) -> Value {
    serde_json::to_value(Json(value)).unwrap_or_default()
}

/// Serializes a value in its JSON form, without building a [`Value`] first.
pub fn serialize<S: Serializer>(value: &Ipld, serializer: S) -> Result<S::Ok, S::Error> {
    Json(value).serialize(serializer)
}

/// Deserializes a value from its JSON form, as leniently as [`from_json`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ipld, D::Error> {
    from_json(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn read(json: &Value, levels: usize) -> Result<Ipld, ValueError> {
    match json {
        Value::Null => Ok(Ipld::Null),
        Value::Bool(value) => Ok(Ipld::Bool(*value)),
        Value::Number(number) => read_integer(number).map(|integer| Ipld::Integer(integer.into())),
        Value::String(text) => Ok(Ipld::String(text.clone())),
        Value::Array(items) => {
            let levels = levels.checked_sub(1).ok_or(ValueError::TooDeep)?;
            let items = items.iter().map(|item| read(item, levels));
            Ok(Ipld::List(items.collect::<Result<_, _>>()?))
        }
        Value::Object(entries) => {
            // Before the depth: a link or bytes are no level of their own.
            if let Some(value) = read_special(entries) {
                return Ok(value);
            }
            let levels = levels.checked_sub(1).ok_or(ValueError::TooDeep)?;
            let entries = entries.iter().map(|(key, entry)| Ok((key.clone(), read(entry, levels)?)));
            Ok(Ipld::Map(entries.collect::<Result<_, _>>()?))
        }
    }
}

/// A link or bytes, if these entries are one.
fn read_special(entries: &Map<String, Value>) -> Option<Ipld> {
    if entries.len() != 1 {
        return None;
    }
    let (key, value) = entries.iter().next()?;
    let text = value.as_str()?;
    match key.as_str() {
        LINK => text.parse::<Cid>().ok().map(|cid| Ipld::Link(cid.into())),
        BYTES => BASE64.decode(text).ok().map(Ipld::Bytes),
        _ => None,
    }
}

fn read_integer(number: &Number) -> Result<i64, ValueError> {
    let integer = match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => integer,
        (None, Some(float)) if float.fract() != 0.0 => return Err(ValueError::Float),
        // The cast saturates, so what is beyond 64 bits is out of range below as well.
        #[expect(clippy::cast_possible_truncation, reason = "whole, and checked against a smaller range")]
        (None, Some(float)) => float as i64,
        (None, None) => return Err(ValueError::IntegerRange),
    };
    if integer.unsigned_abs() <= MAX_INTEGER.unsigned_abs() { Ok(integer) } else { Err(ValueError::IntegerRange) }
}

struct Json<'a>(&'a Ipld);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Ipld::Null | Ipld::Float(_) => serializer.serialize_unit(),
            Ipld::Bool(value) => serializer.serialize_bool(*value),
            Ipld::Integer(integer) => i64::try_from(*integer).ok().serialize(serializer),
            Ipld::String(text) => serializer.serialize_str(text),
            Ipld::Bytes(bytes) => write_special(serializer, BYTES, &BASE64.encode(bytes)),
            Ipld::Link(cid) => match Cid::try_from(cid) {
                Ok(cid) => write_special(serializer, LINK, &cid),
                Err(_) => serializer.serialize_unit(),
            },
            Ipld::List(items) => serializer.collect_seq(items.iter().map(Json)),
            Ipld::Map(entries) => serializer.collect_map(entries.iter().map(|(key, entry)| (key, Json(entry)))),
        }
    }
}

fn write_special<S: Serializer, T: Serialize + ?Sized>(serializer: S, key: &str, value: &T) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

#[cfg(test)]
mod tests {
    use ipld_core::ipld;
    use serde_json::json;

    use super::*;
    use crate::data::check;

    #[test]
    fn links_and_bytes_have_their_own_form() {
        let cid = Cid::raw(b"");
        let value =
            ipld!({ "link": Ipld::Link(cid.into()), "bytes": Ipld::Bytes(vec![1]), "list": [1, null, true, "a"] });
        let json = json!({
            "link": { "$link": cid.to_string() },
            "bytes": { "$bytes": "AQ" },
            "list": [1, null, true, "a"],
        });
        assert_eq!(to_json(&value), json);
        assert_eq!(from_json(&json).unwrap(), value);
    }

    #[test]
    fn base64_is_read_leniently() {
        for (text, bytes) in [("AQ", &[1][..]), ("AQ==", &[1]), ("AR", &[1]), ("", &[]), ("123", &[0xd7, 0x6d])] {
            assert_eq!(from_json(&json!({ "$bytes": text })).unwrap(), Ipld::Bytes(bytes.into()), "{text}");
        }
    }

    #[test]
    fn malformed_links_and_bytes_stay_maps() {
        for json in [
            json!({ "$link": "." }),
            json!({ "$link": 1 }),
            json!({ "$link": Cid::raw(b"").to_string(), "other": 1 }),
            json!({ "$link": "bafybeie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454" }),
            json!({ "$bytes": [1] }),
            json!({ "$bytes": "a-_b" }),
            json!({ "$bytes": "A" }),
        ] {
            let value = from_json(&json).unwrap();
            assert!(matches!(value, Ipld::Map(_)), "{json}");
            assert_eq!(to_json(&value), json);
            assert!(from_json_strict(&json).is_err(), "{json}");
        }
    }

    #[test]
    fn numbers_must_be_whole_and_in_range() {
        for (json, result) in [
            (json!(123.0), Ok(123)),
            (json!(-0.0), Ok(0)),
            (json!(MAX_INTEGER), Ok(MAX_INTEGER)),
            (json!(-9.007_199_254_740_991e15), Ok(-MAX_INTEGER)),
            (json!(MAX_INTEGER + 1), Err(ValueError::IntegerRange)),
            (json!(u64::MAX), Err(ValueError::IntegerRange)),
            (json!(1e300), Err(ValueError::IntegerRange)),
            (json!(-1e300), Err(ValueError::IntegerRange)),
            (json!(0.5), Err(ValueError::Float)),
        ] {
            assert_eq!(from_json(&json), result.map(|integer: i64| Ipld::Integer(integer.into())), "{json}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        for scalar in [json!(1), json!({ "$bytes": "AQ" })] {
            let nested = |levels| (0..levels).fold(scalar.clone(), |inner, _| json!([{ "a": inner }]));
            let value = from_json(&nested(MAX_DEPTH / 2)).unwrap();
            assert_eq!(check(&value), Ok(()));
            assert_eq!(from_json(&nested(MAX_DEPTH / 2 + 1)), Err(ValueError::TooDeep));
        }
    }

    #[test]
    fn what_json_cannot_hold_becomes_null() {
        assert_eq!(to_json(&ipld!([1.5, 2])), json!([null, 2]));
        assert_eq!(to_json(&Ipld::Integer(i128::MAX)), json!(null));
    }

    #[test]
    fn fields_use_the_form_through_serde() {
        #[derive(Serialize, Deserialize)]
        struct Output {
            #[serde(with = "super")]
            value: Ipld,
        }
        let text = r#"{"value":{"a":{"$bytes":"AQ"}}}"#;
        let output: Output = serde_json::from_str(text).unwrap();
        assert_eq!(output.value, ipld!({ "a": Ipld::Bytes(vec![1]) }));
        assert_eq!(serde_json::to_string(&output).unwrap(), text);
    }
}
