//! Regions that hear each other through nexus processes and redis-nexus: what is said in one is heard in all, once, and in the
//! order of its origin, whatever ends or is lost on the way.

mod cost;
mod gaps;
mod jumps;
mod life;
mod logs_on_memory;
mod logs_on_redis;
mod lost;
mod on_memory;
mod on_redis;
mod rosters_on_memory;
mod rosters_on_redis;
mod travel;
mod universe;
