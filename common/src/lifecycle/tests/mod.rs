//! The workflows against a real database and a PLC directory in this process.

pub(super) mod world;
