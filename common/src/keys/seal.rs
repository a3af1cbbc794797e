//! Sealing: AES-256-GCM under a key-encryption key that only the processes have.

use std::fmt;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use atproto::crypto::SigningKey;
use atproto::syntax::Did;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::config::SecretsConfig;

/// Bytes of a nonce. Random ones are safe for some 2³² seals under one key.
const NONCE_LEN: usize = 12;
/// Keeps a key's id apart from every other hash that might be made of it.
const ID_CONTEXT: &[u8] = b"rookery key-encryption key id";
/// Bytes of the hash that make an id.
const ID_LEN: usize = 8;

/// Names a key-encryption key without telling anything of it: 16 hexadecimal digits of a hash.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KeyId(Box<str>);

impl KeyId {
    /// Takes an id as it is stored.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key-encryption key. Its memory is wiped when it is dropped.
pub struct SealingKey {
    id: KeyId,
    cipher: Aes256Gcm,
}

impl SealingKey {
    /// Takes 32 secret bytes: `PDS_KEY_ENCRYPTION_KEY`.
    pub fn new(secret: &[u8; 32]) -> Self {
        let hash = Sha256::new().chain_update(ID_CONTEXT).chain_update(secret).finalize();
        let id = data_encoding::HEXLOWER.encode(&hash[..ID_LEN]);
        Self { id: KeyId(id.into()), cipher: Aes256Gcm::new(secret.into()) }
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealingKey").field(&self.id).finish()
    }
}

/// A signing key that only a [`KeyVault`] can open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedKey {
    /// Which key-encryption key sealed it.
    pub key_id: KeyId,
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

/// Why a key could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// None of the configured key-encryption keys has this id.
    #[error("no key-encryption key has the id {0}: is PDS_KEY_ENCRYPTION_KEY another than before?")]
    UnknownKey(KeyId),
    /// The bytes were changed, or belong to another DID.
    #[error("a sealed signing key is damaged, or belongs to another account")]
    Damaged,
    /// The cipher refused to work.
    #[error("a signing key could not be sealed")]
    Unsealable,
}

/// Seals with one key-encryption key, and opens what it or an earlier one sealed.
#[derive(Debug)]
pub struct KeyVault {
    current: SealingKey,
    earlier: Vec<SealingKey>,
}

impl KeyVault {
    /// A vault with one key.
    pub fn new(current: SealingKey) -> Self {
        Self { current, earlier: Vec::new() }
    }

    /// The vault of a server with these secrets.
    pub fn from_config(secrets: &SecretsConfig) -> Self {
        let current = Self::new(SealingKey::new(secrets.key_encryption_key.expose()));
        let previous = secrets.key_encryption_keys_previous.iter();
        previous.fold(current, |vault, key| vault.with_earlier(SealingKey::new(key.expose())))
    }

    /// Also opens what `key` sealed, so that the operator can change the key while all rows are sealed anew.
    #[must_use]
    pub fn with_earlier(mut self, key: SealingKey) -> Self {
        self.earlier.push(key);
        self
    }

