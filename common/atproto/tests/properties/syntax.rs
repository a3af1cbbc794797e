//! The parsers of identifiers.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use atproto::syntax::{AtIdentifier, AtUri, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid, is_cid, is_uri};
use proptest::prelude::*;

/// The parser agrees with the bare check, and what it takes it writes so that it reads back the same.
fn check<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(
    text: &str,
    is_valid: fn(&str) -> bool,
) -> Result<(), TestCaseError> {
    let parsed = text.parse::<T>();
    prop_assert_eq!(parsed.is_ok(), is_valid(text));
    if let Ok(parsed) = parsed {
        prop_assert_eq!(parsed.to_string().parse().ok(), Some(parsed));
    }
    Ok(())
}

/// Any text, and texts near to what the parsers take.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "did:[a-zA-Z]{0,4}:[a-zA-Z0-9._:%-]{0,20}",
        "([a-zA-Z0-9-]{0,5}\\.){0,4}[a-zA-Z0-9-]{0,5}",
        "[a-z2-7]{12,14}",
        "at://(did:plc:[a-z]{3}|[a-z-]{1,4}\\.[a-z]{1,3})(/[a-z.]{0,9}){0,3}",
        "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,9})?(Z|[+-][0-2][0-9]:[0-6][0-9])",
        "[a-zA-Z]{1,4}(-[a-zA-Z0-9]{1,8}){0,5}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn parsers_agree_with_their_checks(text in text()) {
        check::<AtIdentifier>(&text, AtIdentifier::is_valid)?;
        check::<AtUri>(&text, AtUri::is_valid)?;
        check::<Datetime>(&text, Datetime::is_valid)?;
        check::<Did>(&text, Did::is_valid)?;
        check::<Handle>(&text, Handle::is_valid)?;
        check::<Language>(&text, Language::is_valid)?;
        check::<Nsid>(&text, Nsid::is_valid)?;
        check::<RecordKey>(&text, RecordKey::is_valid)?;
        check::<Tid>(&text, Tid::is_valid)?;
        let _ = (is_uri(&text), is_cid(&text));
    }
}
