//! What must hold for any bytes. `tests/it/fuzz.rs` includes this file and runs it for a short
//! while on `corpus/`; cargo-fuzz runs it for as long as it is told.

pub mod cost;
pub mod decode;
pub mod envelope;
pub mod form;
pub mod framing;
