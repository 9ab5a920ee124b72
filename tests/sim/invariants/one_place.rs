//! Invariant 7, one place: a player's record is in exactly one sector or one transfer, and credits are conserved.
//! While a transfer lasts, and for a while after it, the source keeps the record too: that hop is counted once. Never
//! relaxed.

use std::collections::{BTreeMap, BTreeSet};

use sectorbus::ids::{PlayerId, RoomId};
use sectorbus::rules::STARTING_CREDITS;
use sectorbus::value::{Field, Value};

use super::ledger::{Found, Ledger};
use crate::evidence::Evidence;

pub(crate) fn check(evidence: &Evidence, ledger: &Ledger) -> Vec<String> {
    let mut broken = Vec::new();
    let places = ledger.places();
    for (player, found) in &places {
        let here = found.iter().filter(|(_, found, _)| *found != Found::Outgoing).count();
        if here != 1 {
            broken.push(format!("{player} is in {here} places: {found:?}"));
        }
        let arrived = found.iter().filter(|(_, found, _)| *found != Found::Outgoing).map(|(_, _, hop)| *hop).max();
        if found.iter().any(|(_, found, hop)| *found == Found::Outgoing && Some(*hop) > arrived) {
            broken.push(format!("{player} is still on the way when all is quiet: {found:?}"));
        }
    }
    let welcomed: BTreeSet<&PlayerId> =
        evidence.devices.iter().filter(|device| device.view.is_some()).map(|device| &device.player).collect();
    for player in welcomed.into_iter().filter(|player| !places.contains_key(*player)) {
        broken.push(format!("{player} is nowhere"));
    }
    for (player, credits) in credits(ledger) {
        if credits != STARTING_CREDITS {
            broken.push(format!("{player} has {credits} credits of {STARTING_CREDITS}"));
        }
    }
    broken
}

/// Over all places: a record that is in two has twice as many.
fn credits(ledger: &Ledger) -> BTreeMap<PlayerId, i64> {
    let mut sums: BTreeMap<PlayerId, i64> = BTreeMap::new();
    for (player, found) in ledger.places() {
        // A source keeps the record for a while after the destination has it.
        let arrived = found.iter().filter(|(_, found, _)| *found != Found::Outgoing).map(|(_, _, hop)| *hop).max();
        for (room, found, hop) in found {
            if found == Found::Outgoing && Some(hop) <= arrived {
                continue;
            }
            *sums.entry(player.clone()).or_default() += held(ledger, &room, &player, &found);
        }
    }
    sums
}

fn held(ledger: &Ledger, room: &RoomId, player: &PlayerId, found: &Found) -> i64 {
    let Some(ended) = ledger.ended.get(room) else { return 0 };
    let system = ended.state.system();
    let own = match found {
        Found::Seated => ended.state.own(player),
        Found::Dormant => system.dormant(player).map(|record| &record.own),
        Found::Outgoing => system.outgoing().get(player).map(|out| &out.record.own),
    };
    own.and_then(|own| own.get(&Field::CREDITS)).and_then(Value::as_int).unwrap_or(0)
}
