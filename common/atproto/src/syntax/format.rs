//! Formats that lexicons name and that are checked, but never need a type of their own.

/// Longest URI in bytes.
const MAX_URI_LEN: usize = 8192;

/// Shortest and longest CID text in bytes.
const CID_TEXT_LEN: std::ops::RangeInclusive<usize> = 8..=256;

/// True for a URI of any scheme, at most 8192 bytes: scheme, colon, then anything without white space.
///
/// Characters outside ASCII pass: the reference takes them, and clients link to such addresses.
/// Source: atproto.com/specs/lexicon, format `uri`.
pub fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    text.len() <= MAX_URI_LEN
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
        && !rest.is_empty()
        && !rest.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// True for what looks like the text of a CID of version 1, in any base and with any codec or hash.
///
/// Looser than [`crate::data::Cid`] on purpose: a text field may name content of other systems.
/// Source: atproto.com/specs/lexicon, format `cid`.
pub fn is_cid(text: &str) -> bool {
    CID_TEXT_LEN.contains(&text.len())
        // Version 0 has no base prefix and always starts so.
        && !text.starts_with("Qm")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        for text in
            ["https://example.com", "dns:example.com", "content-type:a/b", "https://例え.jp/パス", "go://?a%20b"]
        {
            assert!(is_uri(text), "{text}");
        }
        for text in
            ["", "example.com", "http:", "://a", "-http://a", "1:a", "https://a b", "https://a\u{a0}b", "a:\u{7}"]
        {
            assert!(!is_uri(text), "{text}");
        }
        assert!(!is_uri(&format!("https://{}", "x".repeat(MAX_URI_LEN))));
    }

    #[test]
    fn cids() {
        for text in ["bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", "mBcDxtdWx0aWhhc2g+"] {
            assert!(is_cid(text), "{text}");
        }
        for text in ["", "noop", "example.com", "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR", "bafybe igdyrzt5"] {
            assert!(!is_cid(text), "{text}");
        }
    }
}
