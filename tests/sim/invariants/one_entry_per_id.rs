//! Invariant 2, one entry per id, for ever: two different entries are never delivered at the same (epoch, version).
//! Relaxed only where loss was reported by the metric `acked_lost`.

use std::collections::BTreeMap;

use sectorbus::ids::{EntryId, RoomId};
use sectorbus::log::{LogBody, Push};

use super::ledger::Ledger;
use crate::evidence::Evidence;

pub(crate) fn check(evidence: &Evidence, _: &Ledger) -> Vec<String> {
    if evidence.acked_lost > 0 {
        return Vec::new();
    }
    let mut seen: BTreeMap<(&RoomId, EntryId), &LogBody> = BTreeMap::new();
    let mut broken = Vec::new();
    let appended =
        evidence.rooms.iter().flat_map(|(room, dump)| dump.history.iter().map(move |a| (room, a.id, &a.body)));
    let published = evidence.publications.iter().filter_map(|publication| match &publication.push {
        Push::Entry(entry) => Some((&publication.room, entry.id, &entry.body)),
        _ => None,
    });
    for (room, id, body) in appended.chain(published) {
        if *seen.entry((room, id)).or_insert(body) != body {
            broken.push(format!("{room}: two different entries at {id}"));
        }
    }
    broken
}
