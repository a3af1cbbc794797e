//! Content identifiers, restricted to the two forms the protocol allows.

use std::fmt;
use std::str::FromStr;

use cid::serde::CID_SERDE_PRIVATE_IDENTIFIER;
use data_encoding::BASE32_NOPAD;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::syntax::deserialize_text;

/// Bytes of a CID in binary form: version, codec, hash function, digest length, digest.
pub const CID_LEN: usize = 36;

/// Characters of its base32.
const TEXT_LEN: usize = (CID_LEN * 8).div_ceil(5);

const VERSION_1: u8 = 0x01;
const SHA2_256: u8 = 0x12;
const DIGEST_LEN: u8 = 32;

/// What the bytes behind a CID are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Codec {
    /// A DAG-CBOR block: record, tree node or commit (`bafyrei…`).
    DagCbor = 0x71,
    /// Raw bytes: a blob (`bafkrei…`).
    Raw = 0x55,
}

/// A version 1 CID over SHA-256 with the dag-cbor or raw codec: a plain 36-byte value, cheap to copy and to compare.
///
/// Its text form is lower-case base32 with the multibase prefix `b`. Serde writes and reads the text in JSON and other
/// readable formats, and a link (tag 42) in DAG-CBOR; a field that is text in both has to be a `String`.
/// Source: atproto.com/specs/data-model, "Link and CID formats".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cid([u8; CID_LEN]);

/// Why bytes or text are not a CID of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CidError {
    /// The text is not base32 with the prefix `b`.
    #[error("CID must be lower-case base32 with the prefix 'b'")]
    Encoding,
    /// The binary form does not have 36 bytes.
    #[error("CID must have {CID_LEN} bytes")]
    Length,
    /// Another CID version, codec or hash function.
    #[error("CID must be version 1, dag-cbor or raw, SHA-256")]
    Kind,
}

impl Cid {
    /// The CID of an encoded DAG-CBOR block.
    pub fn dag_cbor(block: &[u8]) -> Self {
        Self::from_digest(Codec::DagCbor, Sha256::digest(block).into())
    }

    /// The CID of a blob's bytes.
    pub fn raw(bytes: &[u8]) -> Self {
        Self::from_digest(Codec::Raw, Sha256::digest(bytes).into())
    }

    /// The CID with this codec and SHA-256 digest, for callers that hash while they stream.
    pub fn from_digest(codec: Codec, digest: [u8; 32]) -> Self {
        let mut bytes = [0; CID_LEN];
        bytes[..4].copy_from_slice(&[VERSION_1, codec as u8, SHA2_256, DIGEST_LEN]);
        bytes[4..].copy_from_slice(&digest);
        Self(bytes)
    }

    /// Parses the binary form, as stored and as used in CAR sections.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        let bytes: [u8; CID_LEN] = bytes.try_into().map_err(|_| CidError::Length)?;
        match bytes {
            [VERSION_1, codec, SHA2_256, DIGEST_LEN, ..]
                if codec == Codec::DagCbor as u8 || codec == Codec::Raw as u8 =>
            {
                Ok(Self(bytes))
            }
            _ => Err(CidError::Kind),
        }
    }

    /// The binary form.
    pub fn as_bytes(&self) -> &[u8; CID_LEN] {
        &self.0
    }

    /// The codec.
    pub fn codec(&self) -> Codec {
        if self.0[1] == Codec::Raw as u8 { Codec::Raw } else { Codec::DagCbor }
    }

    /// The SHA-256 digest.
    pub fn digest(&self) -> &[u8] {
        &self.0[4..]
    }

    /// True if `block` is what this CID names.
    pub fn verifies(&self, block: &[u8]) -> bool {
        self.digest() == &Sha256::digest(block)[..]
    }
}

