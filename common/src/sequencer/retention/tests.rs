use atproto::event::Kind;

use super::plan::{Plan, State};
use super::store::Partition;
use super::*;
use crate::clock::Clock;
use crate::db::AccountId;
use crate::sequencer::{PageLimit, Sequencer};
use crate::testing::{TestDb, log, seed};

const DAY: Duration = Duration::from_hours(24);

fn partition(lower: i64, upper: i64) -> Partition {
    Partition { name: format!("p{lower}"), lower, upper }
}

fn ranges(partitions: &[Partition]) -> Vec<(i64, i64)> {
    partitions.iter().map(range).collect()
}

#[test]
fn a_new_server_has_room_and_keeps_everything() {
    let partitions = (0..10).map(|part| partition(part * 20_000, (part + 1) * 20_000)).collect();
    let plan = Plan::make(&State { partitions, keep_from: 1, ..State::default() });
    assert_eq!((plan.make, plan.floor, plan.delete_before), (vec![], None, None));
    assert_eq!(plan.drop, []);
}

#[test]
fn partitions_are_made_ahead_and_sized_by_the_rate() {
    let in_use = vec![partition(0, 20_000), partition(20_000, 40_000)];
    let state = State { newest: 30_000, in_window: 30_000, keep_from: 1, partitions: in_use, ..State::default() };
    assert_eq!(Plan::make(&state).make, [(40_000, 60_000), (60_000, 80_000)], "two ahead, of the smallest size");
    let busy = State { in_window: 400_000, ..state.clone() };
    assert_eq!(Plan::make(&busy).make, [(40_000, 140_000), (140_000, 240_000)], "a quarter of the window each");
    let burst = State { recently: 500_000, ..state.clone() };
    let made = Plan::make(&burst).make;
    assert_eq!(made, [(40_000, 540_000), (540_000, 1_040_000), (1_040_000, 1_540_000)], "room for half an hour");
    let partitions = vec![partition(0, 20_000), partition(20_000, 40_000), partition(40_000, 60_000)];
    assert_eq!(Plan::make(&State { partitions, ..state }).make, [(60_000, 80_000)], "one is there already");
}

#[test]
fn what_is_old_as_a_whole_goes() {
    let partitions = vec![partition(0, 100), partition(100, 200), partition(200, 300), partition(300, 50_000)];
    let state = State { newest: 310, keep_from: 250, partitions, ..State::default() };
    let plan = Plan::make(&state);
    assert_eq!(ranges(&plan.drop), [(0, 100), (100, 200)]);
    assert_eq!(plan.floor, Some(200));
    // With nothing young at all, only the one in use stays.
    let plan = Plan::make(&State { keep_from: 311, ..state });
    assert_eq!((ranges(&plan.drop).len(), plan.floor), (3, Some(300)));
}

#[test]
fn after_the_default_partition_caught_events_there_is_a_gap_before_the_next() {
    let partitions = vec![partition(0, 100)];
    let state = State { newest: 150, keep_from: 120, partitions, caught: Some(100), ..State::default() };
    let plan = Plan::make(&state);
    assert_eq!(plan.make, [(20_151, 40_151), (40_151, 60_151)], "what comes until they are there is not in their way");
    assert_eq!((ranges(&plan.drop), plan.floor, plan.delete_before), (vec![(0, 100)], Some(120), Some(120)));
}

struct Scene {
    db: TestDb,
    account: AccountId,
    sequencer: Sequencer,
}

impl Scene {
    async fn create() -> Self {
        let db = TestDb::create().await;
        let account = seed::account(&db.pool(), "alice.test").await;
        let sequencer = Sequencer::new(&db.pool());
        Self { db, account, sequencer }
    }

    async fn append(&self, count: usize) -> i64 {
        log::append_bodies(&self.db.pool(), self.account, &vec![(Kind::Identity, vec![0xa0]); count]).await
    }

    async fn retain(&self) -> Retained {
        self.sequencer.retain(Clock::system().now(), DAY).await.unwrap()
    }

    /// All seqs of the log.
    async fn seqs(&self) -> Vec<i64> {
        let page = self.sequencer.list_after(0, PageLimit { events: u16::MAX, bytes: u32::MAX }).await.unwrap();
        page.events.iter().map(|event| event.seq).collect()
    }

    async fn partitions(&self) -> Vec<(i64, i64)> {
        ranges(&store::list_partitions(&mut self.db.pool().acquire().await.unwrap()).await.unwrap())
    }
}

#[tokio::test]
async fn old_partitions_go_and_the_floor_says_so() {
    let scene = Scene::create().await;
    let newest = scene.append(45_000).await;
    log::age(&scene.db.pool(), 41_000, DAY * 2).await;
    let done = scene.retain().await;
    assert_eq!((done.dropped, done.deleted, done.postponed), (vec![(0, 20_000), (20_000, 40_000)], 0, 0));
    assert_eq!(scene.sequencer.floor().await.unwrap(), 40_000);
    assert_eq!(scene.seqs().await, (40_000..=newest).collect::<Vec<_>>());
    let again = scene.retain().await;
    assert!(!again.is_news(), "{again}");
    assert_eq!(scene.append(1).await, newest + 1);
}

