//! The ten invariants of the design, one file each, against real `sectorbus-node` processes on a real redis-server
//! that are killed, frozen, cut off and restarted. A seed is printed by every test that rolls dice.

mod support;

mod acked_is_kept;
mod checksums;
mod convergence;
mod critical_and_private;
mod feeds;
mod log_first;
mod once;
mod one_chain;
mod one_entry_per_id;
mod one_place;
