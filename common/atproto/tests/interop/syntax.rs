//! `syntax/`: texts that must parse and texts that must not.

use std::fmt::Display;
use std::str::FromStr;

use atproto::syntax::{AtIdentifier, AtUri, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid, is_cid, is_uri};

use crate::lines;

/// Checks that the parser and the bare check agree with the vectors of this name.
fn check<T: FromStr<Err: Display> + Display>(name: &str, is_valid: fn(&str) -> bool) {
    for text in lines(&format!("syntax/{name}_syntax_valid.txt")) {
        assert!(is_valid(&text), "{name} {text:?}");
        let parsed = text.parse::<T>().unwrap_or_else(|error| panic!("{name} {text:?}: {error}"));
        assert_eq!(parsed.to_string().to_lowercase(), text.to_lowercase());
    }
    refuse::<T>(&format!("{name}_syntax_invalid"), is_valid);
}

fn refuse<T: FromStr>(file: &str, is_valid: fn(&str) -> bool) {
    for text in lines(&format!("syntax/{file}.txt")) {
        assert!(!is_valid(&text), "{file} {text:?}");
        assert!(text.parse::<T>().is_err(), "{file} {text:?}");
    }
}

fn check_format(name: &str, is_valid: fn(&str) -> bool) {
    for text in lines(&format!("syntax/{name}_syntax_valid.txt")) {
        assert!(is_valid(&text), "{name} {text:?}");
    }
    for text in lines(&format!("syntax/{name}_syntax_invalid.txt")) {
        assert!(!is_valid(&text), "{name} {text:?}");
    }
}

#[test]
fn dids() {
    check::<Did>("did", Did::is_valid);
}

#[test]
fn handles() {
    check::<Handle>("handle", Handle::is_valid);
}

#[test]
fn at_identifiers() {
    check::<AtIdentifier>("atidentifier", AtIdentifier::is_valid);
}

#[test]
fn nsids() {
    check::<Nsid>("nsid", Nsid::is_valid);
}

#[test]
fn record_keys() {
    check::<RecordKey>("recordkey", RecordKey::is_valid);
}

#[test]
fn tids() {
    check::<Tid>("tid", Tid::is_valid);
}

#[test]
fn at_uris() {
    check::<AtUri>("aturi", AtUri::is_valid);
}

#[test]
fn datetimes() {
    check::<Datetime>("datetime", Datetime::is_valid);
    refuse::<Datetime>("datetime_parse_invalid", Datetime::is_valid);
}

#[test]
fn languages() {
    check::<Language>("language", Language::is_valid);
    refuse::<Language>("language_parse_invalid", Language::is_valid);
}

#[test]
fn uris() {
    check_format("uri", is_uri);
}

#[test]
fn cids() {
    check_format("cid", is_cid);
}
