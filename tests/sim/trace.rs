//! The trace of a run: a hash of everything that must come out the same for the same seed, and, when asked, a line
//! for everything that happens.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use tokio::time::Instant;

pub(crate) struct Trace {
    started: Instant,
    is_told: bool,
    hasher: DefaultHasher,
}

impl Trace {
    /// `is_told`: prints what happens.
    pub(crate) fn new(is_told: bool) -> Self {
        Self { started: Instant::now(), is_told, hasher: DefaultHasher::new() }
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            println!("{:>9.3} {}", self.started.elapsed().as_secs_f64(), what());
        }
    }

    pub(crate) fn hash(&mut self, what: impl FnOnce(&mut DefaultHasher)) {
        what(&mut self.hasher);
    }

    pub(crate) fn finish(&self) -> u64 {
        self.hasher.finish()
    }
}
