//! The secret half of a key pair.

use std::fmt;

use k256::ecdsa;
use k256::ecdsa::signature::Signer;
use k256::elliptic_curve::Generate;
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::{PublicKey, SIGNATURE_LEN};

/// A secp256k1 secret key. Its memory is wiped when it is dropped, and `Debug` shows only the public half.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(ecdsa::SigningKey);

/// The bytes are not a secret key: not 32 of them, zero, or not below the order of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a secp256k1 secret key")]
pub struct SigningKeyError;

impl SigningKey {
    /// A new key from this source of randomness.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(ecdsa::SigningKey::generate_from_rng(rng))
    }

    /// Reads a key from its 32 bytes, big-endian.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SigningKeyError> {
        // `from_slice` would take a shorter slice too and fill it up.
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| SigningKeyError)?;
        ecdsa::SigningKey::from_bytes(bytes.into()).map(Self).map_err(|_| SigningKeyError)
    }

    /// The key's 32 bytes, big-endian.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::from_k256(*self.0.verifying_key())
    }

    /// Signs the SHA-256 of `message`: r and s, s in the lower half. The same message always gives the same signature
    /// (RFC 6979).
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        let signature: ecdsa::Signature = self.0.sign(message);
        signature.normalize_s().to_bytes().into()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public_key()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [0x42; 32];

    #[test]
    fn signatures_verify_and_are_deterministic() {
        let key = SigningKey::from_bytes(&SECRET).unwrap();
        let signature = key.sign(b"hello");
        assert_eq!(signature, key.sign(b"hello"));
        assert_eq!(key.public_key().verify(b"hello", &signature), Ok(()));
        assert!(key.public_key().verify(b"hullo", &signature).is_err());
    }

    #[test]
    fn bytes_round_trip() {
        let key = SigningKey::generate(&mut rand::rng());
        assert_eq!(SigningKey::from_bytes(&*key.to_bytes()).unwrap(), key);
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&[][..], &[1; 31], &[1; 33], &[0; 32], &[0xff; 32]] {
            assert_eq!(SigningKey::from_bytes(bytes), Err(SigningKeyError), "{bytes:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SigningKey::from_bytes(&SECRET).unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public_key()));
    }
}
