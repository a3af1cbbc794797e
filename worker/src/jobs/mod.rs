//! What workers do: one file for each kind of work.

mod blob_sample;
mod crawl_notices;
mod deleted_accounts;
mod delivery;
mod event_retention;
mod expired_tokens;
mod import_leftovers;
mod old_documents;
mod overdue_accounts;
mod place_object;
mod purge_deleted;
mod relay_checks;
mod send_code;
mod send_moderation_mail;
mod tell_relay;
mod unannounced_changes;
mod unfinished_changes;
mod unused_blobs;

pub use blob_sample::BlobChecks;
use common::account::{SendCode, SendModerationMail};
use common::blob::PlaceObject;
use common::lifecycle::PurgeDeleted;
use common::relay::TellRelay;

use crate::runner::{Kind, Work};

/// Everything that workers do.
pub fn all() -> Work {
    Work {
        schedules: vec![
            blob_sample::SCHEDULE,
            crawl_notices::SCHEDULE,
            deleted_accounts::SCHEDULE,
            event_retention::SCHEDULE,
            expired_tokens::SCHEDULE,
            import_leftovers::SCHEDULE,
            old_documents::SCHEDULE,
            overdue_accounts::SCHEDULE,
            relay_checks::SCHEDULE,
            unannounced_changes::SCHEDULE,
            unfinished_changes::SCHEDULE,
            unused_blobs::SCHEDULE,
        ],
        kinds: vec![
            Kind::of::<PlaceObject>(),
            Kind::of::<PurgeDeleted>(),
            Kind::of::<SendCode>(),
            Kind::of::<SendModerationMail>(),
            Kind::of::<TellRelay>(),
        ],
    }
}
