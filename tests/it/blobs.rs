//! The life of blobs: what is referred to is never lost, and of what is not nothing is left.

mod bad_input;
mod bad_store;
mod killed;
mod model;
mod rules;
