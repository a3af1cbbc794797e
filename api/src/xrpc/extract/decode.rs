//! `Content-Encoding` of requests.

use std::io;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder};
use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode, header::CONTENT_ENCODING};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::xrpc::XrpcError;

/// Most codings of one body. Clients use one; each has a decoder with buffers of its own around those before it, so a
/// header of a few kilobytes could otherwise take gigabytes, or the rest of the stack.
const MAX_CODINGS: usize = 3;

/// How a Brotli stream begins that may look back a gigabyte, in the low bits of its first byte. HTTP knows no such streams,
/// but the decoder does, and would remember that much for whoever sends one.
const LARGE_WINDOW: u8 = 0x11;

/// A coding that a request body may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

/// Undoes the codings that `headers` name, the last one first. 415 for one we do not know, and for more than
/// [`MAX_CODINGS`].
pub(super) fn decode(headers: &HeaderMap, body: Body) -> Result<Body, XrpcError> {
    Ok(codings(headers)?.into_iter().rev().fold(body, undo))
}

fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, XrpcError> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let value = value.to_str().map_err(|_| unsupported("unreadable"))?;
        for name in value.split(',').map(str::trim) {
            codings.extend(coding(name)?);
            if codings.len() > MAX_CODINGS {
                return Err(unsupported(format_args!("more than {MAX_CODINGS} codings")));
            }
        }
    }
    Ok(codings)
}

/// `None` for what stands for no coding.
fn coding(name: &str) -> Result<Option<Coding>, XrpcError> {
    match name.to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(None),
        "gzip" | "x-gzip" => Ok(Some(Coding::Gzip)),
        "deflate" => Ok(Some(Coding::Deflate)),
        "br" => Ok(Some(Coding::Brotli)),
        _ => Err(unsupported(name)),
    }
}

fn undo(body: Body, coding: Coding) -> Body {
    let pieces = body.into_data_stream().map_err(io::Error::other);
    match coding {
        Coding::Gzip => Body::from_stream(ReaderStream::new(GzipDecoder::new(StreamReader::new(pieces)))),
        Coding::Deflate => Body::from_stream(ReaderStream::new(ZlibDecoder::new(StreamReader::new(pieces)))),
        Coding::Brotli => {
            let reader = StreamReader::new(refuse_large_window(pieces));
            Body::from_stream(ReaderStream::new(BrotliDecoder::new(reader)))
        }
    }
}

/// Fails at the start of a stream with a [`LARGE_WINDOW`].
fn refuse_large_window(pieces: impl Stream<Item = io::Result<Bytes>>) -> impl Stream<Item = io::Result<Bytes>> {
    let mut started = false;
    pieces.map(move |piece| {
        let piece = piece?;
        if let (false, Some(first)) = (started, piece.first()) {
            started = true;
            if first & 0x7f == LARGE_WINDOW {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "large window"));
            }
        }
        Ok(piece)
    })
}

fn unsupported(what: impl std::fmt::Display) -> XrpcError {
    XrpcError::from_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, format_args!("Unsupported content-encoding: {what}"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers<'a>(values: impl IntoIterator<Item = &'a str>) -> HeaderMap {
        let header = |value| (CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
        values.into_iter().map(header).collect::<HeaderMap<_>>()
    }

    fn read(values: &[&str]) -> Result<Vec<Coding>, String> {
        codings(&headers(values.iter().copied())).map_err(|error| {
            assert_eq!(error.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
            error.message
        })
    }

    #[test]
    fn codings_are_named_in_one_header_or_several() {
        assert_eq!(read(&["gzip, identity,,X-GZIP", " br "]), Ok(vec![Coding::Gzip, Coding::Gzip, Coding::Brotli]));
        assert_eq!(read(&["", "identity"]), Ok(vec![]));
        assert_eq!(read(&["gzip, zstd"]), Err("Unsupported content-encoding: zstd".to_owned()));
    }

    #[test]
    fn a_body_has_few_codings() {
        let too_many = Err("Unsupported content-encoding: more than 3 codings".to_owned());
        assert_eq!(read(&["br, br, br"]).unwrap().len(), MAX_CODINGS);
        assert_eq!(read(&["br, br, br, br"]), too_many);
        assert_eq!(read(&["br"; 4]), too_many);
        assert_eq!(read(&[&"gzip,".repeat(20_000)]), too_many);
    }

    /// A Brotli stream of one piece that is not compressed, behind the bits that say its window.
    fn brotli(window: u64, window_bits: u32, text: &[u8]) -> Vec<u8> {
        let piece = (text.len() as u64 - 1) << 3 | 1 << 19;
        let head_len = ((window_bits + 20).div_ceil(8)) as usize;
        [&(window | piece << window_bits).to_le_bytes()[..head_len], text, &[3]].concat()
    }

    #[tokio::test]
    async fn brotli_has_the_window_of_http() {
        let read = async |stream: Vec<u8>| {
            let pieces = stream.chunks(1).map(|piece| Ok::<_, io::Error>(Bytes::copy_from_slice(piece)));
            let body = Body::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
            let body = decode(&headers(["br"]), body).unwrap();
            axum::body::to_bytes(body, 100).await.map_err(|error| error.to_string())
        };
        assert_eq!(read(brotli(0x0b, 4, b"hello world")).await.unwrap(), "hello world");
        // The same, but the window is given in six bits more.
        assert_eq!(
            read(brotli(u64::from(LARGE_WINDOW) | 22 << 8, 14, b"hello world")).await,
            Err("large window".into())
        );
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(values in prop::collection::vec("(gzip|br|deflate|identity|[ -~]{0,6})(, ?(gzip|br)){0,4}", 0..4)) {
            let read = codings(&headers(values.iter().map(String::as_str)));
            prop_assert!(read.is_ok_and(|codings| codings.len() <= MAX_CODINGS) || values.iter().any(|value| !value.is_empty()));
        }
    }
}
