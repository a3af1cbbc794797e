//! Several replicas: what they do together, what it costs, and what happens when one goes.

mod chain;
mod firehose_join;
mod firehose_outage;
mod kill;
mod statements;
