//! The words of where players are: attach, detach, `at`.

use serde::{Deserialize, Serialize};

use crate::ids::{ActorId, Generation, Hop, Incarnation, PlayerId, RegionName, Role, SectorId, SessionId, TeamId};
use crate::presence::Shown;
use crate::small_map::SmallMap;

/// Where a player is and which sessions they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// Of this region, unless `region` names another.
    pub room: SectorId,
    /// Where the player is, if elsewhere: no room of this region has them.
    pub region: Option<RegionName>,
    pub hop: Hop,
    /// Highest evicted generation + 1: what is below it was evicted.
    pub floor: Generation,
    pub sessions: SmallMap<SessionId, SeatedAt>,
    /// Number of the last change of who is present, as what, and where; grows, and never below TIME.
    pub presence: u64,
    /// When the last session ended, ms since 1970; 0: none has yet.
    pub last_seen_ms: u64,
    /// `None`: the player was never in a team.
    pub team: Option<TeamAt>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatedAt {
    pub generation: Generation,
    pub incarnation: Incarnation,
    pub shown: Shown,
}

/// Which team a player is in. The roster itself is the state of the team's room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamAt {
    /// Of this change; grows, and never below TIME. What is older changes nothing anywhere.
    pub number: u64,
    /// Team and role; `None`: in no team.
    pub team: Option<(TeamId, Role)>,
    /// Teams that were left and whose rosters may still have to hear of it, the last one last; at most
    /// [`crate::limits::TEAMS_UNSETTLED_MAX`].
    pub before: Vec<(TeamId, Role)>,
    /// When the youngest token was issued that had a say, seconds since 1970; 0: none had, or it did not tell.
    pub issued_s: u64,
    /// The number of the change that brought the player into that team (ms since 1970): another role changes nothing here.
    pub since_ms: u64,
}

/// A change of a player's team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetTeam {
    /// Into this team, out of any other; or another role in the same.
    Join(TeamId, Role),
    /// Out of this team; nothing changes if the player is in another.
    Leave(TeamId),
    /// Out of whichever it is.
    LeaveAny,
    /// As a token says that was issued then (seconds since 1970; 0: it does not tell). An older one than had a say before
    /// changes nothing.
    ByToken { team: Option<(TeamId, Role)>, issued_s: u64 },
    /// As somebody knows it was, unless something with as high a number is stored: Redis may have lost it. With number 0 it
    /// only asks.
    Known(TeamAt),
}

/// Who is present and where, as it is told on the player's channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// As [`At::presence`].
    pub number: u64,
    /// As [`At::last_seen_ms`].
    pub last_seen_ms: u64,
    /// As [`At::room`]; `None`: nowhere yet, or in another region.
    pub room: Option<SectorId>,
    /// Which node has each session, and what it is shown as.
    pub sessions: Vec<(Incarnation, Shown)>,
}

/// What `at` says after it was to name a place for a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    pub hop: Hop,
    /// It is that place, and not another one under this hop.
    pub is_there: bool,
}

impl At {
    /// The room of this region that has the player.
    pub fn room_here(&self) -> Option<&SectorId> {
        Some(&self.room).filter(|_| self.region.is_none())
    }

    pub fn present(&self) -> Present {
        let sessions = self.sessions.values().map(|seat| (seat.incarnation.clone(), seat.shown));
        let (number, last_seen_ms, room) = (self.presence, self.last_seen_ms, self.room_here().cloned());
        Present { number, last_seen_ms, room, sessions: sessions.collect() }
    }
}

#[derive(Debug, Clone)]
pub struct Attach {
    pub player: PlayerId,
    pub session: SessionId,
    pub incarnation: Incarnation,
    /// Of the incarnation's attaches: the same counter gets the same answer, a lower one changes nothing.
    pub counter: u64,
    /// Attach again a session that had this generation: refused if a newer one is there or it was evicted.
    pub replaces: Option<Generation>,
    /// Sessions per player; the lowest generations beyond it are evicted.
    pub max: usize,
    /// Where a player without a record starts (hop 0).
    pub start: SectorId,
    /// Give a new actor number.
    pub new_actor: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub generation: Generation,
    /// Highest evicted generation + 1, kept in `at`; 0 when nothing was ever evicted.
    pub floor: Generation,
    pub at: At,
    /// `Some` iff `new_actor`.
    pub actor: Option<ActorId>,
    pub time_ms: u64,
}
