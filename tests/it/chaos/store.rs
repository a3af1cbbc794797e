//! What the saboteur says to Postgres, from a session of his own.

use atproto::syntax::Did;

/// What his sessions are called.
const NAME: &str = "saboteur";
/// Longer than any fault: he is told to let go.
const HOLD: &str = "SELECT pg_sleep(600)";

/// Holds a repo's row.
pub(super) fn hold_repo(did: &Did) -> String {
    hold(&format!(
        "SELECT r.head FROM repo r JOIN account a ON a.id = r.account_id WHERE a.did = '{did}' FOR UPDATE OF r"
    ))
}

/// Holds the row that all events are numbered by.
pub(super) fn hold_sequencer() -> String {
    hold("SELECT last_seq FROM sequencer FOR UPDATE")
}

/// Holds the table of records.
pub(super) fn hold_records() -> String {
    hold("LOCK TABLE record IN ACCESS EXCLUSIVE MODE")
}

/// Only is there.
pub(super) fn hold_nothing() -> String {
    hold(newest())
}

fn hold(lock: &str) -> String {
    format!("SET application_name = '{NAME}'; BEGIN; {lock}; {HOLD}")
}

/// Whether somebody holds something by now.
pub(super) fn holds() -> String {
    format!("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = '{NAME}' AND wait_event = 'PgSleep'")
}

/// Lets go of what is held.
pub(super) fn let_go() -> String {
    format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{NAME}'")
}

/// How many sessions of replicas wait for a lock.
pub(super) fn waiting() -> String {
    format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND {REPLICAS}")
}

/// Ends all sessions of replicas.
pub(super) fn break_connections() -> String {
    format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {REPLICAS}")
}

/// Cancels what replicas have under way.
pub(super) fn cancel_statements() -> String {
    format!("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE state = 'active' AND {REPLICAS}")
}

/// The process of some session of a replica.
pub(super) fn some_backend() -> String {
    format!("SELECT pid FROM pg_stat_activity WHERE {REPLICAS} ORDER BY state, pid LIMIT 1")
}

/// The newest seq.
pub(super) fn newest() -> &'static str {
    "SELECT last_seq FROM sequencer"
}

/// Sessions of replicas.
const REPLICAS: &str = "application_name = 'pds-api'";
