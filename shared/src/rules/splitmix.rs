//! SplitMix64 (Steele, Lea, Flood 2014; public domain reference by Vigna): a small generator whose numbers are the
//! same on every platform and in every release, unlike those of a general-purpose crate. For maps, not for secrets.

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct SplitMix(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl SplitMix {
    /// A generator of its own for each (seed, purpose, text): one use never shifts the numbers of another.
    pub(super) fn new(seed: u64, purpose: u8, text: &str) -> Self {
        let mut mixed = Self(seed ^ u64::from(purpose).wrapping_mul(STEP));
        for byte in text.bytes() {
            mixed.0 = mixed.next() ^ u64::from(byte);
        }
        Self(mixed.next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `excluded` - 1; the bias of the remainder does not matter to a map. `excluded` must not be 0.
    pub(super) fn below(&mut self, excluded: u64) -> u64 {
        self.next() % excluded
    }

    /// `from_included` to `to_included`.
    pub(super) fn between(&mut self, from_included: i64, to_included: i64) -> i64 {
        from_included + self.below((to_included - from_included + 1) as u64) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_reference() {
        // First outputs of Vigna's splitmix64.c for state 1234567.
        let mut reference = SplitMix(1_234_567);
        assert_eq!(reference.next(), 6_457_827_717_110_365_317);
        assert_eq!(reference.next(), 3_203_168_211_198_807_973);
    }
}
