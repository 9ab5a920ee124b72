//! Rules v1: what a player may do and what comes of it. Reads state, never changes it: the owner carries out the
//! effects. Pure; `now` is an argument. Knows nothing of logs, sessions or frames.

mod attack;
mod grid;
mod splitmix;
pub mod universe;

pub use attack::controllers_of;
pub use universe::Universe;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::action::{Action, Facts, RejectCode, Status};
use crate::beyond::Beyond;
use crate::ids::{Alias, Generation, Hop, PlayerId, RoomId, SectorId};
use crate::small_map::SmallMap;
use crate::state::{Draft, Fields, PlayerRecord, RoomState};
use crate::value::{Field, Value};
use splitmix::SplitMix;
use universe::POSITION_MAX;

/// From one move until the drive is ready again, unless the node is configured otherwise.
pub const MOVE_COOL_DOWN_MS: u64 = 2_000;
/// Credits of a new player.
pub const STARTING_CREDITS: i64 = 1_000;
/// How far from the warp they came through ships appear, in map units.
const ARRIVAL_SPREAD: i64 = 60;

const FOR_ARRIVAL: u8 = 16;
const FOR_GATES: u8 = 17;
/// How far from the edge of a sector its gates are at least.
const GATE_RIM: i64 = 100;

/// What a player's action does, for the owner to carry out in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Set a public field of the player's ship; `None` removes it.
    Ship(Field, Option<Value>),
    /// Set one of the player's own fields; `None` removes it.
    Own(Field, Option<Value>),
    /// Keep what the player last asked to be shown as.
    Asked(Status),
    /// This player's ship, which is here, is in combat from now on, for [`crate::limits::COMBAT_FOR`].
    Fight(PlayerId),
    /// These players control the room: they, and the teams they are in, are told of the player's attack; of the next one
    /// only after [`crate::limits::ALARM_EVERY`].
    Alarm { controllers: Vec<PlayerId> },
    /// Leave for `to`, after the effects before it; the player's record has them.
    Depart { to: SectorId },
    /// The same, for a sector of another region.
    Jump { to: Beyond },
    /// Post `body` to a room's feed, once, after the entry of this action is committed; it comes even if the owner dies
    /// right then. At most [`crate::limits::POST_BYTES_MAX`] bytes.
    Post { to: RoomId, body: Bytes },
}

/// What becomes of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Done(Vec<Effect>),
    /// Nothing happens.
    Refused {
        code: RejectCode,
        facts: Facts,
    },
}

/// The rules of one universe.
#[derive(Debug, Clone)]
pub struct Rules {
    pub universe: Universe,
    pub move_cool_down_ms: u64,
    /// Where the gates of each sector lead. What counts is this, not what a sector shows.
    gates: BTreeMap<SectorId, BTreeSet<Beyond>>,
}

impl Rules {
    pub fn new(universe: Universe, move_cool_down_ms: u64) -> Self {
        Self { universe, move_cool_down_ms, gates: BTreeMap::new() }
    }

    /// The same with these gates, each in a sector of this universe.
    pub fn with_gates(mut self, gates: impl IntoIterator<Item = (SectorId, Beyond)>) -> Self {
        for (sector, to) in gates {
            self.gates.entry(sector).or_default().insert(to);
        }
        self
    }

    /// A room as it is before its first entry: a sector's warps, ports and gates; other rooms are empty.
    pub fn genesis(&self, room: &RoomId) -> RoomState {
        let Some(sector) = room.sector() else { return RoomState::new() };
        let mut state = self.universe.genesis(sector);
        let (gates, _) = self.gates_amiss(sector, &state);
        if gates.is_empty() {
            return state;
        }
        let mut draft = Draft::new(&mut state, 0);
        for gate in gates {
            draft.create(gate);
        }
        // The genesis snapshot carries the state; there is no entry before it.
        let _ = draft.finish();
        state
    }

