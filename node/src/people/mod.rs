//! Players to each other, as this node knows it: who is in which team (`teams` changes it, `rosters` knows it), who is
//! present (`watches`), how many there are (`count`).

pub mod count;
pub mod rosters;
pub mod teams;
pub mod watches;

use self::rosters::Rosters;
use self::watches::Watches;

#[derive(Default)]
pub struct People {
    pub rosters: Rosters,
    pub watches: Watches,
}
