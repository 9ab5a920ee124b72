//! One universe of real processes on real Redis servers whose clocks are hours apart: what is said and posted in one region is in
//! the others once and in the order of its origin, whatever is killed, cut off, restarted or lost on the way.

mod cut_off;
mod gaps;
mod hub;
mod jumps;
mod killed;
mod rings;
mod slow;
mod steps;
mod traffic;
