//! What is known of relays, for people and for programs.

use chrono::{DateTime, SecondsFormat, Utc};
use common::relay::{Check, Difference, Notice};
use serde_json::{Value, json};

use super::super::console::Console;

/// Prints the heading of the table.
///
/// # Errors
/// If nobody reads any more.
pub(super) fn heading(console: Console) -> anyhow::Result<()> {
    console.say(format_args!(
        "{:<40} {:<10} {:>12} {:>9} {:>9} {:>9} {:>6} {:>9} {:>6} {:>7} {:>6} {:>4}",
        "RELAY",
        "STATUS",
        "LAG",
        "ITS COUNT",
        "OUR COUNT",
        "LIMIT",
        "ASKED",
        "THROTTLED",
        "DESYNC",
        "MISSING",
        "CLOSED",
        "OPEN",
    ))
}

/// Prints a relay: its line of the table, warnings with accounts that they are about, and when it was told.
///
/// # Errors
/// If nobody reads any more.
pub(super) fn relay(console: Console, check: &Check, notice: Option<&Notice>) -> anyhow::Result<()> {
    console.tell(&object(check, notice))?;
    console.say(row(check))?;
    for warning in check.warnings() {
        console.say(format_args!("  ! {}", check.explain(warning)))?;
    }
    for example in &check.survey.examples {
        console.say(format_args!("    {:<14} {}", example.difference.name(), example.did))?;
    }
    console.say(format_args!("  {}", told(notice)))
}

fn row(check: &Check) -> String {
    let survey = &check.survey;
    let count = |difference| survey.count(difference);
    let lag = match check.ahead_events() {
        Some(ahead @ 1..) => format!("ahead {ahead}"),
        _ => optional(check.lag_events()),
    };
    format!(
        "{:<40} {:<10} {lag:>12} {:>9} {:>9} {:>9} {:>6} {:>9} {:>6} {:>7} {:>6} {:>4}",
        check.relay,
        check.host_status.name(),
        optional(check.account_count),
        check.own_accounts,
        optional(check.account_limit),
        survey.answered,
        count(Difference::Throttled),
        count(Difference::Desynchronized),
        count(Difference::Missing),
        count(Difference::Closed) + count(Difference::Moderated),
        count(Difference::Open),
    )
}

fn optional(number: Option<impl ToString>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn told(notice: Option<&Notice>) -> String {
    let Some(notice) = notice else { return "never told of events by this server".to_owned() };
    let told = match (notice.told_at, notice.told_seq) {
        (Some(at), Some(seq)) => format!("told at {} of events up to {seq}", time(at)),
        _ => "never told of events by this server".to_owned(),
    };
    match notice.failures {
        0 => told,
        failures => format!(
            "{told}; {failures} tries in a row failed, the next is at {}: {}",
            time(notice.next_at),
            notice.last_error.as_deref().unwrap_or_default(),
        ),
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The check as it is kept, with what follows from it.
fn object(check: &Check, notice: Option<&Notice>) -> Value {
    let mut object = json!(check);
    object["lagEvents"] = json!(check.lag_events());
    object["lagSeconds"] = json!(check.cursor.map(|_| check.lag().as_secs()));
    object["aheadEvents"] = json!(check.ahead_events());
    let warnings = check.warnings();
    let warnings = warnings.iter().map(|warning| json!({ "warning": warning, "text": check.explain(*warning) }));
    object["warnings"] = warnings.collect();
    object["notice"] = json!(notice);
    object
}
