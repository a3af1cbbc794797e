//! Relays on the metrics port.

use common::relay::{Check, Difference, HostStatus, Notice, Warning};
use common::telemetry::metrics::Exposition;

/// Writes what relays were told, and what they last said. The label `relay` has the few values that the operator chose.
pub fn write(text: &mut Exposition, notices: &[Notice], checks: &[Check]) {
    write_notices(text, notices);
    write_checks(text, checks);
    write_accounts(text, checks);
}

fn write_notices(text: &mut Exposition, notices: &[Notice]) {
    let told = "pds_relay_told_timestamp_seconds";
    text.gauges(told, "When a relay last accepted to be told of new events; 0 if it never did.");
    for notice in notices {
        let at = notice.told_at.map_or(0, |at| at.timestamp());
        text.sample(told, &[("relay", &notice.relay)], at);
    }
    let failures = "pds_relay_notice_failures";
    text.gauges(failures, "How often in a row a relay did not accept.");
    for notice in notices {
        text.sample(failures, &[("relay", &notice.relay)], notice.failures);
    }
    let circuit = "pds_relay_circuit_open";
    text.gauges(circuit, "1 while a relay is left alone but for one try an hour.");
    for notice in notices {
        text.sample(circuit, &[("relay", &notice.relay)], u8::from(notice.is_resting()));
    }
}

/// Of each check one number, or none if it is not known.
type Number = fn(&Check) -> Option<i64>;

fn write_checks(text: &mut Exposition, checks: &[Check]) {
    let numbers: [(&str, &str, Number); 6] = [
        ("pds_relay_check_timestamp_seconds", "When a relay was last asked about this server.", |check| {
            Some(check.checked_at.timestamp())
        }),
        ("pds_relay_up", "1 if it answered then.", |check| Some(i64::from(check.failure.is_none()))),
        ("pds_relay_cursor", "The last event that it has taken, as far as it has noted that.", |check| check.cursor),
        ("pds_relay_cursor_lag_events", "Events that it lacks.", Check::lag_events),
        ("pds_relay_cursor_lag_seconds", "For how long it has lacked the first of them.", |check| {
            check.cursor.map(|_| check.lag().as_secs().try_into().unwrap_or(i64::MAX))
        }),
        ("pds_relay_cursor_ahead_events", "By how much its cursor is above the newest event.", Check::ahead_events),
    ];
    for (name, help, number) in numbers {
        write_number(text, (name, help), checks, number);
    }
    let status = "pds_relay_host_status";
    text.gauges(status, "1 for what this server is to it, 0 for the rest.");
    for check in checks {
        for possible in HostStatus::ALL {
            let labels = [("relay", check.relay.as_str()), ("status", possible.name())];
            text.sample(status, &labels, u8::from(check.host_status == possible));
        }
    }
    let warning = "pds_relay_warning";
    text.gauges(warning, "1 for what somebody should look at.");
    for check in checks {
        let warnings = check.warnings();
        for possible in Warning::ALL {
            let labels = [("relay", check.relay.as_str()), ("warning", possible.name())];
            text.sample(warning, &labels, u8::from(warnings.contains(&possible)));
        }
    }
}

fn write_accounts(text: &mut Exposition, checks: &[Check]) {
    let numbers: [(&str, &str, Number); 6] = [
        ("pds_relay_account_count", "Accounts of this server that it counts.", |check| {
            check.account_count.and_then(|count| count.try_into().ok())
        }),
        ("pds_relay_own_account_count", "Accounts that there were here then, in whatever state.", |check| {
            check.own_accounts.try_into().ok()
        }),
        ("pds_relay_account_limit", "How many it allows, by PDS_RELAY_ACCOUNT_LIMIT.", |check| {
            check.account_limit.and_then(|limit| limit.try_into().ok())
        }),
        ("pds_relay_asked_accounts", "Accounts that it was asked about, and said something.", |check| {
            check.survey.answered.try_into().ok()
        }),
        ("pds_relay_unanswered_accounts", "Accounts that it was asked about in vain.", |check| {
            check.survey.unanswered.try_into().ok()
        }),
        ("pds_relay_throttled_accounts", "Of those that it was asked about, accounts that it throttles.", |check| {
            check.survey.count(Difference::Throttled).try_into().ok()
        }),
    ];
    for (name, help, number) in numbers {
        write_number(text, (name, help), checks, number);
    }
    let differing = "pds_relay_differing_accounts";
    text.gauges(differing, "Of those that it was asked about, accounts whose state differs there, by how.");
    for check in checks {
        for difference in Difference::ALL {
            let labels = [("relay", check.relay.as_str()), ("difference", difference.name())];
            text.sample(differing, &labels, check.survey.count(difference));
        }
    }
}

fn write_number(text: &mut Exposition, (name, help): (&str, &str), checks: &[Check], number: Number) {
    text.gauges(name, help);
    for check in checks {
        if let Some(number) = number(check) {
            text.sample(name, &[("relay", &check.relay)], number);
        }
    }
}