#[tokio::test]
async fn what_the_default_partition_caught_is_read_in_order_and_goes_in_time() {
    let scene = Scene::create().await;
    log::skip_to(&scene.db.pool(), 199_990).await;
    scene.append(20).await;
    let done = scene.retain().await;
    assert_eq!(done.made, [(220_011, 240_011), (240_011, 260_011)]);
    assert!(done.has_caught);
    // The next partition is reached over the gap, and everything is still read in order.
    log::skip_to(&scene.db.pool(), 220_000).await;
    let newest = scene.append(20).await;
    let expected: Vec<i64> = (199_991..=200_010).chain(220_001..=newest).collect();
    assert_eq!(scene.seqs().await, expected);

    log::age(&scene.db.pool(), 220_005, DAY * 2).await;
    let done = scene.retain().await;
    assert_eq!((done.deleted, scene.sequencer.floor().await.unwrap()), (16, 220_006));
    assert_eq!(scene.seqs().await, (220_006..=newest).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_runs_at_once_do_it_once() {
    let scene = Scene::create().await;
    scene.append(45_000).await;
    log::age(&scene.db.pool(), 41_000, DAY * 2).await;
    log::skip_to(&scene.db.pool(), 190_000).await;
    scene.append(1).await;
    let other = Sequencer::new(&scene.db.other_pool());
    let now = Clock::system().now();
    let (one, two) = tokio::join!(scene.sequencer.retain(now, DAY), other.retain(now, DAY));
    let (one, two) = (one.unwrap(), two.unwrap());
    let partitions = scene.partitions().await;
    assert_eq!(partitions.first(), Some(&(40_000, 60_000)), "{one} / {two}");
    assert!(partitions.windows(2).all(|pair| pair[0].1 == pair[1].0), "{partitions:?}: {one} / {two}");
    let mut made = [one.made.clone(), two.made.clone()].concat();
    made.sort_unstable();
    assert!(made.len() >= 2 && partitions.ends_with(&made), "{partitions:?}: {one} / {two}");
}

/// Somebody reads, and somebody has appended and not committed: both hold their locks on the log.
#[tokio::test]
async fn a_partition_is_made_beside_appends_and_none_is_dropped_under_them() {
    let scene = Scene::create().await;
    scene.append(25_000).await;
    log::age(&scene.db.pool(), 21_000, DAY * 2).await;
    let pool = scene.db.other_pool();
    let mut conn = pool.acquire().await.unwrap();
    let mut writer = conn.begin().await.unwrap();
    log::append_uncommitted(&mut writer, scene.account).await;
    store::make_partition(&scene.db.pool(), 500_000, 510_000).await.unwrap();
    let error = store::drop_partition(&scene.db.pool(), "repo_event_from_000000000000").await.unwrap_err();
    assert!(is_in_the_way(&error), "{error}");
    assert!(scene.partitions().await.contains(&(0, 20_000)));
    writer.commit().await.unwrap();
    store::drop_partition(&scene.db.pool(), "repo_event_from_000000000000").await.unwrap();
    store::drop_partition(&scene.db.pool(), "repo_event_from_000000000000").await.unwrap();
}

#[tokio::test]
async fn the_window_begins_at_the_first_event_of_its_time_whatever_is_missing() {
    let scene = Scene::create().await;
    let newest = scene.append(100).await;
    let now = Clock::system().now();
    for seq in [80, 60, 40, 20] {
        log::age(&scene.db.pool(), seq, DAY).await;
    }
    let find = async |days: u32| scene.sequencer.find_first_since(now - DAY * days - DAY / 2).await.unwrap();
    let edges = async || [find(0).await, find(1).await, find(2).await, find(3).await, find(4).await];
    assert_eq!(edges().await, [Some(81), Some(61), Some(41), Some(21), Some(1)]);
    log::delete_range(&scene.db.pool(), 50, 70).await;
    assert_eq!(edges().await, [Some(81), Some(71), Some(41), Some(21), Some(1)]);
    assert_eq!(scene.sequencer.find_first_since(now + DAY).await.unwrap(), None);
    log::delete_range(&scene.db.pool(), 1, newest).await;
    assert_eq!(scene.sequencer.find_first_since(now - DAY * 9).await.unwrap(), None);
}

#[tokio::test]
async fn a_page_reads_only_the_partitions_it_needs_and_never_a_whole_one() {
    let scene = Scene::create().await;
    // A plan is made, and kept, while all partitions are empty.
    for _ in 0..10 {
        scene.seqs().await;
    }
    scene.append(30_000).await;
    let plan = log::explain_page(&scene.sequencer.log, 25_000).await;
    assert!(!plan.contains("Seq Scan") && !plan.contains("Bitmap") && !plan.contains("->  Sort"), "{plan}");
    assert!(plan.contains("Subplans Removed: 1"), "{plan}");
    assert!(!plan.contains("repo_event_from_000000000000"), "{plan}");
}
