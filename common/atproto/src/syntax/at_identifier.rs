//! DID or handle: how requests name an account.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Did, DidError, Handle, HandleError, deserialize_text};

/// An account, named by its DID or by its handle.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AtIdentifier {
    /// The DID.
    Did(Did),
    /// The handle.
    Handle(Handle),
}

/// Why a text is neither a DID nor a handle. What starts with `did:` is taken for a DID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AtIdentifierError {
    /// Starts with `did:` but is not a DID.
    #[error(transparent)]
    Did(#[from] DidError),
    /// Does not start with `did:` and is not a handle.
    #[error(transparent)]
    Handle(#[from] HandleError),
}

impl AtIdentifier {
    /// True if `text` would parse.
    pub fn is_valid(text: &str) -> bool {
        if is_did_like(text) { Did::is_valid(text) } else { Handle::is_valid(text) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Did(did) => did.as_str(),
            Self::Handle(handle) => handle.as_str(),
        }
    }

    /// The DID, if that is what was given.
    pub fn as_did(&self) -> Option<&Did> {
        match self {
            Self::Did(did) => Some(did),
            Self::Handle(_) => None,
        }
    }

    /// The handle, if that is what was given.
    pub fn as_handle(&self) -> Option<&Handle> {
        match self {
            Self::Did(_) => None,
            Self::Handle(handle) => Some(handle),
        }
    }
}

/// A colon is not allowed in a handle, so the prefix decides.
fn is_did_like(text: &str) -> bool {
    text.starts_with("did:")
}

impl FromStr for AtIdentifier {
    type Err = AtIdentifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_did_like(text) { Ok(Self::Did(text.parse()?)) } else { Ok(Self::Handle(text.parse()?)) }
    }
}

impl From<Did> for AtIdentifier {
    fn from(did: Did) -> Self {
        Self::Did(did)
    }
}

impl From<Handle> for AtIdentifier {
    fn from(handle: Handle) -> Self {
        Self::Handle(handle)
    }
}

impl fmt::Display for AtIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for AtIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for AtIdentifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for AtIdentifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_decides_which_it_is() {
        let did: AtIdentifier = "did:plc:abc".parse().unwrap();
        assert_eq!((did.as_did().map(Did::as_str), did.as_handle()), (Some("did:plc:abc"), None));
        let handle: AtIdentifier = "Alice.test".parse().unwrap();
        assert_eq!((handle.as_did(), handle.as_handle().map(Handle::as_str)), (None, Some("alice.test")));
        assert_eq!("did:thing.test".parse::<AtIdentifier>(), Err(DidError::Identifier.into()));
        assert_eq!("@alice.test".parse::<AtIdentifier>(), Err(HandleError::Label.into()));
    }
}
