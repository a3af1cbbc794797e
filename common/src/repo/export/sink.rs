//! Where an archive goes: chunks in a queue, as fast as the reader takes them.

use std::mem;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::ExportError;

/// Bytes in one chunk, give or take a block.
const CHUNK: usize = 64 * 1024;
/// Room for the block that completes a chunk, if it is an ordinary one.
const BLOCK: usize = 4 * 1024;
/// Chunks that may wait for a slow reader.
const CHUNKS_AHEAD: usize = 16;
/// What a reader must take, in bytes per second: a slower one would hold a connection and a snapshot for hours.
const MIN_RATE: u32 = 64 * 1024;
/// How long a reader may stall.
const PATIENCE: Duration = Duration::from_secs(30);

/// What goes from the task that reads to the one that sends.
#[derive(Debug)]
pub(super) enum Piece {
    Chunk(Bytes),
    /// The last piece. Without it, the archive is not whole, whatever kept the reading task from saying so.
    End(Result<(), ExportError>),
}

/// The writing end.
pub(super) struct Sink {
    pub(super) buffer: BytesMut,
    pieces: mpsc::Sender<Piece>,
    allowance: Allowance,
}

impl Sink {
    /// A sink, and what comes out of it.
    pub(super) fn new() -> (Self, mpsc::Receiver<Piece>) {
        let (pieces, receiver) = mpsc::channel(CHUNKS_AHEAD);
        (Self { buffer: empty_buffer(), pieces, allowance: Allowance(PATIENCE) }, receiver)
    }

    /// Sends what is there if it makes a chunk.
    pub(super) async fn flush_chunk(&mut self) -> Result<(), ExportError> {
        if self.buffer.len() < CHUNK { Ok(()) } else { self.flush().await }
    }

    /// Sends what is there.
    pub(super) async fn flush(&mut self) -> Result<(), ExportError> {
        let chunk = mem::replace(&mut self.buffer, empty_buffer()).freeze();
        let (bytes, start) = (chunk.len(), Instant::now());
        match timeout(self.allowance.0, self.pieces.send(Piece::Chunk(chunk))).await {
            Ok(Ok(())) => {
                self.allowance.spend(start.elapsed(), bytes);
                Ok(())
            }
            Ok(Err(_)) => Err(ExportError::Interrupted),
            Err(_) => Err(ExportError::Stalled),
        }
    }

    /// Tells the reader how it ended.
    pub(super) async fn end(self, end: Result<(), ExportError>) {
        // It may be gone.
        let _ = self.pieces.send(Piece::End(end)).await;
    }
}

fn empty_buffer() -> BytesMut {
    BytesMut::with_capacity(CHUNK + BLOCK)
}

/// How long to wait for the reader yet. It is spent by waiting and earned back by every byte that is taken, so that a reader
/// may stall now and then but not be slower than [`MIN_RATE`] for long.
struct Allowance(Duration);

impl Allowance {
    fn spend(&mut self, waited: Duration, bytes: usize) {
        let earned = Duration::from_secs(u64::try_from(bytes).unwrap_or(u64::MAX)) / MIN_RATE;
        self.0 = self.0.saturating_sub(waited).saturating_add(earned).min(PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a reader who takes `bytes` every `seconds` may go on for an hour.
    fn is_borne(bytes: usize, seconds: u64) -> bool {
        let pause = Duration::from_secs(seconds);
        let mut allowance = Allowance(PATIENCE);
        (0..3600 / seconds).all(|_| {
            let in_time = pause < allowance.0;
            allowance.spend(pause, bytes);
            in_time
        })
    }

    #[test]
    fn readers_may_stall_but_not_crawl() {
        assert!(is_borne(64 * 1024, 1));
        assert!(is_borne(20 * 64 * 1024, 20));
        assert!(is_borne(10 * 1024 * 1024, 29));
        assert!(!is_borne(64 * 1024, 2), "half the rate");
        assert!(!is_borne(64 * 1024, 29), "a chunk just within the time of each");
        assert!(!is_borne(100 * 1024 * 1024, 31), "a stall too long, though what comes then is much");
    }
}