impl FromStr for Cid {
    type Err = CidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let base32 = text.strip_prefix('b').ok_or(CidError::Encoding)?;
        if base32.len() != BASE32_NOPAD.encode_len(CID_LEN) {
            return Err(CidError::Length);
        }
        if base32.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(CidError::Encoding);
        }
        let bytes = BASE32_NOPAD.decode(base32.to_ascii_uppercase().as_bytes()).map_err(|_| CidError::Encoding)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TEXT_LEN];
        BASE32_NOPAD.encode_mut(&self.0, &mut text);
        text.make_ascii_lowercase();
        f.write_str("b")?;
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Cid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_newtype_struct(CID_SERDE_PRIVATE_IDENTIFIER, serde_bytes::Bytes::new(&self.0))
        }
    }
}

impl<'de> Deserialize<'de> for Cid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserialize_text(deserializer)
        } else {
            deserializer.deserialize_newtype_struct(CID_SERDE_PRIVATE_IDENTIFIER, LinkVisitor)
        }
    }
}

/// Reads the bytes of a link itself: the `cid` crate drops what follows a CID, so that a block would have two encodings.
struct LinkVisitor;

impl<'de> Visitor<'de> for LinkVisitor {
    type Value = Cid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a link")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cid, D::Error> {
        deserializer.deserialize_bytes(self)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Cid, E> {
        Cid::from_bytes(bytes).map_err(E::custom)
    }
}

impl From<Cid> for cid::Cid {
    fn from(cid: Cid) -> Self {
        let hash = multihash::Multihash::<64>::wrap(u64::from(SHA2_256), cid.digest());
        // A 32-byte digest always fits 64 bytes, so the empty hash below never happens.
        Self::new_v1(cid.codec() as u64, hash.unwrap_or_default())
    }
}

impl TryFrom<&cid::Cid> for Cid {
    type Error = CidError;

    fn try_from(cid: &cid::Cid) -> Result<Self, Self::Error> {
        let hash = cid.hash();
        let known = cid.version() == cid::Version::V1 && hash.code() == u64::from(SHA2_256);
        let codec = match cid.codec() {
            codec if codec == Codec::DagCbor as u64 => Codec::DagCbor,
            codec if codec == Codec::Raw as u64 => Codec::Raw,
            _ => return Err(CidError::Kind),
        };
        let digest = hash.digest().try_into().map_err(|_| CidError::Length)?;
        if known { Ok(Self::from_digest(codec, digest)) } else { Err(CidError::Kind) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_binary_forms_round_trip() {
        let cid = Cid::dag_cbor(b"\xa0");
        assert_eq!(cid.to_string().parse::<Cid>().unwrap(), cid);
        assert_eq!(Cid::from_bytes(cid.as_bytes()).unwrap(), cid);
        assert!(cid.to_string().starts_with("bafyrei"));
        assert!(Cid::raw(b"").to_string().starts_with("bafkrei"));
        assert_eq!(Cid::try_from(&cid::Cid::from(cid)).unwrap(), cid);
    }

    #[test]
    fn serde_writes_text_in_json_and_a_link_in_cbor() {
        let cid = Cid::dag_cbor(b"\xa0");
        let json = serde_json::to_string(&cid).unwrap();
        assert_eq!(json, format!("\"{cid}\""));
        assert_eq!(serde_json::from_str::<Cid>(&json).unwrap(), cid);
        let cbor = serde_ipld_dagcbor::to_vec(&cid).unwrap();
        assert_eq!(cbor[..5], [0xd8, 42, 0x58, 37, 0]);
        assert_eq!(cbor[5..], cid.as_bytes()[..]);
        assert_eq!(serde_ipld_dagcbor::from_slice::<Cid>(&cbor).unwrap(), cid);
        let longer = [&[0xd8, 42, 0x58, 38], &cbor[4..], &[0]].concat();
        assert!(serde_ipld_dagcbor::from_slice::<Cid>(&longer).is_err());
    }

    #[test]
    fn other_cids_are_refused() {
        for text in [
            "",
            "b",
            "bafyrei",
            "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR", // version 0
            "BAFYREIE5CVV4H45FEADGEUWHBCUTMH6T2CESEOCCKAHDOE6UAT64ZMZ454", // upper case
            "bafybeie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454", // dag-pb
        ] {
            assert!(text.parse::<Cid>().is_err(), "{text}");
        }
    }
}
