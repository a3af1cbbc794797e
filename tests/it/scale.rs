//! Several replicas: what they do together, what it costs, and what happens when one goes.

mod chain;
mod kill;
mod statements;
