//! Values as JSON: links are `{"$link": "<cid>"}`, bytes are `{"$bytes": "<base64>"}`.
//!
//! A field of type [`Ipld`] gets this form from `#[serde(with = "atproto::data::json")]`.
//!
//! Source: atproto.com/specs/data-model, "JSON representation".

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::cbor::MAX_ITEMS;
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
/// `Float` for a number that is not whole, `IntegerRange`, `TooDeep`, `TooManyItems`.
pub fn from_json(json: &Value) -> Result<Ipld, ValueError> {
    let limits = Limits::default();
    // JSON at hand gives no errors but ours.
    limits.reader().deserialize(json).map_err(|_| limits.fault.get().unwrap_or(ValueError::TooDeep))
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

/// Deserializes a value from its JSON form, as leniently as [`from_json`], without building a [`Value`] first: one in
/// memory takes up to 500 times its text, so the limits must hold while the text is read.
///
/// Of a key that is given twice the last value counts, but all of them must be of the data model.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ipld, D::Error> {
    Limits::default().reader().deserialize(deserializer)
}

/// What one value may still take, and why it was refused.
struct Limits {
    items: Cell<usize>,
    fault: Cell<Option<ValueError>>,
}

impl Default for Limits {
    fn default() -> Self {
        // Two more for the key and the text of a link or bytes, which count until it is known that they are one.
        Self { items: Cell::new(MAX_ITEMS + 2), fault: Cell::new(None) }
    }
}

impl Limits {
    fn reader(&self) -> Reader<'_> {
        Reader { levels: MAX_DEPTH + 1, limits: self }
    }

    fn refuse<E: de::Error>(&self, fault: ValueError) -> E {
        self.fault.set(Some(fault));
        E::custom(fault)
    }

    fn count_item<E: de::Error>(&self) -> Result<(), E> {
        let left = self.items.get().checked_sub(1).ok_or_else(|| self.refuse(ValueError::TooManyItems))?;
        self.items.set(left);
        Ok(())
    }
}

/// Reads one value inside of others.
#[derive(Clone, Copy)]
struct Reader<'a> {
    /// Levels of lists and maps that may follow, and one more for a link or bytes, which are no level of their own.
    levels: usize,
    limits: &'a Limits,
}

