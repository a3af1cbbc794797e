//! Response compression: gzip and deflate, for text and archives of some length.

use http::{Extensions, HeaderMap, StatusCode, Version, header::CONTENT_TYPE};
use tower_http::CompressionLevel;
use tower_http::compression::{
    CompressionLayer,
    predicate::{And, Predicate, SizeAbove},
};

/// Smaller answers grow, or gain nothing.
const MIN_SIZE: u64 = 1024;

/// In the extensions of an answer that goes out as it is, whatever its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsItIs;

type Rule = And<SizeAbove, fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool>;

/// Compresses JSON, text and archives of repos, all of them as they stream, for clients that accept it. Blobs go out as they
/// are ([`AsItIs`]): most are compressed already, and the others have ranges.
///
/// At the fastest level: a whole repo is compressed while others wait for the same processors.
pub(super) fn layer() -> CompressionLayer<Rule> {
    let shrinks: fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool = shrinks;
    let layer = CompressionLayer::new().gzip(true).deflate(true).quality(CompressionLevel::Fastest);
    layer.compress_when(SizeAbove::new(MIN_SIZE).and(shrinks))
}

fn shrinks(_: StatusCode, _: Version, headers: &HeaderMap, extensions: &Extensions) -> bool {
    const SHRINKING: [&str; 4] = ["application/json", "application/javascript", "application/vnd.ipld.car", "text/"];
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    extensions.get::<AsItIs>().is_none() && SHRINKING.iter().any(|prefix| content_type.starts_with(prefix))
}
