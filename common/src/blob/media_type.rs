//! What kind of bytes a blob is.
//!
//! The names are those that the reference server gives (version 22 of `file-type` from npm). Records say them, and a record is compared
//! with the blob it refers to: after a move from there, a blob must have the name that its records have.

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
    if let Some(found) = recognise(front) {
        return Some(found.to_owned());
    }
    match claimed.to_ascii_lowercase().as_str() {
        // What clients write that take the schema of the method at its word.
        "*/*" => Some(UNKNOWN.to_owned()),
        claimed => is_media_type(claimed).then(|| claimed.to_owned()),
    }
}

fn recognise(front: &[u8]) -> Option<&'static str> {
    if let Some(brand) = brand(front) {
        return Some(name_of_brand(brand));
    }
    let found = infer::get(front).filter(|found| found.matcher_type() != MatcherType::Text)?;
    Some(match found.mime_type() {
        "image/png" if is_animated(front) => "image/apng",
        "audio/ogg" | "audio/opus" => name_of_ogg(front),
        "video/x-ms-wmv" => name_of_asf(front),
        "image/vnd.microsoft.icon" => "image/x-icon",
        "video/x-matroska" => "video/matroska",
        "video/x-msvideo" => "video/vnd.avi",
        "audio/x-aiff" => "audio/aiff",
        "audio/x-ape" => "audio/ape",
        "audio/x-flac" => "audio/flac",
        "audio/x-wav" => "audio/wav",
        name => name,
    })
}

/// The major brand of an ISO media file, such as HEIC and MP4, without what fills it up.
fn brand(front: &[u8]) -> Option<&[u8]> {
    let brand = front.get(8..12).filter(|brand| &front[4..8] == b"ftyp" && brand[0] & 0x60 != 0)?;
    let len = brand.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(0, |last| last + 1);
    Some(&brand[..len])
}

fn name_of_brand(brand: &[u8]) -> &'static str {
    match brand {
        b"avif" | b"avis" => "image/avif",
        b"mif1" => "image/heif",
        b"msf1" => "image/heif-sequence",
        b"heic" | b"heix" => "image/heic",
        b"hevc" | b"hevx" => "image/heic-sequence",
        b"crx" => "image/x-canon-cr3",
        b"M4A" => "audio/x-m4a",
        b"M4B" | b"F4A" | b"F4B" => "audio/mp4",
        b"qt" => "video/quicktime",
        b"M4V" | b"M4VH" | b"M4VP" => "video/x-m4v",
        [b'3', b'g', b'2', ..] => "video/3gpp2",
        [b'3', b'g', ..] => "video/3gpp",
        _ => "video/mp4",
    }
}

/// By the first packet, which follows the first page's head.
fn name_of_ogg(front: &[u8]) -> &'static str {
    let packet = front.get(28..).unwrap_or_default();
    let begins = |marks: &[&[u8]]| marks.iter().any(|mark| packet.starts_with(mark));
    if begins(&[b"OpusHead"]) {
        "audio/ogg; codecs=opus"
    } else if begins(&[b"\x80theora", b"\x01video\0"]) {
        "video/ogg"
    } else if begins(&[b"\x7fFLAC", b"Speex  ", b"\x01vorbis"]) {
        "audio/ogg"
    } else {
        "application/ogg"
    }
}

/// By the first stream that it describes: the identifier of such an object, its length, the kind of the stream.
fn name_of_asf(front: &[u8]) -> &'static str {
    const STREAM: [u8; 16] = *b"\x91\x07\xdc\xb7\xb7\xa9\xcf\x11\x8e\xe6\x00\xc0\x0c\x20\x53\x65";
    const AUDIO: [u8; 16] = *b"\x40\x9e\x69\xf8\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b";
    const VIDEO: [u8; 16] = *b"\xc0\xef\x19\xbc\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b";
    let mut kinds = front.windows(40).filter(|object| object.starts_with(&STREAM)).map(|object| &object[24..]);
    match kinds.find(|kind| [AUDIO, VIDEO].iter().any(|known| kind == known)) {
        Some(kind) if *kind == VIDEO => "video/x-ms-asf",
        Some(_) => "audio/x-ms-asf",
        None => "application/vnd.ms-asf",
    }
}

/// Whether a PNG says before its first picture that there are several.
fn is_animated(front: &[u8]) -> bool {
    let mut chunks = front.get(8..).unwrap_or_default();
    while let Some((len, rest)) = chunks.split_first_chunk() {
        match rest.get(..4) {
            Some(b"acTL") => return true,
            Some(b"IDAT") | None => return false,
            Some(_) => {}
        }
        // Besides the content there are its length, a name and a checksum.
        let end = (u32::from_be_bytes(*len) as usize).saturating_add(12);
        chunks = chunks.get(end..).unwrap_or_default();
    }
    false
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
        let cases: [(&[u8], &str); 22] = [
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "video/mp4"),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "image/avif"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heif"),
            (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "video/quicktime"),
            (b"\0\0\0\x14ftyp3gp5\0\0\0\x013gp5", "video/3gpp"),
            (b"\0\0\0\x14ftypM4A \0\0\0\0M4A ", "audio/x-m4a"),
            (b"\0\0\0\x14ftypM4V\0\0\0\0\0M4V ", "video/x-m4v"),
            (b"\0\0\0\x14ftypiso9\0\0\0\0iso9", "video/mp4"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\x02IHDR..crc.\0\0\0\x08acT", "image/png"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\x02IHDR..crc.\0\0\0\x08acTL", "image/apng"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\0IDAT....\0\0\0\x08acTL....", "image/png"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
            (b"fLaC\0\0\0\x22", "audio/flac"),
            (b"OggS\0\x02\0\0\0\0\0\0\0\0..............OpusHead", "audio/ogg; codecs=opus"),
            (b"OggS\0\x02\0\0\0\0\0\0\0\0..............\x80theora", "video/ogg"),
            (b"OggS\0\x02\0\0\0\0\0\0\0\0..............\x01vorbis", "audio/ogg"),
            (b"%PDF-1.7", "application/pdf"),
        ];
        for (front, expected) in cases {
            assert_eq!(media_type(front, "text/plain").as_deref(), Some(expected), "{front:?}");
        }
    }

    #[test]
    fn films_of_windows_are_told_from_sound() {
        let header = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c..............";
        let stream = b"\x91\x07\xdc\xb7\xb7\xa9\xcf\x11\x8e\xe6\x00\xc0\x0c\x20\x53\x65\x28\0\0\0\0\0\0\0";
        let rest = b"\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b";
        let video = [&header[..], stream, b"\xc0\xef\x19\xbc", rest].concat();
        let audio = [&header[..], stream, b"\x40\x9e\x69\xf8", rest].concat();
        for (front, expected) in
            [(&video[..], "video/x-ms-asf"), (&audio, "audio/x-ms-asf"), (header, "application/vnd.ms-asf")]
        {
            assert_eq!(media_type(front, "text/plain").as_deref(), Some(expected));
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
