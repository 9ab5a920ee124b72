//! What players say and hear: in rooms, to each other, while they are away, across nodes and their ends.
//! The client holds the server to its word (`sectorbus_demo::heard`): each item once and in order, nothing of others.

mod attacks;
mod lost_writes;
mod notices;
mod on_memory;
mod on_redis;
mod teams;
mod topics;
