//! Who belongs to the region: the decisions of room-log section 3 as pure code that takes `now`.
//! [`Table`] is the region's side (what one `beat` or `leave` does; the Redis script does the same), [`Watch`] the
//! node's (what one answer to a beat changed for it). Neither knows tasks, clocks or rooms.

mod table;
mod watch;

pub use table::{Table, silent_dead_after};
pub use watch::{Change, Watch};

#[cfg(test)]
mod tests;
