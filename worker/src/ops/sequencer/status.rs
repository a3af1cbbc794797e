//! `pds-worker sequencer status`.

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;
use common::clock::Clock;
use common::config::Config;
use common::sequencer::admin::{Admin, Mark, Partition, Rate, Status};

use super::super::console::Console;
use super::super::{Outcome, database};

/// Transactions that are open for longer are worth a word, in seconds.
const LONG_TRANSACTION: f64 = 60.0;
/// A queue of notifications that is fuller is worth a word.
const FULL_QUEUE: f64 = 0.1;

/// How to show it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let window = TimeDelta::from_std(Config::subscription_from_env()?.backfill_limit).unwrap_or(TimeDelta::MAX);
    let pool = database::open("sequencer status", 1).await?;
    let now = Clock::system().now();
    let status = Admin::new(pool).status(now, window).await.context("cannot read the log")?;
    console.tell(&status)?;
    for line in lines(&status, now, window) {
        console.say(line)?;
    }
    Ok(Outcome::Sound)
}

/// The status for people.
fn lines(status: &Status, now: DateTime<Utc>, window: TimeDelta) -> Vec<String> {
    let mut lines = vec![
        format!("newest seq       {}", status.last_seq),
        format!("newest event     {}", mark(status.newest, now)),
        format!("oldest event     {}", mark(status.oldest, now)),
        format!("events           {}, numbers left out included", status.events),
        format!("window           {}, from seq {}", duration(window), optional(status.window_start)),
    ];
    let rates = status.rates.iter().map(|Rate { minutes, events }| format!("{events} in {minutes} min"));
    lines.push(format!("lately           {}", rates.collect::<Vec<_>>().join(", ")));
    lines.push(format!("room             {} numbers have a partition{}", status.room, room_lasts(status)));
    lines.push("partitions".to_owned());
    lines.extend(status.partitions.iter().map(partition));
    lines.extend(warnings(status));
    lines
}

fn mark(mark: Option<Mark>, now: DateTime<Utc>) -> String {
    mark.map_or_else(
        || "none".to_owned(),
        |Mark { seq, at }| {
            format!("{seq}, {}, {} ago", at.to_rfc3339_opts(SecondsFormat::Millis, true), duration(now - at))
        },
    )
}

fn optional(number: Option<i64>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| number.to_string())
}

fn partition(partition: &Partition) -> String {
    let Partition { name, lower, upper, events, bytes } = partition;
    let range = match (lower, upper) {
        (Some(lower), Some(upper)) => format!("{lower} to {}", upper - 1),
        _ => "all others".to_owned(),
    };
    format!("  {name:<28} {range:<28} {events:>12} events {:>9} kB", bytes / 1024)
}

/// At the rate of the last quarter of an hour.
fn room_lasts(status: &Status) -> String {
    match status.rates.last() {
        Some(Rate { minutes, events: events @ 1.. }) => {
            let minutes = status.room.saturating_mul(*minutes) / events;
            format!(
                ", enough for {} at the present rate",
                duration(TimeDelta::try_minutes(minutes).unwrap_or(TimeDelta::MAX))
            )
        }
        _ => String::new(),
    }
}

/// What somebody should look at.
fn warnings(status: &Status) -> Vec<String> {
    let hints = &status.hints;
    let mut warnings = Vec::new();
    if status.partitions.iter().any(|partition| partition.lower.is_none() && partition.events > 0) {
        warnings.push(
            "! events are in the default partition: is a worker running, which makes partitions ahead?".to_owned(),
        );
    }
    if status.room == 0 {
        warnings.push("! the next event has no partition but the default one".to_owned());
    }
    if hints.waiting_sessions > 0 {
        warnings.push(format!("! {} sessions wait for a lock; a few at a time are normal", hints.waiting_sessions));
    }
    if hints.oldest_transaction_seconds > LONG_TRANSACTION {
        warnings.push(format!("! a transaction has been open for {:.0} seconds", hints.oldest_transaction_seconds));
    }
    if hints.notification_queue > FULL_QUEUE {
        warnings.push(format!(
            "! the queue of notifications is {:.0} % full: a listener is stuck",
            hints.notification_queue * 100.0
        ));
    }
    warnings
}

/// As `3 d 4 h`, `5 h 6 min`, `7 min 8 s`.
fn duration(time: TimeDelta) -> String {
    let (days, hours, minutes, seconds) = (time.num_days(), time.num_hours(), time.num_minutes(), time.num_seconds());
    match (days, hours, minutes) {
        (1.., ..) => format!("{days} d {} h", hours % 24),
        (_, 1.., _) => format!("{hours} h {} min", minutes % 60),
        (_, _, 1..) => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [(5, "5 s"), (65, "1 min 5 s"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h")] {
            assert_eq!(duration(TimeDelta::seconds(seconds)), text);
        }
    }
}
