//! A key has one text and one point, and no signature breaks its check.

use atproto::crypto::{Curve, PublicKey, SigningKey};

/// A text, a NUL, and a signature; the text also as the bytes of a point.
pub fn run(bytes: &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, signature) = bytes.split_at(cut);
    for curve in [Curve::K256, Curve::P256] {
        if let Ok(key) = PublicKey::from_sec1(curve, bytes) {
            let sec1 = key.to_sec1();
            assert_eq!(PublicKey::from_sec1(curve, &sec1), Ok(key));
            assert!(bytes.len() == 65 || bytes == sec1);
            assert_eq!(key.to_string().parse(), Ok(key));
        }
    }
    let Ok(text) = std::str::from_utf8(text) else { return };
    let signature = signature.get(1..).unwrap_or_default();
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string(), text);
        let strict = key.verify(text.as_bytes(), signature);
        assert!(strict.is_err() || key.verify_malleable(text.as_bytes(), signature).is_ok());
    }
    let _ = PublicKey::from_bare_multibase(Curve::K256, text);
    let _ = PublicKey::from_bare_multibase(Curve::P256, text);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let secret = SigningKey::from_bytes(&[7; 32]).expect("a key");
    let text = secret.public_key().to_string();
    let signed = [text.as_bytes(), &[0], &secret.sign(text.as_bytes())].concat();
    let p256 = "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo";
    vec![signed, p256.into(), p256["did:key:".len()..].into(), secret.public_key().to_sec1().into()]
}
