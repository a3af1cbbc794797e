//! Where a stream begins, and that nothing is missing or repeated from there.

use std::time::Duration;

use atproto::event::{Frame, Kind};
use common::clock::Clock;
use common::testing;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::stage::{Client, DAY, Goodbye, Log, Replica, settings};
use crate::firehose::Settings;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_from_the_start_runs_into_the_live_one_without_gap_or_repeat() {
    let log = Log::create().await;
    log.append(700).await;
    let replicas = [Replica::start(&log).await, Replica::start(&log).await];
    let reading = join_all((0..8).map(|turn| {
        let replica = &replicas[turn % 2];
        async move { replica.subscribe_after(0).await.expect_exactly(1, 1200).await }
    }));
    let (streams, ()) = tokio::join!(reading, log.append(500));
    assert!(streams.iter().all(|stream| *stream == streams[0]), "every replica sends the same bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_anywhere_gives_exactly_the_rest() {
    let log = Log::create().await;
    log.append(20).await;
    let replica = Replica::start(&log).await;
    log.append(20).await;
    // Before and in what this replica has in memory, at its edges, and below everything.
    for cursor in [-1, 0, 1, 13, 19, 20, 21, 38, 39] {
        replica.subscribe_after(cursor).await.expect_exactly(cursor.max(0) + 1, 40).await;
    }
    let mut client = replica.subscribe_after(40).await;
    log.append(1).await;
    client.expect_exactly(41, 41).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cursor_the_stream_begins_now() {
    let log = Log::create().await;
    log.append(5).await;
    let replica = Replica::start(&log).await;
    for query in ["", "cursor="] {
        let mut client = replica.subscribe(query).await;
        // When the replica looks up what is newest is not to be seen from here: events come until one arrives.
        let (first, newest) = loop {
            let newest = log.append_all(&[log.identity()]).await;
            if let Ok(first) = timeout(Duration::from_millis(50), client.next_event()).await {
                break (first.seq, newest);
            }
        };
        assert!(first > 5, "nothing from before");
        client.expect_exactly(first + 1, newest).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_ahead_of_the_stream_is_refused() {
    let log = Log::create().await;
    log.append(3).await;
    let replica = Replica::start(&log).await;
    let goodbye = replica.subscribe_after(4).await.goodbye().await;
    assert_eq!(goodbye, Goodbye::refusal("FutureCursor", "Cursor in the future."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_is_no_integer_is_refused() {
    let log = Log::create().await;
    let replica = Replica::start(&log).await;
    for query in ["cursor=abc", "cursor=1.5", "cursor=%2B1", "cursor=99999999999999999999", "cursor=1&cursor=2"] {
        let goodbye = replica.subscribe(query).await.goodbye().await;
        assert_eq!(goodbye.close, (1008, "InvalidRequest".to_owned()), "{query}");
        let (name, message) = goodbye.error.unwrap();
        assert_eq!(name, "InvalidRequest");
        assert!(message.starts_with("Invalid com.atproto.sync.subscribeRepos params: cursor"), "{message}");
    }
}

async fn expect_outdated(replica: &Replica, cursor: i64) -> Client {
    let mut client = replica.subscribe_after(cursor).await;
    let (frame, _) = client.next_frame().await;
    let message = Some("Requested cursor exceeded limit. Possibly missing events".to_owned());
    assert_eq!(frame, Frame::Info { name: "OutdatedCursor".to_owned(), message });
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn events_outside_the_window_are_left_out_with_a_warning() {
    let log = Log::create().await;
    log.append(10).await;
    testing::log::age(&log.db.pool(), 6, DAY + Duration::from_mins(1)).await;
    let replica = Replica::start(&log).await;
    expect_outdated(&replica, 0).await.expect_exactly(7, 10).await;
    expect_outdated(&replica, 5).await.expect_exactly(7, 10).await;
    // The next event is inside the window, even if the one the client has is not.
    replica.subscribe_after(6).await.expect_exactly(7, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_in_the_window_the_stream_begins_now() {
    let log = Log::create().await;
    log.append(10).await;
    let clock = Clock::manual(Clock::system().now() + DAY * 2);
    let replica = Replica::start_with(&log, settings(), clock).await;
    let mut client = expect_outdated(&replica, 3).await;
    log.append(1).await;
    client.expect_exactly(11, 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_before_what_was_dropped_is_warned() {
    let log = Log::create().await;
    log.append(10).await;
    testing::log::drop_through(&log.db.pool(), 6).await;
    let replica = Replica::start(&log).await;
    for cursor in [0, 3, 5] {
        expect_outdated(&replica, cursor).await.expect_exactly(7, 10).await;
    }
    replica.subscribe_after(6).await.expect_exactly(7, 10).await;
    // Even if nothing is left at all.
    testing::log::drop_through(&log.db.pool(), 10).await;
    let mut client = expect_outdated(&replica, 7).await;
    let mut current = replica.subscribe_after(10).await;
    log.append(1).await;
    client.expect_exactly(11, 11).await;
    current.expect_exactly(11, 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_overtaken_by_the_end_of_the_log_is_warned_in_the_middle() {
    let log = Log::create().await;
    let flood = log.append_all(&vec![log.large_event(); 30]).await;
    let replica = Replica::start(&log).await;
    let mut client = replica.subscribe_narrowly(0).await;
    client.expect_exactly(1, 1).await;
    // It reads so slowly that what follows is dropped meanwhile.
    let newest = log.append_all(&[log.identity(), log.identity()]).await;
    testing::log::drop_through(&log.db.pool(), flood + 1).await;
    let mut last = 1;
    while let (Frame::Event { seq, .. }, _) = client.next_frame().await {
        assert_eq!(seq, last + 1);
        last = seq;
    }
    assert!(last < flood, "the warning comes where events are missing");
    client.expect_exactly(newest, newest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_any_length_will_do() {
    let log = Log::create().await;
    log.append(2).await;
    let settings = Settings { backfill_window: Duration::MAX, ..settings() };
    let replica = Replica::start_with(&log, settings, Clock::system()).await;
    replica.subscribe_after(0).await.expect_exactly(1, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_only_a_later_release_knows_are_passed_over() {
    let log = Log::create().await;
    log.append(2).await;
    let replica = Replica::start(&log).await;
    let mut live = replica.subscribe_after(0).await;
    live.expect_exactly(1, 2).await;
    testing::log::append_of_later_release(&log.db.pool(), log.account, 3).await;
    log.append(1).await;
    live.expect_exactly(6, 6).await;
    replica.subscribe_after(1).await.expect_seqs(&[2, 6]).await;
    testing::log::append_of_later_release(&log.db.pool(), log.account, 1).await;
    let mut behind = replica.subscribe_after(2).await;
    behind.expect_seqs(&[6]).await;
    log.append(1).await;
    behind.expect_exactly(8, 8).await;
    live.expect_exactly(8, 8).await;
}

/// A client that loses its connection again and again, each time somewhere else, and comes back with its cursor.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_with_its_cursor_misses_and_repeats_nothing() {
    const EVENTS: usize = 600;
    let log = Log::create().await;
    let replicas = [Replica::start(&log).await, Replica::start(&log).await];
    let reading = join_all((0..6).map(|client| {
        let replicas = &replicas;
        async move {
            let mut random = StdRng::seed_from_u64(client);
            let mut position = 0;
            while position < 600 {
                let replica = &replicas[random.random_range(0..2)];
                let mut subscription = replica.subscribe_after(position).await;
                for _ in 0..random.random_range(1..120) {
                    if position == 600 {
                        break;
                    }
                    let event = subscription.next_event().await;
                    assert_eq!(event.seq, position + 1);
                    position = event.seq;
                }
                if random.random() {
                    subscription.send(Message::Close(None)).await;
                }
            }
        }
    }));
    tokio::join!(reading, log.append(EVENTS));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_events_come_like_small_ones() {
    let log = Log::create().await;
    for _ in 0..2 {
        log.append_all(&[log.large_event(), log.identity(), log.large_event()]).await;
    }
    let replica = Replica::start(&log).await;
    let mut client = replica.subscribe_after(0).await;
    client.expect_exactly(1, 6).await;
    log.append_all(&vec![log.large_event(); 5]).await;
    client.expect_exactly(7, 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_deleted_accounts_are_skipped() {
    let log = Log::create().await;
    log.append(10).await;
    testing::log::delete(&log.db.pool(), 4).await;
    let replica = Replica::start(&log).await;
    replica.subscribe_after(2).await.expect_exactly(5, 10).await;
    testing::log::delete(&log.db.pool(), 10).await;
    let mut client = replica.subscribe_after(2).await;
    log.append(3).await;
    client.expect_exactly(11, 13).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_events_are_skipped() {
    let log = Log::create().await;
    let damaged = vec![(Kind::Commit, b"no map".to_vec()); 1100];
    testing::log::append_bodies(&log.db.pool(), log.account, &damaged).await;
    let replica = Replica::start(&log).await;
    let mut behind = replica.subscribe_after(0).await;
    testing::log::append_bodies(&log.db.pool(), log.account, &damaged).await;
    let mut live = replica.subscribe_after(1100).await;
    log.append(1).await;
    behind.expect_exactly(2201, 2201).await;
    live.expect_exactly(2201, 2201).await;
}
