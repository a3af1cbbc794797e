//! What must hold for bytes from strangers, target by target.
//!
//! Each target takes any bytes and panics if its promise is broken. The fuzzer looks for such bytes; the ordinary tests
//! (`tests/fuzzed`) replay the seeds and everything in `regressions/`, without the fuzzer and without a nightly toolchain.

pub mod car_read;
pub mod cbor_decode;
pub mod did_document;
pub mod did_key;
mod draw;
pub mod event_frame;
pub mod event_verify;
pub mod json_value;
pub mod lexicon;
pub mod mst_change;
pub mod mst_hostile;
pub mod mst_node;
pub mod picture;
pub mod plc_operation;
pub mod syntax;
mod tree;

/// A fuzz target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name of the target, of its binary and of its folder in `regressions/`.
    pub name: &'static str,
    /// Checks one input.
    pub run: fn(&[u8]),
    /// Inputs to start from, which get deep into the decoder.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident)+) => {
        [$(Target { name: stringify!($name), run: $name::run, seeds: $name::seeds }),+]
    };
}

/// All targets.
pub const TARGETS: [Target; 14] = targets! {
    car_read cbor_decode did_document did_key event_frame event_verify json_value lexicon mst_change mst_hostile
    mst_node picture plc_operation syntax
};
