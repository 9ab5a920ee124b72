//! A room as its owner runs it: claim, load, decide batches, append, checkpoint, park.
//! In reading order: `owner`, `seats`, `combat`, `people`, `team`, `global`, `edits` and `events` (pure decisions on state), `chain` (what was appended and how to
//! repair it), `transfers` (what is left of moves), `task` (the loop), `arrivals`, `jumps`, `claim`, `commit`, `detach`, `posts`,
//! `telling` (what it does with the log).

use std::time::Duration;

pub mod owner;
pub mod seats;

pub mod combat;

pub mod edits;
mod events;
pub mod global;
pub mod people;
pub mod team;

pub mod chain;
pub mod transfers;

pub mod task;

pub mod arrivals;
pub mod claim;
pub mod commit;
mod detach;
pub mod jumps;
pub mod posts;
mod telling;

#[cfg(test)]
mod testing;

/// Before an unanswered call is repeated.
const RETRY_AFTER: Duration = Duration::from_millis(50);
