//! Rosters of teams that have their home in another region. A change that is asked for away from home is kept beside its player,
//! carried to the home as a fact, and done there by the home's nodes; so is what a player who is elsewhere is shown as. Of
//! each only the latest counts.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use crate::ids::{PlayerId, RegionName, Role, TeamId};
use crate::log::{BadFact, LogResult};

/// What is asked of a team's home. Written `join <role>`, `token <role> <issued_s>`, `leave`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RosterWish {
    /// The player is to be in it, in this role.
    Join(Role),
    /// The same, as a token says that was issued then, in seconds since 1970.
    ByToken(Role, u64),
    Leave,
}

impl fmt::Display for RosterWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RosterWish::Join(role) => write!(f, "join {role}"),
            RosterWish::ByToken(role, issued_s) => write!(f, "token {role} {issued_s}"),
            RosterWish::Leave => f.write_str("leave"),
        }
    }
}

impl FromStr for RosterWish {
    type Err = BadFact;
    fn from_str(text: &str) -> Result<Self, BadFact> {
        let words: Vec<&str> = text.split(' ').collect();
        let role = |text: &str| Role::new(text).map_err(|_| BadFact);
        match words[..] {
            ["join", named] => Ok(RosterWish::Join(role(named)?)),
            ["token", named, issued] => Ok(RosterWish::ByToken(role(named)?, issued.parse().map_err(|_| BadFact)?)),
            ["leave"] => Ok(RosterWish::Leave),
            _ => Err(BadFact),
        }
    }
}

/// Asked for in this region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterAsk {
    pub team: TeamId,
    /// Of the player's asks in this region: grows, and never below TIME.
    pub number: u64,
    pub wish: RosterWish,
}

/// What a home's nodes have to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterDue {
    pub player: PlayerId,
    pub what: DueWhat,
    /// Names it: the same of a later time has a larger one.
    pub turn: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueWhat {
    /// Asked for in another region.
    Asked { from: RegionName, team: TeamId, wish: RosterWish },
    /// Other regions say what the player is shown as.
    Seen,
}

/// Rosters, in a region.
pub trait Rosters: Send + Sync + 'static {
    /// Asks the home of a team, in place of what was asked of it for this player before; answers the number. `name` names
    /// the ask: a repeat is the same. The number is above `above`.
    fn ask_roster(
        &self,
        player: &PlayerId,
        team: &TeamId,
        wish: &RosterWish,
        name: &str,
        above: u64,
    ) -> impl Future<Output = LogResult<u64>> + Send;
    /// What was asked for a player, the latest of each team, in the order of their numbers; kept for
    /// [`crate::limits::ROSTER_ASK_KEPT_FOR`] after the player's last.
    fn roster_asks(&self, player: &PlayerId) -> impl Future<Output = LogResult<Vec<RosterAsk>>> + Send;
    /// Asked for in another region, of a team that is at home here. What is not later than what is known changes nothing.
    fn learn_roster_ask(
        &self,
        player: &PlayerId,
        from: &RegionName,
        ask: &RosterAsk,
    ) -> impl Future<Output = LogResult<()>> + Send;
    /// The roster is to show what other regions say of the player.
    fn far_seen(&self, player: &PlayerId) -> impl Future<Output = LogResult<()>> + Send;
    /// What is to be done, in the order it came, without the first `skip`, at most `count`.
    fn rosters_due(&self, skip: usize, count: usize) -> impl Future<Output = LogResult<Vec<RosterDue>>> + Send;
    /// It is done, unless the same came again since.
    fn roster_done(&self, due: &RosterDue) -> impl Future<Output = LogResult<()>> + Send;
}
