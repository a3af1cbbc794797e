//! What kind of bytes a blob is.

use infer::MatcherType;

/// What nothing is known of.
const UNKNOWN: &str = "application/octet-stream";
/// Longest name that is taken over from an uploader.
const MAX_LEN: usize = 255;

/// The media type of bytes that begin like `front`.
///
/// What the bytes say counts, and only where they say nothing what their uploader `claimed`, without parameters. `None` if
/// that is no media type. Text is never recognised: it has no signature, and what looks like a page or a script must not
/// become one by itself.
pub fn media_type(front: &[u8], claimed: &str) -> Option<String> {
    let found = infer::get(front).filter(|found| found.matcher_type() != MatcherType::Text);
    if let Some(found) = found {
        return Some(found.mime_type().to_owned());
    }
    match claimed.to_ascii_lowercase().as_str() {
        // What clients write that take the schema of the method at its word.
        "*/*" => Some(UNKNOWN.to_owned()),
        claimed => is_media_type(claimed).then(|| claimed.to_owned()),
    }
}

/// Two tokens and a slash. Source: RFC 9110, sections 8.3.1 and 5.6.2.
fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    text.len() <= MAX_LEN && text.split_once('/').is_some_and(|(kind, name)| is_token(kind) && is_token(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_believed_before_their_uploader() {
        let cases: [(&[u8], &str); 7] = [
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "video/mp4"),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "image/avif"),
            (b"%PDF-1.7", "application/pdf"),
        ];
        for (front, expected) in cases {
            assert_eq!(media_type(front, "text/plain").as_deref(), Some(expected), "{front:?}");
        }
    }

    #[test]
    fn what_bytes_do_not_say_their_uploader_does() {
        for front in [
            &b""[..],
            b"WEBVTT\n\n",
            b"{\"v\":\"5.7\"}",
            b"<!DOCTYPE html><script>",
            b"<?xml version='1.0'?>",
            b"#!/bin/sh",
        ] {
            assert_eq!(media_type(front, "text/VTT").as_deref(), Some("text/vtt"), "{front:?}");
        }
        assert_eq!(media_type(b"", "*/*").as_deref(), Some("application/octet-stream"));
        for claimed in ["", "image", "image/", "/png", "a/b/c", "image/p g", "image/png; q=1", "image/\u{e9}"] {
            assert_eq!(media_type(b"", claimed), None, "{claimed:?}");
        }
        assert_eq!(media_type(b"", &format!("a/{}", "b".repeat(300))), None);
    }

    proptest! {
        #[test]
        fn any_bytes_have_some_type(front in prop::collection::vec(any::<u8>(), 0..200)) {
            let found = media_type(&front, "application/x-mine").unwrap();
            prop_assert!(is_media_type(&found), "{}", found);
        }
    }
}
