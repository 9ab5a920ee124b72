//! The gateway node: sessions, rooms, relays, membership.
//!
//! One action in: `session` (decode, limit) -> `follow::route` (who owns the room) -> `courier`/`inbox` or the local
//! mailbox -> `room::task` -> `room::owner` (dedupe, rules) -> `room::commit` (one append per batch).
//! One delta out: the log -> `follow::task` -> `follow::catch_up` (judge, apply, verify) -> `follow::show` (encode
//! once) -> `session::outbox` -> socket.

pub mod config;
pub mod cli;
pub mod listen;
pub mod routes;
pub mod admin;
pub mod auth;
pub mod resume_token;

pub mod node;
pub mod tasks;
pub mod clock;
pub mod core;
pub mod players;
pub mod session;
pub mod command;
pub mod owners;
pub mod courier;
pub mod inbox;
pub mod room;
pub mod load;
pub mod follow;
pub mod life;
pub mod adopt;
pub mod drain;

pub use config::NodeConfig;
pub use listen::Listeners;
pub use node::{Node, NodeError, NodeStart, run, run_on_redis};
