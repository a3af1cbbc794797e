//! A key has one text, and no signature breaks its check.

#![no_main]

use atproto::crypto::{Curve, PublicKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| {
    let (text, signature) = input;
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string(), text);
        let _ = (key.verify(text.as_bytes(), signature), key.verify_malleable(text.as_bytes(), signature));
    }
    let _ = PublicKey::from_bare_multibase(Curve::K256, text);
    let _ = PublicKey::from_bare_multibase(Curve::P256, text);
});
