//! The `Authorization` header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::xrpc::{ResponseHeaders, XrpcError};

/// What the header holds.
pub(super) enum Credentials<'a> {
    /// `Bearer <token>`.
    Bearer(&'a str),
    /// `Basic <base64 of user:password>`.
    Basic { user: String, password: String },
    /// Any other scheme, or a `Basic` that holds no user and password.
    Other,
}

/// Reads the header, and marks the answer as made for one caller. `None` without a header.
pub(super) fn credentials(parts: &Parts) -> Result<Option<Credentials<'_>>, XrpcError> {
    ResponseHeaders::of(&parts.extensions).mark_private();
    parse(&parts.headers)
}

/// As [`credentials`], for methods that nobody may call without.
pub(super) fn require_credentials(parts: &Parts) -> Result<Credentials<'_>, XrpcError> {
    credentials(parts)?.ok_or_else(|| XrpcError::unauthorized("AuthMissing", "Authentication Required"))
}

/// The bearer token of methods that accept nothing else.
pub(super) fn require_bearer(parts: &Parts) -> Result<&str, XrpcError> {
    match require_credentials(parts)? {
        Credentials::Bearer(token) => Ok(token),
        Credentials::Basic { .. } | Credentials::Other => {
            Err(XrpcError::bad_request("InvalidToken", "Unexpected authorization type"))
        }
    }
}

fn parse(headers: &HeaderMap) -> Result<Option<Credentials<'_>>, XrpcError> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let malformed = || XrpcError::bad_request("InvalidToken", "Malformed token");
    let mut words = value.to_str().map_err(|_| malformed())?.split(' ');
    let (Some(scheme), Some(text), None) = (words.next(), words.next(), words.next()) else {
        return Err(malformed());
    };
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(Some(Credentials::Bearer(text)))
    } else if scheme.eq_ignore_ascii_case("basic") {
        Ok(Some(parse_basic(text).unwrap_or(Credentials::Other)))
    } else {
        Ok(Some(Credentials::Other))
    }
}

fn parse_basic(text: &str) -> Option<Credentials<'static>> {
    let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Credentials::Basic { user: user.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Result<Option<(String, String)>, String> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
        match parse(&headers) {
            Ok(Some(Credentials::Bearer(token))) => Ok(Some(("bearer".to_owned(), token.to_owned()))),
            Ok(Some(Credentials::Basic { user, password })) => Ok(Some((user, password))),
            Ok(Some(Credentials::Other)) => Ok(Some(("other".to_owned(), String::new()))),
            Ok(None) => Ok(None),
            Err(error) => Err(error.name.into_owned()),
        }
    }

    #[test]
    fn schemes_are_read_without_regard_to_case() {
        assert_eq!(read("bearer abc"), Ok(Some(("bearer".into(), "abc".into()))));
        assert_eq!(read("Basic YWRtaW46YTpi"), Ok(Some(("admin".into(), "a:b".into()))));
        assert!(parse(&HeaderMap::new()).is_ok_and(|none| none.is_none()));
    }

    #[test]
    fn other_schemes_are_told_from_malformed_headers() {
        for value in ["Digest x", "Basic !", "Basic YWRtaW4=", "DPoP abc"] {
            assert_eq!(read(value), Ok(Some(("other".into(), String::new()))), "{value:?}");
        }
        for value in ["", "Bearer", "Bearer a b", "Bearer  a"] {
            assert_eq!(read(value), Err("InvalidToken".into()), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(value in prop::collection::vec(any::<u8>(), 0..60), scheme in "((?i)bearer|basic|dpop) ?") {
            let value = [scheme.as_bytes(), &value].concat();
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                _ = parse(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
            }
        }

        #[test]
        fn users_and_passwords_are_read_back(user in "[^:]{0,12}", password in ".{0,12}") {
            let read = read(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
            prop_assert_eq!(read, Ok(Some((user, password))));
        }
    }
}
