//! Record keys: the name of a record inside its collection.

use std::str::FromStr;

use super::Tid;
use super::text::string_type;

/// Longest record key in bytes.
const MAX_LEN: usize = 512;

/// A record key: 1 to 512 characters of `A-Za-z0-9_~.:-`, but not `.` or `..`. Source: atproto.com/specs/record-key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey(Box<str>);

/// Why a text is not a record key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordKeyError {
    /// Empty, or more than 512 bytes.
    #[error("record key must have 1 to {MAX_LEN} characters")]
    Length,
    /// A character that is not allowed.
    #[error("record key must be letters, digits, or any of . _ ~ : -")]
    Character,
    /// `.` or `..`, which would be lost in URL paths.
    #[error("record key can not be \".\" or \"..\"")]
    Dots,
}

impl RecordKey {
    /// True if `text` would parse.
    pub fn is_valid(text: &str) -> bool {
        check(text).is_ok()
    }
}

impl FromStr for RecordKey {
    type Err = RecordKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

impl From<Tid> for RecordKey {
    fn from(tid: Tid) -> Self {
        Self(tid.to_string().into())
    }
}

string_type!(RecordKey);

fn check(text: &str) -> Result<(), RecordKeyError> {
    if !(1..=MAX_LEN).contains(&text.len()) {
        return Err(RecordKeyError::Length);
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~:-".contains(&byte)) {
        return Err(RecordKeyError::Character);
    }
    if text == "." || text == ".." {
        return Err(RecordKeyError::Dots);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_error() {
        for (text, error) in [
            ("", RecordKeyError::Length),
            ("a/b", RecordKeyError::Character),
            ("a b", RecordKeyError::Character),
            (".", RecordKeyError::Dots),
            ("..", RecordKeyError::Dots),
        ] {
            assert_eq!(text.parse::<RecordKey>(), Err(error), "{text}");
        }
        assert!("...".parse::<RecordKey>().is_ok());
        assert_eq!("o".repeat(513).parse::<RecordKey>(), Err(RecordKeyError::Length));
    }

    #[test]
    fn every_tid_is_a_record_key() {
        let key = RecordKey::from(Tid::from_micros(1_700_000_000_000_000, 5));
        assert_eq!(key.as_str().parse(), Ok(key));
    }
}
