//! Invariant 4, once: an action takes effect at most once and gets one answer; `too_old` and `unknown_actor` mean that
//! it did not run. A ship's number of moves proves the effects. Relaxed where entries were lost for good: what they
//! answered may be answered anew by the chain that remains; and a record whose departure went with its sector's owner is there again, as it
//! was before.

use std::collections::{BTreeMap, BTreeSet};

use sectorbus::action::{Action, Answer, RejectCode};
use sectorbus::ids::{EntryId, PlayerId, RoomId};

use super::ledger::{ActionName, Given, Ledger};
use crate::evidence::{Device, Evidence};

pub(crate) fn check(evidence: &Evidence, ledger: &Ledger) -> Vec<String> {
    let mut broken: Vec<String> =
        ledger.answers.iter().flat_map(|(name, given)| check_answers(ledger, name, given)).collect();
    for device in &evidence.devices {
        broken.extend(check_device(ledger, device));
    }
    if ledger.is_whole() && evidence.elsewhere.is_none() {
        broken.extend(check_moves(evidence, ledger));
    }
    broken
}

/// Entries that remain answer an action once.
fn check_answers(ledger: &Ledger, name: &ActionName, given: &[Given]) -> Vec<String> {
    let mut kept: Vec<&Given> = given.iter().filter(|given| !given.lost).collect();
    kept.sort_by_key(|given| given.order);
    let first = kept.first().map(|first| first.room.clone());
    kept.retain(|given| Some(&given.room) == first.as_ref() || !ledger.lost.contains_key(&given.room));
    let entries: BTreeSet<(&RoomId, EntryId)> =
        kept.iter().filter_map(|given| Some((&given.room, given.entry?))).collect();
    let mut broken = Vec::new();
    if entries.len() > 1 {
        broken.push(format!("{name:?} was answered by {} entries: {entries:?}", entries.len()));
    }
    let ran = kept.iter().any(|given| given.answer == Answer::Ack);
    // A rejection without an entry is forgotten with its owner: unless a client heard it, the action may run later.
    let refused = kept.iter().find(|given| given.entry.is_some() && says_not_run(&given.answer));
    if let Some(refused) = refused.filter(|_| ran) {
        broken.push(format!("{name:?} ran, and was answered {:?} in {}", refused.answer, refused.room));
    }
    broken
}

/// Everything but `already`, which says less than the answer it stands for, and `stale_session`, which is for the
/// connection that was replaced.
fn says_not_run(answer: &Answer) -> bool {
    match answer {
        Answer::Ack => false,
        Answer::Reject { code, .. } => !matches!(code, RejectCode::Already | RejectCode::StaleSession),
    }
}

fn check_device(ledger: &Ledger, device: &Device) -> Vec<String> {
    let Some(actor) = device.actor else { return Vec::new() };
    let mut broken: Vec<String> = Vec::new();
    let contradictions = device.broken.iter().filter(|what| what.contains("was answered"));
    if !device.was_told_of_loss() {
        broken.extend(contradictions.map(|what| format!("{}: {what}", device.name)));
    }
    for (seq, answer) in device.answers.iter().filter(|(_, answer)| says_not_run(answer) || is_stale(answer)) {
        let name = (device.player.clone(), actor, *seq);
        let ran = |given: &Given| given.answer == Answer::Ack && !given.lost && given.entry.is_some();
        if ledger.answers_to(&name).iter().any(ran) {
            broken.push(format!("{}: {seq} was answered {answer:?}, but it ran", device.name));
        }
    }
    broken
}

fn is_stale(answer: &Answer) -> bool {
    matches!(answer, Answer::Reject { code: RejectCode::StaleSession, .. })
}

/// A ship's hop counts its moves: 1 for being there and 1 per acked `move`.
fn check_moves(evidence: &Evidence, ledger: &Ledger) -> Vec<String> {
    let mut moves: BTreeMap<&PlayerId, u64> = BTreeMap::new();
    for device in &evidence.devices {
        let Some(actor) = device.actor else { continue };
        for (seq, action) in &device.asked {
            let name = (device.player.clone(), actor, *seq);
            let acked = ledger.answers_to(&name).iter().any(|given| given.answer == Answer::Ack)
                || ledger.in_snapshots.contains(&name);
            if acked && matches!(action, Action::Move { .. }) {
                *moves.entry(&device.player).or_default() += 1;
            }
        }
    }
    let places = ledger.places();
    let hops = places.iter().filter_map(|(player, found)| Some((player, found.iter().map(|(_, _, hop)| hop.0).max()?)));
    hops.filter_map(|(player, hop)| {
        let acked = moves.get(player).copied().unwrap_or(0);
        (hop != acked + 1).then(|| format!("{player} has moved {} times and {acked} moves were acked", hop - 1))
    })
    .collect()
}
