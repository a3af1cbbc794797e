//! The caller's language.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{HeaderMap, header::ACCEPT_LANGUAGE, request::Parts};

/// Longest language tag that is passed on, in bytes. Source: RFC 5646, 4.4.1.
const MAX_TAG: usize = 35;

/// The language tag that the caller likes best, as `Accept-Language` has it; `None` if it says nothing of use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreferredLanguage(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for PreferredLanguage {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(preferred(&parts.headers)))
    }
}

fn preferred(headers: &HeaderMap) -> Option<String> {
    let mut best: Option<(f32, &str)> = None;
    for item in headers.get(ACCEPT_LANGUAGE)?.to_str().ok()?.split(',') {
        let Some((weight, tag)) = read(item) else { continue };
        // The first of equals.
        if weight > best.map_or(0.0, |(weight, _)| weight) {
            best = Some((weight, tag));
        }
    }
    best.map(|(_, tag)| tag.to_owned())
}

/// Weight and tag of an item as `de-AT;q=0.8`.
fn read(item: &str) -> Option<(f32, &str)> {
    let (tag, parameters) = item.split_once(';').map_or((item, None), |(tag, rest)| (tag, Some(rest)));
    let tag = tag.trim();
    let is_tag = (1..=MAX_TAG).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let weight = match parameters {
        Some(parameters) => parameters.trim().strip_prefix("q=")?.parse().ok()?,
        None => 1.0,
    };
    is_tag.then_some((weight, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_language_is_taken() {
        let long = "a".repeat(36);
        for (header, expected) in [
            ("de", Some("de")),
            ("pt-BR, pt;q=0.9, en;q=0.8", Some("pt-BR")),
            ("en;q=0.5, fr ; q=0.7,*;q=0.9", Some("fr")),
            ("en;q=0, sv;q=0.1", Some("sv")),
            ("de, fr", Some("de")),
            ("en;q=high, it;q=0.2", Some("it")),
            ("*", None),
            ("", None),
            ("../etc/passwd", None),
            ("en;q=0", None),
            ("en;q=NaN", None),
            (&long, None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, header.parse().unwrap())]);
            assert_eq!(preferred(&headers).as_deref(), expected, "{header}");
        }
        assert_eq!(preferred(&HeaderMap::new()), None);
    }
}
