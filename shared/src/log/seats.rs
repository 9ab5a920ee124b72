//! The words of where players are: attach, detach, `at`.

use crate::ids::{ActorId, Generation, Hop, Incarnation, PlayerId, SectorId, SessionId};
use crate::small_map::SmallMap;

/// Where a player is and which sessions they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    pub room: SectorId,
    pub hop: Hop,
    /// Highest evicted generation + 1: what is below it was evicted.
    pub floor: Generation,
    pub sessions: SmallMap<SessionId, SeatedAt>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatedAt {
    pub generation: Generation,
    pub incarnation: Incarnation,
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