impl Reader<'_> {
    /// The reader of what this list or map holds.
    fn inside<E: de::Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| self.limits.refuse(ValueError::TooDeep))?;
        Ok(Self { levels, ..self })
    }

    /// Refuses a list or map on the level that is for links and bytes only.
    fn check_level<E: de::Error>(self) -> Result<(), E> {
        if self.levels > 1 { Ok(()) } else { Err(self.limits.refuse(ValueError::TooDeep)) }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Ipld;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Ipld, D::Error> {
        self.limits.count_item()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Ipld;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the data model")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Ipld, E> {
        Ok(Ipld::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Ipld, E> {
        Ok(Ipld::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Ipld, E> {
        let in_range = value.unsigned_abs() <= MAX_INTEGER.unsigned_abs();
        if in_range { Ok(Ipld::Integer(value.into())) } else { Err(self.limits.refuse(ValueError::IntegerRange)) }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Ipld, E> {
        self.visit_i64(i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Ipld, E> {
        if value.fract() != 0.0 {
            return Err(self.limits.refuse(ValueError::Float));
        }
        // The cast saturates, so what is beyond 64 bits is out of range there as well.
        #[expect(clippy::cast_possible_truncation, reason = "whole, and checked against a smaller range")]
        let whole = value as i64;
        self.visit_i64(whole)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ipld, E> {
        Ok(Ipld::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Ipld, E> {
        Ok(Ipld::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ipld, A::Error> {
        self.check_level()?;
        let (reader, mut items) = (self.inside()?, Vec::new());
        while let Some(item) = list.next_element_seed(reader)? {
            items.push(item);
        }
        Ok(Ipld::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ipld, A::Error> {
        let (reader, mut entries) = (self.inside()?, BTreeMap::new());
        while let Some(key) = map.next_key::<String>()? {
            self.limits.count_item()?;
            entries.insert(key, map.next_value_seed(reader)?);
        }
        if let Some(value) = read_special(&entries) {
            // The key and the text are no items of the value.
            self.limits.items.set(self.limits.items.get() + 2);
            return Ok(value);
        }
        self.check_level()?;
        Ok(Ipld::Map(entries))
    }
}

/// A link or bytes, if these entries are one.
fn read_special(entries: &BTreeMap<String, Ipld>) -> Option<Ipld> {
    if entries.len() != 1 {
        return None;
    }
    let (key, Ipld::String(text)) = entries.first_key_value()? else {
        return None;
    };
    match key.as_str() {
        LINK => text.parse::<Cid>().ok().map(|cid| Ipld::Link(cid.into())),
        BYTES => BASE64.decode(text).ok().map(Ipld::Bytes),
        _ => None,
    }
}

struct Json<'a>(&'a Ipld);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Ipld::Null | Ipld::Float(_) => serializer.serialize_unit(),
            Ipld::Bool(value) => serializer.serialize_bool(*value),
            Ipld::Integer(integer) => i64::try_from(*integer).ok().serialize(serializer),
            Ipld::String(text) => serializer.serialize_str(text),
            Ipld::Bytes(bytes) => write_bytes(serializer, bytes),
            Ipld::Link(cid) => match Cid::try_from(cid) {
                Ok(cid) => write_link(serializer, &cid),
                Err(_) => serializer.serialize_unit(),
            },
            Ipld::List(items) => serializer.collect_seq(items.iter().map(Json)),
            Ipld::Map(entries) => serializer.collect_map(entries.iter().map(|(key, entry)| (key, Json(entry)))),
        }
    }
}

pub(super) fn write_bytes<S: Serializer>(serializer: S, bytes: &[u8]) -> Result<S::Ok, S::Error> {
    write_special(serializer, BYTES, &BASE64.encode(bytes))
}

pub(super) fn write_link<S: Serializer>(serializer: S, cid: &Cid) -> Result<S::Ok, S::Error> {
    write_special(serializer, LINK, cid)
}

fn write_special<S: Serializer, T: Serialize + ?Sized>(serializer: S, key: &str, value: &T) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

#[cfg(test)]
mod tests {
    use ipld_core::ipld;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::data::{cbor, check};

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

    fn read_text(text: &str) -> Result<Ipld, String> {
        deserialize(&mut serde_json::Deserializer::from_str(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_number_of_items_is_bounded() {
        let links = |count| json!(vec![json!({ "$link": Cid::raw(b"").to_string() }); count]);
        // A link is two items in CBOR and one here: what CBOR holds can be read.
        for (json, items) in
            [(json!([0, 0]), 1), (json!([[], []]), 1), (links(2), 1), (json!([{ "a": 1 }, { "a": 1 }]), 3)]
        {
            let element = &json[0];
            let most = (MAX_ITEMS - 1) / items;
            assert!(from_json(&json!(vec![element; most])).is_ok(), "{element}");
            assert_eq!(from_json(&json!(vec![element; most + 3])), Err(ValueError::TooManyItems), "{element}");
        }
        let most = from_json(&json!(vec![0; MAX_ITEMS - 1])).unwrap();
        assert!(cbor::encode(&most).is_ok());
    }

    #[test]
    fn text_is_read_no_further_than_its_limits() {
        for (start, fault) in [
            ("[0,".repeat(MAX_DEPTH + 1), "nested too deeply"),
            ("{\"a\":".repeat(MAX_DEPTH + 2), "nested too deeply"),
            (format!("[{}", "{},".repeat(MAX_ITEMS + 2)), "too many items"),
            (format!("{{{}", "\"a\":0,".repeat(MAX_ITEMS + 2)), "too many items"),
        ] {
            let error = read_text(&format!("{start}and no more")).unwrap_err();
            assert!(error.contains(fault), "{error}");
        }
    }

    #[test]
    fn a_key_given_twice_has_its_last_value() {
        assert_eq!(read_text(r#"{"a":2,"a":1}"#), Ok(ipld!({ "a": 1 })));
        assert!(read_text(r#"{"a":0.5,"a":1}"#).is_err());
    }

    #[test]
    fn names_that_serde_json_gives_a_meaning_have_none() {
        let text = r#"{"$serde_json::private::RawValue":"[1.5]","$serde_json::private::Number":"1"}"#;
        let value = ipld!({ "$serde_json::private::RawValue": "[1.5]", "$serde_json::private::Number": "1" });
        assert_eq!(read_text(text), Ok(value));
        let text = r#"{"$serde_json::private::RawValue":"[1.5]"}"#;
        assert_eq!(read_text(text), Ok(ipld!({ "$serde_json::private::RawValue": "[1.5]" })));
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
