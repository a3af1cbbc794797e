//! Random writes, compared with what they come to on a plain map.

use std::cell::Cell;
use std::collections::BTreeMap;

use atproto::data::Cid;
use atproto::event::Event;
use atproto::mst::AppliedOp;
use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use super::stage::{FOLLOW, Stage, THING, follow, path, thing};
use crate::repo::nodes::NodeStore;
use crate::repo::{CommitRef, Page, PreparedWrite, RecordPath, Refusal, Repos, SwapRecord, WriteError};
use crate::testing::seed::SeededRepo;
use crate::testing::{assert_repo_is_sound, assert_stream_is_sound};

const CASES: u32 = 12;
const REPOS: usize = 2;
/// Replicas that take turns: one with a cache of the usual size, and one whose cache holds next to nothing.
const REPLICAS: usize = 2;

/// What a record says. Records of [`FOLLOW`] follow the somebody whom it names.
type Text = u8;

/// Where a record is: in [`FOLLOW`] or [`THING`], under a key of this number. There are few, so that writes meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    is_link: bool,
    rkey: u8,
}

/// Which version of the record a write demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Demand {
    Nothing,
    Absence,
    Version(Text),
}

#[derive(Clone, Copy, Debug)]
enum Write {
    Create(Text),
    /// A create that replaces links to the same target.
    Replace(Text),
    Update(Text),
    Put(Text, Demand),
    Delete,
    Remove(Demand),
}

/// The commit that a request demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Swap {
    None,
    Newest,
    Other,
}

#[derive(Clone, Debug)]
struct Call {
    writes: Vec<(Place, Write)>,
    swap: Swap,
}

/// Calls that come to one replica at once, for one repo.
#[derive(Clone, Debug)]
struct Step {
    repo: usize,
    replica: usize,
    calls: Vec<Call>,
}

fn texts() -> impl Strategy<Value = Text> {
    0..3_u8
}

fn places() -> impl Strategy<Value = Place> {
    (prop::bool::weighted(0.3), 0..12_u8).prop_map(|(is_link, rkey)| Place { is_link, rkey })
}

fn demands() -> impl Strategy<Value = Demand> {
    prop_oneof![Just(Demand::Nothing), Just(Demand::Absence), texts().prop_map(Demand::Version)]
}

fn writes() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => texts().prop_map(Write::Create),
        2 => texts().prop_map(Write::Replace),
        2 => texts().prop_map(Write::Update),
        3 => (texts(), demands()).prop_map(|(text, demand)| Write::Put(text, demand)),
        2 => Just(Write::Delete),
        2 => demands().prop_map(Write::Remove),
    ]
}

fn calls() -> impl Strategy<Value = Call> {
    let lists = prop_oneof![4 => vec((places(), writes()), 0..4), 1 => vec((places(), writes()), 8..16)];
    let swaps = prop_oneof![6 => Just(Swap::None), 2 => Just(Swap::Newest), 1 => Just(Swap::Other)];
    (lists, swaps).prop_map(|(writes, swap)| Call { writes, swap })
}

fn steps() -> impl Strategy<Value = Step> {
    let calls = prop_oneof![2 => vec(calls(), 1), 1 => vec(calls(), 2..6)];
    (0..REPOS, 0..REPLICAS, calls).prop_map(|(repo, replica, calls)| Step { repo, replica, calls })
}

impl Swap {
    fn commit(self, newest: Cid) -> Option<Cid> {
        match self {
            Self::None => None,
            Self::Newest => Some(newest),
            Self::Other => Some(Cid::dag_cbor(b"another commit")),
        }
    }
}

impl Place {
    fn path(self) -> RecordPath {
        path(if self.is_link { FOLLOW } else { THING }, &format!("key-{}", self.rkey))
    }

    fn record(self, text: Text) -> crate::repo::PreparedRecord {
        let path = self.path();
        if self.is_link {
            follow(path.rkey.as_str(), &format!("did:web:somebody{text}.test"))
        } else {
            thing(path.rkey.as_str(), &text.to_string())
        }
    }

    fn swap(self, demand: Demand) -> SwapRecord {
        match demand {
            Demand::Nothing => SwapRecord::Any,
            Demand::Absence => SwapRecord::Absent,
            Demand::Version(text) => SwapRecord::At(self.record(text).cid),
        }
    }

