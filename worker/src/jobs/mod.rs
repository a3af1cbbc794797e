//! What workers do: one file for each kind of work.

mod event_retention;

use crate::runner::Schedule;

/// Everything that comes round.
pub fn schedules() -> Vec<Schedule> {
    vec![event_retention::SCHEDULE]
}
