//! Handles: the names of accounts.

use std::str::FromStr;

use super::domain::{MAX_DOMAIN_LEN, is_label};
use super::text::string_type;

/// Top-level domains that no account may use, although they are valid syntax.
///
/// `.test` is not among them: it is for development and never resolves in public.
const DISALLOWED_TLDS: [&str; 8] = ["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"];

/// A handle: a DNS name of at least two labels, at most 253 bytes, held in lower case. Source: atproto.com/specs/handle.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(Box<str>);

/// Why a text is not a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// More than 253 bytes.
    #[error("Handle is too long ({MAX_DOMAIN_LEN} bytes max)")]
    TooLong,
    /// No dot.
    #[error("Handle domain needs at least two parts")]
    NoDot,
    /// A label is empty, too long, has a character that is not allowed, or begins or ends with a hyphen.
    #[error("Handle parts must be 1 to 63 letters, digits or hyphens, with no hyphen at either end")]
    Label,
    /// The last label does not begin with a letter.
    #[error("Handle final component (TLD) must start with a letter")]
    Tld,
}

impl Handle {
    /// What stands in place of a handle that does not resolve back to its account.
    pub const INVALID: &str = "handle.invalid";

    /// True if `text` would parse.
    pub fn is_valid(text: &str) -> bool {
        check(text).is_ok()
    }

    /// True if the top-level domain is one that the protocol keeps out of use, such as `.local` or `.onion`.
    pub fn has_disallowed_tld(&self) -> bool {
        let tld = self.0.rsplit('.').next().unwrap_or_default();
        DISALLOWED_TLDS.contains(&tld)
    }
}

impl FromStr for Handle {
    type Err = HandleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text)?;
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

string_type!(Handle);

fn check(text: &str) -> Result<(), HandleError> {
    if text.len() > MAX_DOMAIN_LEN {
        return Err(HandleError::TooLong);
    }
    let (_, tld) = text.rsplit_once('.').ok_or(HandleError::NoDot)?;
    if !text.split('.').all(is_label) {
        return Err(HandleError::Label);
    }
    if !tld.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err(HandleError::Tld);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_case_is_folded() {
        assert_eq!("Alice.Example.COM".parse::<Handle>().unwrap().as_str(), "alice.example.com");
    }

    #[test]
    fn each_rule_has_its_error() {
        for (text, error) in [
            ("alice", HandleError::NoDot),
            ("alice..test", HandleError::Label),
            ("alice.test.", HandleError::Label),
            ("-alice.test", HandleError::Label),
            ("alice_.test", HandleError::Label),
            ("bücher.test", HandleError::Label),
            ("127.0.0.1", HandleError::Tld),
        ] {
            assert_eq!(text.parse::<Handle>(), Err(error), "{text}");
        }
        assert_eq!(format!("{}test", "a.".repeat(130)).parse::<Handle>(), Err(HandleError::TooLong));
    }

    #[test]
    fn reserved_top_level_domains_are_told_apart() {
        for (text, disallowed) in [
            ("alice.test", false),
            ("alice.com", false),
            ("local.alice.com", false),
            ("alice.local", true),
            ("alice.onion", true),
            (Handle::INVALID, true),
        ] {
            assert_eq!(text.parse::<Handle>().unwrap().has_disallowed_tld(), disallowed, "{text}");
        }
    }
}
