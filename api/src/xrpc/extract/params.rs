//! Reading a query string into a struct.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map},
};

use serde::{
    de::{
        self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor,
        value::{Error, MapAccessDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use url::form_urlencoded;

/// Reads `query` by the rules of [`super::XrpcQuery`].
pub(super) fn from_query<T: DeserializeOwned>(query: &str) -> Result<T, Error> {
    let mut parameters = BTreeMap::<Cow<'_, str>, Vec<Cow<'_, str>>>::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
        parameters.entry(key).or_default().push(value);
    }
    T::deserialize(MapAccessDeserializer::new(Parameters { rest: parameters.into_iter(), current: None }))
}

/// A key and all its values.
type Parameter<'a> = (Cow<'a, str>, Vec<Cow<'a, str>>);

struct Parameters<'a> {
    rest: btree_map::IntoIter<Cow<'a, str>, Vec<Cow<'a, str>>>,
    current: Option<Parameter<'a>>,
}

impl<'de> MapAccess<'de> for Parameters<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.rest.next();
        self.current.as_ref().map(|(key, _)| seed.deserialize(key.as_ref().into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((key, values)) = self.current.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        seed.deserialize(Values(values)).map_err(|error| de::Error::custom(format_args!("{key}: {error}")))
    }
}

/// All values of one key.
struct Values<'a>(Vec<Cow<'a, str>>);

impl<'a> Values<'a> {
    fn single(mut self) -> Result<Cow<'a, str>, Error> {
        match (self.0.pop(), self.0.is_empty()) {
            (Some(value), true) => Ok(value),
            _ => Err(de::Error::custom("given more than once")),
        }
    }

    fn integer(self) -> Result<i64, Error> {
        let text = self.single()?;
        let digits = text.strip_prefix('-').unwrap_or(&text);
        if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(de::Error::custom("must be an integer"));
        }
        text.parse().map_err(|_| de::Error::custom("must be an integer"))
    }
}

impl IntoDeserializer<'_> for Values<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! integers {
    ($($name:ident)+) => {
        $(
            fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                visitor.visit_i64(self.integer()?)
            }
        )+
    };
}

impl<'de> Deserializer<'de> for Values<'_> {
    type Error = Error;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(&self.single()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &*self.single()? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(de::Error::custom("must be true or false")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(self.0.into_iter().map(|value| Values(vec![value]))))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.single()?.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::{super::Limit, *};

    #[derive(Deserialize, PartialEq, Debug)]
    #[serde(rename_all = "camelCase")]
    struct Params {
        did: String,
        #[serde(default)]
        limit: Limit<1, 100, 50>,
        reverse: Option<bool>,
        since_ms: Option<i64>,
        #[serde(default)]
        uris: Vec<String>,
        sort: Option<Sort>,
    }

    #[derive(Deserialize, PartialEq, Debug)]
    #[serde(rename_all = "lowercase")]
    enum Sort {
        Recent,
        Usage,
    }

    fn read(query: &str) -> Result<Params, String> {
        from_query(query).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_of_parameter() {
        let params =
            read("did=did%3Aplc%3Aa&limit=7&reverse=true&sinceMs=-12&uris=a&uris=b+c&sort=usage&more=1&more=2");
        let params = params.unwrap();
        assert_eq!(params.did, "did:plc:a");
        assert_eq!((params.limit.get(), params.reverse, params.since_ms), (7, Some(true), Some(-12)));
        assert_eq!((params.uris, params.sort), (vec!["a".to_owned(), "b c".to_owned()], Some(Sort::Usage)));
    }

    #[test]
    fn empty_values_are_absent() {
        let params = read("did=a&limit=&reverse=&sinceMs=&uris=&sort=").unwrap();
        assert_eq!((params.limit.get(), params.reverse, params.since_ms), (50, None, None));
        assert!(params.uris.is_empty() && params.sort.is_none());
        assert_eq!(read("did=").unwrap_err(), "missing field `did`");
    }

    #[test]
    fn one_value_may_stand_for_an_array() {
        assert_eq!(read("did=a&uris=b").unwrap().uris, ["b"]);
    }

    #[test]
    fn bad_values_name_their_parameter() {
        let cases = [
            ("did=a&did=b", "did: given more than once"),
            ("did=a&limit=ten", "limit: must be an integer"),
            ("did=a&limit=%2B5", "limit: must be an integer"),
            ("did=a&limit=1.0", "limit: must be an integer"),
            ("did=a&limit=0", "limit: must not be less than 1"),
            ("did=a&limit=101", "limit: must not be greater than 100"),
            ("did=a&reverse=1", "reverse: must be true or false"),
            ("did=a&reverse=True", "reverse: must be true or false"),
            ("did=a&sinceMs=99999999999999999999", "sinceMs: must be an integer"),
        ];
        for (query, expected) in cases {
            assert_eq!(read(query).unwrap_err(), expected, "{query}");
        }
        assert!(read("did=a&sort=best").unwrap_err().starts_with("sort: unknown variant"));
    }

    /// A server reads what a client of 64 KiB may send, in a time that does not grow with the square of its keys.
    #[test]
    fn a_long_query_of_many_keys_is_read() {
        let query = (0..8000).fold("did=a".to_owned(), |query, number| format!("{query}&{number:x}=1&uris=b"));
        let params = read(&query).unwrap();
        assert_eq!((params.did.as_str(), params.uris.len()), ("a", 8000));
    }

    proptest! {
        #[test]
        fn no_query_breaks_the_reader(query in "((did|limit|reverse|sinceMs|uris|sort|%[0-9a-z]{2}|.{0,3})=?([0-9-]{0,22}|true|usage|.{0,5})&?){0,8}") {
            if let Ok(params) = read(&query) {
                prop_assert!((1..=100).contains(&params.limit.get()) && !params.did.is_empty());
            }
        }

        #[test]
        fn what_a_client_encodes_is_read(did in ".{1,20}", since: i64, uris in prop::collection::vec(".{1,9}", 0..5)) {
            let since_ms = since.to_string();
            let pairs = [("did", did.as_str()), ("sinceMs", &since_ms)];
            let pairs = pairs.into_iter().chain(uris.iter().map(|uri| ("uris", uri.as_str())));
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            let params = read(&query).unwrap();
            prop_assert_eq!((params.did, params.since_ms, params.uris), (did, Some(since), uris));
        }
    }
}
