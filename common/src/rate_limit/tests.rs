//! The script, held against the same rules in Rust; and what only a real server shows.

use std::time::Duration;

use proptest::prelude::*;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError, cmd};
use secrecy::ExposeSecret as _;

use super::memory::Memory;
use super::script::ChargeScript;
use super::window::Outcome;
use super::*;
use crate::testing::redis_config;

/// A connection of the test's own.
async fn connect() -> MultiplexedConnection {
    let config = redis_config(None);
    let password = config.password.as_ref().map(|password| password.expose_secret().to_owned()).unwrap_or_default();
    let url = format!("redis://:{password}@{}:{}", config.nodes[0].host, config.nodes[0].port);
    Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// A subject that no other test has.
fn somebody() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn limit(name: &'static str, points: u32, millis: u64) -> Limit {
    Limit { name, points, window: Duration::from_millis(millis) }
}

/// A request: by whom, the limits it falls under, and what it takes from each.
#[derive(Clone, Debug)]
struct Step {
    subject: u8,
    limits: Vec<usize>,
    cost: u32,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let limits = prop::sample::subsequence(vec![0, 1, 2, 3], 1..=4);
    let step = (0..3_u8, limits, 1..5_u32).prop_map(|(subject, limits, cost)| Step { subject, limits, cost });
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Some windows are so short that many end during the test, others never do.
    #[test]
    fn the_script_does_what_the_rules_say(steps in steps()) {
        let limits = [limit("a", 4, 3), limit("b", 20, 10), limit("c", 60, 600_000), limit("d", 7, 1)];
        let prefix = somebody();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let result = runtime.block_on(async {
            let (mut connection, script, model) = (connect().await, ChargeScript::new(), Memory::new());
            for step in steps {
                let subject = Subject::name(format!("{prefix}{}", step.subject));
                let charge = |index: &usize| Charge::new(&limits[*index], &subject, step.cost);
                let charges: Vec<Charge> = step.limits.iter().map(charge).collect();
                let outcome = script.run(&mut connection, &charges).await.unwrap();
                prop_assert_eq!(&model.charge(outcome.now_ms, &charges), &outcome, "{:?}", step);
            }
            Ok(())
        });
        result?;
    }
}

#[tokio::test]
async fn windows_go_by_themselves_and_strange_ones_are_replaced() {
    let (mut connection, script, subject) = (connect().await, ChargeScript::new(), Subject::name(somebody()));
    let charge = Charge::new(&limit("hour", 10, 3_600_000), &subject, 7);
    let outcome = script.run(&mut connection, std::slice::from_ref(&charge)).await.unwrap();
    let expires: u64 = cmd("PEXPIRETIME").arg(&charge.key).query_async(&mut connection).await.unwrap();
    assert_eq!((outcome.windows[0].ends_ms, outcome.windows[0].used), (expires, 7));
    assert_eq!(expires, outcome.now_ms + 3_600_000);
    for strange in ["", "7", "x y", "7 ", "-1 5", "1.5 9999999999999"] {
        cmd("SET").arg(&charge.key).arg(strange).exec_async(&mut connection).await.unwrap();
        let outcome = script.run(&mut connection, std::slice::from_ref(&charge)).await.unwrap();
        assert!(outcome.admitted && outcome.windows[0].used == 7, "{strange}: {outcome:?}");
    }
    cmd("DEL").arg(&charge.key).exec_async(&mut connection).await.unwrap();
    cmd("RPUSH").arg(&charge.key).arg("a").exec_async(&mut connection).await.unwrap();
    let refused: Result<Outcome, RedisError> = script.run(&mut connection, std::slice::from_ref(&charge)).await;
    // Another kind of value reads as none, and is overwritten.
    assert_eq!(refused.unwrap().windows[0].used, 7);
}

#[tokio::test]
async fn without_a_server_each_process_counts_for_itself() {
    let mut config = redis_config(None);
    // Nobody listens on the port that asks for "any".
    config.nodes[0].port = 0;
    let limits = RateLimits::start(Some(&config), Clock::system());
    limits.settled().await;
    let charges = [Charge::new(&limit("hour", 2, 3_600_000), &Subject::name("somebody"), 1)];
    let mut admitted = Vec::new();
    for _ in 0..3 {
        admitted.push(limits.charge(&charges).await.is_ok());
    }
    assert_eq!(admitted, [true, true, false]);
    let mut text = Exposition::default();
    limits.expose(&mut text);
    let text = text.finish();
    assert!(text.contains("pds_rate_limit_redis_up 0\n"), "{text}");
    assert!(text.contains("pds_rate_limit_memory_windows 1\n"), "{text}");
}
