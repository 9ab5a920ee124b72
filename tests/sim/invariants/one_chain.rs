//! Invariant 1, one chain: each log is one chain by `prev` and lineage, and all entries of an epoch come from the node
//! its claim names. Never relaxed: what a lost tail took is gone from the chain, and what follows must fit what is left.

use std::collections::BTreeMap;

use sectorbus::ids::{EntryId, RoomId};
use sectorbus::log::LogBody;
use sectorbus::log::memory::{Appearance, HandleId, RoomDump};

use super::ledger::{Ledger, remaining};
use crate::evidence::Evidence;

pub(crate) fn check(evidence: &Evidence, _: &Ledger) -> Vec<String> {
    evidence.rooms.iter().flat_map(|(room, dump)| check_room(room, dump)).collect()
}

fn check_room(room: &RoomId, dump: &RoomDump) -> Vec<String> {
    let mut broken = Vec::new();
    let mut chain: Vec<&Appearance> = Vec::new();
    let mut writers: BTreeMap<u64, HandleId> = BTreeMap::new();
    for appearance in &dump.history {
        // What a loss took before this was appended is not in the chain any more.
        chain.retain(|earlier| earlier.lost.is_none_or(|loss| loss > appearance.branch));
        let last = chain.last().map_or(EntryId::GENESIS, |last| last.id);
        if let Some(why) = does_not_follow(last, appearance) {
            broken.push(format!("{room}: {} after {last}: {why}", appearance.id));
        }
        let writer = writers.entry(appearance.id.epoch).or_insert(appearance.via);
        if *writer != appearance.via {
            broken.push(format!("{room}: {} was not written by the owner of its epoch", appearance.id));
        }
        chain.push(appearance);
    }
    let last = remaining(dump).next_back().map(|last| last.id);
    let head = dump.heads.log.as_ref();
    if last != head.map(|head| head.last) {
        broken.push(format!("{room}: the head says {:?}, the chain ends at {last:?}", head.map(|head| head.last)));
    }
    if let Some(head) = head {
        broken.extend(check_lineage(room, &chain, &head.lineage.0));
    }
    broken
}

fn does_not_follow(last: EntryId, appearance: &Appearance) -> Option<&'static str> {
    let id = appearance.id;
    match (&appearance.body, &appearance.restored) {
        (LogBody::Batch(_), _) => (id != last.following()).then_some("not the next version of the epoch"),
        (LogBody::Claim(claim), Some(snapshot)) => {
            let fits = claim.prev == snapshot.id && id.version == claim.prev.version + 1 && id.epoch > last.epoch;
            (!fits).then_some("a restore that does not follow its own snapshot")
        }
        (LogBody::Claim(claim), None) if claim.prev != last => Some("a claim with another prev"),
        (LogBody::Claim(_), None) if id.version != last.version + 1 => Some("a claim that skips versions"),
        (LogBody::Claim(_), None) if id.epoch <= last.epoch => Some("a claim with an epoch that does not grow"),
        (LogBody::Claim(claim), None) => match &appearance.by {
            Some(by) if *by == claim.owner => None,
            _ => Some("a claim that does not name its owner"),
        },
    }
}

/// The head's lineage names the last entry of each epoch before the last, as far as the chain was not restored.
fn check_lineage(room: &RoomId, chain: &[&Appearance], lineage: &[EntryId]) -> Vec<String> {
    let whole_from = chain.iter().rposition(|appearance| appearance.restored.is_some()).map_or(0, |at| at + 1);
    let mut ends: BTreeMap<u64, EntryId> = BTreeMap::new();
    for appearance in &chain[whole_from..] {
        ends.insert(appearance.id.epoch, appearance.id);
    }
    ends.pop_last();
    let missing = ends.values().rev().take(lineage.len().max(1)).filter(|end| !lineage.contains(end));
    missing.map(|end| format!("{room}: the lineage {lineage:?} does not have {end}")).collect()
}
