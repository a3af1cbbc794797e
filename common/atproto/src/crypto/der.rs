//! Signatures of key management services.

use k256::ecdsa::Signature;

use super::{SIGNATURE_LEN, SignatureError};

/// Turns a secp256k1 signature in DER, with either s, into the form of the network: r and s, s in the lower half.
///
/// # Errors
/// `Malformed` if it is not the DER of two numbers within the order of the curve.
pub fn compact_k256_signature(der: &[u8]) -> Result<[u8; SIGNATURE_LEN], SignatureError> {
    let signature = Signature::from_der(der).map_err(|_| SignatureError::Malformed)?;
    Ok(signature.normalize_s().to_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;

    #[test]
    fn both_forms_of_a_signature_become_the_lower() {
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        let compact = key.sign(b"hello");
        let low = Signature::from_slice(&compact).unwrap();
        let (r, s) = low.split_scalars();
        let high = Signature::from_scalars(r, -s).unwrap();
        assert_ne!(high, low);
        for signature in [low, high] {
            assert_eq!(compact_k256_signature(signature.to_der().as_bytes()), Ok(compact));
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let der = Signature::from_slice(&SigningKey::from_bytes(&[7; 32]).unwrap().sign(b"hello")).unwrap().to_der();
        let der = der.as_bytes();
        let long = [der, &[0]].concat();
        for bytes in [&[][..], &der[1..], &der[..der.len() - 1], &long, &[0x30, 6, 2, 1, 0, 2, 1, 0], &[1; 64]] {
            assert_eq!(compact_k256_signature(bytes), Err(SignatureError::Malformed), "{bytes:?}");
        }
    }
}
