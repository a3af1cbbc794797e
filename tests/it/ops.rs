//! The operator's commands as processes: what they print, and how they end.

mod admin;
mod audit;
mod blob;
mod events;
mod relay;
mod repo;
mod sequencer;
