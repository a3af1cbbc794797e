//! What a handler answers.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, VARY},
};
use serde::{Serialize, Serializer};

use super::XrpcError;

/// What a handler with JSON output gives back. A handler without output gives `Result<(), XrpcError>`.
pub type XrpcResult<T> = Result<XrpcJson<T>, XrpcError>;

/// JSON output.
#[derive(Clone, Debug)]
pub struct XrpcJson<T>(pub T);

impl<T: Serialize> IntoResponse for XrpcJson<T> {
    fn into_response(self) -> Response {
        const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => ([(CONTENT_TYPE, JSON)], Body::from(bytes)).into_response(),
            Err(error) => XrpcError::internal(error).into_response(),
        }
    }
}

/// Part of an output that others hold too: shown, not copied.
#[derive(Clone, Debug)]
pub struct Shared<T>(pub Arc<T>);

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Headers that extractors add to the answer, whatever the handler gives back, also an error.
///
/// The dispatcher puts one into every request's extensions and merges it into the answer. Authentication needs it: the
/// DPoP nonce goes out with every answer, and no shared cache may keep one.
#[derive(Clone, Debug, Default)]
pub struct ResponseHeaders(Arc<Mutex<HeaderMap>>);

impl ResponseHeaders {
    /// The headers of the answer to the request with these extensions.
    ///
    /// Outside a dispatched request, nobody will read them.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Sets a header of the answer.
    pub fn insert(&self, name: HeaderName, value: HeaderValue) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, value);
    }

    /// Marks the answer as made for one caller: `Cache-Control: private`, `Vary: Authorization`.
    ///
    /// Every authenticated method does so, before it looks at the credentials.
    pub fn mark_private(&self) {
        self.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        self.insert(VARY, HeaderValue::from_name(AUTHORIZATION));
    }

    /// Moves the headers into `response`. `Vary` adds up; what the handler set itself otherwise stays.
    pub(crate) fn merge_into(&self, response: &mut Response) {
        let added = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let headers = response.headers_mut();
        for (name, value) in &added {
            if name == VARY {
                headers.append(name, value.clone());
            } else {
                headers.entry(name).or_insert_with(|| value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_headers_do_not_replace_the_handlers() {
        let headers = ResponseHeaders::default();
        headers.mark_private();
        let mut response = ([(CACHE_CONTROL, "no-store"), (VARY, "Accept")], "").into_response();
        headers.merge_into(&mut response);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let vary: Vec<_> = response.headers().get_all(VARY).iter().collect();
        assert_eq!(vary, ["Accept", "authorization"]);
    }
}
