//! `sectorbus-load`: what a region costs and how fast it is, on real processes, a real Redis and real sockets.
//! In reading order: `summary` and `compare` (the numbers), `pace` (open loop), `target` and `region` (what is measured),
//! `usage` (what it costs), `wire`, `player` and `listening` (who connects), then the scenarios. Judges nothing.

pub mod compare;
pub mod summary;

pub mod pace;
pub mod progress;

pub mod region;
pub mod target;
pub mod usage;

pub mod player;
pub mod wire;

pub mod listening;

pub mod audit;
pub mod redis_reads;

pub mod broadcast;
pub mod fanout;

pub mod actions;
pub mod chat;
pub mod failover;
pub mod idle;
pub mod storm;
pub mod xregion;

pub mod append;

pub mod command_line;
