//! Regions that hear each other through nexus processes and redis-nexus: what is said in one is heard in all, once, and in the
//! order of its origin, whatever ends or is lost on the way.

mod jumps;
mod on_memory;
mod on_redis;
mod travel;
