//! A player's `at` record: where the player is, and which sessions they have. Pure, one call one script.

use std::collections::BTreeMap;

use crate::ids::{ActorId, Generation, Hop, Incarnation, RegionName, SectorId, SessionId, TeamId};
use crate::limits::{JUMP_TICKET_FOR, LOGGED_OUT_KEPT, RESUME_TOKEN_FOR, TEAMS_UNSETTLED_MAX};
use crate::log::{At, Attach, Attached, Landed, Named, Present, Redeem, SeatedAt, SetTeam, TeamAt, TicketHash};
use crate::presence::Shown;

#[derive(Debug, Clone)]
pub(super) struct PlayerRecord {
    room: SectorId,
    /// Another one, where `room` is then.
    region: Option<RegionName>,
    hop: Hop,
    /// The last generation and actor number given; both only grow.
    generation: Generation,
    actor: ActorId,
    floor: Generation,
    sessions: BTreeMap<SessionId, StoredSeat>,
    /// Logged out, and until when (ms) they are not attached.
    ended: BTreeMap<SessionId, u64>,
    /// Of the last change of who is present.
    presence: u64,
    last_seen_ms: u64,
    /// The hop of the last arrival from another region that brought tickets.
    landed: Hop,
    tickets: BTreeMap<SessionId, Ticket>,
}

#[derive(Debug, Clone)]
struct Ticket {
    hash: TicketHash,
    until_ms: u64,
    used_by: Option<(Incarnation, u64)>,
}

/// A session, and what its attach was answered.
#[derive(Debug, Clone)]
struct StoredSeat {
    seat: SeatedAt,
    counter: u64,
    actor: Option<ActorId>,
    /// The counter with which its incarnation entered it last; 0: by what it replaced only.
    entered: u64,
}

impl PlayerRecord {
    pub(super) fn new(room: SectorId, hop: Hop) -> Self {
        Self {
            room,
            region: None,
            hop,
            generation: Generation(0),
            actor: ActorId(0),
            floor: Generation(0),
            sessions: BTreeMap::new(),
            ended: BTreeMap::new(),
            presence: 0,
            last_seen_ms: 0,
            landed: Hop(0),
            tickets: BTreeMap::new(),
        }
    }

    /// Without the team, which is stored apart.
    pub(super) fn at(&self) -> At {
        let sessions = self.sessions.iter().map(|(session, stored)| (session.clone(), stored.seat.clone()));
        let (presence, last_seen_ms) = (self.presence, self.last_seen_ms);
        let (room, region, hop, floor) = (self.room.clone(), self.region.clone(), self.hop, self.floor);
        At { room, region, hop, floor, sessions: sessions.collect(), presence, last_seen_ms, team: None }
    }

    /// Numbers a change of who is present, or where; answers what to tell.
    pub(super) fn tell_presence(&mut self, time_ms: u64, has_left: bool) -> Present {
        self.presence = (self.presence + 1).max(time_ms);
        if self.sessions.is_empty() && has_left {
            self.last_seen_ms = time_ms;
        }
        self.at().present()
    }

    pub(super) fn has(&self, session: &SessionId, generation: Generation) -> bool {
        self.sessions.get(session).is_some_and(|stored| stored.seat.generation == generation)
    }

    /// What is to be told, if that changed anything.
    pub(super) fn show(&mut self, session: &SessionId, shown: Shown, known: u64, time_ms: u64) -> Option<Present> {
        let is_behind = self.presence < known;
        self.presence = self.presence.max(known);
        let stored = self.sessions.get_mut(session);
        let is_other = stored.is_some_and(|stored| std::mem::replace(&mut stored.seat.shown, shown) != shown);
        (is_other || is_behind).then(|| self.tell_presence(time_ms, false))
    }

    /// What is to be told, if others have heard of a number that is not below.
    pub(super) fn raise_presence(&mut self, heard: u64, time_ms: u64) -> Option<Present> {
        (self.presence <= heard).then(|| {
            self.presence = heard;
            self.tell_presence(time_ms, false)
        })
    }

    /// The answer, and whether anything was written.
    pub(super) fn attach(&mut self, attach: &Attach, time_ms: u64) -> (Option<Attached>, bool) {
        if self.ended.get(&attach.session).is_some_and(|until_ms| *until_ms > time_ms) {
            return (None, false);
        }
        let stored = self.sessions.get(&attach.session);
        let enters = attach.replaces.is_none();
        let entered =
            stored.filter(|stored| stored.seat.incarnation == attach.incarnation).map(|stored| stored.entered);
        let repeat = |stored: &&StoredSeat| {
            let superseded = enters && entered.is_some_and(|entered| entered >= attach.counter);
            stored.seat.incarnation == attach.incarnation && (stored.counter == attach.counter || superseded)
        };
        if let Some(stored) = stored.filter(repeat) {
            return (Some(self.attached(stored, time_ms)), false);
        }
        let newer = |replaces| stored.map_or(self.floor, |stored| stored.seat.generation) > replaces;
        if attach.replaces.is_some_and(newer) {
            return (None, false);
        }
        // Never below TIME: numbers that were given before a tail was lost are not given again.
        self.generation = self.generation.next().max(Generation(time_ms));
        let actor = attach.new_actor.then(|| {
            self.actor = self.actor.next().max(ActorId(time_ms));
            self.actor
        });
        let (generation, incarnation) = (self.generation, attach.incarnation.clone());
        let seat = SeatedAt { generation, incarnation, shown: Shown::default() };
        let entered = if enters { attach.counter } else { entered.unwrap_or(0) };
        let stored = StoredSeat { seat, counter: attach.counter, actor, entered };
        self.sessions.insert(attach.session.clone(), stored.clone());
        while self.sessions.len() > attach.max.max(1) {
            self.evict_lowest();
        }
        (Some(self.attached(&stored, time_ms)), true)
    }

