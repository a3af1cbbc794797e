//! The event stream from its beginning, to one consumer.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::time::{interval, sleep};

use super::write::WRITERS;
use crate::measure::{Done, SAMPLE_INTERVAL, Tally, Watch};
use crate::origin::Origin;
use crate::post;
use crate::row::Row;
use crate::session::{Account, Session};
use crate::stream::Subscription;

/// Events that a stream should have to be measured. A server that cannot write them in time is measured with fewer.
const EVENTS: u64 = 20_000;
/// The same, to see only that it works.
const QUICK_EVENTS: u64 = 500;
/// How long events may be written.
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// Time between writes that bring an event to a new subscriber.
const PROBE_PACE: Duration = Duration::from_millis(100);

/// Reads all events again and again.
pub(super) async fn backfill(session: &mut Session) -> Result<Row> {
    let accounts = session.accounts(WRITERS).await?.to_vec();
    let wanted = if session.scale.quick { QUICK_EVENTS } else { EVENTS };
    let mut newest = newest(session, &accounts[0]).await?;
    let found = replay(&session.target.origin, newest).await?.count;
    if found < wanted {
        write(session, &accounts, wanted - found).await?;
        newest = self::newest(session, &accounts[0]).await?;
    }
    let mut watch = Watch::start(&session.target.processes);
    let mut tally = Tally::default();
    while watch.elapsed() < session.scale.plan.window {
        let pass = replay(&session.target.origin, newest);
        tokio::pin!(pass);
        let outcome = loop {
            tokio::select! {
                outcome = &mut pass => break outcome,
                () = sleep(SAMPLE_INTERVAL) => watch.sample(),
            }
        };
        match outcome {
            Ok(done) => tally.count(done),
            Err(error) => {
                tally.fail(error);
                break;
            }
        }
    }
    Ok(Row::new(tally, &watch.stop()).counting("event"))
}

/// Events and bytes from the beginning up to the event numbered `newest`.
async fn replay(origin: &Origin, newest: i64) -> Result<Done> {
    let mut subscription = Subscription::open(origin, Some(0)).await?;
    let mut done = Done::default();
    loop {
        let event = subscription.next().await?;
        done.count += 1;
        done.bytes += event.len();
        if event.seq >= newest {
            return Ok(done);
        }
    }
}

/// The number of an event that has just been written.
async fn newest(session: &Session, account: &Account) -> Result<i64> {
    let mut subscription = Subscription::open(&session.target.origin, None).await?;
    let (mut connection, call) = (session.connection()?, post::create(account, None)?);
    let mut due = interval(PROBE_PACE);
    loop {
        tokio::select! {
            event = subscription.next() => return event.map(|event| event.seq),
            _ = due.tick() => {
                connection.send(&call).await?;
            }
        }
    }
}

/// Writes `count` events, or as many as there is time for.
async fn write(session: &Session, accounts: &[Account], count: u64) -> Result<()> {
    let started = Instant::now();
    let each = count.div_ceil(u64::try_from(accounts.len())?);
    let writers = accounts.iter().map(|account| async move {
        let mut connection = session.connection()?;
        for _ in 0..each {
            if started.elapsed() > WRITE_LIMIT {
                break;
            }
            connection.send(&post::create(account, None)?).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(writers).await.map(drop)
}
