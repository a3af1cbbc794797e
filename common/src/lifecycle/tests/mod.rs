//! The workflows against a real database and a PLC directory in this process.

mod sign_up;
pub(super) mod world;
