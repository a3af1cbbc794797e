//! What workers do: one file for each kind of work.

mod delivery;
mod event_retention;
mod import_leftovers;
mod send_moderation_mail;

use common::account::SendModerationMail;

use crate::runner::{Kind, Work};

/// Everything that workers do.
pub fn all() -> Work {
    Work {
        schedules: vec![event_retention::SCHEDULE, import_leftovers::SCHEDULE],
        kinds: vec![Kind::of::<SendModerationMail>()],
    }
}
