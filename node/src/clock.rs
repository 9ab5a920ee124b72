//! The region's time as this node knows it, and the node's randomness.
//! Node clocks are never compared: TIME of the last script answer plus own monotonic time since.

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

/// TIME of the region. May step back by what the node's own clock ran ahead; rooms take the larger of theirs and this.
pub struct RegionClock {
    last: Mutex<(u64, Instant)>,
}

impl RegionClock {
    pub fn new(time_ms: u64) -> Self {
        Self { last: Mutex::new((time_ms, Instant::now())) }
    }

    /// Takes over a TIME that came with a script's answer.
    pub fn observe(&self, time_ms: u64) {
        let mut last = self.last.lock();
        *last = (time_ms.max(last.0), Instant::now());
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        let last = self.last.lock();
        last.0 + millis(last.1.elapsed())
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The node's own random numbers; seeded, so that a simulation reproduces. Not for secrets.
pub struct Dice {
    rng: Mutex<SmallRng>,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self { rng: Mutex::new(SmallRng::seed_from_u64(seed)) }
    }
    pub fn below(&self, bound_excluded: u64) -> u64 {
        self.rng.lock().random_range(0..bound_excluded)
    }
    /// 32 hexadecimal characters.
    pub fn hex(&self) -> String {
        format!("{:032x}", self.rng.lock().random::<u128>())
    }
}
