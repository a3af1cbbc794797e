//! Clients that misbehave, a database that goes away, a replica that stops.

use std::time::Duration;

use axum::body::Bytes;
use common::clock::Clock;
use common::testing;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;

use super::stage::{Goodbye, LIMIT, Log, Replica, settings};
use crate::firehose::Settings;

/// More than the buffers of any socket hold, as one statement; gives the seq of the last event.
async fn append_flood(log: &Log) -> i64 {
    log.append_all(&vec![log.large_event(); 20]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_behind_is_told_to_be_too_slow() {
    let log = Log::create().await;
    log.append(1).await;
    let settings = Settings { max_waiting: 3, grace: Duration::from_millis(20), ..settings() };
    let replica = Replica::start_with(&log, settings, Clock::system()).await;
    let mut client = replica.subscribe_narrowly(0).await;
    client.expect_exactly(1, 1).await;

    let last = append_flood(&log).await;
    replica.deserted().await;
    let (events, goodbye) = client.rest().await;
    assert_eq!(goodbye, Goodbye::refusal("ConsumerTooSlow", "Stream consumer too slow"));
    let received: Vec<i64> = events.iter().map(|event| event.seq).collect();
    let newest = received.last().copied().unwrap_or(1);
    assert_eq!(received, (2..=newest).collect::<Vec<_>>());
    assert!(newest < last);
    // With its cursor it misses nothing.
    replica.subscribe_after(newest).await.expect_exactly(newest + 1, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_old_events_slowly_is_not_too_slow() {
    let log = Log::create().await;
    let last = append_flood(&log).await;
    let settings = Settings { max_waiting: 0, grace: Duration::ZERO, ..settings() };
    let replica = Replica::start_with(&log, settings, Clock::system()).await;
    let mut slow = replica.subscribe_narrowly(0).await;
    slow.expect_exactly(1, 1).await;
    // In the meantime another one reads everything.
    replica.subscribe_after(0).await.expect_exactly(1, last).await;
    slow.expect_exactly(2, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_at_all_is_given_up() {
    let log = Log::create().await;
    append_flood(&log).await;
    let settings = Settings { stall: Duration::from_millis(50), ..settings() };
    let replica = Replica::start_with(&log, settings, Clock::system()).await;
    let _stuck = replica.subscribe_narrowly(0).await;
    replica.deserted().await;
    replica.request_stop();
    replica.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_is_kept_alive() {
    let log = Log::create().await;
    let settings = Settings { ping: Duration::from_millis(20), ..settings() };
    let replica = Replica::start_with(&log, settings, Clock::system()).await;
    let mut client = replica.subscribe_after(0).await;
    for _ in 0..3 {
        assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_no_ping_is_given_up_whether_there_are_events_or_not() {
    let log = Log::create().await;
    let settings = Settings { ping: Duration::from_millis(20), silence: Duration::from_millis(100), ..settings() };
    let replica = Replica::start_with(&log, settings, Clock::system()).await;
    // This client answers pings only while it is read from: its kernel takes what is sent, and nobody looks at it.
    let _dead = replica.subscribe_after(0).await;
    replica.deserted().await;
    let _dead_too = replica.subscribe_after(0).await;
    let total = |name: &str| {
        let text = replica.metrics();
        let samples = text.lines().filter(|line| line.starts_with(name));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()).sum::<i64>()
    };
    let ended = || total("pds_firehose_subscriptions_ended_total");
    // Each event only once the one before was sent: it must be silence that ends the second one, and not slowness.
    let both_ended = async {
        while ended() < 2 {
            let newest = log.append_all(&[log.identity()]).await;
            while ended() < 2 && total("pds_firehose_events_sent_total") < newest {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(LIMIT, both_ended).await.expect("they are given up in time");
    assert_eq!(total("pds_firehose_subscriptions_ended_total{reason=\"silent\"}"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_send_is_answered_or_ignored() {
    let log = Log::create().await;
    let replica = Replica::start(&log).await;
    let mut client = replica.subscribe_after(0).await;
    client.send(Message::text("hello")).await;
    client.send(Message::binary(vec![0; 1000])).await;
    client.send(Message::Ping("are you there?".into())).await;
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("are you there?".into()));
    log.append(1).await;
    client.expect_exactly(1, 1).await;

    client.send(Message::Close(None)).await;
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(None), "a close is answered");
    replica.deserted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_one_client_does_not_touch_the_others() {
    const MASK: [u8; 4] = [0; 4];
    let long_ping = [&[0x89, 0xfe, 0x01, 0x00][..], &MASK, &[0; 256]].concat();
    let oversized = [&[0x82, 0xff][..], &1_000_000_u64.to_be_bytes(), &MASK, &[0; 100]].concat();
    let garbage: [(&str, &[u8]); 6] = [
        ("an unknown opcode", &[0x83, 0x80, 0, 0, 0, 0]),
        ("a frame without mask", &[0x81, 0x01, b'a']),
        ("reserved bits", &[0xf1, 0x80, 0, 0, 0, 0]),
        ("a control frame with a long body", &long_ping),
        ("an oversized message", &oversized),
        ("no WebSocket at all", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    ];
    let log = Log::create().await;
    let replica = Replica::start(&log).await;
    let mut bystander = replica.subscribe_after(0).await;
    for (what, bytes) in garbage {
        let mut client = replica.subscribe_after(0).await;
        client.socket.get_mut().write_all(bytes).await.unwrap();
        while let Some(Ok(message)) = client.next().await {
            assert!(message.is_binary(), "{what}: the socket ends: {message:?}");
        }
        let newest = log.append_all(&[log.identity()]).await;
        bystander.expect_exactly(newest, newest).await;
    }
    // A header that never ends, and then nothing.
    let mut client = replica.subscribe_after(0).await;
    client.socket.get_mut().write_all(&[0x82]).await.unwrap();
    drop(client);
    drop(bystander);
    replica.deserted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_closes_every_stream() {
    let log = Log::create().await;
    log.append(3).await;
    let replica = Replica::start(&log).await;
    let (mut idle, mut behind) = (replica.subscribe_after(0).await, replica.subscribe_after(1).await);
    idle.expect_exactly(1, 3).await;
    behind.expect_exactly(2, 3).await;
    append_flood(&log).await;
    // One that does not even read is not waited for until it does.
    let _stuck = replica.subscribe_narrowly(3).await;
    replica.request_stop();
    for client in [&mut idle, &mut behind] {
        let (_, goodbye) = client.rest().await;
        assert_eq!(goodbye, Goodbye { error: None, close: (1001, "shutting down".to_owned()) });
    }
    replica.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_database_connections_lose_nothing_and_repeat_nothing() {
    const ROUNDS: i64 = 5;
    let log = Log::create().await;
    let replica = Replica::start(&log).await;
    let mut live = replica.subscribe_after(0).await;
    for round in 0..ROUNDS {
        // Its connections broke with the others.
        let pool = log.db.other_pool();
        for _ in 0..20 {
            testing::log::append(&pool, log.account, &[log.identity()]).await;
        }
        let first = round * 20 + 1;
        live.expect_exactly(first, first + 9).await;
        log.db.break_connections().await;
        let mut joining = replica.subscribe_after(first - 1).await;
        live.expect_exactly(first + 10, first + 19).await;
        joining.expect_exactly(first, first + 19).await;
    }
    replica.subscribe_after(0).await.expect_exactly(1, ROUNDS * 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_its_tail_is_gone_a_replica_is_not_ready_and_serves_what_is_there() {
    let log = Log::create().await;
    log.append(3).await;
    let replica = Replica::start(&log).await;
    while !replica.state.firehose.is_following() {
        tokio::task::yield_now().await;
    }
    assert_eq!(replica.readiness().await, (200, "ok\n".to_owned()));
    // What the tail leaves behind when it panics.
    replica.state.firehose.ring.abandon();
    assert_eq!(replica.readiness().await, (503, "event stream not ready\n".to_owned()));
    replica.subscribe_after(0).await.expect_exactly(1, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_who_is_there_and_why_others_went() {
    let log = Log::create().await;
    log.append(3).await;
    let replica = Replica::start(&log).await;
    // How far behind somebody is can be told once the end of the log is known.
    while !replica.state.firehose.is_following() {
        tokio::task::yield_now().await;
    }
    let mut client = replica.subscribe_after(1).await;
    client.expect_exactly(2, 3).await;
    client.send(Message::Ping(Bytes::new())).await;
    // The answer comes after the events were counted.
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(Bytes::new()));
    let list = replica.state.firehose.subscribers();
    let seen = &list[0];
    assert_eq!(
        (&seen["ip"], &seen["cursor"], &seen["position"]),
        (&json!("127.0.0.1"), &json!(1), &json!(3)),
        "{list}"
    );
    assert_eq!((&seen["eventsSent"], &seen["lag"]), (&json!(2), &json!(0)), "{list}");
    for line in [
        "pds_firehose_subscribers 1",
        "pds_firehose_subscribers_by_lag{le=\"0\"} 1",
        "pds_firehose_lag_events_max 0",
        "pds_firehose_events_sent_total 2",
        "pds_firehose_following 1",
    ] {
        assert!(replica.metrics().lines().any(|found| found == line), "{line} in {}", replica.metrics());
    }
    replica.subscribe_after(9).await.goodbye().await;
    client.send(Message::Close(None)).await;
    replica.deserted().await;
    for line in [
        "pds_firehose_subscribers 0",
        "pds_firehose_subscriptions_ended_total{reason=\"closed\"} 1",
        "pds_firehose_subscriptions_ended_total{reason=\"refused\"} 1",
    ] {
        assert!(replica.metrics().lines().any(|found| found == line), "{line} in {}", replica.metrics());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_upgrade_there_is_no_stream() {
    let log = Log::create().await;
    let replica = Replica::start(&log).await;
    let url = format!("http://{}/xrpc/com.atproto.sync.subscribeRepos", replica.address);
    #[expect(clippy::disallowed_methods, reason = "a test calls its own server")]
    let client = reqwest::Client::new();
    let plain = client.get(&url).send().await.unwrap();
    assert!(!plain.status().is_success(), "{}", plain.status());
    let keyless = client.get(&url).header("connection", "upgrade").header("upgrade", "websocket").send().await.unwrap();
    assert_eq!(keyless.status(), 400);
    assert!(keyless.text().await.unwrap().contains("InvalidRequest"));
}
