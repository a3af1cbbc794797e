//! What is wrong with a value, and where: the text clients see.
//!
//! Reference: the wording is that of the reference server's validator (`@atproto/lex-schema` 0.2), as clients match on it.

use std::fmt::{self, Write};

use super::schema::Literal;
use crate::data::Ipld;

/// Longest text shown of a value, in UTF-16 units.
const MAX_PREVIEW: usize = 256;

/// How far nested lists are shown.
const MAX_PREVIEW_DEPTH: usize = 3;

/// A fault in a value. `Display` gives message and place: `Missing required key "createdAt" at $.record`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issue {
    message: String,
    /// From the inside out: the validator adds to it on its way back from the fault.
    path: Vec<Segment>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Segment {
    Key(Box<str>),
    Index(usize),
}

impl Issue {
    pub(super) fn new(message: String) -> Self {
        Self { message, path: Vec::new() }
    }

    pub(super) fn unexpected_type(found: &Ipld, expected: &str) -> Self {
        Self::new(format!("Expected {expected} value type (got {})", Preview(found, 0)))
    }

    pub(super) fn not_one_of(found: Option<&Ipld>, expected: impl Iterator<Item = String>) -> Self {
        let mut names: Vec<_> = expected.collect();
        let last = names.pop().unwrap_or_default();
        let expected = if names.is_empty() { last } else { format!("one of {} or {last}", names.join(", ")) };
        match found {
            Some(found) => Self::new(format!("Expected {expected} (got {})", Preview(found, 0))),
            None => Self::new(format!("Expected {expected} (got undefined)")),
        }
    }

    pub(super) fn bad_format(found: &str, format: &str) -> Self {
        Self::new(format!("Invalid {format} (got {})", Quoted(found)))
    }

    pub(super) fn missing_key(key: &str) -> Self {
        Self::new(format!("Missing required key {}", Quoted(key)))
    }

    pub(super) fn too_big(what: &str, maximum: impl fmt::Display, actual: impl fmt::Display) -> Self {
        Self::new(format!("{what} too big (maximum {maximum}, got {actual})"))
    }

    pub(super) fn too_small(what: &str, minimum: impl fmt::Display, actual: impl fmt::Display) -> Self {
        Self::new(format!("{what} too small (minimum {minimum}, got {actual})"))
    }

    /// The same issue, seen from the object that holds the value under `key`.
    pub(super) fn in_key(mut self, key: &str) -> Self {
        self.path.push(Segment::Key(key.into()));
        self
    }

    /// The same issue, seen from the list that holds the value at `index`.
    pub(super) fn in_item(mut self, index: usize) -> Self {
        self.path.push(Segment::Index(index));
        self
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The place, as a JSON path: `$.record.facets[0].index`.
    pub fn path(&self) -> String {
        let mut path = String::from("$");
        for segment in self.path.iter().rev() {
            // Writing to a string cannot fail.
            let _ = match segment {
                Segment::Index(index) => write!(path, "[{index}]"),
                Segment::Key(key) if is_identifier(key) => write!(path, ".{key}"),
                Segment::Key(key) => write!(path, "[{}]", Json(key)),
            };
        }
        path
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.message, self.path())
    }
}

fn is_identifier(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_' || first == '$')
        && key.bytes().skip(1).all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A literal as messages show it.
pub(super) fn show_literal(literal: &Literal) -> String {
    match literal {
        Literal::Boolean(value) => value.to_string(),
        Literal::Integer(value) => value.to_string(),
        Literal::String(text) => Quoted(text).to_string(),
    }
}

/// A name as messages show it.
pub(super) fn show_name(name: &str) -> String {
    Quoted(name).to_string()
}

/// A value in short, and its depth inside the one shown.
struct Preview<'a>(&'a Ipld, usize);

