//! The body of a request, and what nobody reads of it.
//!
//! Many clients look for an answer only when they have sent everything, and never see the one of a server that has stopped
//! listening: a session that has expired would look like a broken network. So what is left of a body when its request is
//! refused is read and thrown away, beside the answer, which whoever looks for it gets at once.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use http::{Request, header::EXPECT};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use super::activity::{Activity, Lingering};

/// Bytes that are thrown away of one body. After that, or where its sender takes too long, the connection ends.
const DISCARDED: usize = 16 << 20;
/// How long all of it may take, and each pause.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_secs(10);
/// How long an answer may take to go out that is ready.
const ANSWERED: Duration = Duration::from_secs(1);

/// The body of a request. What is left of it when it is dropped is thrown away.
#[derive(Debug)]
pub(super) struct InputBody {
    /// `None` when its end was read, or it broke off.
    rest: Option<Incoming>,
    /// The client waits for a sign before it sends anything, and had none yet.
    held_back: bool,
    activity: Arc<Activity>,
}

impl InputBody {
    /// Takes the body of `request`, which came over the connection with this `activity`.
    pub(super) fn of(request: Request<Incoming>, activity: Arc<Activity>) -> Request<Self> {
        let expected = request.headers().get(EXPECT);
        let held_back = expected.is_some_and(|what| what.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        request.map(|body| Self { rest: Some(body), held_back, activity })
    }
}

impl HttpBody for InputBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.held_back = false;
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(rest).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.rest = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for InputBody {
    fn drop(&mut self) {
        let Some(rest) = self.rest.take().filter(|rest| !rest.is_end_stream()) else { return };
        let (lingering, held_back) = (self.activity.linger(), self.held_back);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if held_back {
                    // To read is to ask for it, unless the answer has gone out before.
                    sleep(ANSWERED).await;
                }
                let _ = timeout(PATIENCE, discard(rest, lingering)).await;
            });
        }
    }
}

/// Reads on without keeping anything; the connection is in use until the end.
async fn discard(mut rest: Incoming, _lingering: Lingering) {
    let mut left = DISCARDED;
    while let Ok(Some(Ok(frame))) = timeout(PAUSE, rest.frame()).await {
        let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = less;
    }
}
