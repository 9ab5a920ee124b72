//! Rules v1: what a player may do and what comes of it. Reads state, never changes it: the owner carries out the
//! effects. Pure; `now` is an argument. Knows nothing of logs, sessions or frames.

mod attack;
mod grid;
mod splitmix;
pub mod universe;

pub use attack::controllers_of;
pub use universe::Universe;

use bytes::Bytes;

use crate::action::{Action, Facts, RejectCode, Status};
use crate::ids::{Generation, Hop, PlayerId, RoomId, SectorId};
use crate::small_map::SmallMap;
use crate::state::{Fields, PlayerRecord, RoomState};
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
}

impl Rules {
    pub fn new(universe: Universe, move_cool_down_ms: u64) -> Self {
        Self { universe, move_cool_down_ms }
    }

    /// A room as it is before its first entry: a sector's warps and ports; other rooms are empty.
    pub fn genesis(&self, room: &RoomId) -> RoomState {
        room.sector().map_or_else(RoomState::new, |sector| self.universe.genesis(sector))
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
            effects.push(Effect::Ship(Field::HOP, Some(Value::Int(int(seat.hop.next().0)))));
        }
        effects.push(Effect::Depart { to: to.clone() });
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
