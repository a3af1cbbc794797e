//! What the processes of a server use: CPU time and memory, read from `/proc`.
//!
//! **CPU time** is user plus system time of every process of the server and of all their descendants, in clock ticks of
//! 10 ms. A child that ends is added to its parent's `cutime` and `cstime` once the parent has waited for it, so the sum
//! over a living tree loses nothing: a Postgres backend that closes counts on in the postmaster's children. Threads
//! that end count on in their process. One reading is off by less than two ticks per process, which a window of seconds
//! makes small.
//!
//! **Memory** is what the processes hold in RAM, with what they share counted once: for each program all anonymous
//! pages, plus the largest mapping of shared memory (Postgres' buffers are in every backend's count) and the largest of
//! files.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::Duration;

/// Length of a clock tick. Linux has shown 100 ticks a second to programs on every machine since 2.6.
const TICK: Duration = Duration::from_millis(10);

/// CPU time and memory by the name of the program.
#[derive(Clone, Default, Debug)]
pub(crate) struct Usage {
    /// CPU time since the processes started.
    pub(crate) cpu: BTreeMap<String, Duration>,
    /// Bytes of memory.
    pub(crate) memory: BTreeMap<String, u64>,
}

impl Usage {
    /// Bytes of memory of all programs.
    pub(crate) fn total_memory(&self) -> u64 {
        self.memory.values().sum()
    }
}

/// The processes of a server.
#[derive(Clone, Default, Debug)]
pub(crate) struct Processes {
    /// Name and process id of each; their descendants are found.
    roots: Vec<(String, u32)>,
}

impl Processes {
    /// The processes `roots` and their descendants.
    pub(crate) fn new(roots: Vec<(String, u32)>) -> Self {
        Self { roots }
    }

    /// Whether nothing can be said about this server.
    pub(crate) fn are_unknown(&self) -> bool {
        self.roots.is_empty()
    }

    /// What the processes have used so far, and hold now. Processes that have ended count nothing.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        if self.are_unknown() {
            return usage;
        }
        let stats = all_stats();
        for (name, root) in &self.roots {
            let mut memory = Memory::default();
            let mut ticks = 0;
            for pid in tree(*root, &stats) {
                ticks += stats.get(&pid).map_or(0, |stat| stat.ticks);
                memory.add(pid);
            }
            *usage.cpu.entry(name.clone()).or_default() += TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
            *usage.memory.entry(name.clone()).or_default() += memory.total();
        }
        usage
    }
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stat {
    parent: u32,
    /// User and system time, with that of the children that ended and were waited for.
    ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name stands in parentheses and may hold anything.
        let (_, fields) = text.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let times = fields.skip(9).take(4).map(|field| field.parse::<u64>().ok());
        Some(Self { parent, ticks: times.sum::<Option<u64>>()? })
    }
}

fn all_stats() -> HashMap<u32, Stat> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // One that ends meanwhile has no file any more.
    pids.filter_map(|pid| Some((pid, Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect()
}

/// `root` and its descendants.
fn tree(root: u32, stats: &HashMap<u32, Stat>) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(stats.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// Memory of several processes of one program, in bytes.
#[derive(Default)]
struct Memory {
    anonymous: u64,
    shared: u64,
    file: u64,
}

impl Memory {
    fn add(&mut self, pid: u32) {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        self.anonymous += bytes("RssAnon:");
        self.shared = self.shared.max(bytes("RssShmem:"));
        self.file = self.file.max(bytes("RssFile:"));
    }

    fn total(&self) -> u64 {
        self.anonymous + self.shared + self.file
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};
    use std::time::Instant;

    use super::*;

    #[test]
    fn times_of_children_are_counted_and_names_may_hold_anything() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 99 1 1";
        assert_eq!(Stat::parse(text), Some(Stat { parent: 3, ticks: 100 }));
        assert_eq!(Stat::parse("7 (a) S"), None);
    }

    #[test]
    fn descendants_are_found() {
        let stat = |parent| Stat { parent, ticks: 0 };
        let stats = HashMap::from([(2, stat(1)), (3, stat(2)), (4, stat(3)), (5, stat(1))]);
        let mut found = tree(2, &stats);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4]);
    }

    #[test]
    fn this_program_and_its_ended_children_use_time_and_memory() {
        let processes = Processes::new(vec![("test".to_owned(), id())]);
        let before = processes.usage();
        assert!(before.memory["test"] > 100_000);
        // Until the clock of the kernel has seen it: however slow this machine is, the child's work is bounded below.
        let deadline = Instant::now() + Duration::from_mins(1);
        while processes.usage().cpu["test"] == before.cpu["test"] {
            assert!(Instant::now() < deadline, "no time is counted");
            let count = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";
            assert!(Command::new("sh").args(["-c", count]).status().unwrap().success());
        }
    }
}