    fn write(self, write: Write) -> PreparedWrite {
        let path = self.path();
        match write {
            Write::Create(text) => PreparedWrite::Create { path, record: self.record(text), replace_links: false },
            Write::Replace(text) => PreparedWrite::Create { path, record: self.record(text), replace_links: true },
            Write::Update(text) => PreparedWrite::Update { path, record: self.record(text) },
            Write::Put(text, demand) => PreparedWrite::Put { path, record: self.record(text), swap: self.swap(demand) },
            Write::Delete => PreparedWrite::Delete { path },
            Write::Remove(demand) => PreparedWrite::Remove { path, swap: self.swap(demand) },
        }
    }
}

/// A repo as the model knows it.
#[derive(Clone, Default)]
struct Model(BTreeMap<Place, Text>);

/// What a list of writes should come to.
#[derive(PartialEq, Eq, Debug)]
enum Expected {
    /// A commit, unless `swapCommit` forbids it. It changes these records.
    Commit(BTreeMap<String, AppliedOp>),
    /// No commit, whatever `swapCommit` says.
    Nothing,
    /// An error, unless `swapCommit` is the greater one.
    Refused(Refusal),
}

impl Model {
    /// Applies the writes if all of them can be applied.
    fn apply(&mut self, writes: &[(Place, Write)]) -> Expected {
        let before = self.0.clone();
        // Every place that was touched, the way a deletion of nothing and a repeated value do not.
        let mut touched = Vec::new();
        for (place, write) in writes {
            let Write::Replace(text) = write else { continue };
            let same = before.iter().filter(|(at, found)| at.is_link && place.is_link && *found == text);
            touched.extend(same.map(|(at, _)| *at));
        }
        for at in &touched {
            self.0.remove(at);
        }
        for (place, write) in writes {
            match self.write(*place, *write) {
                Ok(true) => touched.push(*place),
                Ok(false) => {}
                Err(refusal) => {
                    self.0 = before;
                    return Expected::Refused(refusal);
                }
            }
        }
        let ops: BTreeMap<String, AppliedOp> = touched.into_iter().filter_map(|at| self.op(at, &before)).collect();
        let optional = writes.iter().any(|(_, write)| matches!(write, Write::Put(..) | Write::Remove(_)));
        if ops.is_empty() && optional { Expected::Nothing } else { Expected::Commit(ops) }
    }

    /// Whether the write does anything.
    fn write(&mut self, place: Place, write: Write) -> Result<bool, Refusal> {
        let found = self.0.get(&place).copied();
        let check = |demand| match demand {
            Demand::Nothing => true,
            Demand::Absence => found.is_none(),
            Demand::Version(text) => found == Some(text),
        };
        let swapped = || Refusal::RecordSwap(found.map(|text| place.record(text).cid));
        let path = || place.path().to_string();
        match (write, found) {
            (Write::Create(_) | Write::Replace(_), Some(_)) => return Err(Refusal::Exists(path())),
            (Write::Update(_) | Write::Delete, None) => return Err(Refusal::Missing(path())),
            (Write::Put(text, _), Some(found)) if found == text => return Ok(false),
            (Write::Remove(_), None) => return Ok(false),
            (Write::Put(_, demand) | Write::Remove(demand), _) if !check(demand) => return Err(swapped()),
            (Write::Create(text) | Write::Replace(text) | Write::Update(text) | Write::Put(text, _), _) => {
                self.0.insert(place, text);
            }
            (Write::Delete | Write::Remove(_), Some(_)) => {
                self.0.remove(&place);
            }
        }
        Ok(true)
    }

    /// The net change at a place; none if it was and is empty.
    fn op(&self, place: Place, before: &BTreeMap<Place, Text>) -> Option<(String, AppliedOp)> {
        let cid = |records: &BTreeMap<Place, Text>| records.get(&place).map(|text| place.record(*text).cid);
        let (cid, prev) = (cid(&self.0), cid(before));
        let key = place.path().to_string();
        let op = AppliedOp { key: key.parse().unwrap(), cid, prev };
        (op.cid.is_some() || op.prev.is_some()).then_some((key, op))
    }

    /// The records of one kind, by key.
    fn records(&self, is_link: bool) -> BTreeMap<String, Cid> {
        let of_kind = self.0.iter().filter(|(place, _)| place.is_link == is_link);
        of_kind.map(|(place, text)| (place.path().rkey.to_string(), place.record(*text).cid)).collect()
    }
}

/// Repos, and models of them.
struct Bench {
    replicas: Vec<Repos>,
    repos: Vec<SeededRepo>,
    models: Vec<Model>,
    heads: Vec<CommitRef>,
    /// What the commits should have changed.
    changes: BTreeMap<Cid, BTreeMap<String, AppliedOp>>,
}

