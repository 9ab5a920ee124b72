//! The whole universe in one process: two regions of two nodes that can be killed, a nexus whose bridge can be cut, bots that
//! fly in both, an oracle that holds the nodes to what they acked, and a page that shows it.
//!
//! A `land` is a region: `cluster` runs its nodes; `backend` speaks through their door; `aria` answers players' calls. `bridge` runs the nexus; `fleet` runs `bot`s, each a
//! `client` over a `socket`; `rooms` reads the logs; `oracle` compares them with each bot's `ledger`; `lookout` does that four times a second and tells `page` and `headless`.

pub mod cli;
pub mod universe;

pub mod aria;
pub mod backend;
pub mod bridge;
pub mod cluster;
pub mod land;

pub mod beside;
pub mod bot;
pub mod client;
pub mod fleet;
pub mod heard;
pub mod socket;

pub mod failover;
pub mod ledger;
pub mod lookout;
pub mod oracle;
pub mod rooms;

pub mod headless;
pub mod page;