impl fmt::Display for Preview<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ipld::Null => f.write_str("null"),
            Ipld::Bool(value) => write!(f, "{value}"),
            Ipld::Integer(value) => write!(f, "{value}"),
            Ipld::Float(value) => write!(f, "{value}"),
            Ipld::String(text) => write!(f, "{}", Quoted(text)),
            Ipld::Bytes(_) => f.write_str("object"),
            Ipld::Link(_) => f.write_str("cid"),
            Ipld::List(_) if self.1 >= MAX_PREVIEW_DEPTH => f.write_str("[...]"),
            Ipld::List(items) => {
                f.write_char('[')?;
                write_first_two(f, items.iter().map(|item| Preview(item, self.1 + 1)), items.len())?;
                f.write_char(']')
            }
            Ipld::Map(entries) => {
                f.write_char('{')?;
                write_first_two(f, entries.keys().map(|key| Entry(key)), entries.len())?;
                f.write_char('}')
            }
        }
    }
}

fn write_first_two<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = T>,
    len: usize,
) -> fmt::Result {
    for (index, item) in items.take(2).enumerate() {
        write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    if len > 2 { f.write_str(", ...") } else { Ok(()) }
}

struct Entry<'a>(&'a str);

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ...", Quoted(self.0))
    }
}

/// A text in quotation marks, cut if it is long.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut units = 0;
        let mut kept = 0;
        for (at, c) in self.0.char_indices() {
            units += c.len_utf16();
            if units < MAX_PREVIEW {
                kept = at + c.len_utf8();
            } else {
                return write!(f, "{}", Json(&format!("{}…", &self.0[..kept])));
            }
        }
        write!(f, "{}", Json(self.0))
    }
}

/// A text as a JSON string.
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn places_read_as_json_paths() {
        let issue = Issue::missing_key("index").in_item(12).in_key("facets").in_key("record");
        assert_eq!(issue.to_string(), r#"Missing required key "index" at $.record.facets[12]"#);
        let issue = Issue::missing_key("a").in_key("odd key").in_key("$type").in_key("9");
        assert_eq!(issue.path(), r#"$["9"].$type["odd key"]"#);
    }

    #[test]
    fn values_are_shown_in_short() {
        let string = |text: &str| Ipld::String(text.into());
        let map =
            |keys: &[&str]| Ipld::Map(keys.iter().map(|key| ((*key).into(), Ipld::Null)).collect::<BTreeMap<_, _>>());
        for (value, expected) in [
            (Ipld::Null, "null"),
            (Ipld::Integer(-3), "-3"),
            (string("a\"\n"), r#""a\"\n""#),
            (Ipld::Bytes(vec![1]), "object"),
            (Ipld::List(vec![]), "[]"),
            (Ipld::List(vec![Ipld::Bool(true), string("b"), Ipld::Null]), r#"[true, "b", ...]"#),
            (map(&["a", "b"]), r#"{"a": ..., "b": ...}"#),
            (map(&["a", "b", "c"]), r#"{"a": ..., "b": ..., ...}"#),
        ] {
            assert_eq!(Preview(&value, 0).to_string(), expected);
        }
    }

    #[test]
    fn previews_stay_short() {
        assert_eq!(Quoted(&"x".repeat(255)).to_string(), format!("\"{}\"", "x".repeat(255)));
        assert_eq!(Quoted(&"x".repeat(256)).to_string(), format!("\"{}…\"", "x".repeat(255)));
        assert_eq!(Quoted(&"🦋".repeat(128)).to_string(), format!("\"{}…\"", "🦋".repeat(127)));
        let nested = (0..50).fold(Ipld::Null, |inner, _| Ipld::List(vec![inner, Ipld::Bool(true)]));
        assert!(Preview(&nested, 0).to_string().len() < 200);
    }

    #[test]
    fn alternatives_read_as_a_sentence() {
        let names = |names: &'static [&str]| names.iter().map(|name| show_name(name));
        assert_eq!(Issue::not_one_of(None, names(&["a"])).message(), r#"Expected "a" (got undefined)"#);
        assert_eq!(
            Issue::not_one_of(Some(&Ipld::Integer(1)), names(&["a", "b", "c"])).message(),
            r#"Expected one of "a", "b" or "c" (got 1)"#
        );
    }
}
