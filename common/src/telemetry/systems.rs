//! The reference server's names for its subsystems, and the modules that do the same work here.

/// Modules to hear: those of `systems`, or all of ours if it names none.
pub(super) fn targets(systems: &[String]) -> Vec<&'static str> {
    if systems.is_empty() {
        return vec!["api", "pds_api", "worker", "pds_worker", "common", "atproto"];
    }
    systems.iter().flat_map(|system| modules(system)).copied().collect()
}

/// A name we do not know, or that has no counterpart, is nothing to hear.
fn modules(system: &str) -> &'static [&'static str] {
    match system {
        "pds" => &["api", "pds_api", "worker", "pds_worker"],
        "pds:account" => &["common::account", "common::lifecycle"],
        "pds:blob-store" => &["common::blob"],
        "pds:crawler" => &["worker::jobs"],
        "pds:db" => &["common::db", "sqlx"],
        "pds:did-cache" => &["common::identity"],
        "pds:fetch" => &["common::http"],
        "pds:lexicon-resolver" => &["common::lexicon"],
        "pds:mailer" => &["worker::mail"],
        "pds:oauth" => &["api::oauth", "common::oauth"],
        "pds:read-sticky" => &["api::read_after_write"],
        "pds:redis" => &["common::rate_limit"],
        "pds:sequencer" => &["common::sequencer", "api::firehose"],
        "pds:session" => &["common::session"],
        _ => &[],
    }
}
