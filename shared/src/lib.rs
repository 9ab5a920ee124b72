//! sectorbus: real-time shared state for multiplayer worlds.
//!
//! Follow one action in: `protocol` (frames) -> the node's session -> `rules` decide on `state` -> `log` appends one
//! entry. Follow one delta out: `log` -> the node's relay applies it to its replica (`state`) -> `protocol` frames.
//! `ids`, `beyond`, `limits`, `value`, `action`, `presence` and `said` are the shared vocabulary; `protocol`, `state` and `log` are three columns
//! that do not import each other; `rules` uses `state`, `item` the names of `log`; `wording` serves the configurations of node and nexus. Time and randomness are arguments everywhere but in `log`.

pub mod action;
pub mod beyond;
pub mod ids;
pub mod item;
pub mod limits;
pub mod mailbox;
pub mod presence;
pub mod said;
pub mod small_map;
pub mod value;
pub mod wording;

pub mod log;
pub mod protocol;
pub mod rules;
pub mod state;

pub mod membership;
pub mod metrics;
pub mod ring;
