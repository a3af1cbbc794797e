//! How slowly a request's body may arrive.

use std::{
    error::Error as StdError,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// The least speed of a body, as the time that may be spent waiting for it.
///
/// Only waiting for the client counts: what we do between two pieces is not its fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Waiting that is free.
    pub(super) grace: Duration,
    /// Bytes, as they come over the network, that earn another second.
    pub(super) bytes_per_second: u32,
    /// The longest that nothing may come at all, whatever was earned: a client that has sent much holds a file.
    pub(super) longest_pause: Duration,
}

impl Pace {
    /// For whatever is sent to a method. A phone at the edge of its cell sends faster.
    pub(super) const DEFAULT: Self =
        Self { grace: Duration::from_secs(30), bytes_per_second: 4 * 1024, longest_pause: Duration::from_mins(1) };

    /// How long to wait for the first `bytes`, all in all.
    fn allowance(self, bytes: u64) -> Duration {
        self.grace + Duration::from_millis(bytes.saturating_mul(1000) / u64::from(self.bytes_per_second.max(1)))
    }

    /// The body, which fails with [`TooSlow`] where it falls behind this pace.
    pub(super) fn hold(self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let account = Account { pace: self, received: 0, waited: Duration::ZERO };
        Body::new(PacedBody { body, account, waiting: None })
    }
}

/// A body came too slowly.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request body took too long")]
pub(super) struct TooSlow;

impl TooSlow {
    /// True if this is why reading a body failed, whatever was between.
    pub(super) fn caused(error: &(dyn StdError + 'static)) -> bool {
        std::iter::successors(Some(error), |error| cause_of(*error)).any(<dyn StdError>::is::<Self>)
    }
}

/// What is behind an error. An I/O error hides what it was made of from its own source.
fn cause_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// A body, and the account of its time.
struct PacedBody {
    body: Body,
    account: Account,
    waiting: Option<Waiting>,
}

struct Account {
    pace: Pace,
    received: u64,
    waited: Duration,
}

struct Waiting {
    since: Instant,
    limit: Pin<Box<Sleep>>,
}

impl Account {
    /// How much longer the client may keep us waiting for the next bytes.
    fn left(&self) -> Duration {
        self.pace.allowance(self.received).saturating_sub(self.waited).min(self.pace.longest_pause)
    }
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            if let Some(waiting) = self.waiting.take() {
                self.account.waited += waiting.since.elapsed();
            }
            if let Some(Ok(frame)) = &frame {
                self.account.received += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let left = self.account.left();
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            Waiting { since, limit: Box::pin(sleep_until(since + left)) }
        });
        waiting.limit.as_mut().poll(context).map(|()| Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, TryStreamExt, stream};

    use super::*;

    const PACE: Pace =
        Pace { grace: Duration::from_secs(10), bytes_per_second: 100, longest_pause: Duration::from_secs(30) };

    #[test]
    fn bytes_earn_time() {
        let account = |received, waited| Account { pace: PACE, received, waited: Duration::from_secs(waited) }.left();
        assert_eq!(account(0, 0).as_secs(), 10);
        assert_eq!(account(99, 10).as_millis(), 990);
        assert_eq!(account(1000, 20).as_secs(), 0);
        assert_eq!(account(1_000_000, 0).as_secs(), 30, "not all at once");
        assert_eq!(account(1, 60).as_secs(), 0);
    }

    #[tokio::test]
    async fn a_body_that_stops_is_given_up() {
        let pace = Pace { grace: Duration::from_millis(20), bytes_per_second: 1000, ..PACE };
        for begun in [vec![], vec!["abc"], vec!["a", "b"]] {
            let pieces = stream::iter(begun.clone()).map(Ok::<_, io::Error>).chain(stream::pending());
            let mut pieces = pace.hold(Body::from_stream(pieces)).into_data_stream();
            for expected in begun {
                assert_eq!(pieces.next().await.unwrap().unwrap(), expected);
            }
            let error = pieces.next().await.unwrap().unwrap_err();
            assert!(TooSlow::caused(&error), "{error:?}");
        }
    }

    #[tokio::test]
    async fn what_comes_without_waiting_is_never_too_slow() {
        let pace = Pace { grace: Duration::ZERO, bytes_per_second: 1, ..PACE };
        let pieces = stream::iter((0..10).map(|_| Ok::<_, io::Error>("a")));
        let read: Vec<_> = pace.hold(Body::from_stream(pieces)).into_data_stream().try_collect().await.unwrap();
        assert_eq!(read.concat(), b"aaaaaaaaaa");
        assert!(pace.hold(Body::empty()).is_end_stream());
    }

    #[test]
    fn the_cause_is_found_behind_other_errors() {
        let wrapped = io::Error::other(axum::Error::new(io::Error::other(TooSlow)));
        assert!(TooSlow::caused(&wrapped));
        assert!(!TooSlow::caused(&io::Error::other("broken")));
    }
}
