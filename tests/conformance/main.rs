//! One suite over the `Log` trait, every rule on every implementation: `<group>::on_memory::<rule>` and
//! `<group>::on_redis::<rule>`. A rule is a generic function over a [`stand::Stand`], one file per group of rules of
//! room-log.md; no file knows an implementation but `on_memory` and `on_redis`.

mod stand;
mod on_memory;
mod on_redis;
mod support;

mod chain;
mod claim;
mod repair;
mod checkpoint;
mod load;
mod follow;
mod inbox;
mod members;
mod seats;
mod feed;
mod region;
