//! The body of an answer, as long as which its request counts.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use super::activity::Counted;

/// A body that keeps its request counted until it is sent or dropped.
#[derive(Debug)]
pub(super) struct CountedBody {
    body: Body,
    _counted: Counted,
}

impl CountedBody {
    pub(super) fn new(body: Body, counted: Counted) -> Self {
        Self { body, _counted: counted }
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
