//! Invariant 7, one place: a player's record is in exactly one sector or one transfer, and credits are conserved.
//! While a transfer lasts, and for a while after it, the source keeps the record too: that hop is counted once. Never
//! relaxed within a region. Where there are several, it is one place in all of them (`regions`).

use std::collections::{BTreeMap, BTreeSet};

use sectorbus::ids::{Hop, PlayerId, RoomId};
use sectorbus::rules::STARTING_CREDITS;
use sectorbus::value::{Field, Value};

use super::ledger::{Found, Ledger};
use crate::evidence::Evidence;

/// A record: which ledger and room have it, how, and with which hop.
type Place = (usize, RoomId, Found, Hop);

pub(crate) fn check(evidence: &Evidence, ledger: &Ledger) -> Vec<String> {
    if evidence.elsewhere.is_some() {
        return Vec::new();
    }
    check_all(std::slice::from_ref(evidence), &[ledger]).into_iter().map(|(_, what)| what).collect()
}

/// Over all regions: of whom, and what is broken.
pub(crate) fn check_all(evidence: &[Evidence], ledgers: &[&Ledger]) -> Vec<(PlayerId, String)> {
    let mut broken = Vec::new();
    let mut places: BTreeMap<PlayerId, Vec<Place>> = BTreeMap::new();
    for (number, ledger) in ledgers.iter().enumerate() {
        for (player, found) in ledger.places() {
            let found = found.into_iter().map(|(room, found, hop)| (number, room, found, hop));
            places.entry(player).or_default().extend(found);
        }
    }
    for (player, found) in &places {
        let here = found.iter().filter(|(_, _, found, _)| *found != Found::Outgoing).count();
        if here != 1 {
            broken.push((player.clone(), format!("{player} is in {here} places: {found:?}")));
        }
        if found.iter().any(|(_, _, how, hop)| *how == Found::Outgoing && Some(*hop) > arrived(found)) {
            broken.push((player.clone(), format!("{player} is still on the way when all is quiet: {found:?}")));
        }
        let credits = credits(ledgers, player, found);
        if credits != STARTING_CREDITS {
            broken.push((player.clone(), format!("{player} has {credits} credits of {STARTING_CREDITS}")));
        }
    }
    let devices = evidence.iter().flat_map(|evidence| &evidence.devices);
    let welcomed: BTreeSet<&PlayerId> =
        devices.filter(|device| device.view.is_some()).map(|device| &device.player).collect();
    for player in welcomed.into_iter().filter(|player| !places.contains_key(*player)) {
        broken.push((player.clone(), format!("{player} is nowhere")));
    }
    broken
}

fn arrived(found: &[Place]) -> Option<Hop> {
    found.iter().filter(|(_, _, found, _)| *found != Found::Outgoing).map(|(_, _, _, hop)| *hop).max()
}

/// Over all places: a record that is in two has twice as many.
fn credits(ledgers: &[&Ledger], player: &PlayerId, found: &[Place]) -> i64 {
    // A source keeps the record for a while after the destination has it.
    let is_behind = |how: &Found, hop: &Hop| *how == Found::Outgoing && Some(*hop) <= arrived(found);
    let counted = found.iter().filter(|(_, _, how, hop)| !is_behind(how, hop));
    counted.map(|(number, room, how, _)| held(ledgers[*number], room, player, how)).sum()
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