    /// Seals a signing key for the account with this DID, and no other: the DID goes into the tag.
    pub fn seal(&self, did: &Did, key: &SigningKey) -> Result<SealedKey, SealError> {
        let nonce = rand::random::<[u8; NONCE_LEN]>();
        let secret = key.to_bytes();
        let payload = Payload { msg: secret.as_slice(), aad: did.as_str().as_bytes() };
        let sealed = self.current.cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| SealError::Unsealable)?;
        Ok(SealedKey { key_id: self.current.id.clone(), bytes: [nonce.as_slice(), &sealed].concat() })
    }

    /// Opens a signing key that was sealed for this DID.
    pub fn open(&self, did: &Did, sealed: &SealedKey) -> Result<SigningKey, SealError> {
        let key = self.find(&sealed.key_id).ok_or_else(|| SealError::UnknownKey(sealed.key_id.clone()))?;
        let (nonce, ciphertext) = sealed.bytes.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Damaged)?;
        let payload = Payload { msg: ciphertext, aad: did.as_str().as_bytes() };
        let secret = key.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| SealError::Damaged)?;
        SigningKey::from_bytes(&Zeroizing::new(secret)).map_err(|_| SealError::Damaged)
    }

    /// The key-encryption key that seals.
    pub fn current(&self) -> &KeyId {
        &self.current.id
    }

    /// True if what this key-encryption key sealed can be opened.
    pub fn knows(&self, id: &KeyId) -> bool {
        self.find(id).is_some()
    }

    fn find(&self, id: &KeyId) -> Option<&SealingKey> {
        std::iter::once(&self.current).chain(&self.earlier).find(|key| key.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn did(text: &str) -> Did {
        text.parse().unwrap()
    }

    #[test]
    fn a_sealed_key_opens_for_its_did_only() {
        let vault = KeyVault::new(SealingKey::new(&SECRET));
        let key = SigningKey::generate(&mut rand::rng());
        let sealed = vault.seal(&did("did:plc:alice"), &key).unwrap();
        assert_eq!(vault.open(&did("did:plc:alice"), &sealed).unwrap(), key);
        assert!(matches!(vault.open(&did("did:plc:bob"), &sealed), Err(SealError::Damaged)));
        let again = vault.seal(&did("did:plc:alice"), &key).unwrap();
        assert_ne!(again.bytes, sealed.bytes, "the nonce is random");
    }

    #[test]
    fn every_changed_byte_shows() {
        let vault = KeyVault::new(SealingKey::new(&SECRET));
        let sealed = vault.seal(&did("did:plc:alice"), &SigningKey::generate(&mut rand::rng())).unwrap();
        for place in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[place] ^= 1;
            assert!(matches!(vault.open(&did("did:plc:alice"), &changed), Err(SealError::Damaged)), "byte {place}");
        }
        let short = SealedKey { bytes: vec![0; NONCE_LEN - 1], ..sealed };
        assert!(matches!(vault.open(&did("did:plc:alice"), &short), Err(SealError::Damaged)));
    }

    #[test]
    fn an_earlier_key_opens_and_no_longer_seals() {
        let old = KeyVault::new(SealingKey::new(&SECRET));
        let key = SigningKey::generate(&mut rand::rng());
        let sealed = old.seal(&did("did:plc:alice"), &key).unwrap();

        let new = KeyVault::new(SealingKey::new(&[8; 32]));
        assert!(matches!(new.open(&did("did:plc:alice"), &sealed), Err(SealError::UnknownKey(_))));
        let both = new.with_earlier(SealingKey::new(&SECRET));
        assert_eq!(both.open(&did("did:plc:alice"), &sealed).unwrap(), key);
        assert_ne!(both.seal(&did("did:plc:alice"), &key).unwrap().key_id, sealed.key_id);
    }

    #[test]
    fn all_configured_keys_open_and_one_seals() {
        use crate::config::{Config, Key32};

        let mut secrets = Config::for_tests().secrets;
        let key = SigningKey::generate(&mut rand::rng());
        let sealed = [4, 5].map(|seed| {
            let vault = KeyVault::new(SealingKey::new(&[seed; 32]));
            vault.seal(&did("did:plc:alice"), &key).unwrap()
        });
        secrets.key_encryption_keys_previous = [4, 5].map(|seed| Key32::from_bytes([seed; 32])).to_vec();
        let vault = KeyVault::from_config(&secrets);
        for sealed in sealed {
            assert_eq!(vault.open(&did("did:plc:alice"), &sealed).unwrap(), key);
            assert!(vault.knows(&sealed.key_id) && *vault.current() != sealed.key_id);
        }
        let current = SealingKey::new(secrets.key_encryption_key.expose()).id;
        assert_eq!((vault.current(), &vault.seal(&did("did:plc:alice"), &key).unwrap().key_id), (&current, &current));
    }

    #[test]
    fn ids_and_debug_tell_no_secret() {
        let key = SealingKey::new(&SECRET);
        assert_eq!(key.id, SealingKey::new(&SECRET).id);
        assert_eq!(key.id.as_str().len(), 2 * ID_LEN);
        assert_eq!(format!("{key:?}"), format!("SealingKey(KeyId({:?}))", key.id.as_str()));
    }
}
