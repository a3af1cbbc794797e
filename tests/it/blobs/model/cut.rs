//! Work that ends in the middle.

use std::pin::Pin;
use std::task::{Context, Poll};

/// Goes on with a future so many times, and then drops it where it stands, as the end of a process does. `None` if it did
/// not get to its end.
pub(super) struct Cut<F> {
    work: Pin<Box<F>>,
    left: u32,
}

impl<F: Future> Cut<F> {
    pub(super) fn after(left: u32, work: F) -> Self {
        Self { work: Box::pin(work), left }
    }
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        self.work.as_mut().poll(context).map(Some)
    }
}
