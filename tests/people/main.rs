//! What players are to each other: teams and their rosters, counts, presence. In one process on a memory log, and in real
//! processes on a real redis-server.

mod memory;
mod redis;
