//! Namespaced identifiers: names of lexicons, methods and record types.

use std::str::FromStr;

use super::domain::{MAX_DOMAIN_LEN, MAX_LABEL_LEN, is_label};
use super::text::string_type;

/// Longest NSID in bytes: authority, dot and name.
const MAX_LEN: usize = MAX_DOMAIN_LEN + 1 + MAX_LABEL_LEN;

/// A namespaced identifier, at most 317 bytes: a reversed domain name of at least two labels, then a name
/// (`app.bsky.feed.post`). Kept as written: the name is case-sensitive. Source: atproto.com/specs/nsid.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nsid(Box<str>);

/// Why a text is not an NSID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NsidError {
    /// More than 317 bytes.
    #[error("NSID is too long ({MAX_LEN} bytes max)")]
    TooLong,
    /// Fewer than three segments.
    #[error("NSID needs at least three parts")]
    TooFewSegments,
    /// A segment of the authority is not a domain label, or the first one begins with a digit.
    #[error("NSID authority must be a reversed domain name that does not start with a digit")]
    Authority,
    /// The name is not 1 to 63 letters and digits that begin with a letter.
    #[error("NSID name must be 1 to 63 letters and digits and start with a letter")]
    Name,
}

impl Nsid {
    /// True if `text` would parse.
    pub fn is_valid(text: &str) -> bool {
        check(text).is_ok()
    }

    /// The reversed domain name: `app.bsky.feed` of `app.bsky.feed.post`.
    pub fn authority(&self) -> &str {
        self.0.rsplit_once('.').unwrap_or_default().0
    }

    /// The last segment: `post` of `app.bsky.feed.post`.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('.').unwrap_or_default().1
    }
}

impl FromStr for Nsid {
    type Err = NsidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

string_type!(Nsid);

fn check(text: &str) -> Result<(), NsidError> {
    if text.len() > MAX_LEN {
        return Err(NsidError::TooLong);
    }
    let (authority, name) = text.rsplit_once('.').ok_or(NsidError::TooFewSegments)?;
    if !authority.contains('.') {
        return Err(NsidError::TooFewSegments);
    }
    if !authority.split('.').all(is_label) || authority.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(NsidError::Authority);
    }
    let well_formed = (1..=MAX_LABEL_LEN).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if well_formed { Ok(()) } else { Err(NsidError::Name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_authority_and_name() {
        let nsid: Nsid = "com.example.fooBar".parse().unwrap();
        assert_eq!((nsid.authority(), nsid.name()), ("com.example", "fooBar"));
    }

    #[test]
    fn each_rule_has_its_error() {
        for (text, error) in [
            ("example", NsidError::TooFewSegments),
            ("com.example", NsidError::TooFewSegments),
            ("0two.example.foo", NsidError::Authority),
            ("com.example-.foo", NsidError::Authority),
            ("one..three", NsidError::Authority),
            ("com.example.foo-bar", NsidError::Name),
            ("com.example.3", NsidError::Name),
            ("com.example.", NsidError::Name),
        ] {
            assert_eq!(text.parse::<Nsid>(), Err(error), "{text}");
        }
        // Reference: a short name may leave the authority more than the 253 bytes of a domain name.
        assert!(Nsid::is_valid(&format!("{}foo", "ab.".repeat(100))));
        assert_eq!(format!("{}foo", "ab.".repeat(110)).parse::<Nsid>(), Err(NsidError::TooLong));
    }
}
