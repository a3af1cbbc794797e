//! Answers of bounded size.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use reqwest::Response;

use super::FetchError;

/// Reads a whole answer of at most `limit` bytes.
///
/// # Errors
/// `TooLarge` as soon as more is announced or arrives.
pub async fn read_limited(mut response: Response, limit: u64) -> Result<Bytes, FetchError> {
    check_announced(&response, limit)?;
    let mut whole = BytesMut::new();
    while let Some(piece) = response.chunk().await? {
        if (whole.len() + piece.len()) as u64 > limit {
            return Err(FetchError::TooLarge { limit });
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// Passes an answer on as it arrives, up to `limit` bytes; then the stream ends with `TooLarge`.
///
/// # Errors
/// `TooLarge` at once if more is announced.
pub fn limited_stream(
    response: Response,
    limit: u64,
) -> Result<impl Stream<Item = Result<Bytes, FetchError>> + Send + 'static, FetchError> {
    check_announced(&response, limit)?;
    let mut left = limit;
    Ok(response.bytes_stream().map(move |piece| {
        let piece = piece?;
        left = left.checked_sub(piece.len() as u64).ok_or(FetchError::TooLarge { limit })?;
        Ok(piece)
    }))
}

fn check_announced(response: &Response, limit: u64) -> Result<(), FetchError> {
    match response.content_length() {
        Some(length) if length > limit => Err(FetchError::TooLarge { limit }),
        _ => Ok(()),
    }
}
