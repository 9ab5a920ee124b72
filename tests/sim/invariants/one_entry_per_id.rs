//! Invariant 2, one entry per id, for ever: two different entries are never delivered at the same (epoch, version).
//! Relaxed only for ids whose entry was lost for good, if the metric `acked_lost` reported loss.

use std::collections::BTreeMap;

use sectorbus::ids::{EntryId, RoomId};
use sectorbus::log::{LogBody, Push};

use super::ledger::Ledger;
use crate::evidence::Evidence;

pub(crate) fn check(evidence: &Evidence, ledger: &Ledger) -> Vec<String> {
    let reported = |room: &RoomId, id: EntryId| {
        evidence.acked_lost > 0 && ledger.lost.get(room).is_some_and(|lost| lost.contains(&id))
    };
    let mut seen: BTreeMap<(&RoomId, EntryId), &LogBody> = BTreeMap::new();
    let mut broken = Vec::new();
    let appended =
        evidence.rooms.iter().flat_map(|(room, dump)| dump.history.iter().map(move |a| (room, a.id, &a.body)));
    let published = evidence.publications.iter().filter_map(|publication| match &publication.push {
        Push::Entry(entry) => Some((&publication.room, entry.id, &entry.body)),
        _ => None,
    });
    for (room, id, body) in appended.chain(published) {
        if *seen.entry((room, id)).or_insert(body) != body && !reported(room, id) {
            broken.push(format!("{room}: two different entries at {id}"));
        }
    }
    broken
}
