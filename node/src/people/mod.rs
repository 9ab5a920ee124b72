//! Players to each other, as this node knows it: who is in which team (`teams` changes it, `rosters` knows it), who is
//! present (`watches`), how many there are (`count`); what was written of them a moment ago (`written`).

pub mod count;
pub mod homes;
pub mod rosters;
pub mod teams;
pub mod watches;
pub mod written;

use self::rosters::Rosters;
use self::watches::Watches;
use self::written::Recent;

#[derive(Default)]
pub struct People {
    pub rosters: Rosters,
    pub watches: Watches,
    pub recent: Recent,
}
