//! Consumers that must see every event once, whatever happens to the server they listen to.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::harness::consumer::{Consumer, Received};

/// How long the rest of the stream may take once everything is written.
const LAST_EVENTS: Duration = Duration::from_mins(1);
/// How long the stream may be quiet before: longer than any fault.
const QUIET: Duration = Duration::from_mins(5);
/// The pause before connecting again.
const RECONNECT: Duration = Duration::from_millis(20);

/// What a consumer saw.
#[derive(Debug, Default)]
pub(super) struct Tape {
    /// The events from the first one on.
    pub(super) events: Vec<Received>,
    /// How often it had to connect.
    pub(super) connections: usize,
    /// How often it was sent away as too slow.
    pub(super) too_slow: usize,
}

impl Tape {
    /// The seq of the last event.
    fn last(&self) -> i64 {
        self.events.last().map_or(0, |event| event.seq)
    }

    fn add(&mut self, received: Received) -> Result<()> {
        let expected = self.last() + 1;
        ensure!(received.seq == expected, "seq {} comes where {expected} should", received.seq);
        self.events.push(received);
        Ok(())
    }

    /// Takes events from a connection until it ends, or is to end.
    async fn record(&mut self, consumer: &mut Consumer, end: &mut watch::Receiver<Option<i64>>) -> Result<()> {
        loop {
            let known = *end.borrow_and_update();
            if known == Some(self.last()) {
                return Ok(());
            }
            let limit = if known.is_some() { LAST_EVENTS } else { QUIET };
            let received = tokio::select! {
                received = consumer.next(limit) => received,
                Ok(()) = end.changed() => continue,
            };
            match received {
                Ok(received) => self.add(received)?,
                Err(error) if error.is::<tokio::time::error::Elapsed>() => {
                    bail!("after {} of {known:?} comes nothing: {error:#}", self.last())
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    ensure!(!why.contains("FutureCursor"), "after {}: {why}", self.last());
                    self.too_slow += usize::from(is_too_slow(&error));
                    return Ok(());
                }
            }
        }
    }
}

/// Whether a stream ended because its consumer was too slow.
pub(super) fn is_too_slow(end: &anyhow::Error) -> bool {
    format!("{end:#}").contains("ConsumerTooSlow")
}

/// Follows the stream of one server from its first event until `end` tells which is the last; connects again with its
/// cursor as often as it has to.
///
/// # Errors
/// An event is missing or comes twice.
pub(super) async fn follow(origin: String, mut end: watch::Receiver<Option<i64>>) -> Result<Tape> {
    let mut tape = Tape::default();
    while *end.borrow() != Some(tape.last()) {
        match Consumer::connect(&origin, Some(tape.last())).await {
            Ok(mut consumer) => {
                tape.connections += 1;
                tape.record(&mut consumer, &mut end).await.map_err(|error| error.context(origin.clone()))?;
            }
            Err(_) => sleep(RECONNECT).await,
        }
    }
    Ok(tape)
}

#[test]
fn gaps_and_repeats_are_found() {
    use atproto::event::{Event, IdentityEvent};
    use atproto::syntax::Datetime;

    let event = |seq| {
        let did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().unwrap();
        let event = Event::Identity(IdentityEvent { did, handle: None, time: Datetime::from_unix_millis(0) });
        Received { seq, event, bytes: bytes::Bytes::new() }
    };
    let mut tape = Tape::default();
    for seq in 1..=3 {
        tape.add(event(seq)).unwrap();
    }
    for seq in [3, 5, 1] {
        tape.add(event(seq)).unwrap_err();
    }
    assert_eq!(tape.last(), 3);
}
