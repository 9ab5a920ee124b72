//! A room as its owner runs it: claim, load, decide batches, append, checkpoint, park.
//! In reading order: `owner` (pure decisions on state), `chain` (what was appended and how to repair it), `task`.

pub mod chain;
pub mod owner;
pub mod seats;
pub mod task;
