//! Response compression: gzip, for text of some length.

use http::{Extensions, HeaderMap, StatusCode, Version, header::CONTENT_TYPE};
use tower_http::compression::{
    CompressionLayer,
    predicate::{And, Predicate, SizeAbove},
};

/// Smaller answers grow, or gain nothing.
const MIN_SIZE: u64 = 1024;

type Rule = And<SizeAbove, fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool>;

/// Compresses JSON and text. Archives and blobs go out as they are: they do not shrink, and they stream.
pub(super) fn layer() -> CompressionLayer<Rule> {
    let is_text: fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool = is_text;
    CompressionLayer::new().gzip(true).compress_when(SizeAbove::new(MIN_SIZE).and(is_text))
}

fn is_text(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["application/json", "application/javascript", "text/"].iter().any(|prefix| content_type.starts_with(prefix))
}
