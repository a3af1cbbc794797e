//! The operator's commands.
//!
//! A command parses its arguments, calls `common`, and prints. What it found goes to standard output, one line a fact, or as
//! JSON, one object a line; progress goes to standard error. See [`Outcome`] for the exit codes.

mod admin;
mod blob;
mod console;
mod database;
mod events;
mod invite;
mod jobs;
mod keys;
mod mail;
mod migrate;
mod office;
mod publish_identity;
mod relay;
mod repo;
mod request_crawl;
mod run;
mod sequencer;

use std::process::ExitCode;

pub use admin::AdminCommand;
pub use blob::BlobCommand;
pub use events::EventsCommand;
pub use invite::InviteCommand;
pub use jobs::JobsCommand;
pub use keys::KeysCommand;
pub use mail::MailCommand;
pub use migrate::migrate;
pub use publish_identity::PublishIdentity;
pub use relay::RelayCommand;
pub use repo::RepoCommand;
pub use request_crawl::RequestCrawl;
pub use run::run;
pub use sequencer::SequencerCommand;

/// What a check came to. A command that could not do its work fails with an error instead, which is exit code 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All is sound, or was made so. Exit code 0.
    Sound,
    /// Something is damaged, or was left as it is. Exit code 1.
    Damaged,
    /// Something could not be checked. Exit code 2.
    Unchecked,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Sound => Self::SUCCESS,
            Outcome::Damaged => Self::from(1),
            Outcome::Unchecked => Self::from(2),
        }
    }
}
