//! The public half of a key pair, its text forms, and the checking of signatures.

use std::fmt;
use std::str::FromStr;

use k256::ecdsa::signature::Verifier;
use k256::pkcs8::DecodePublicKey;
use multibase::Base;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::syntax::deserialize_text;

const DID_KEY: &str = "did:key:";

/// Longest multibase text that is decoded: an uncompressed point has 88 characters. Base58 takes quadratic time.
const MAX_MULTIBASE_LEN: usize = 100;

/// Which curve a key is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// secp256k1.
    K256,
    /// NIST P-256.
    P256,
}

/// A public key; its text form, also in serde, is a `did:key`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(Point);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Point {
    K256(k256::ecdsa::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
}

/// Why a text or bytes are not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// The text does not start with `did:key:`.
    #[error("key must start with \"did:key:\"")]
    Prefix,
    /// Not multibase in base58btc (`z…`), or far too long.
    #[error("key must be base58 with the prefix 'z'")]
    Multibase,
    /// A key type other than secp256k1 and P-256.
    #[error("unsupported key type")]
    Type,
    /// Not a point of the curve, or in a form that is not allowed here.
    #[error("not a point of the curve")]
    Point,
}

/// Why a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not 64 bytes of two numbers within the order of the curve; DER is one such case.
    #[error("malformed signature")]
    Malformed,
    /// Correct in form, but with the higher s of the two.
    #[error("signature is not in low-S form")]
    HighS,
    /// Not made with this key over this message.
    #[error("signature does not match")]
    Mismatch,
}

impl Curve {
    /// The two bytes that stand before a key of this curve in a multikey.
    fn multicodec(self) -> [u8; 2] {
        match self {
            Self::K256 => [0xe7, 0x01],
            Self::P256 => [0x80, 0x24],
        }
    }

    /// The name of signing with this curve in JSON web tokens.
    pub fn jwt_algorithm(self) -> &'static str {
        match self {
            Self::K256 => "ES256K",
            Self::P256 => "ES256",
        }
    }
}

impl PublicKey {
    pub(super) fn from_k256(key: k256::ecdsa::VerifyingKey) -> Self {
        Self(Point::K256(key))
    }

