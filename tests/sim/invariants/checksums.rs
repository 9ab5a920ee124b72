//! Invariant 6, checksums: every entry's sums are those of the state that its chain leads to, every stored snapshot is
//! that state, and no client ever found a difference. Never relaxed.

use sectorbus::ids::{EntryId, RoomId};
use sectorbus::log::memory::RoomDump;
use sectorbus::state::RoomState;

use super::ledger::{Ledger, decode, read_snapshot, remaining};
use crate::evidence::Evidence;

pub(crate) fn check(evidence: &Evidence, ledger: &Ledger) -> Vec<String> {
    let mut broken = Vec::new();
    for (room, dump) in &evidence.rooms {
        let genesis = evidence.genesis.get(room).cloned().unwrap_or_default();
        match replay(room, dump, genesis) {
            Err(what) => broken.push(what),
            Ok(state) => {
                let stored = ledger.ended.get(room).map(|ended| &ended.state);
                if stored.is_some_and(|stored| *stored != state) {
                    broken.push(format!("{room}: what is stored is not what its entries lead to"));
                }
            }
        }
    }
    let unlike = |what: &&String| what.starts_with("drift") || what.starts_with("snapshot");
    for device in &evidence.devices {
        broken.extend(device.broken.iter().filter(unlike).map(|what| format!("{}: {what}", device.name)));
        let Some(view) = device.view.as_ref().filter(|_| device.stayed) else { continue };
        let ended = ledger.ended.get(&RoomId::Sector(view.sector.clone()));
        if ended.is_some_and(|ended| ended.last == view.cursor() && ended.state.public().sum() != view.sum()) {
            broken.push(format!("{}: shows another sum than {} has", device.name, view.sector));
        }
    }
    broken
}

/// From genesis through the chain that remains, comparing every sum on the way.
fn replay(room: &RoomId, dump: &RoomDump, genesis: RoomState) -> Result<RoomState, String> {
    let mut state = genesis;
    let snapshot_at = dump.snapshot.as_ref().map(|snapshot| snapshot.id);
    for appearance in remaining(dump) {
        if let Some(snapshot) = &appearance.restored {
            state = read_snapshot(snapshot)?;
        }
        if let Some(entry) = decode(appearance)? {
            state.apply(&entry).map_err(|mismatch| format!("{room} {}: {mismatch}", appearance.id))?;
        }
        if snapshot_at == Some(appearance.id) {
            compare_snapshot(room, dump, &state, appearance.id)?;
        }
    }
    let (kept, anew) = (state.sums(), state.sums_from_scratch());
    if kept == anew { Ok(state) } else { Err(format!("{room}: sums kept are not sums computed")) }
}

fn compare_snapshot(room: &RoomId, dump: &RoomDump, state: &RoomState, at: EntryId) -> Result<(), String> {
    let Some(snapshot) = &dump.snapshot else { return Ok(()) };
    if read_snapshot(snapshot)? == *state {
        Ok(())
    } else {
        Err(format!("{room}: the snapshot at {at} is not the state there"))
    }
}
