//! Shows how far a run is, on standard error: a bar that moves on a terminal, else a line for each step.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Characters of the bar.
const WIDTH: usize = 24;
/// How often the bar is drawn at most.
const REDRAW: Duration = Duration::from_millis(200);

/// The progress of a run in steps.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    steps: usize,
    /// The steps that have begun.
    begun: usize,
    label: String,
    drawn: Instant,
}

impl Progress {
    /// The progress of a run of `steps` steps.
    pub(crate) fn new(steps: usize) -> Self {
        let started = Instant::now();
        let state = State { steps, begun: 0, label: String::new(), drawn: started };
        Self { terminal: io::stderr().is_terminal(), started, state: Mutex::new(state) }
    }

    /// The next step begins.
    pub(crate) fn begin(&self, label: &str) {
        let mut state = self.state();
        state.begun += 1;
        label.clone_into(&mut state.label);
        if self.terminal {
            draw(&mut state, self.started, 0.0);
        } else {
            say(&format!("[{}/{}] {label}\n", state.begun, state.steps));
        }
    }

    /// This part of the step, between 0 and 1, is done.
    pub(crate) fn fraction(&self, fraction: f64) {
        let mut state = self.state();
        if self.terminal && state.drawn.elapsed() >= REDRAW {
            draw(&mut state, self.started, fraction.clamp(0.0, 1.0));
        }
    }

    /// The run is over; the bar is removed.
    pub(crate) fn finish(&self) {
        if self.terminal {
            say("\r\x1b[K");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn draw(state: &mut State, started: Instant, fraction: f64) {
    state.drawn = Instant::now();
    let line = line(state, started.elapsed(), fraction);
    say(&format!("\r{line}\x1b[K"));
}

/// The bar, the step, and how long the rest takes if it goes on like this.
fn line(state: &State, elapsed: Duration, fraction: f64) -> String {
    let done = usize_as_f64(state.begun.saturating_sub(1)) + fraction;
    let whole = (done / usize_as_f64(state.steps.max(1))).clamp(0.0, 1.0);
    let filled = (0..WIDTH).filter(|cell| usize_as_f64(*cell) < whole * usize_as_f64(WIDTH)).count();
    let left = if whole > 0.0 {
        let seconds = elapsed.as_secs_f64() * (1.0 - whole) / whole;
        format!(", about {seconds:.0} s left")
    } else {
        String::new()
    };
    let bar = format!("{}{}", "#".repeat(filled), ".".repeat(WIDTH - filled));
    format!("[{bar}] {}/{} {}{left}", state.begun, state.steps, state.label)
}

#[expect(clippy::cast_precision_loss, reason = "a bar for people")]
fn usize_as_f64(count: usize) -> f64 {
    count as f64
}

/// If nobody reads it any more, that is no reason to stop.
fn say(text: &str) {
    let mut stderr = io::stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_and_the_rest_is_estimated() {
        let state = State { steps: 4, begun: 3, label: "getRepo".to_owned(), drawn: Instant::now() };
        let line = line(&state, Duration::from_secs(30), 0.0);
        assert_eq!(line, "[############............] 3/4 getRepo, about 30 s left");
    }
}
