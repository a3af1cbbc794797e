//! Requests for a part of what does not change.

use std::ops::Range;

use http::HeaderMap;
use http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};

/// What a caller wants of something with an entity tag and a size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Nothing: the caller has it.
    Unchanged,
    /// Bytes that there are not.
    Unsatisfiable,
}

impl Wanted {
    /// Reads the headers of a request. `etag` is a strong one, with its quotes.
    ///
    /// What is malformed counts as absent, and so do several ranges at once: whoever asks for them must be ready to get
    /// everything. Source: RFC 9110, sections 13.1.2, 13.1.5 and 14.2.
    pub(crate) fn read(headers: &HeaderMap, etag: &str, size: u64) -> Self {
        if let Some(tags) = text(headers, &IF_NONE_MATCH)
            && tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
        {
            return Self::Unchanged;
        }
        let is_current = text(headers, &IF_RANGE).is_none_or(|tag| tag == etag);
        match text(headers, &RANGE).filter(|_| is_current).and_then(parse) {
            None => Self::Whole,
            Some(Bounds::Last(0)) => Self::Unsatisfiable,
            Some(Bounds::Last(count)) if size > 0 => Self::Part(size.saturating_sub(count)..size),
            Some(Bounds::Between(first, last)) if first < size => {
                Self::Part(first..last.map_or(size, |last| last.saturating_add(1).min(size)))
            }
            Some(Bounds::Last(_) | Bounds::Between(..)) => Self::Unsatisfiable,
        }
    }
}

enum Bounds {
    /// From the first to the last byte of these, or to the end.
    Between(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

fn parse(range: &str) -> Option<Bounds> {
    let (unit, range) = range.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    match range.trim().split_once('-')? {
        ("", count) => number(count).map(Bounds::Last),
        (first, "") => Some(Bounds::Between(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Bounds::Between(first, Some(last)))
        }
    }
}

/// Digits only, unlike what numbers are otherwise parsed from.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ETAG: &str = "\"bafk\"";

    fn read(headers: &[(http::HeaderName, &str)], size: u64) -> Wanted {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        Wanted::read(&headers, ETAG, size)
    }

    #[test]
    fn ranges_are_cut_to_what_there_is() {
        for (range, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=2-", Wanted::Part(2..10)),
            ("Bytes= 2-5", Wanted::Part(2..6)),
            ("bytes=9-18446744073709551615", Wanted::Part(9..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=10-20", Wanted::Unsatisfiable),
        ] {
            assert_eq!(read(&[(RANGE, range)], 10), expected, "{range}");
        }
        for range in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=+1-2", "lines=1-2", "bytes=0-1,3-4"]
        {
            assert_eq!(read(&[(RANGE, range)], 10), Wanted::Whole, "{range}");
        }
        assert_eq!(read(&[(RANGE, "bytes=-1")], 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn who_has_it_gets_nothing() {
        for tags in [ETAG, "W/\"bafk\"", "\"other\", \"bafk\"", "*"] {
            assert_eq!(read(&[(IF_NONE_MATCH, tags), (RANGE, "bytes=0-1")], 10), Wanted::Unchanged, "{tags}");
        }
        assert_eq!(read(&[(IF_NONE_MATCH, "\"other\"")], 10), Wanted::Whole);
    }

    #[test]
    fn a_part_of_something_else_is_not_wanted() {
        assert_eq!(read(&[(IF_RANGE, ETAG), (RANGE, "bytes=1-")], 10), Wanted::Part(1..10));
        for tag in ["\"other\"", "W/\"bafk\"", "Sat, 21 Nov 2026 00:00:00 GMT"] {
            assert_eq!(read(&[(IF_RANGE, tag), (RANGE, "bytes=1-")], 10), Wanted::Whole, "{tag}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_nor_beyond_the_end(range in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in 0..100_u64) {
            if let Wanted::Part(part) = read(&[(RANGE, &range)], size) {
                prop_assert!(part.start < part.end && part.end <= size, "{} of {}: {:?}", range, size, part);
            }
        }
    }
}
