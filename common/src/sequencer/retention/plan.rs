//! What to do about the partitions: a decision, without a database.

use super::store::Partition;

/// Events of the smallest partition: about 60 MB. A server that needs days to fill one keeps little too long.
const SMALLEST: i64 = 20_000;
/// Events of the largest partition: about 30 GB.
const LARGEST: i64 = 10_000_000;
/// Partitions that are to be there beyond the one in use.
const AHEAD: usize = 2;
/// How many parts of the window a partition should span at most.
const PARTS: i64 = 4;
/// For how many times the recent events there should be room: half an hour of them.
const RECENT_ROOM: i64 = 3;

/// What a run finds.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The newest seq.
    pub(super) newest: i64,
    /// Events within the window.
    pub(super) in_window: i64,
    /// Events of the last minutes.
    pub(super) recently: i64,
    /// Events from this seq on are to be kept.
    pub(super) keep_from: i64,
    /// All partitions but the default one, by rising seq.
    pub(super) partitions: Vec<Partition>,
    /// The first seq in the default partition, if it holds any.
    pub(super) caught: Option<i64>,
}

impl State {
    /// How many events there is room for beyond the newest.
    pub(super) fn room(&self) -> i64 {
        let room = |partition: &Partition| (partition.upper - partition.lower.max(self.newest + 1)).max(0);
        self.partitions.iter().map(room).sum()
    }
}

/// What a run does, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Partitions to make, from the first seq to before the second.
    pub(super) make: Vec<(i64, i64)>,
    /// What to raise the floor to.
    pub(super) floor: Option<i64>,
    /// Partitions to drop.
    pub(super) drop: Vec<Partition>,
    /// Delete what the default partition holds below this seq.
    pub(super) delete_before: Option<i64>,
}

impl Plan {
    pub(super) fn make(state: &State) -> Self {
        // One without events may lie behind the newest only after a jump of the seqs; it goes like the others.
        let is_old = |partition: &&Partition| partition.upper <= state.keep_from && partition.upper <= state.newest + 1;
        let drop: Vec<Partition> = state.partitions.iter().filter(is_old).cloned().collect();
        let delete_before = state.caught.filter(|first| *first < state.keep_from).map(|_| state.keep_from);
        let floor = drop.last().map(|partition| partition.upper).max(delete_before);
        Self { make: missing(state), floor, drop, delete_before }
    }
}

/// The partitions to make so that there is room, and enough of them ahead.
fn missing(state: &State) -> Vec<(i64, i64)> {
    let size = (state.in_window / PARTS).max(state.recently).clamp(SMALLEST, LARGEST);
    let mut ahead = state.partitions.iter().filter(|partition| partition.lower > state.newest).count();
    let mut room = state.room();
    let end = state.partitions.iter().map(|partition| partition.upper).max().unwrap_or(0);
    // What comes until the partition is there goes to the default one, and must not be in the partition's range.
    let mut lower = if end <= state.newest + 1 { state.newest + 1 + size } else { end };
    let mut missing = Vec::new();
    while ahead < AHEAD || room < state.recently.saturating_mul(RECENT_ROOM) {
        missing.push((lower, lower + size));
        lower += size;
        room += size;
        ahead += 1;
    }
    missing
}

/// The range of a partition.
pub(super) fn range(partition: &Partition) -> (i64, i64) {
    (partition.lower, partition.upper)
}
