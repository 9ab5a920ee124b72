//! Invariant 5, log first: a delta, a snapshot or an answer reaches a session only after its entry (or, for an answer
//! without one, its chain check) is in the log. Never relaxed.

use std::collections::{BTreeMap, BTreeSet};

use sectorbus::action::Answer;
use sectorbus::ids::{EntryId, RoomId};

use super::ledger::Ledger;
use crate::evidence::{Device, Evidence, Told};

pub(crate) fn check(evidence: &Evidence, ledger: &Ledger) -> Vec<String> {
    let mut first: BTreeMap<(RoomId, EntryId), u64> = BTreeMap::new();
    for (room, dump) in &evidence.rooms {
        for appearance in &dump.history {
            first.entry((room.clone(), appearance.id)).or_insert(appearance.order);
        }
    }
    let mut broken = BTreeSet::new();
    for device in &evidence.devices {
        broken.extend(check_device(evidence, ledger, &first, device));
    }
    broken.into_iter().collect()
}

fn check_device(
    evidence: &Evidence,
    ledger: &Ledger,
    first: &BTreeMap<(RoomId, EntryId), u64>,
    device: &Device,
) -> Vec<String> {
    let mut broken = Vec::new();
    for telling in &device.told {
        match &telling.told {
            Told::State { sector, cursor } => {
                let appended = first.get(&(RoomId::Sector(sector.clone()), *cursor));
                if appended.is_none_or(|order| *order > telling.order) {
                    broken.push(format!("{}: shown {sector} at {cursor}, which was not in the log", device.name));
                }
            }
            Told::Answer { seq, answer } => {
                let Some(actor) = device.actor else { continue };
                let name = (device.player.clone(), actor, *seq);
                let known = |given: &super::ledger::Given| given.order <= telling.order && given.answer == *answer;
                // A player who came from another region brought what was answered there.
                let brought = evidence.elsewhere.as_ref().and_then(|elsewhere| elsewhere.answers.get(&name));
                let is_brought = brought.is_some_and(|answers| answers.contains(answer));
                if !is_brought && !ledger.answers_to(&name).iter().any(known) {
                    broken.push(format!("{}: {seq} answered {} ahead of the log", device.name, brief(answer)));
                }
            }
            Told::Resumed { .. } | Told::Lost => {}
        }
    }
    broken
}

fn brief(answer: &Answer) -> String {
    match answer {
        Answer::Ack => "ack".to_owned(),
        Answer::Reject { code, .. } => format!("{code:?}"),
    }
}
