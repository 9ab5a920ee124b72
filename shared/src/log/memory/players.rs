//! A player's `at` record: where the player is, and which sessions they have. Pure, one call one script.

use std::collections::BTreeMap;

use crate::ids::{ActorId, Generation, Hop, SectorId, SessionId};
use crate::log::{At, Attach, Attached, SeatedAt};

#[derive(Debug, Clone)]
pub(super) struct PlayerRecord {
    room: SectorId,
    hop: Hop,
    /// The last generation and actor number given; both only grow.
    generation: Generation,
    actor: ActorId,
    floor: Generation,
    sessions: BTreeMap<SessionId, SeatedAt>,
}

impl PlayerRecord {
    pub(super) fn new(room: SectorId, hop: Hop) -> Self {
        Self {
            room,
            hop,
            generation: Generation(0),
            actor: ActorId(0),
            floor: Generation(0),
            sessions: BTreeMap::new(),
        }
    }

    pub(super) fn at(&self) -> At {
        At { room: self.room.clone(), hop: self.hop, sessions: self.sessions.clone() }
    }

    pub(super) fn attach(&mut self, attach: &Attach, time_ms: u64) -> Attached {
        // Never below TIME: numbers that were given before a tail was lost are not given again.
        self.generation = self.generation.next().max(Generation(time_ms));
        let seat = SeatedAt { generation: self.generation, incarnation: attach.incarnation.clone() };
        self.sessions.insert(attach.session.clone(), seat);
        while self.sessions.len() > attach.max.max(1) {
            self.evict_lowest();
        }
        let actor = attach.new_actor.then(|| {
            self.actor = self.actor.next().max(ActorId(time_ms));
            self.actor
        });
        Attached { generation: self.generation, floor: self.floor, at: self.at(), actor, time_ms }
    }

    fn evict_lowest(&mut self) {
        let lowest = self.sessions.iter().min_by_key(|(_, seat)| seat.generation);
        if let Some((session, generation)) = lowest.map(|(session, seat)| (session.clone(), seat.generation)) {
            self.sessions.remove(&session);
            self.floor = self.floor.max(generation.next());
        }
    }

    pub(super) fn detach(&mut self, session: &SessionId, generation: Generation) -> bool {
        let still_its_own = self.sessions.get(session).is_some_and(|seat| seat.generation == generation);
        if still_its_own {
            self.sessions.remove(session);
        }
        still_its_own
    }

    /// Moves the player there if `hop` is larger; answers the hop stored afterwards.
    pub(super) fn arrived(&mut self, room: &SectorId, hop: Hop) -> Hop {
        if hop > self.hop {
            self.room = room.clone();
            self.hop = hop;
        }
        self.hop
    }
}
