//! The memory log: a region in this process. Embedded default of the demo, and the one that injects faults.
//!
//! [`MemoryRegion`] is the server, [`MemoryLog`] one node's access to it (a [`Log`]). Every operation is one step under
//! one lock, the twin of a Redis script. Time is tokio's: paused time and a `current_thread` runtime make a run with
//! the same seed the same run. Must be used inside a tokio runtime, and knows nothing of what the bytes mean.

mod access;
mod delivery;
mod faults;
mod oracle;
mod region;
mod trip;
mod workplace;

mod bridge;
mod calls;
mod database;
mod ears;
mod facts;
mod feed;
mod hub;
mod inbox;
mod jumps;
mod mirrors;
mod outward;
mod players;
mod records;
mod revocations;
mod rng;
mod room;
mod rosters;
mod take;

pub use faults::{Ambiguity, Latency};
pub use oracle::{Appearance, Publication, RoomDump};
pub use region::{HandleId, MemoryConfig, MemoryRegion};
pub use trip::MemoryLog;

#[cfg(test)]
mod tests;