    fn attached(&self, stored: &StoredSeat, time_ms: u64) -> Attached {
        Attached { generation: stored.seat.generation, floor: self.floor, at: self.at(), actor: stored.actor, time_ms }
    }

    fn evict_lowest(&mut self) {
        let lowest = self.sessions.iter().min_by_key(|(_, stored)| stored.seat.generation);
        let lowest = lowest.map(|(session, stored)| (session.clone(), stored.seat.generation));
        if let Some((session, generation)) = lowest {
            self.sessions.remove(&session);
            self.floor = self.floor.max(generation.next());
        }
    }

    pub(super) fn detach(&mut self, session: &SessionId, generation: Generation) -> bool {
        let still_its_own = self.has(session, generation);
        if still_its_own {
            self.sessions.remove(session);
        }
        still_its_own
    }

    /// A generation above the session's, and the floor: for whoever has it.
    pub(super) fn log_out(&mut self, session: &SessionId, time_ms: u64) -> Option<(Generation, Generation)> {
        let seat = self.sessions.remove(session);
        self.ended.retain(|_, until_ms| *until_ms > time_ms);
        self.ended.remove(session);
        while self.ended.len() >= LOGGED_OUT_KEPT {
            let first = self.ended.iter().min_by_key(|(_, until_ms)| **until_ms).map(|(session, _)| session.clone());
            first.map(|session| self.ended.remove(&session));
        }
        self.ended.insert(session.clone(), time_ms + RESUME_TOKEN_FOR.as_millis() as u64);
        seat.map(|stored| (stored.seat.generation.next(), self.floor))
    }

    /// Moves the player there if `hop` is larger; answers what is stored afterwards.
    pub(super) fn arrived(&mut self, room: &SectorId, region: Option<&RegionName>, hop: Hop) -> Named {
        if hop > self.hop {
            self.room = room.clone();
            self.region = region.cloned();
            self.hop = hop;
        }
        Named { hop: self.hop, is_there: self.room == *room && self.region.as_ref() == region }
    }

    /// The same, from another region.
    pub(super) fn landed(&mut self, landed: &Landed, time_ms: u64) -> Named {
        let named @ Named { hop, .. } = self.arrived(&landed.room, None, landed.name.hop);
        if hop == landed.name.hop && self.landed < hop {
            self.landed = hop;
            self.actor = self.actor.max(landed.actor_min);
            let until_ms = time_ms + JUMP_TICKET_FOR.as_millis() as u64;
            let tickets = landed.tickets.iter().cloned();
            self.tickets = tickets.map(|(session, hash)| (session, Ticket { hash, until_ms, used_by: None })).collect();
        }
        named
    }

    pub(super) fn redeem(&mut self, redeem: &Redeem, time_ms: u64) -> Option<SessionId> {
        let by = (redeem.incarnation.clone(), redeem.counter);
        let (session, ticket) = self.tickets.iter_mut().find(|(_, ticket)| ticket.hash == redeem.ticket)?;
        let may = ticket.used_by.as_ref().is_none_or(|used_by| *used_by == by) && ticket.until_ms > time_ms;
        may.then(|| {
            ticket.used_by = Some(by);
            session.clone()
        })
    }
}

/// Which team a player is in, after a change. True: the change changed it.
pub(super) fn set_team(stored: Option<&TeamAt>, change: &SetTeam, time_ms: u64) -> (TeamAt, bool) {
    let none = TeamAt { number: 0, team: None, before: Vec::new(), issued_s: 0, since_ms: 0 };
    let stored = stored.unwrap_or(&none);
    if let SetTeam::Known(known) = change {
        let is_news = known.number > stored.number;
        return (if is_news { known } else { stored }.clone(), is_news);
    }
    let is_of = |team: &TeamId| stored.team.as_ref().is_some_and(|(of, _)| of == team);
    let mut issued_s = stored.issued_s;
    let team = match change {
        SetTeam::Join(team, role) => Some((team.clone(), role.clone())),
        SetTeam::Leave(team) if !is_of(team) => stored.team.clone(),
        SetTeam::Leave(_) | SetTeam::LeaveAny | SetTeam::Known(_) => None,
        SetTeam::ByToken { issued_s: older, .. } if *older < issued_s => stored.team.clone(),
        SetTeam::ByToken { team, issued_s: younger } => {
            issued_s = *younger;
            team.clone()
        }
    };
    if stored.number > 0 && team == stored.team {
        return (TeamAt { issued_s, ..stored.clone() }, false);
    }
    let is_left = |of: &TeamId| team.as_ref().is_none_or(|(now, _)| now != of);
    let mut before = stored.before.clone();
    before.retain(|(of, _)| is_left(of) && !is_of(of));
    before.extend(stored.team.clone().filter(|(of, _)| is_left(of)));
    if before.len() > TEAMS_UNSETTLED_MAX {
        return (stored.clone(), false);
    }
    let number = (stored.number + 1).max(time_ms);
    let stays = team.as_ref().map(|(of, _)| of) == stored.team.as_ref().map(|(of, _)| of);
    let since_ms = if stays { stored.since_ms } else { number };
    (TeamAt { number, team, before, issued_s, since_ms }, true)
}
