//! Several replicas: what they do together, what it costs, and what happens when one goes.

mod chain;
mod firehose_crowd;
mod firehose_join;
mod firehose_outage;
mod firehose_resume;
mod import_kill;
mod kill;
mod rate_limits;
mod statements;