    /// Gates that a sector should show and does not, as entities; and those that it shows and should not.
    pub fn gates_amiss(&self, sector: &SectorId, state: &RoomState) -> (Vec<Fields>, Vec<Alias>) {
        let text = |fields: &Fields, field| fields.get(&field).and_then(Value::as_text).map(str::to_owned);
        let shown = state.public().iter().filter(|(_, fields)| text(fields, Field::KIND).as_deref() == Some("gate"));
        let shown: Vec<(Alias, String)> =
            shown.map(|(alias, fields)| (alias, text(fields, Field::TO).unwrap_or_default())).collect();
        let wanted = self.gates.get(sector);
        let is_wanted = |to: &str| wanted.is_some_and(|wanted| wanted.iter().any(|gate| gate.to_string() == to));
        let is_missing = |gate: &&Beyond| shown.iter().all(|(_, to)| *to != gate.to_string());
        let missing = wanted.into_iter().flatten().filter(is_missing).map(|gate| self.gate_entity(sector, gate));
        let too_many = shown.iter().filter(|(_, to)| !is_wanted(to)).map(|(alias, _)| *alias);
        (missing.collect(), too_many.collect())
    }

    /// The same gate is always at the same place.
    fn gate_entity(&self, sector: &SectorId, to: &Beyond) -> Fields {
        let mut random = SplitMix::new(self.universe.seed(), FOR_GATES, &format!("{sector}/{to}"));
        let mut at = || Value::Int(random.between(GATE_RIM, POSITION_MAX - GATE_RIM));
        Fields::from([
            (Field::KIND, Value::from("gate")),
            (Field::TO, Value::from(to.to_string().as_str())),
            (Field::X, at()),
            (Field::Y, at()),
        ])
    }

    /// Decides one action of a player who is present in `sector`, whose state is `state`. `now_ms` is the room's time
    /// (milliseconds since 1970).
    pub fn decide(
        &self,
        sector: &SectorId,
        state: &RoomState,
        player: &PlayerId,
        action: &Action,
        now_ms: u64,
    ) -> Decision {
        match action {
            Action::Move { to } => self.decide_move(sector, state, player, to, now_ms),
            Action::Status { status } => {
                let mut effects = vec![Effect::Asked(*status)];
                // Who fights is shown as what they asked for afterwards.
                if state.system().in_combat_until(player).is_none() {
                    effects.push(Effect::Ship(Field::STATUS, Some(Value::from(status.as_str()))));
                }
                Decision::Done(effects)
            }
            Action::Attack { target } => attack::decide(state, player, *target),
            Action::Jump { to } => self.decide_jump(sector, state, player, to, now_ms),
        }
    }

    fn decide_move(
        &self,
        sector: &SectorId,
        state: &RoomState,
        player: &PlayerId,
        to: &SectorId,
        now_ms: u64,
    ) -> Decision {
        if to == sector || !has_warp(state, to) {
            return refused(RejectCode::NoWarp, [("to", Value::from(to.as_str()))]);
        }
        self.depart(state, player, Effect::Depart { to: to.clone() }, now_ms)
    }

    fn decide_jump(
        &self,
        sector: &SectorId,
        state: &RoomState,
        player: &PlayerId,
        to: &Beyond,
        now_ms: u64,
    ) -> Decision {
        if !self.gates.get(sector).is_some_and(|gates| gates.contains(to)) {
            return refused(RejectCode::NoGate, [("to", Value::from(to.to_string().as_str()))]);
        }
        self.depart(state, player, Effect::Jump { to: to.clone() }, now_ms)
    }

