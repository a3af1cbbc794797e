//! What a client is told of its limits.

use common::rate_limit::{Limit, Refusal, Window};
use http::{HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER};

use crate::xrpc::{ResponseHeaders, XrpcError};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Describes the limit with the fewest points left, of several alike the first.
pub(super) fn describe_tightest<'a>(headers: &ResponseHeaders, windows: impl Iterator<Item = (&'a Limit, &'a Window)>) {
    if let Some((limit, window)) = windows.min_by_key(|(limit, window)| remaining(limit, window)) {
        describe(headers, limit, window);
    }
}

/// Adds the headers of one limit.
///
/// Reference: `RateLimit-Reset` is a time, in seconds since 1970, and not a number of seconds from now.
pub(super) fn describe(headers: &ResponseHeaders, limit: &Limit, window: &Window) {
    headers.insert(LIMIT, limit.points.into());
    headers.insert(REMAINING, remaining(limit, window).into());
    headers.insert(RESET, (window.ends_ms / 1000).into());
    let policy = HeaderValue::try_from(format!("{};w={}", limit.points, limit.window.as_secs()));
    headers.insert(POLICY, policy.unwrap_or(HeaderValue::from_static("")));
}

/// 429, with the seconds after which the same request can succeed.
pub(super) fn refusal(refusal: &Refusal) -> XrpcError {
    let wait = refusal.window.ends_ms.saturating_sub(refusal.now_ms).div_ceil(1000).max(1);
    XrpcError::from_status(StatusCode::TOO_MANY_REQUESTS, "Rate Limit Exceeded").with_header(RETRY_AFTER, wait.into())
}

/// Fewer than none are none: points that were taken away meanwhile may have been used before.
fn remaining(limit: &Limit, window: &Window) -> u64 {
    u64::from(limit.points).saturating_sub(window.used)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::response::IntoResponse as _;

    use super::*;

    const FIVE_MINUTES: Limit = Limit { name: "a", points: 3000, window: Duration::from_mins(5) };
    const DAY: Limit = Limit { name: "b", points: 50, window: Duration::from_hours(24) };

    /// The headers, as the answer of a handler without any gets them.
    fn written(headers: &ResponseHeaders) -> Vec<String> {
        let mut response = ().into_response();
        headers.merge_into(&mut response);
        let value = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy"].map(value).to_vec()
    }

    #[test]
    fn the_limit_with_the_fewest_points_left_is_shown() {
        let window = |used, ends_ms| Window { used, ends_ms };
        for (used, expected) in [
            ([1, 1], ["50", "49", "9", "50;w=86400"]),
            ([2960, 1], ["3000", "40", "8", "3000;w=300"]),
            ([2951, 1], ["3000", "49", "8", "3000;w=300"]),
            ([0, 60], ["50", "0", "9", "50;w=86400"]),
        ] {
            let windows = [window(used[0], 8999), window(used[1], 9000)];
            let headers = ResponseHeaders::default();
            describe_tightest(&headers, [&FIVE_MINUTES, &DAY].into_iter().zip(&windows));
            assert_eq!(written(&headers), expected, "{used:?}");
        }
    }

    #[test]
    fn a_refused_client_that_waits_as_told_does_not_come_too_early() {
        for (now_ms, ends_ms, expected) in [(5000, 8000, "3"), (5001, 8000, "3"), (4999, 8000, "4"), (8000, 8000, "1")]
        {
            let error = refusal(&Refusal { charge: 0, window: Window { used: 1, ends_ms }, now_ms });
            assert_eq!((error.status.as_u16(), error.name.as_ref()), (429, "RateLimitExceeded"));
            assert_eq!(error.message, "Rate Limit Exceeded");
            assert_eq!(error.into_response().headers()[RETRY_AFTER], expected);
        }
    }
}
