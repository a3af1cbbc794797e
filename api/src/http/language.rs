//! The caller's languages.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{HeaderMap, header::ACCEPT_LANGUAGE, request::Parts};

/// Longest language tag that is passed on, in bytes. Source: RFC 5646, 4.4.1.
const MAX_TAG: usize = 35;
/// Tags that are passed on.
const MAX_TAGS: usize = 5;

/// The language tags that the caller likes, the best first, as `fr-CH, fr, en`; `None` if `Accept-Language` says nothing of
/// use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreferredLanguages(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for PreferredLanguages {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(preferred(&parts.headers)))
    }
}

fn preferred(headers: &HeaderMap) -> Option<String> {
    let mut wanted: Vec<(f32, &str)> =
        headers.get(ACCEPT_LANGUAGE)?.to_str().ok()?.split(',').filter_map(read).collect();
    // Stable: of equals the first.
    wanted.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let tags: Vec<&str> = wanted.into_iter().map(|(_, tag)| tag).take(MAX_TAGS).collect();
    (!tags.is_empty()).then(|| tags.join(", "))
}

/// Weight and tag of an item as `de-AT;q=0.8`; `None` for one that is not wanted, and for none.
fn read(item: &str) -> Option<(f32, &str)> {
    let (tag, parameters) = item.split_once(';').map_or((item, None), |(tag, rest)| (tag, Some(rest)));
    let tag = tag.trim();
    let is_tag = (1..=MAX_TAG).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let weight: f32 = match parameters {
        Some(parameters) => parameters.trim().strip_prefix("q=")?.parse().ok()?,
        None => 1.0,
    };
    (is_tag && weight > 0.0 && weight <= 1.0).then_some((weight, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_passed_on_by_how_well_they_are_liked() {
        let long = "a".repeat(36);
        for (header, expected) in [
            ("de", Some("de")),
            ("pt-BR, pt;q=0.9, en;q=0.8", Some("pt-BR, pt, en")),
            ("en;q=0.5, fr ; q=0.7,*;q=0.9", Some("fr, en")),
            ("en;q=0, sv;q=0.1", Some("sv")),
            ("de, fr", Some("de, fr")),
            ("en;q=0.3, de, fr;q=0.3, nl", Some("de, nl, en, fr")),
            ("en;q=high, it;q=0.2", Some("it")),
            ("a, b, c, d, e;q=0.5, f", Some("a, b, c, d, f")),
            ("*", None),
            ("", None),
            ("../etc/passwd", None),
            ("en;q=0", None),
            ("en;q=NaN", None),
            ("en;q=7", None),
            ("en;q=-1", None),
            (&long, None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, header.parse().unwrap())]);
            assert_eq!(preferred(&headers).as_deref(), expected, "{header}");
        }
        assert_eq!(preferred(&HeaderMap::new()), None);
    }
}
