//! What the game's backend is told of an entry: who joined, left or moved on. Pure; derived from the entry alone, so that
//! a new owner finds in the log whatever the one before did not get to tell.

use sectorbus::ids::{EntryId, Hop, PlayerId, RoomId};
use sectorbus::log::OutwardRecord;
use sectorbus::state::{Entry, Outgoing, SystemChange};

/// The hop of a player who was nowhere before.
const FIRST_HOP: Hop = Hop(1);

/// The net of what an entry did with one player.
#[derive(Default)]
struct Passage<'e> {
    has_seat: bool,
    seat_changed: bool,
    woke: bool,
    fell_asleep: bool,
    went: Option<(&'e Outgoing, Hop)>,
}

/// Events of one entry, in the order of the players' names; each named by room, entry and its place there.
pub(super) fn events_of(room: &RoomId, id: EntryId, entry: &Entry) -> Vec<OutwardRecord> {
    let mut passages: std::collections::BTreeMap<&PlayerId, Passage<'_>> = Default::default();
    for change in &entry.system {
        match change {
            SystemChange::Seat(player, seat) => {
                let passage = passages.entry(player).or_default();
                (passage.seat_changed, passage.has_seat) = (true, seat.is_some());
            }
            SystemChange::Incoming(player, Some(FIRST_HOP)) => passages.entry(player).or_default().woke = true,
            SystemChange::Dormant(player, record) => {
                let passage = passages.entry(player).or_default();
                (passage.woke, passage.fell_asleep) = (passage.woke || record.is_none(), record.is_some());
            }
            SystemChange::Outgoing(player, Some(out)) => {
                passages.entry(player).or_default().went = Some((out, out.hop));
            }
            _ => {}
        }
    }
    // Without a change of the seat a record was only mended after a loss.
    let moving = passages.into_iter().filter(|(_, passage)| passage.seat_changed);
    let mut events = Vec::new();
    for (player, passage) in moving {
        let mut add = |kind: &str, more: &[(&str, String)]| {
            let id = format!("{room}/{id}/{}", events.len());
            let known = [("id", id), ("kind", kind.to_owned()), ("at", entry.now_ms.to_string())];
            let who = [("player", player.to_string()), ("room", room.to_string())];
            let fields = known.into_iter().chain(who).chain(more.iter().cloned());
            events.push(fields.map(|(field, value)| (field.to_owned(), value)).collect());
        };
        if passage.woke {
            add("join", &[]);
        }
        if let Some((out, hop)) = passage.went {
            let (to, hop) = (format!("sector:{}", out.to), hop.to_string());
            match out.region() {
                None => add("move", &[("to", to), ("hop", hop)]),
                Some(region) => add("jump", &[("to", to), ("region", region.to_string()), ("hop", hop)]),
            }
        }
        if passage.fell_asleep && !passage.has_seat {
            add("leave", &[]);
        }
    }
    events
}

/// The log has lost entries before this one, or never had them for long enough.
pub(super) fn gap(room: &RoomId, id: EntryId, now_ms: u64) -> OutwardRecord {
    let fields = [
        ("id", format!("{room}/{id}/gap")),
        ("kind", "gap".to_owned()),
        ("at", now_ms.to_string()),
        ("room", room.to_string()),
    ];
    fields.map(|(field, value)| (field.to_owned(), value)).to_vec()
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
