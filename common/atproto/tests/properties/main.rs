//! What must hold for every input: what is written reads back the same, and nothing from outside can cause a panic.

mod data;
mod identity;
mod syntax;
