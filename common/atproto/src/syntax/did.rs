//! Decentralized identifiers.

use std::str::FromStr;

use super::text::string_type;

/// Longest DID in bytes.
const MAX_LEN: usize = 2048;

/// A DID of any method, at most 2048 bytes: `did:plc:…`, `did:web:…`.
///
/// Says nothing about whether this server can resolve the method. Source: atproto.com/specs/did.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Did(Box<str>);

/// Why a text is not a DID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DidError {
    /// More than 2048 bytes.
    #[error("DID is too long ({MAX_LEN} bytes max)")]
    TooLong,
    /// Does not start with `did:`.
    #[error("DID must start with \"did:\"")]
    Prefix,
    /// The method is empty or not all lower-case letters.
    #[error("DID method must be one or more lower-case letters")]
    Method,
    /// The part after the method is empty, has a character that is not allowed, or ends with `:` or `%`.
    #[error("DID identifier must be letters, digits, or any of . _ : % -, and not end with ':' or '%'")]
    Identifier,
}

impl Did {
    /// True if `text` would parse.
    pub fn is_valid(text: &str) -> bool {
        check(text).is_ok()
    }

    /// The method: `plc` in `did:plc:…`.
    pub fn method(&self) -> &str {
        self.split().0
    }

    /// What follows the method and its colon, in percent-encoded form as written.
    pub fn identifier(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        split(&self.0).unwrap_or_default()
    }
}

impl FromStr for Did {
    type Err = DidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

string_type!(Did);

fn split(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("did:")?.split_once(':')
}

fn check(text: &str) -> Result<(), DidError> {
    if text.len() > MAX_LEN {
        return Err(DidError::TooLong);
    }
    if !text.starts_with("did:") {
        return Err(DidError::Prefix);
    }
    let (method, identifier) = split(text).ok_or(DidError::Identifier)?;
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(DidError::Method);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:%-".contains(&byte);
    if identifier.is_empty() || !identifier.bytes().all(allowed) || identifier.ends_with([':', '%']) {
        return Err(DidError::Identifier);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_method_and_identifier() {
        let did: Did = "did:web:localhost%3A1234".parse().unwrap();
        assert_eq!((did.method(), did.identifier()), ("web", "localhost%3A1234"));
    }

    #[test]
    fn each_rule_has_its_error() {
        for (text, error) in [
            ("DID:plc:abc", DidError::Prefix),
            ("did:plc", DidError::Identifier),
            ("did:PLC:abc", DidError::Method),
            ("did::abc", DidError::Method),
            ("did:plc:abc:", DidError::Identifier),
            ("did:plc:a/b", DidError::Identifier),
            ("did:plc:", DidError::Identifier),
        ] {
            assert_eq!(text.parse::<Did>(), Err(error), "{text}");
        }
        assert_eq!(format!("did:plc:{}", "a".repeat(MAX_LEN)).parse::<Did>(), Err(DidError::TooLong));
    }

    #[test]
    fn serde_goes_through_the_parser() {
        let did: Did = serde_json::from_str("\"did:plc:abc\"").unwrap();
        assert_eq!(serde_json::to_string(&did).unwrap(), "\"did:plc:abc\"");
        assert!(serde_json::from_str::<Did>("\"plc:abc\"").is_err());
    }
}
