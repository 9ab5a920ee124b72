//! Invariants 4 and 7 over regions that players jump between: an action is answered by one entry of one region, a jump is a move, and
//! a player is in one place of all. Not relaxed, whatever was lost.

use std::collections::{BTreeMap, BTreeSet};

use sectorbus::action::{Action, Answer};
use sectorbus::ids::{EntryId, Hop, PlayerId, RoomId};
use sectorbus::state::SystemChange;

use super::ledger::{ActionName, Ledger, decode};
use super::one_place;
use crate::evidence::{Elsewhere, Evidence};

/// What a region's oracle has to know of another.
pub(crate) fn elsewhere(ledger: &Ledger) -> Elsewhere {
    let answers = ledger.answers.iter().map(|(name, given)| {
        let answers = given.iter().map(|given| given.answer.clone()).collect();
        (name.clone(), answers)
    });
    let teams = ledger.ended.iter().filter(|(room, _)| matches!(room, RoomId::Team(_)));
    let teams = teams.map(|(room, ended)| (room.clone(), (ended.last, ended.state.clone())));
    Elsewhere { answers: answers.collect(), teams: teams.collect() }
}

pub(crate) fn check(evidence: &[Evidence], ledgers: &[Ledger]) -> Vec<String> {
    let all: Vec<&Ledger> = ledgers.iter().collect();
    let placed = one_place::check_all(evidence, &all).into_iter();
    let mut broken: Vec<String> = placed.map(|(_, what)| format!("one_place: {what}")).collect();
    broken.extend(answered_once(ledgers).into_iter().map(|what| format!("once: {what}")));
    if ledgers.iter().all(Ledger::is_whole) {
        broken.extend(check_hops(evidence, ledgers).into_iter().map(|what| format!("once: {what}")));
    }
    broken
}

/// Entries that remain answer an action in one region.
fn answered_once(ledgers: &[Ledger]) -> Vec<String> {
    let kept = |ledger: &Ledger, name: &ActionName| -> BTreeSet<(RoomId, EntryId)> {
        let kept = ledger.answers_to(name).iter().filter(|given| !given.lost);
        kept.filter_map(|given| Some((given.room.clone(), given.entry?))).collect()
    };
    let names: BTreeSet<&ActionName> = ledgers.iter().flat_map(|ledger| ledger.answers.keys()).collect();
    let mut broken = Vec::new();
    for name in names {
        let entries: Vec<_> = ledgers.iter().map(|ledger| kept(ledger, name)).filter(|kept| !kept.is_empty()).collect();
        if entries.len() > 1 {
            broken.push(format!("{name:?} was answered in more than one region: {entries:?}"));
        }
    }
    broken
}

/// A player has arrived once under each hop: 1 for being there, 1 for each move and jump that was acked, 1 for each jump that was
/// cancelled. Hops count jumps too.
fn check_hops(evidence: &[Evidence], ledgers: &[Ledger]) -> Vec<String> {
    let mut asked: BTreeMap<ActionName, &Action> = BTreeMap::new();
    for device in evidence.iter().flat_map(|evidence| &evidence.devices) {
        let Some(actor) = device.actor else { continue };
        asked.extend(device.asked.iter().map(|(seq, action)| ((device.player.clone(), actor, *seq), action)));
    }
    let (mut moves, mut jumps): (BTreeMap<&PlayerId, u64>, BTreeMap<&PlayerId, u64>) = Default::default();
    for (name, action) in &asked {
        let is_acked = ledgers.iter().any(|ledger| {
            let acked = ledger.answers_to(name).iter().any(|given| given.answer == Answer::Ack);
            acked || ledger.in_snapshots.contains(name)
        });
        match action {
            Action::Move { .. } if is_acked => *moves.entry(&name.0).or_default() += 1,
            Action::Jump { .. } if is_acked => *jumps.entry(&name.0).or_default() += 1,
            _ => {}
        }
    }
    let unlike = arrivals(evidence).into_iter().filter_map(|(player, hops)| {
        let (moves, jumps) = (*moves.get(&player).unwrap_or(&0), *jumps.get(&player).unwrap_or(&0));
        let (count, jumped) = (hops.len() as u64, hops.last().map_or(0, |hop| hop.jumps()));
        let is_so = (1 + moves + jumps..=1 + moves + 2 * jumps).contains(&count) && jumped == jumps;
        (!is_so).then(|| format!("{player} arrived {count} times, jumped {jumped}, of {moves} moves and {jumps} jumps"))
    });
    unlike.collect()
}

/// Under which hops each player arrived in a sector of either region.
fn arrivals(evidence: &[Evidence]) -> BTreeMap<PlayerId, BTreeSet<Hop>> {
    let mut arrivals: BTreeMap<PlayerId, BTreeSet<Hop>> = BTreeMap::new();
    let entries = evidence.iter().flat_map(|evidence| evidence.rooms.values()).flat_map(|dump| &dump.history);
    for change in entries.filter_map(|entry| decode(entry).ok()?).flat_map(|entry| entry.system) {
        if let SystemChange::Incoming(player, Some(hop)) = change {
            arrivals.entry(player).or_default().insert(hop);
        }
    }
    arrivals
}
