//! Players taking and leaving their seats in a room: join, loss, link-dead, sleep, departure and arrival. Pure.
//! Knows nothing of actions; every change goes through the draft.

use std::time::Duration;

use sectorbus::ids::{ActorId, Hop, Incarnation, PlayerId, SectorId, Seq};
use sectorbus::limits::{ACTOR_KEPT_FOR, ACTORS_KEPT};
use sectorbus::rules::{self, Rules};
use sectorbus::small_map::SmallMap;
use sectorbus::state::ActorMarks;
use sectorbus::state::Draft;
use sectorbus::state::{PlayerRecord, Seat, SessionSeat, System, SystemChange, Timer, TimerKind};
use sectorbus::value::{Field, Value};

use crate::command::{Receipt, Speaker};
use crate::room::combat;

pub const LINK_DEAD: &str = "link_dead";

/// Of one player, however fast the connections come and go.
const LOST_SESSIONS_KEPT: usize = 8;

/// Settings that decide about seats.
#[derive(Debug, Clone)]
pub struct SeatLimits {
    pub entities_max: usize,
    pub grace: Duration,
    pub resume_window: Duration,
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where a player who has no seat is, as far as this room knows.
pub fn elsewhere(system: &System, player: &PlayerId) -> Receipt {
    match system.outgoing().get(player) {
        Some(out) if out.jump.is_none() => Receipt::Gone { player: player.clone(), to: out.to.clone(), hop: out.hop },
        // Who jumped is nowhere in this region until `at` says more.
        _ => Receipt::Unknown { player: player.clone() },
    }
}

/// Seats a session; wakes a dormant player. The receipt says why not.
pub fn join(
    draft: &mut Draft<'_>,
    limits: &SeatLimits,
    speaker: &Speaker,
    incarnation: &Incarnation,
    new_actor: Option<(ActorId, Seq)>,
) -> Result<(), Receipt> {
    let player = &speaker.player;
    if draft.state().system().seat(player).is_none() {
        let Some(record) = draft.state().system().dormant(player).cloned() else {
            return Err(elsewhere(draft.state().system(), player));
        };
        if draft.state().public().len() >= limits.entities_max {
            return Err(Receipt::Full { player: player.clone() });
        }
        draft.system(SystemChange::Dormant(player.clone(), None));
        put_in(draft, limits, player, record);
    }
    let Some(mut seat) = draft.state().system().seat(player).cloned() else {
        return Err(elsewhere(draft.state().system(), player));
    };
    let known = seat.sessions.get(&speaker.session);
    let stale = speaker.generation < seat.floor || known.is_some_and(|known| speaker.generation < known.generation);
    let over = known.is_some_and(|known| speaker.generation == known.generation && known.lost_ms.is_some());
    if stale || over {
        return Err(Receipt::StaleSeat { speaker: speaker.clone() });
    }
    seat.floor = seat.floor.max(speaker.floor);
    let floor = seat.floor;
    seat.sessions.retain(|_, session| session.generation >= floor);
    forget_lost(&mut seat, limits, draft.now_ms());
    let session = SessionSeat { generation: speaker.generation, incarnation: incarnation.clone(), lost_ms: None };
    seat.sessions.insert(speaker.session.clone(), session);
    let alias = seat.alias;
    draft.system(SystemChange::Seat(player.clone(), Some(seat)));
    clear_timers(draft, player);
    let shown = combat::shown_as(draft.state(), player);
    draft.set(alias, Field::STATUS, Some(Value::from(shown)));
    draft.set(alias, Field::LAST_SEEN, None);
    if let Some((actor, first_seq)) = new_actor {
        learn_actor(draft, player, actor, first_seq);
    }
    Ok(())
}

/// The room learns an actor and its first seq; the least recently used beyond the limit is forgotten.
fn learn_actor(draft: &mut Draft<'_>, player: &PlayerId, actor: ActorId, first_seq: Seq) {
    let now_ms = draft.now_ms();
    let actors = draft.state().system().actors_of(player).clone();
    if !actors.contains_key(&actor) {
        let marks = ActorMarks::new(first_seq, now_ms);
        draft.system(SystemChange::Actor(player.clone(), actor, Some(marks)));
    }
    let mut others: Vec<_> = actors.iter().filter(|(id, _)| **id != actor).map(|(id, m)| (m.used_ms(), *id)).collect();
    others.sort_unstable();
    let too_many = (others.len() + 1).saturating_sub(ACTORS_KEPT);
    for (index, (used_ms, id)) in others.into_iter().enumerate() {
        if index < too_many || used_ms + millis(ACTOR_KEPT_FOR) < now_ms {
            draft.system(SystemChange::Actor(player.clone(), id, None));
        }
    }
}

/// Lost sessions are remembered so that what comes late of them is refused: for the resume window, and the latest few.
fn forget_lost(seat: &mut Seat, limits: &SeatLimits, now_ms: u64) {
    let window_ms = millis(limits.resume_window);
    seat.sessions.retain(|_, session| session.lost_ms.is_none_or(|lost_ms| lost_ms + window_ms > now_ms));
    let mut lost: Vec<u64> = seat.sessions.values().filter_map(|session| session.lost_ms).collect();
    lost.sort_unstable();
    if let Some(oldest_kept) = lost.len().checked_sub(LOST_SESSIONS_KEPT).and_then(|surplus| lost.get(surplus)) {
        seat.sessions.retain(|_, session| session.lost_ms.is_none_or(|lost_ms| lost_ms >= *oldest_kept));
    }
}

/// What became of a loss.
pub enum Loss {
    /// The session's seat says so.
    Shown,
    /// Nothing in the state says that it was taken.
    NotShown,
}

/// A session's connection is gone. The last one starts the clocks for link-dead and for sleep. The receipt says that the
/// player is not here; a loss that comes before its join is noted, so that the join comes too late.
pub fn lose(
    draft: &mut Draft<'_>,
    limits: &SeatLimits,
    speaker: &Speaker,
    incarnation: &Incarnation,
    left: bool,
) -> Result<Loss, Receipt> {
    let player = &speaker.player;
    let Some(mut seat) = draft.state().system().seat(player).cloned() else {
        let asleep = draft.state().system().dormant(player).is_some();
        return if asleep { Ok(Loss::NotShown) } else { Err(elsewhere(draft.state().system(), player)) };
    };
    let now_ms = draft.now_ms();
    let (generation, incarnation) = (speaker.generation, incarnation.clone());
    let unseen = SessionSeat { generation, incarnation, lost_ms: None };
    let session = seat.sessions.get_or_insert_with(speaker.session.clone(), || unseen);
    if generation < seat.floor || generation < session.generation || session.lost_ms.is_some() {
        return Ok(Loss::NotShown);
    }
    session.generation = generation;
    session.lost_ms = Some(now_ms);
    if left {
        seat.sessions.remove(&speaker.session);
    }
    lose_seat(draft, limits, player, seat, limits.grace);
    Ok(if left { Loss::NotShown } else { Loss::Shown })
}

/// Sessions of dead nodes are lost at once, without grace. False: the draft was full before all were.
pub fn lose_incarnations(draft: &mut Draft<'_>, limits: &SeatLimits, gone: &[Incarnation]) -> bool {
    let now_ms = draft.now_ms();
    let hit: Vec<_> = draft
        .state()
        .system()
        .seats()
        .iter()
        .filter(|(_, seat)| seat.sessions.values().any(|s| s.lost_ms.is_none() && gone.contains(&s.incarnation)))
        .map(|(player, seat)| (player.clone(), seat.clone()))
        .collect();
    for (player, mut seat) in hit {
        if draft.is_full() {
            return false;
        }
        for session in seat.sessions.values_mut().filter(|s| gone.contains(&s.incarnation)) {
            session.lost_ms.get_or_insert(now_ms);
        }
        lose_seat(draft, limits, &player, seat, Duration::ZERO);
    }
    true
}

fn lose_seat(draft: &mut Draft<'_>, limits: &SeatLimits, player: &PlayerId, seat: Seat, grace: Duration) {
    let live = seat.sessions.values().any(|session| session.lost_ms.is_none());
    let none_left = seat.sessions.is_empty();
    draft.system(SystemChange::Seat(player.clone(), Some(seat)));
    if live {
        return;
    }
    clear_timers(draft, player);
    if none_left {
        fall_asleep(draft, player);
        return;
    }
    let now_ms = draft.now_ms();
    if grace.is_zero() {
        show_link_dead(draft, player);
    } else {
        set_timer(draft, now_ms + millis(grace), TimerKind::Grace(player.clone()));
    }
    set_timer(draft, now_ms + millis(limits.resume_window), TimerKind::Expire(player.clone()));
}

/// Shows a player without a living connection as link-dead, with when they were last seen.
pub fn show_link_dead(draft: &mut Draft<'_>, player: &PlayerId) {
    let Some(seat) = draft.state().system().seat(player) else { return };
    if seat.sessions.values().any(|session| session.lost_ms.is_none()) {
        return;
    }
    let alias = seat.alias;
    let last_seen = seat.sessions.values().filter_map(|s| s.lost_ms).max().unwrap_or(draft.now_ms());
    draft.set(alias, Field::STATUS, Some(Value::from(LINK_DEAD)));
    draft.set(alias, Field::LAST_SEEN, Some(Value::Int(i64::try_from(last_seen).unwrap_or(i64::MAX))));
}

/// The player leaves the public state; the record stays, dormant.
pub fn fall_asleep(draft: &mut Draft<'_>, player: &PlayerId) {
    let Some(seat) = draft.state().system().seat(player) else { return };
    if seat.sessions.values().any(|session| session.lost_ms.is_none()) {
        return;
    }
    let mut record = take_out(draft, player);
    record.sessions = SmallMap::new();
    draft.system(SystemChange::Dormant(player.clone(), Some(record)));
}

/// Removes the player from seats, public and own state and answers what travels or sleeps.
pub fn take_out(draft: &mut Draft<'_>, player: &PlayerId) -> PlayerRecord {
    combat::leave(draft, player);
    let state = draft.state();
    let seat = state.system().seat(player).cloned().expect("only a seated player is taken out");
    let ship = state.public().get(seat.alias).cloned().unwrap_or_default();
    let own = state.own(player).cloned().unwrap_or_default();
    let actors = state.system().actors_of(player).clone();
    let last_lost = seat.sessions.values().filter_map(|s| s.lost_ms).max();
    let record = PlayerRecord {
        hop: seat.hop,
        asked: seat.asked,
        floor: seat.floor,
        last_seen_ms: last_lost.unwrap_or(draft.now_ms()),
        sessions: seat.sessions,
        ship,
        own,
        actors,
    };
    clear_timers(draft, player);
    draft.remove(seat.alias);
    draft.remove_own(player);
    for actor in record.actors.keys() {
        draft.system(SystemChange::Actor(player.clone(), *actor, None));
    }
    draft.system(SystemChange::Seat(player.clone(), None));
    record
}

/// `at` counts more moves than the record here: its next move must be above all of them.
pub fn raise_hop(draft: &mut Draft<'_>, player: &PlayerId, hop: Hop) {
    if let Some(seat) = draft.state().system().seat(player).cloned() {
        draft.set(seat.alias, Field::HOP, Some(Value::Int(i64::try_from(hop.0).unwrap_or(i64::MAX))));
        draft.system(SystemChange::Seat(player.clone(), Some(Seat { hop, ..seat })));
    } else if let Some(record) = draft.state().system().dormant(player).cloned() {
        draft.system(SystemChange::Dormant(player.clone(), Some(PlayerRecord { hop, ..record })));
    }
}

/// Gives a record a seat, a ship and its clocks.
pub fn put_in(draft: &mut Draft<'_>, limits: &SeatLimits, player: &PlayerId, record: PlayerRecord) {
    let alias = draft.create(record.ship);
    draft.replace_own(player, record.own);
    let seat = Seat { alias, hop: record.hop, asked: record.asked, floor: record.floor, sessions: record.sessions };
    for (actor, marks) in record.actors {
        draft.system(SystemChange::Actor(player.clone(), actor, Some(marks)));
    }
    draft.system(SystemChange::Dormant(player.clone(), None));
    draft.set(alias, Field::HOP, Some(Value::Int(i64::try_from(seat.hop.0).unwrap_or(i64::MAX))));
    let lost = seat.sessions.values().all(|session| session.lost_ms.is_some());
    let was_connected = !seat.sessions.is_empty();
    draft.system(SystemChange::Seat(player.clone(), Some(seat)));
    if lost && was_connected {
        show_link_dead(draft, player);
    }
    if lost {
        // Nobody is connected yet: the join that woke the player clears this again.
        let due_ms = draft.now_ms() + millis(limits.resume_window);
        set_timer(draft, due_ms, TimerKind::Expire(player.clone()));
        if !was_connected {
            set_timer(draft, draft.now_ms() + millis(limits.grace), TimerKind::Grace(player.clone()));
        }
    }
}

/// Where in the sector the ship appears.
pub fn place(rules: &Rules, sector: &SectorId, from: Option<&SectorId>, player: &PlayerId, record: &mut PlayerRecord) {
    let (x, y) = rules::arrive_position(&rules.universe, sector, from, player);
    record.ship.insert(Field::X, Value::Int(x));
    record.ship.insert(Field::Y, Value::Int(y));
}

fn set_timer(draft: &mut Draft<'_>, due_ms: u64, kind: TimerKind) {
    draft.system(SystemChange::Timer(Timer { due_ms, kind }, true));
}

fn clear_timers(draft: &mut Draft<'_>, player: &PlayerId) {
    let of_player = |timer: &&Timer| match &timer.kind {
        TimerKind::Grace(who) | TimerKind::Expire(who) => who == player,
        TimerKind::Combat(_) | TimerKind::Alarmed(_) => false,
    };
    let timers: Vec<_> = draft.state().system().timers().iter().filter(of_player).cloned().collect();
    for timer in timers {
        draft.system(SystemChange::Timer(timer, false));
    }
}

/// This arrival, or a later one, is part of the state.
pub fn has_seen(system: &System, player: &PlayerId, hop: Hop) -> bool {
    system.incoming().get(player).is_some_and(|incoming| *incoming >= hop)
        || system.seat(player).is_some_and(|seat| seat.hop >= hop)
        || system.dormant(player).is_some_and(|record| record.hop >= hop)
        || system.outgoing().get(player).is_some_and(|out| out.hop > hop)
}

/// A player who has arrived where they were sent, or later, is not on the way any more.
pub fn forget_outgoing(draft: &mut Draft<'_>, player: &PlayerId, hop: Hop) {
    let outgoing = draft.state().system().outgoing().get(player);
    if outgoing.is_some_and(|outgoing| outgoing.hop <= hop) {
        draft.system(SystemChange::Outgoing(player.clone(), None));
    }
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
