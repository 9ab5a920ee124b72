//! The seeded randomness of the memory log: splitmix64, so that a seed means the same for ever.

use std::time::Duration;

#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `low..=high`.
    pub(super) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span_us = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX - 1);
        low + Duration::from_micros(self.next() % (span_us + 1))
    }

    /// In 0..1.
    pub(super) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}
