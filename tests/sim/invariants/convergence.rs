//! Invariant 8, convergence: when traffic has stopped, every session is live, has all its answers, and shows exactly
//! what its room's log says. Never relaxed.

use sectorbus::ids::RoomId;

use super::ledger::{Ended, Ledger};
use crate::evidence::{Device, Evidence};

pub(crate) fn check(evidence: &Evidence, ledger: &Ledger) -> Vec<String> {
    let mut broken = Vec::new();
    if !evidence.quiet {
        broken.push("never quiet".to_owned());
    }
    for device in evidence.devices.iter().filter(|device| device.stayed) {
        if !device.live {
            broken.push(format!("{} is not live", device.name));
        }
        if !device.pending.is_empty() {
            broken.push(format!("{} still waits for answers to {:?}", device.name, device.pending));
        }
        broken.extend(differs(device, ledger).map(|what| format!("{} {what}", device.name)));
    }
    let others = |what: &&String| !what.starts_with("drift") && !what.contains("was answered");
    for device in &evidence.devices {
        // An epoch may go back only with what was lost, and that is said.
        let excused = device.was_told_of_loss();
        let promises = device.broken.iter().filter(others).filter(|what| !(excused && what.starts_with("epoch")));
        broken.extend(promises.map(|what| format!("{}: {what}", device.name)));
    }
    broken
}

fn differs(device: &Device, ledger: &Ledger) -> Option<String> {
    let Some(view) = &device.view else { return Some("was never shown anything".to_owned()) };
    let Some(Ended { last, state }) = ledger.ended.get(&RoomId::Sector(view.sector.clone())) else {
        return Some(format!("shows {}, which has no log", view.sector));
    };
    if state.system().seat(&device.player).is_none() {
        return Some(format!("shows {}, where its player is not", view.sector));
    }
    if view.cursor() != *last {
        return Some(format!("shows {} at {}, the log is at {last}", view.sector, view.cursor()));
    }
    let public = state.public().iter().map(|(alias, fields)| (alias, fields.clone()));
    if view.entities != public.collect() {
        return Some(format!("shows other entities than {} has at {last}", view.sector));
    }
    let own = state.own(&device.player).cloned().unwrap_or_default();
    (view.own != own).then(|| format!("shows other own fields than it has in {}", view.sector))
}
