//! Language tags.

use std::str::FromStr;

use super::text::string_type;

/// Longest tag in bytes: far above any real one (RFC 5646 names 35 as a sensible buffer).
const MAX_LEN: usize = 128;

/// Tags that are well-formed only because RFC 5646 lists them.
const IRREGULAR: [&str; 17] = [
    "en-gb-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "sgn-be-fr",
    "sgn-be-nl",
    "sgn-ch-de",
];

/// A BCP 47 language tag (`pt-BR`), at most 128 bytes, kept as written: well-formed, without a repeated variant or extension.
///
/// The language itself is two or three lower-case letters, which is narrower than the RFC and what the network agrees on.
/// Whether the subtags are registered is not checked. Source: RFC 5646, section 2.1; atproto.com/specs/lexicon.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Language(Box<str>);

/// The text is not a well-formed language tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("language must be a well-formed BCP 47 tag")]
pub struct LanguageError;

impl Language {
    /// True if `text` would parse.
    pub fn is_valid(text: &str) -> bool {
        if text.len() > MAX_LEN {
            return false;
        }
        IRREGULAR.iter().any(|tag| tag.eq_ignore_ascii_case(text)) || is_language_tag(text)
    }
}

impl FromStr for Language {
    type Err = LanguageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if Self::is_valid(text) { Ok(Self(text.into())) } else { Err(LanguageError) }
    }
}

string_type!(Language);

/// Language, up to three extended languages, script, region, variants, extensions, private use: in this order, all but the
/// first optional. A tag may also be private use alone.
fn is_language_tag(text: &str) -> bool {
    let mut subtags = text.split('-').peekable();
    if subtags.peek().is_some_and(|first| first.eq_ignore_ascii_case("x")) {
        return is_private_use(subtags);
    }
    let language = subtags.next().unwrap_or_default();
    if !matches!(language.len(), 2..=3) || !language.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return false;
    }
    for _ in 0..3 {
        subtags.next_if(|subtag| subtag.len() == 3 && is_alphabetic(subtag));
    }
    subtags.next_if(|subtag| subtag.len() == 4 && is_alphabetic(subtag));
    subtags.next_if(|subtag| is_region(subtag));
    let variants = subtags.clone();
    let mut variant_count = 0;
    while let Some(variant) = subtags.next_if(|subtag| is_variant(subtag)) {
        if variants.clone().take(variant_count).any(|earlier| earlier.eq_ignore_ascii_case(variant)) {
            return false;
        }
        variant_count += 1;
    }
    are_extensions(subtags)
}

/// Extensions, each a distinct single character and at least one subtag, then private use, to the end.
fn are_extensions<'a>(mut subtags: std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
    let mut seen = 0u128;
    while let Some(&subtag) = subtags.peek() {
        if subtag.eq_ignore_ascii_case("x") {
            return is_private_use(subtags);
        }
        let [singleton] = subtag.as_bytes() else {
            return false;
        };
        if !singleton.is_ascii_alphanumeric() || seen & (1 << singleton.to_ascii_lowercase()) != 0 {
            return false;
        }
        seen |= 1 << singleton.to_ascii_lowercase();
        subtags.next();
        if subtags.next_if(|subtag| is_alphanumeric(subtag, 2)).is_none() {
            return false;
        }
        while subtags.next_if(|subtag| is_alphanumeric(subtag, 2)).is_some() {}
    }
    true
}

/// `x` and at least one subtag, to the end.
fn is_private_use<'a>(subtags: impl Iterator<Item = &'a str>) -> bool {
    let mut rest = subtags.skip(1).peekable();
    rest.peek().is_some() && rest.all(|subtag| is_alphanumeric(subtag, 1))
}

fn is_region(subtag: &str) -> bool {
    match subtag.len() {
        2 => is_alphabetic(subtag),
        3 => subtag.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    }
}

fn is_variant(subtag: &str) -> bool {
    is_alphanumeric(subtag, 5)
        || subtag.len() == 4 && is_alphanumeric(subtag, 4) && subtag.starts_with(|first: char| first.is_ascii_digit())
}

fn is_alphabetic(subtag: &str) -> bool {
    subtag.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// True for letters and digits, at least `min` and at most eight of them.
fn is_alphanumeric(subtag: &str, min: usize) -> bool {
    (min..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_tags() {
        for text in [
            "ja",
            "ban",
            "pt-BR",
            "es-419",
            "zh-yue-Hant-HK",
            "zh-hakka",
            "i-default",
            "I-Default",
            "sgn-BE-NL",
            "de-CH-1901",
            "sl-rozaj-biske-1994",
            "en-u-co-phonebk-t-en-US",
            "en-GB-boont-r-extended-sequence-x-private",
            "X-fr-CH",
            "de-X-f",
        ] {
            assert!(Language::is_valid(text), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "j",
            "JA",
            "jaja",
            "ja-",
            "-ja",
            "ja_JP",
            "a-DE",
            "de-x",
            "x",
            "x-",
            "en-u",
            "en-a-x-b",
            "en-abcdefghi",
            "de-DE-1901-1901",
            "en-rozaj-ROZAJ",
            "en-u-co-U-ca",
            "dé",
        ] {
            assert!(!Language::is_valid(text), "{text}");
        }
        assert!(!Language::is_valid(&format!("de-x{}", "-abcdefgh".repeat(20))));
    }
}
