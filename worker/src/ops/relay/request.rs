//! A letter to the operators of a relay that allows too few accounts.

use chrono::SecondsFormat;
use common::config::ServiceConfig;
use common::relay::{Check, Difference, Warning};

/// Whether there is something to ask for.
pub(super) fn is_due(check: &Check) -> bool {
    check.survey.count(Difference::Throttled) > 0 || check.warnings().contains(&Warning::AccountLimit)
}

/// The letter, with what was found.
pub(super) fn letter(check: &Check, service: &ServiceConfig) -> String {
    let survey = &check.survey;
    let mut lines = vec![
        String::new(),
        format!("To the operators of {}", check.relay),
        String::new(),
        format!("Please raise the account limit of the PDS {}, and reset its throttled accounts.", service.hostname),
        String::new(),
        format!("- accounts on it: {}", check.own_accounts),
    ];
    lines.extend(check.account_count.map(|count| format!("- accounts that the relay counts: {count}")));
    lines.extend(check.account_limit.map(|limit| format!("- limit that we know of: {limit}")));
    lines.push(format!(
        "- of {} accounts asked about at {}: {survey}",
        survey.answered,
        check.checked_at.to_rfc3339_opts(SecondsFormat::Secs, true),
    ));
    let throttled = survey.examples.iter().filter(|example| example.difference == Difference::Throttled);
    lines.extend(throttled.map(|example| format!("- throttled: {}", example.did)));
    lines.push(format!("- status of the host: {}", check.host_status.name()));
    lines.extend(check.cursor.map(|cursor| format!("- events: {cursor} of {} read", check.newest)));
    lines.extend(service.contact_email_address.as_ref().map(|address| format!("- contact: {address}")));
    lines.join("\n")
}
