//! One suite over the `Log` trait, every rule on every implementation: `<group>::on_memory::<rule>` and
//! `<group>::on_redis::<rule>`. A rule is a generic function over a [`stand::Stand`], one file per group of rules of
//! room-log.md; no file knows an implementation but `on_memory` and `on_redis`.

#![allow(clippy::unwrap_used, reason = "a rule that gets no answer has failed")]

mod on_memory;
mod on_redis;
mod stand;
mod support;

mod bridge;
mod calls;
mod chain;
mod checkpoint;
mod claim;
mod ears;
mod facts;
mod feed;
mod follow;
mod hub;
mod inbox;
mod jumps;
mod load;
mod members;
mod mirrors;
mod outward;
mod people;
mod region;
mod repair;
mod rosters;
mod seats;