    /// Reads a point in SEC1 form, compressed (33 bytes) or not (65).
    pub fn from_sec1(curve: Curve, bytes: &[u8]) -> Result<Self, PublicKeyError> {
        // SEC1 also knows compact points and the point at infinity; nobody here may have such a key.
        if !matches!((bytes.first(), bytes.len()), (Some(2 | 3), 33) | (Some(4), 65)) {
            return Err(PublicKeyError::Point);
        }
        let point = match curve {
            Curve::K256 => k256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Point::K256),
            Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Point::P256),
        };
        point.map(Self).map_err(|_| PublicKeyError::Point)
    }

    /// Reads a `SubjectPublicKeyInfo` in DER with a secp256k1 key, as key management services give it.
    pub fn from_k256_spki(der: &[u8]) -> Result<Self, PublicKeyError> {
        let key = k256::ecdsa::VerifyingKey::from_public_key_der(der).map_err(|_| PublicKeyError::Type)?;
        Ok(Self::from_k256(key))
    }

    /// Reads a multikey: base58 of the key type and the compressed point, as in DID documents.
    pub fn from_multikey(text: &str) -> Result<Self, PublicKeyError> {
        let bytes = decode_multibase(text)?;
        let (&multicodec, point) = bytes.split_first_chunk().ok_or(PublicKeyError::Type)?;
        let curve = [Curve::K256, Curve::P256].into_iter().find(|curve| curve.multicodec() == multicodec);
        let curve = curve.ok_or(PublicKeyError::Type)?;
        // Two texts for one key must not exist: keys are compared as texts in PLC operations.
        if point.len() != 33 {
            return Err(PublicKeyError::Point);
        }
        Self::from_sec1(curve, point)
    }

    /// Reads the multibase text of documents older than multikeys: the bare point, compressed or not; its curve is told by
    /// the type that stands beside it.
    pub fn from_bare_multibase(curve: Curve, text: &str) -> Result<Self, PublicKeyError> {
        Self::from_sec1(curve, &decode_multibase(text)?)
    }

    /// The curve.
    pub fn curve(&self) -> Curve {
        match self.0 {
            Point::K256(_) => Curve::K256,
            Point::P256(_) => Curve::P256,
        }
    }

    /// The point in compressed SEC1 form.
    pub fn to_sec1(&self) -> [u8; 33] {
        let mut bytes = [0; 33];
        match &self.0 {
            Point::K256(key) => bytes.copy_from_slice(key.to_sec1_point(true).as_bytes()),
            Point::P256(key) => bytes.copy_from_slice(key.to_sec1_point(true).as_bytes()),
        }
        bytes
    }

    /// The multikey text, which is the `did:key` without its prefix.
    pub fn to_multikey(&self) -> String {
        let mut bytes = [0; 35];
        bytes[..2].copy_from_slice(&self.curve().multicodec());
        bytes[2..].copy_from_slice(&self.to_sec1());
        multibase::encode(Base::Base58Btc, bytes)
    }

    /// Checks a signature over the SHA-256 of `message`, as commits and PLC operations ask: in low-S form only.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.verify_form(message, signature, false)
    }

    /// Checks a signature that may have either s. For JSON web tokens, whose makers do not care, and nothing else: anyone
    /// can turn one form into the other, so such a signature identifies nothing.
    pub fn verify_malleable(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.verify_form(message, signature, true)
    }

    fn verify_form(&self, message: &[u8], signature: &[u8], allow_high_s: bool) -> Result<(), SignatureError> {
        match &self.0 {
            Point::K256(key) => {
                let signature = k256::ecdsa::Signature::from_slice(signature).map_err(|_| SignatureError::Malformed)?;
                let low = signature.normalize_s();
                require_low_s(allow_high_s || low == signature)?;
                key.verify(message, &low).map_err(|_| SignatureError::Mismatch)
            }
            Point::P256(key) => {
                let signature = p256::ecdsa::Signature::from_slice(signature).map_err(|_| SignatureError::Malformed)?;
                let low = signature.normalize_s();
                require_low_s(allow_high_s || low == signature)?;
                key.verify(message, &low).map_err(|_| SignatureError::Mismatch)
            }
        }
    }
}

fn require_low_s(acceptable: bool) -> Result<(), SignatureError> {
    if acceptable { Ok(()) } else { Err(SignatureError::HighS) }
}

