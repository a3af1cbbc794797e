//! Keys of the tree: record paths.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::syntax::{Nsid, RecordKey};

/// Longest key in bytes.
pub const MAX_KEY_LEN: usize = 1024;

/// A key of the tree: the path `<collection>/<record key>` of a record. Cheap to clone; ordered bytewise.
///
/// At most 1,024 bytes, exactly one slash, and on both sides of it one or more of `A-Za-z0-9_~.:-`. That is what the
/// tree asks of a key: whether the parts are an NSID and a record key is for the one who makes it to know.
/// Source: atproto.com/specs/repository, "Repo paths".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// Why text is not a key of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Longer than [`MAX_KEY_LEN`].
    #[error("key is longer than {MAX_KEY_LEN} bytes")]
    Length,
    /// Not two non-empty parts around one slash.
    #[error("key must be a collection and a record key around one slash")]
    Parts,
    /// A character that neither part may hold.
    #[error("key holds a character other than A-Z a-z 0-9 _ ~ . : -")]
    Character,
}

impl Key {
    /// The key of a record. Every NSID and record key make a valid one, of at most 830 bytes.
    pub fn new(collection: &Nsid, rkey: &RecordKey) -> Self {
        Self(format!("{collection}/{rkey}").into())
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the slash.
    pub fn collection(&self) -> &str {
        self.parts().0
    }

    /// The part behind the slash.
    pub fn rkey(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        // There is a slash in every key; the fallback only spares a panic.
        self.0.split_once('/').unwrap_or((&self.0, ""))
    }

    /// The layer this key belongs to, counted from the leaves: see [`depth`]. Costs one hash.
    pub fn depth(&self) -> u8 {
        depth(self.0.as_bytes())
    }
}

/// Pairs of leading zero bits in the SHA-256 of `key`, from 0 to 128: a fan-out of four on average.
#[expect(clippy::cast_possible_truncation, reason = "there are at most 256 zeros, so half of them fit")]
pub fn depth(key: &[u8]) -> u8 {
    let digest = Sha256::digest(key);
    let mut zeros = 0;
    for byte in digest {
        zeros += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    (zeros / 2) as u8
}

/// Bytes that `left` and `right` have in common at their start.
pub fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

fn check(path: &str) -> Result<(), KeyError> {
    if path.len() > MAX_KEY_LEN {
        return Err(KeyError::Length);
    }
    let (collection, rkey) = path.split_once('/').ok_or(KeyError::Parts)?;
    if collection.is_empty() || rkey.is_empty() || rkey.contains('/') {
        return Err(KeyError::Parts);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_~.:-/".contains(&byte);
    if path.bytes().all(allowed) { Ok(()) } else { Err(KeyError::Character) }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(path: &str) -> Result<Self, KeyError> {
        check(path)?;
        Ok(Self(path.into()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_two_parts_of_plain_characters() {
        let key: Key = "app.bsky.feed.post/3l_~.:-".parse().unwrap();
        assert_eq!((key.collection(), key.rkey()), ("app.bsky.feed.post", "3l_~.:-"));
        assert_eq!(Key::new(&"app.bsky.feed.post".parse().unwrap(), &"3l_~.:-".parse().unwrap()), key);
        for (path, error) in [
            ("", KeyError::Parts),
            ("a", KeyError::Parts),
            ("/a", KeyError::Parts),
            ("a/", KeyError::Parts),
            ("a/b/c", KeyError::Parts),
            ("a//b", KeyError::Parts),
            ("a/b c", KeyError::Character),
            ("a/é", KeyError::Character),
            ("a/@", KeyError::Character),
        ] {
            assert_eq!(path.parse::<Key>(), Err(error), "{path}");
        }
        assert!(format!("a/{}", "b".repeat(MAX_KEY_LEN - 2)).parse::<Key>().is_ok());
        assert_eq!(format!("a/{}", "b".repeat(MAX_KEY_LEN - 1)).parse::<Key>(), Err(KeyError::Length));
    }

    #[test]
    fn depth_counts_pairs_of_leading_zero_bits() {
        for (key, expected) in [("2653ae71", 0), ("blue", 1), ("app.bsky.feed.post/9adeb165882c", 8)] {
            assert_eq!(depth(key.as_bytes()), expected, "{key}");
        }
    }
}
