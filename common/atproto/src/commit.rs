//! The signed commit: the root of a repo.
//!
//! Source: atproto.com/specs/repository, "Commit objects".

use bytes::Bytes;

use crate::crypto::{PublicKey, SIGNATURE_LEN, SignatureError, SigningKey};
use crate::data::Cid;
use crate::syntax::{Did, DidError, Tid, TidError};
use crate::wire::{Reader, WireError, Writer};

/// What a commit says, before it is signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnsignedCommit {
    /// Whose repo it is.
    pub did: Did,
    /// Greater with each commit of the repo.
    pub rev: Tid,
    /// Root of the tree.
    pub data: Cid,
}

/// A signed commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    version: Version,
    /// Whose repo it is.
    pub did: Did,
    /// Greater with each commit of the repo. The least TID in old commits that have none.
    pub rev: Tid,
    /// Root of the tree.
    pub data: Cid,
    /// The commit before, in old repos; nothing reads it any more.
    pub prev: Option<Cid>,
    /// Signature over the commit without this field.
    pub sig: [u8; SIGNATURE_LEN],
}

/// The forms a commit may have. New ones are always of version 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    V2WithoutRev,
    V2,
    V3,
}

impl Version {
    fn number(self) -> i64 {
        match self {
            Self::V2WithoutRev | Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    fn has_rev(self) -> bool {
        self != Self::V2WithoutRev
    }
}

/// Why a block is not a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Not the DAG-CBOR of a commit.
    #[error("commit is not canonical DAG-CBOR")]
    Encoding(#[from] WireError),
    /// `did` is not a DID.
    #[error("commit has a malformed DID")]
    Did(#[from] DidError),
    /// `rev` is not a TID.
    #[error("commit has a malformed rev")]
    Rev(#[from] TidError),
    /// Neither version 3 nor 2.
    #[error("unsupported commit version: {0}")]
    Version(i64),
    /// `sig` is not as long as a signature.
    #[error("commit has a malformed signature")]
    Signature,
}

impl UnsignedCommit {
    /// Signs the commit. The same commit and key always give the same signature.
    pub fn sign(self, key: &SigningKey) -> Commit {
        let Self { did, rev, data } = self;
        let sig = [0; SIGNATURE_LEN];
        let mut commit = Commit { version: Version::V3, did, rev, data, prev: None, sig };
        commit.sig = key.sign(&commit.encode_fields(false));
        commit
    }
}

impl Commit {
    /// The commit's block.
    ///
    /// Shape: `{did, rev, sig: bytes, data: CID, prev: CID or null, version: 3}`.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_fields(true)
    }

    /// The commit's block and its CID.
    pub fn to_block(&self) -> (Cid, Bytes) {
        let block = Bytes::from(self.encode());
        (Cid::dag_cbor(&block), block)
    }

    fn encode_fields(&self, signed: bool) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256);
        writer.map(4 + usize::from(self.version.has_rev()) + usize::from(signed));
        writer.text("did").text(self.did.as_str());
        if self.version.has_rev() {
            writer.text("rev").text(&self.rev.to_string());
        }
        if signed {
            writer.text("sig").bytes(&self.sig);
        }
        writer.text("data").cid(&self.data).text("prev").optional_cid(self.prev.as_ref());
        writer.text("version").int(self.version.number());
        writer.finish()
    }

    /// Reads a block: version 3, or version 2, whose commits need no `rev`.
    pub fn decode(block: &[u8]) -> Result<Self, CommitError> {
        let mut reader = Reader::new(block);
        let has_rev = reader.optional_field(5)?;
        let did = reader.key("did")?.text()?.parse()?;
        let rev = if has_rev { reader.key("rev")?.text()?.parse()? } else { Tid::from_micros(0, 0) };
        let sig = reader.key("sig")?.bytes()?.try_into().map_err(|_| CommitError::Signature)?;
        let data = reader.key("data")?.cid()?;
        let prev = reader.key("prev")?.optional_cid()?;
        let version = match (reader.key("version")?.int()?, has_rev) {
            (2, false) => Version::V2WithoutRev,
            (2, true) => Version::V2,
            (3, true) => Version::V3,
            (3, false) => return Err(WireError::Expected("rev").into()),
            (other, _) => return Err(CommitError::Version(other)),
        };
        reader.finish()?;
        Ok(Self { version, did, rev, data, prev, sig })
    }

    /// Checks the signature.
    pub fn verify(&self, key: &PublicKey) -> Result<(), SignatureError> {
        key.verify(&self.encode_fields(false), &self.sig)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::cbor;

    fn commit() -> (Commit, SigningKey) {
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        let did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().unwrap();
        let unsigned = UnsignedCommit { did, rev: "3lb4ejkzyvk2a".parse().unwrap(), data: Cid::dag_cbor(b"") };
        (unsigned.sign(&key), key)
    }

    #[test]
    fn a_commit_is_read_back_and_verifies() {
        let (commit, key) = commit();
        let block = commit.encode();
        assert_eq!(Commit::decode(&block), Ok(commit.clone()));
        assert_eq!(commit.to_block().0, Cid::dag_cbor(&block));
        assert_eq!(commit.verify(&key.public_key()), Ok(()));
        assert_eq!(cbor::encode(&cbor::decode(&block).unwrap()).unwrap(), block, "canonical");
        let other = Commit { rev: "3lb4ejkzyvk2b".parse().unwrap(), ..commit };
        assert_eq!(other.verify(&key.public_key()), Err(SignatureError::Mismatch));
    }

    #[test]
    fn version_2_needs_no_rev() {
        let (commit, _) = commit();
        let with_rev = Commit { version: Version::V2, prev: Some(commit.data), ..commit };
        assert_eq!(Commit::decode(&with_rev.encode()), Ok(with_rev.clone()));
        let without = Commit { version: Version::V2WithoutRev, rev: Tid::from_micros(0, 0), ..with_rev };
        let block = without.encode();
        assert_eq!(Commit::decode(&block), Ok(without));
        let of_version_3 = [&block[..block.len() - 1], &[3]].concat();
        assert_eq!(Commit::decode(&of_version_3), Err(WireError::Expected("rev").into()));
    }

    #[test]
    fn damaged_commits_are_refused() {
        let block = commit().0.encode();
        for at in 0..block.len() {
            assert!(Commit::decode(&block[..at]).is_err());
            let mut changed = block.clone();
            changed[at] ^= 0x20;
            if let Ok(changed_commit) = Commit::decode(&changed) {
                assert_eq!(changed_commit.encode(), changed);
            }
        }
        let mut other_version = block.clone();
        *other_version.last_mut().unwrap() = 4;
        assert_eq!(Commit::decode(&other_version), Err(CommitError::Version(4)));
        assert!(Commit::decode(&[&block[..], &[0]].concat()).is_err());
    }
}
