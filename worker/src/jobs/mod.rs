//! What workers do: one file for each kind of work.

mod event_retention;
mod import_leftovers;

use crate::runner::Schedule;

/// Everything that comes round.
pub fn schedules() -> Vec<Schedule> {
    vec![event_retention::SCHEDULE, import_leftovers::SCHEDULE]
}
