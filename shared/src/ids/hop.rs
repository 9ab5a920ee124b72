//! How a player's moves are counted, so that jumps between regions count more than whatever a region that lost one had the player do
//! since, and one that is made again after it was lost has its number again. Knows nothing of regions.

use super::Hop;

impl Hop {
    const PER_JUMP: u64 = 1 << 24;

    pub const fn after_jump(self) -> Self {
        Self((self.jumps() + 1).saturating_mul(Self::PER_JUMP))
    }

    /// Made so far.
    pub const fn jumps(self) -> u64 {
        self.0 / Self::PER_JUMP
    }
}
