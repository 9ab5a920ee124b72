//! Ships in combat, as a sector's room keeps and shows them: a timer of the state says until when. Pure. Who may attack
//! whom, and who controls the sector, is for the rules.

use sectorbus::ids::{PlayerId, RoomId, SectorId};
use sectorbus::limits::{ALARM_EVERY, COMBAT_FOR};
use sectorbus::presence::Shown;
use sectorbus::said::{Level, Notice, NoticeKind, Said};
use sectorbus::state::{Draft, Post, RoomState, SystemChange, Timer, TimerKind};
use sectorbus::value::{Field, Value};

use crate::room::seats::{LINK_DEAD, millis};

/// The player's ship, if it is here, is in combat from now on. Who is link-dead stays so to others.
pub fn fight(draft: &mut Draft<'_>, player: &PlayerId) {
    let Some(alias) = draft.state().system().seat(player).map(|seat| seat.alias) else { return };
    clear(draft, player);
    let due_ms = draft.now_ms() + millis(COMBAT_FOR);
    draft.system(SystemChange::Timer(Timer { due_ms, kind: TimerKind::Combat(player.clone()) }, true));
    if status(draft.state(), player) != Some(LINK_DEAD) {
        draft.set(alias, Field::STATUS, Some(Value::from(Shown::InCombat.as_str())));
    }
}

/// Of this attacker nothing more is told for a while, wherever they are.
pub fn alarm(draft: &mut Draft<'_>, attacker: &PlayerId) {
    let due_ms = draft.now_ms() + millis(ALARM_EVERY);
    draft.system(SystemChange::Timer(Timer { due_ms, kind: TimerKind::Alarmed(attacker.clone()) }, true));
}

/// What those who control the room are told of an attack, and the teams they are in: by one post for all teams, so that a
/// team of several of them hears of it once.
pub fn told(
    state: &RoomState,
    room: &RoomId,
    attacker: &PlayerId,
    controllers: Vec<PlayerId>,
) -> impl Iterator<Item = Post> + use<> {
    let ship = state.system().seat(attacker).and_then(|seat| state.public().get(seat.alias));
    let name = ship.and_then(|ship| ship.get(&Field::NAME)).and_then(Value::as_text).unwrap_or(attacker.as_str());
    let sector = room.sector().map(SectorId::as_str).unwrap_or_default();
    let facts = [("sector", sector), ("from", attacker.as_str()), ("name", name)];
    let about = facts.map(|(fact, text)| (fact.to_owned(), Value::from(text))).into();
    let body = Said::Notice(Notice { kind: NoticeKind::Attack, level: Level::Warning, about }).encode();
    let mut all = controllers.clone();
    controllers.into_iter().map(move |player| {
        let teams_of = std::mem::take(&mut all);
        Post { to: RoomId::Player(player), body: body.clone(), teams_of }
    })
}

/// What a present player with a connection is shown as.
pub fn shown_as(state: &RoomState, player: &PlayerId) -> &'static str {
    let fights = state.system().in_combat_until(player).is_some();
    let asked = state.system().seat(player).map_or(Shown::Online.as_str(), |seat| seat.asked.as_str());
    if fights { Shown::InCombat.as_str() } else { asked }
}

/// The combat is over: the ship is shown again as what the player asked for last, or link-dead as it is.
pub fn show_end(draft: &mut Draft<'_>, player: &PlayerId) {
    let Some(alias) = draft.state().system().seat(player).map(|seat| seat.alias) else { return };
    if status(draft.state(), player) == Some(Shown::InCombat.as_str()) {
        let asked = shown_as(draft.state(), player);
        draft.set(alias, Field::STATUS, Some(Value::from(asked)));
    }
}

/// Who leaves the sector leaves the combat.
pub fn leave(draft: &mut Draft<'_>, player: &PlayerId) {
    clear(draft, player);
    show_end(draft, player);
}

fn clear(draft: &mut Draft<'_>, player: &PlayerId) {
    if let Some(due_ms) = draft.state().system().in_combat_until(player) {
        draft.system(SystemChange::Timer(Timer { due_ms, kind: TimerKind::Combat(player.clone()) }, false));
    }
}

fn status<'s>(state: &'s RoomState, player: &PlayerId) -> Option<&'s str> {
    let seat = state.system().seat(player)?;
    state.public().get(seat.alias)?.get(&Field::STATUS)?.as_text()
}

#[cfg(test)]
#[path = "combat_tests.rs"]
mod tests;
