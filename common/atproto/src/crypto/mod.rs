//! Keys and signatures: ECDSA over SHA-256 on secp256k1 (for signing) and P-256 (for verifying too).
//!
//! A signature is 64 bytes, r and s, never DER. The network accepts only the one of its two forms with the lower s;
//! JSON web tokens come with either.
//!
//! Source: atproto.com/specs/cryptography.

mod der;
mod public_key;
mod signing_key;

pub use der::compact_k256_signature;
pub use public_key::{Curve, PublicKey, PublicKeyError, SignatureError};
pub use signing_key::{SigningKey, SigningKeyError};

/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;