impl Bench {
    async fn new(stage: &Stage, repos: Vec<SeededRepo>) -> Self {
        let (usual, mut forgetful) = (stage.replica(), stage.replica());
        forgetful.nodes = NodeStore::with_capacity(stage.db.pool(), 1000);
        let mut heads = Vec::new();
        for repo in &repos {
            let standing = usual.find(&repo.did).await.unwrap().unwrap();
            heads.push(CommitRef { cid: standing.head, rev: standing.rev });
        }
        let models = vec![Model::default(); repos.len()];
        Self { replicas: vec![usual, forgetful], repos, models, heads, changes: BTreeMap::new() }
    }

    async fn take(&mut self, step: &Step) {
        let (repo, replica) = (&self.repos[step.repo], &self.replicas[step.replica]);
        let newest = self.heads[step.repo].cid;
        let outcomes = step.calls.iter().map(|call| {
            let writes: Vec<_> = call.writes.iter().map(|(place, write)| place.write(*write)).collect();
            replica.apply_writes(repo.account, &repo.did, writes, call.swap.commit(newest))
        });
        // They queue in this order.
        let outcomes = join_all(outcomes).await;
        for (call, outcome) in step.calls.iter().zip(outcomes) {
            self.judge(step.repo, call, call.swap.commit(newest), outcome);
        }
    }

    /// Compares what became of a call with what should have.
    fn judge(&mut self, repo: usize, call: &Call, swap: Option<Cid>, outcome: Result<Option<CommitRef>, WriteError>) {
        let (before, model) = (self.heads[repo], &mut self.models[repo]);
        let mut after = model.clone();
        let expected = after.apply(&call.writes);
        let swapped = swap.is_some_and(|swap| swap != before.cid);
        match (expected, outcome) {
            (Expected::Nothing, Ok(None)) => {}
            (Expected::Commit(ops), Ok(Some(commit))) if !swapped => {
                assert!(commit.rev > before.rev);
                self.changes.insert(commit.cid, ops);
                self.heads[repo] = commit;
                *model = after;
            }
            (Expected::Commit(_) | Expected::Refused(_), Err(WriteError::Refused(Refusal::CommitSwap(at))))
                if swapped && at == before.cid => {}
            (Expected::Refused(expected), Err(WriteError::Refused(refusal))) if !swapped && refusal == expected => {}
            (expected, outcome) => panic!("{call:?}: {expected:?}, but {outcome:?}"),
        }
    }

    /// Compares everything that can be read with the models.
    async fn check(&self, stage: &Stage) {
        for (repo, model) in self.repos.iter().zip(&self.models) {
            for is_link in [false, true] {
                let collection = Place { is_link, rkey: 0 }.path().collection;
                let page = Page { limit: 100, cursor: None, reverse: false };
                let records = self.replicas[0].list_records(repo.account, &collection, page).await.unwrap();
                let records: BTreeMap<_, _> =
                    records.into_iter().map(|record| (record.rkey.to_string(), record.cid)).collect();
                assert_eq!(records, model.records(is_link), "{collection}");
            }
            assert_repo_is_sound(&stage.db.pool(), repo.account).await;
        }
        let mut announced = BTreeMap::new();
        for (_, event) in assert_stream_is_sound(&stage.db.pool()).await {
            // Not those of sign-up, nor of the cases before.
            let Event::Commit(commit) = event else { continue };
            if commit.since.is_none() || self.repos.iter().all(|repo| repo.did != commit.repo) {
                continue;
            }
            let ops = commit.ops.into_iter().map(|op| (op.key.to_string(), op)).collect();
            announced.insert(commit.commit, ops);
        }
        assert_eq!(announced, self.changes, "the events say what was changed");
    }
}

#[test]
fn random_writes_come_to_what_they_come_to_on_a_map() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stage = runtime.block_on(Stage::with_repos(0));
    let config = Config { cases: CASES, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    let strategy = vec(steps(), 1..20);
    let mut runner = TestRunner::new(config);
    let made = Cell::new(0);
    let outcome = runner.run(&strategy, |steps| {
        runtime.block_on(async {
            let mut repos = Vec::new();
            for _ in 0..REPOS {
                repos.push(stage.seed_repo(made.replace(made.get() + 1)).await);
            }
            let mut bench = Bench::new(&stage, repos).await;
            for step in &steps {
                bench.take(step).await;
            }
            bench.check(&stage).await;
        });
        Ok(())
    });
    outcome.unwrap();
}
