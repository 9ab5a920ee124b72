//! The measuring tool: each of issue 2's four numbers on real processes, a real Redis and real sockets.
//! In reading order: `nodes` (what is measured), `usage` (what it costs), `wire` and `player` (who connects), `listening`
//! (counting what arrives), then the four measurements. Judges nothing: numbers only.

pub mod nodes;
pub mod usage;

pub mod player;
pub mod wire;

pub mod listening;

pub mod broadcast;
pub mod fanout;

pub mod actions;
pub mod failover;
pub mod idle;
