//! What happened in a run: a model that never got anywhere would never fail.

use std::fmt;

use common::telemetry::metrics::Counter;

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// How often what happened.
        #[derive(Debug, Default)]
        pub(super) struct Tally {
            $($(#[$doc])* pub(super) $name: Counter,)+
        }

        impl Tally {
            fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)+]
            }
        }
    };
}

tally! {
    turns,
    /// Uploads that came to their end.
    uploads,
    /// Uploads that the store failed.
    failed_uploads,
    /// Uploads that were cut off.
    cut_uploads,
    /// Uploads that had to wait for a deletion.
    barred_uploads,
    /// Uploads of what was taken down.
    hidden_uploads,
    /// Uploads beyond what an account may have.
    uploads_beyond_quota,
    /// Records written.
    writes,
    /// Records that referred to what was not there, or taken down.
    refused_writes,
    /// Records deleted.
    deletions,
    /// Blobs read, and found whole.
    reads,
    /// Blobs that could not be read, as it should be.
    refused_reads,
    takedowns,
    reversals,
    /// Blobs that an operator took out of quarantine.
    kept,
    /// Repos that came in the place of others.
    imports,
    /// Pictures of theirs that may not have been there.
    doubtful,
    /// Times that nobody noted who lost references.
    lost_notes,
    /// Accounts that were deleted and came back.
    returns,
    /// Two things done at the same time.
    races,
    /// Runs of workers that came to their end.
    runs,
    /// Runs of workers that were cut off.
    cut_runs,
    /// Runs that the store failed.
    failed_runs,
    quarantined,
    given_up,
    deleted_objects,
    /// Requests to delete that the store refused because they came late.
    late_deletions,
    /// Objects put into or out of use.
    placed,
}

impl Tally {
    /// # Panics
    /// If something did not.
    pub(super) fn assert_all_happened(&self) {
        for (name, count) in self.counts() {
            assert!(count > 0, "{name}: the run misses its point without");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts().iter().try_for_each(|(name, count)| writeln!(f, "{count:>8} {name}"))
    }
}
