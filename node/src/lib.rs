//! The gateway node: sessions, rooms, relays, membership.
//! One action in: `session` (decode, limit) -> `follow::route` (who owns the room) -> `courier`/`inbox` or the local
//! mailbox -> `room::task` -> `room::owner` (dedupe, rules) -> `room::commit` (one append per batch).
//! One delta out: the log -> `follow::task` -> `follow::catch_up` (judge, apply, verify) -> `follow::show` (encode
//! once) -> `session::outbox` -> socket. One feed item: `poster` -> the log -> `follow::feed` -> `feeds::FeedReader`.

pub mod admin;
pub mod assets;
pub mod audience;
pub mod auth;
pub mod cli;
pub mod config;
pub mod edge;
pub mod listen;
pub mod resume_token;
pub mod routes;

pub mod adopt;
pub mod alike;
pub mod calls;
pub mod changes;
pub mod clock;
pub mod command;
pub mod core;
pub mod courier;
pub mod door;
pub mod drain;
pub mod feeds;
pub mod follow;
pub mod handshake;
pub mod inbox;
pub mod jumps;
pub mod life;
pub mod load;
pub mod node;
pub mod owners;
pub mod people;
pub mod players;
pub mod poster;
pub mod revocations;
pub mod revoke;
pub mod room;
pub mod session;
pub mod tasks;

pub use config::NodeConfig;
pub use listen::Listeners;
pub use node::{Node, NodeError, NodeStart, run, run_on_redis};
