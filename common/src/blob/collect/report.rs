//! What collection did.

use std::fmt;
use std::ops::AddAssign;

use serde::Serialize;

use crate::telemetry::metrics::{Counter, Exposition};

/// Some blobs, and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Tally {
    /// How many.
    pub blobs: u64,
    /// The bytes of all of them.
    pub bytes: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.blobs += other.blobs;
        self.bytes += other.bytes;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blobs ({} bytes)", self.blobs, self.bytes)
    }
}

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// Blobs that will be given up unless somebody needs them.
    pub quarantined: Tally,
    /// Blobs that were given up.
    pub given_up: Tally,
    /// Objects that were deleted, of blobs that were given up now or earlier.
    pub objects: u64,
}

impl Collected {
    /// True if there was nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Collected {
    fn add_assign(&mut self, other: Self) {
        self.quarantined += other.quarantined;
        self.given_up += other.given_up;
        self.objects += other.objects;
    }
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quarantined, given_up, objects } = self;
        write!(f, "quarantined {quarantined}, gave up {given_up}, and deleted {objects} objects")
    }
}

/// What a process collected since it started.
#[derive(Debug, Default)]
pub struct CollectorCounts {
    pub(super) quarantined: TallyCounter,
    pub(super) given_up: TallyCounter,
    pub(super) objects: Counter,
    pub(super) failed: Counter,
}

#[derive(Debug, Default)]
pub(super) struct TallyCounter {
    blobs: Counter,
    bytes: Counter,
}

impl TallyCounter {
    pub(super) fn add(&self, tally: Tally) {
        self.blobs.add(tally.blobs);
        self.bytes.add(tally.bytes);
    }
}

impl CollectorCounts {
    /// Writes the metrics.
    pub fn write(&self, text: &mut Exposition) {
        let states = [("quarantined", &self.quarantined), ("given_up", &self.given_up)];
        let blobs = "pds_blobs_collected_total";
        text.counters(blobs, "Blobs that this worker put into quarantine, and gave up for good.");
        for (state, counter) in states {
            text.sample(blobs, &[("state", state)], counter.blobs.get());
        }
        let bytes = "pds_blob_collected_bytes_total";
        text.counters(bytes, "The bytes of these blobs.");
        for (state, counter) in states {
            text.sample(bytes, &[("state", state)], counter.bytes.get());
        }
        let objects = "pds_blob_objects_deleted_total";
        text.counters(objects, "Objects that this worker deleted from the blob store, and those that it could not.");
        text.sample(objects, &[("outcome", "done")], self.objects.get());
        text.sample(objects, &[("outcome", "failed")], self.failed.get());
    }
}