    /// With a drive that is ready.
    fn depart(&self, state: &RoomState, player: &PlayerId, departure: Effect, now_ms: u64) -> Decision {
        let own = state.own(player);
        let ready_at_ms = own.and_then(|own| own.get(&Field::READY_AT)).and_then(Value::as_int).unwrap_or(0);
        let now = int(now_ms);
        if ready_at_ms > now {
            let facts = [("ready_at", Value::Int(ready_at_ms)), ("now", Value::Int(now))];
            return refused(RejectCode::CoolingDown, facts);
        }
        let ready_again_ms = int(now_ms.saturating_add(self.move_cool_down_ms));
        let mut effects = vec![Effect::Own(Field::READY_AT, Some(Value::Int(ready_again_ms)))];
        if let Some(seat) = state.system().seat(player) {
            let is_jump = matches!(departure, Effect::Jump { .. });
            let hop = if is_jump { seat.hop.after_jump() } else { seat.hop.next() };
            effects.push(Effect::Ship(Field::HOP, Some(Value::Int(int(hop.0)))));
        }
        effects.push(departure);
        Decision::Done(effects)
    }
}

/// Warps are entities: what is in the state counts, not what the universe began with.
fn has_warp(state: &RoomState, to: &SectorId) -> bool {
    let says = |fields: &Fields, field, text: &str| fields.get(&field).and_then(Value::as_text) == Some(text);
    let mut entities = state.public().iter();
    entities.any(|(_, fields)| says(fields, Field::KIND, "warp") && says(fields, Field::TO, to.as_str()))
}

fn refused<const N: usize>(code: RejectCode, facts: [(&str, Value); N]) -> Decision {
    Decision::Refused { code, facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}

/// Numbers of a state stay exact in every client language; times and hops never get that large.
fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX).min(crate::limits::INT_ABS_MAX)
}

/// The record of a player nobody has seen before: the first arrival (hop 1) puts it into the start sector, at
/// [`arrive_position`].
pub fn new_record(player: &PlayerId, name: &str) -> PlayerRecord {
    let hop = Hop(1);
    let ship = Fields::from([
        (Field::KIND, Value::from("ship")),
        (Field::PLAYER, Value::from(player.as_str())),
        (Field::NAME, Value::from(name)),
        (Field::STATUS, Value::from(Status::Online.as_str())),
        (Field::X, Value::Int(POSITION_MAX / 2)),
        (Field::Y, Value::Int(POSITION_MAX / 2)),
        (Field::HOP, Value::Int(int(hop.0))),
    ]);
    PlayerRecord {
        hop,
        asked: Status::Online,
        floor: Generation(0),
        sessions: SmallMap::new(),
        ship,
        own: Fields::from([(Field::CREDITS, Value::Int(STARTING_CREDITS))]),
        actors: SmallMap::new(),
        last_seen_ms: 0,
    }
}

/// Makes a record of another region one of this one: its times are that region's, which may be hours from this one's, and
/// its sessions are that region's connections. The drive is ready as after a move.
pub fn naturalize(record: &mut PlayerRecord, move_cool_down_ms: u64, now_ms: u64) {
    record.sessions = SmallMap::new();
    record.floor = Generation(0);
    record.last_seen_ms = now_ms;
    record.own.insert(Field::READY_AT, Value::Int(int(now_ms.saturating_add(move_cool_down_ms))));
    record.ship.remove(&Field::LAST_SEEN);
}

/// Where in `sector` a player's ship appears: near the warp back to `from`, or anywhere if there is none. The same
/// arrival always has the same position, so repeating it changes nothing.
pub fn arrive_position(
    universe: &Universe,
    sector: &SectorId,
    from: Option<&SectorId>,
    player: &PlayerId,
) -> (i64, i64) {
    let mut random = SplitMix::new(universe.seed(), FOR_ARRIVAL, &format!("{sector}/{player}"));
    let mut near = |at: i64, spread: i64| random.between((at - spread).max(0), (at + spread).min(POSITION_MAX));
    match from.and_then(|from| universe.warp_position(sector, from)) {
        Some((x, y)) => (near(x, ARRIVAL_SPREAD), near(y, ARRIVAL_SPREAD)),
        None => (near(POSITION_MAX / 2, 300), near(POSITION_MAX / 2, 300)),
    }
}

#[cfg(test)]
mod tests;
