//! AT URIs: the addresses of repositories, collections and records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AtIdentifier, AtIdentifierError, Did, Nsid, NsidError, RecordKey, RecordKeyError, deserialize_text};

/// Longest AT URI in bytes.
const MAX_LEN: usize = 8192;

const SCHEME: &str = "at://";

/// `at://` and an account, optionally followed by a collection and a record key; no query, fragment or trailing slash.
///
/// This is the strict form that lexicons ask for. A handle is held in lower case. Source: atproto.com/specs/at-uri-scheme.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AtUri {
    text: Box<str>,
    authority: AtIdentifier,
    collection: Option<Nsid>,
    rkey: Option<RecordKey>,
}

/// Why a text is not an AT URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AtUriError {
    /// More than 8192 bytes.
    #[error("AT URI is too long ({MAX_LEN} bytes max)")]
    TooLong,
    /// Does not start with `at://`.
    #[error("AT URI must start with \"at://\"")]
    Scheme,
    /// The account is neither a DID nor a handle.
    #[error("AT URI has an invalid authority")]
    Authority(#[from] AtIdentifierError),
    /// The collection is not an NSID, as with a slash right after the account.
    #[error("AT URI has an invalid collection")]
    Collection(#[from] NsidError),
    /// The record key is not one, as with a slash right after the collection or with further path segments.
    #[error("AT URI has an invalid record key")]
    RecordKey(#[from] RecordKeyError),
}

impl AtUri {
    /// The address of a record.
    pub fn record(did: &Did, collection: &Nsid, rkey: &RecordKey) -> Self {
        Self {
            text: format!("{SCHEME}{did}/{collection}/{rkey}").into(),
            authority: did.clone().into(),
            collection: Some(collection.clone()),
            rkey: Some(rkey.clone()),
        }
    }

    /// True if `text` would parse.
    pub fn is_valid(text: &str) -> bool {
        split(text).is_ok_and(|parts| {
            AtIdentifier::is_valid(parts.authority)
                && parts.collection.is_none_or(Nsid::is_valid)
                && parts.rkey.is_none_or(RecordKey::is_valid)
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The account.
    pub fn authority(&self) -> &AtIdentifier {
        &self.authority
    }

    /// The collection, if there is one.
    pub fn collection(&self) -> Option<&Nsid> {
        self.collection.as_ref()
    }

    /// The record key, if there is one; then there is a collection too.
    pub fn rkey(&self) -> Option<&RecordKey> {
        self.rkey.as_ref()
    }
}

struct Parts<'a> {
    authority: &'a str,
    collection: Option<&'a str>,
    rkey: Option<&'a str>,
}

fn split(text: &str) -> Result<Parts<'_>, AtUriError> {
    if text.len() > MAX_LEN {
        return Err(AtUriError::TooLong);
    }
    let path = text.strip_prefix(SCHEME).ok_or(AtUriError::Scheme)?;
    // A third slash stays in the record key and makes it invalid.
    let mut segments = path.splitn(3, '/');
    let authority = segments.next().unwrap_or_default();
    Ok(Parts { authority, collection: segments.next(), rkey: segments.next() })
}

impl FromStr for AtUri {
    type Err = AtUriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = split(text)?;
        let authority: AtIdentifier = parts.authority.parse()?;
        let path = &text[SCHEME.len() + parts.authority.len()..];
        Ok(Self {
            text: format!("{SCHEME}{authority}{path}").into(),
            authority,
            collection: parts.collection.map(str::parse).transpose()?,
            rkey: parts.rkey.map(str::parse).transpose()?,
        })
    }
}

impl AsRef<str> for AtUri {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for AtUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for AtUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

impl Serialize for AtUri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for AtUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::HandleError;

    #[test]
    fn parts_are_authority_collection_and_key() {
        let uri: AtUri = "at://Alice.test/app.bsky.feed.post/3jzfcijpj2z2a".parse().unwrap();
        assert_eq!(uri.as_str(), "at://alice.test/app.bsky.feed.post/3jzfcijpj2z2a");
        assert_eq!(uri.authority().as_str(), "alice.test");
        assert_eq!(uri.collection().map(Nsid::as_str), Some("app.bsky.feed.post"));
        assert_eq!(uri.rkey().map(RecordKey::as_str), Some("3jzfcijpj2z2a"));

        let uri: AtUri = "at://did:plc:abc".parse().unwrap();
        assert_eq!((uri.collection(), uri.rkey()), (None, None));
    }

    #[test]
    fn a_built_address_equals_the_parsed_one() {
        let (did, collection) = ("did:plc:abc".parse().unwrap(), "app.bsky.feed.post".parse().unwrap());
        let uri = AtUri::record(&did, &collection, &"self".parse().unwrap());
        assert_eq!(uri.as_str().parse(), Ok(uri));
    }

    #[test]
    fn each_rule_has_its_error() {
        for (text, error) in [
            ("AT://did:plc:abc", AtUriError::Scheme),
            ("at://", AtUriError::Authority(HandleError::NoDot.into())),
            ("at://did:plc:abc/", AtUriError::Collection(NsidError::TooFewSegments)),
            ("at://did:plc:abc/a.b.c/", AtUriError::RecordKey(RecordKeyError::Length)),
            ("at://did:plc:abc/a.b.c/d/e", AtUriError::RecordKey(RecordKeyError::Character)),
            ("at://did:plc:abc/a.b.c/d#e", AtUriError::RecordKey(RecordKeyError::Character)),
            ("at://did:plc:abc/a.b.c?d=e", AtUriError::Collection(NsidError::Name)),
        ] {
            assert_eq!(text.parse::<AtUri>(), Err(error), "{text}");
            assert!(!AtUri::is_valid(text), "{text}");
        }
    }
}
