//! Each parser agrees with its bare check, and what it takes reads back the same.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use atproto::syntax::{AtIdentifier, AtUri, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid, is_cid, is_uri};
use libfuzzer_sys::fuzz_target;

fn check<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str, is_valid: fn(&str) -> bool) {
    let parsed = text.parse::<T>();
    assert_eq!(parsed.is_ok(), is_valid(text));
    if let Ok(parsed) = parsed {
        assert_eq!(parsed.to_string().parse::<T>().expect("written by the type itself"), parsed);
    }
}

fuzz_target!(|text: &str| {
    check::<AtIdentifier>(text, AtIdentifier::is_valid);
    check::<AtUri>(text, AtUri::is_valid);
    check::<Datetime>(text, Datetime::is_valid);
    check::<Did>(text, Did::is_valid);
    check::<Handle>(text, Handle::is_valid);
    check::<Language>(text, Language::is_valid);
    check::<Nsid>(text, Nsid::is_valid);
    check::<RecordKey>(text, RecordKey::is_valid);
    check::<Tid>(text, Tid::is_valid);
    let _ = (is_uri(text), is_cid(text));
});
