//! `Content-Encoding` of requests.

use std::io;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder};
use axum::body::Body;
use futures_util::TryStreamExt;
use http::{HeaderMap, StatusCode, header::CONTENT_ENCODING};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::xrpc::XrpcError;

/// A coding that a request body may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

/// Undoes the codings that `headers` name, the last one first. 415 for one we do not know.
pub(super) fn decode(headers: &HeaderMap, body: Body) -> Result<Body, XrpcError> {
    Ok(codings(headers)?.into_iter().rev().fold(body, undo))
}

fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, XrpcError> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let value = value.to_str().map_err(|_| unsupported("unreadable"))?;
        for name in value.split(',').map(str::trim) {
            match name.to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => codings.push(Coding::Gzip),
                "deflate" => codings.push(Coding::Deflate),
                "br" => codings.push(Coding::Brotli),
                _ => return Err(unsupported(name)),
            }
        }
    }
    Ok(codings)
}

fn undo(body: Body, coding: Coding) -> Body {
    let reader = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    match coding {
        Coding::Gzip => Body::from_stream(ReaderStream::new(GzipDecoder::new(reader))),
        Coding::Deflate => Body::from_stream(ReaderStream::new(ZlibDecoder::new(reader))),
        Coding::Brotli => Body::from_stream(ReaderStream::new(BrotliDecoder::new(reader))),
    }
}

fn unsupported(name: &str) -> XrpcError {
    XrpcError::from_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, format_args!("Unsupported content-encoding: {name}"))
}
