//! Answers whose time tells nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long an answer takes at least. Longer than the work behind it on a server that is not overloaded; on one that is,
/// the work of others makes times differ more than the work itself.
const LEAST: Duration = Duration::from_millis(350);

/// Holds an answer back until some time after the request came in.
///
/// What a stranger must not learn from an answer, they must not learn from its time either: whether there is an account,
/// and what is stored of its password.
#[derive(Debug)]
#[must_use = "it holds back only where it is awaited"]
pub struct EvenTime(Instant);

impl EvenTime {
    /// Begins at the start of the work.
    pub fn start() -> Self {
        Self(Instant::now() + LEAST)
    }

    /// Waits for the rest of the time.
    pub async fn pass(self) {
        sleep_until(self.0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_never_comes_sooner() {
        let before = Instant::now();
        let EvenTime(end) = EvenTime::start();
        assert!(end >= before + LEAST);
        let end = Instant::now() + Duration::from_millis(5);
        EvenTime(end).pass().await;
        assert!(Instant::now() >= end);
    }
}