fn decode_multibase(text: &str) -> Result<Vec<u8>, PublicKeyError> {
    let base58 = text.strip_prefix('z').filter(|_| text.len() <= MAX_MULTIBASE_LEN);
    Base::Base58Btc.decode(base58.ok_or(PublicKeyError::Multibase)?).map_err(|_| PublicKeyError::Multibase)
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_multikey(text.strip_prefix(DID_KEY).ok_or(PublicKeyError::Prefix)?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DID_KEY}{}", self.to_multikey())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use k256::ecdsa::signature::Signer;

    use super::*;
    use crate::crypto::SigningKey;

    const K256_KEY: &str = "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc";
    const P256_KEY: &str = "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo";

    /// The same signature with the other s: the order of the curve minus s, for a P-256 key.
    fn flip_s(signature: &p256::ecdsa::Signature) -> p256::ecdsa::Signature {
        let (r, s) = signature.split_scalars();
        p256::ecdsa::Signature::from_scalars(r, -s).unwrap()
    }

    #[test]
    fn did_keys_round_trip() {
        for (text, curve) in [(K256_KEY, Curve::K256), (P256_KEY, Curve::P256)] {
            let key: PublicKey = text.parse().unwrap();
            assert_eq!((key.curve(), key.to_string().as_str()), (curve, text));
            assert_eq!(PublicKey::from_sec1(curve, &key.to_sec1()), Ok(key));
            assert_eq!(serde_json::to_string(&key).unwrap(), format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<PublicKey>(&format!("\"{text}\"")).unwrap(), key);
        }
    }

    #[test]
    fn a_key_of_a_key_management_service_is_read() {
        use k256::pkcs8::EncodePublicKey as _;

        let key = SigningKey::from_bytes(&[7; 32]).unwrap().public_key();
        let Point::K256(point) = key.0 else { panic!("a secp256k1 key") };
        let der = point.to_public_key_der().unwrap();
        assert_eq!(PublicKey::from_k256_spki(der.as_bytes()), Ok(key));
        let other = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let other = other.verifying_key().to_public_key_der().unwrap();
        for der in [other.as_bytes(), &der.as_bytes()[1..], &[]] {
            assert_eq!(PublicKey::from_k256_spki(der), Err(PublicKeyError::Type));
        }
    }

    #[test]
    fn each_rule_has_its_error() {
        let compact = multibase::encode(Base::Base58Btc, [&[0xe7, 0x01, 5][..], &[1; 32]].concat());
        let uncompressed = multibase::encode(Base::Base58Btc, [&[0xe7, 0x01, 4][..], &[1; 64]].concat());
        for (text, error) in [
            (String::new(), PublicKeyError::Prefix),
            (K256_KEY[8..].to_owned(), PublicKeyError::Prefix),
            (format!("{DID_KEY}Q3sh"), PublicKeyError::Multibase),
            (format!("{DID_KEY}z0OIl"), PublicKeyError::Multibase),
            (format!("{DID_KEY}z{}", "1".repeat(200)), PublicKeyError::Multibase),
            (format!("{DID_KEY}z"), PublicKeyError::Type),
            (format!("{DID_KEY}z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"), PublicKeyError::Type),
            (format!("{DID_KEY}{uncompressed}"), PublicKeyError::Point),
            (format!("{DID_KEY}{compact}"), PublicKeyError::Point),
            (format!("{DID_KEY}{}", multibase::encode(Base::Base58Btc, [0x12; 35])), PublicKeyError::Type),
            (
                format!("{DID_KEY}{}", multibase::encode(Base::Base58Btc, [&[0xe7, 1, 2][..], &[0xff; 32]].concat())),
                PublicKeyError::Point,
            ),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(error), "{text}");
        }
    }

    #[test]
    fn bare_points_may_be_compressed_or_not() {
        let expected: PublicKey = "did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF".parse().unwrap();
        let uncompressed = "zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR";
        assert_eq!(PublicKey::from_bare_multibase(Curve::K256, uncompressed), Ok(expected));
        let compressed = multibase::encode(Base::Base58Btc, expected.to_sec1());
        assert_eq!(PublicKey::from_bare_multibase(Curve::K256, &compressed), Ok(expected));
    }

    #[test]
    fn only_the_malleable_check_takes_the_higher_s() {
        let secret = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let key = PublicKey(Point::P256(*secret.verifying_key()));
        let signature: p256::ecdsa::Signature = secret.sign(b"hello");
        let low = signature.normalize_s();
        let high = flip_s(&low);
        assert_eq!(key.verify(b"hello", &low.to_bytes()), Ok(()));
        assert_eq!(key.verify(b"hello", &high.to_bytes()), Err(SignatureError::HighS));
        assert_eq!(key.verify_malleable(b"hello", &low.to_bytes()), Ok(()));
        assert_eq!(key.verify_malleable(b"hello", &high.to_bytes()), Ok(()));
        assert_eq!(key.verify_malleable(b"hullo", &high.to_bytes()), Err(SignatureError::Mismatch));
    }

    #[test]
    fn malformed_signatures_are_told_apart() {
        let key = SigningKey::from_bytes(&[7; 32]).unwrap().public_key();
        for signature in [&[][..], &[0; 64], &[1; 63], &[1; 65], &[0xff; 64]] {
            assert_eq!(key.verify(b"", signature), Err(SignatureError::Malformed), "{signature:?}");
        }
        assert_eq!(key.verify(b"", &[1; 64]), Err(SignatureError::Mismatch));
    }
}
