//! Invariant 8, convergence: when traffic has stopped, every session is live, has all its answers, and shows exactly
//! what its room's log says. Never relaxed.

use sectorbus::ids::RoomId;
use sectorbus::protocol::Slot;
use sectorbus::value::{Field, Value};

use super::ledger::{Ended, Ledger};
use crate::evidence::{Device, Evidence};
use crate::player::team_of;

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
        broken.extend(differs_beside(evidence, device, ledger).map(|what| format!("{} {what}", device.name)));
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

/// The rooms beside the sector are those of the log, and the roster knows that its player is there.
fn differs_beside(evidence: &Evidence, device: &Device, ledger: &Ledger) -> Option<String> {
    let of_elsewhere = |room: &RoomId| evidence.elsewhere.as_ref()?.teams.get(room);
    for (slot, shown) in &device.beside {
        let here = ledger.ended.get(&shown.room).map(|Ended { last, state }| (last, state));
        let Some((last, state)) = here.or_else(|| of_elsewhere(&shown.room).map(|(last, state)| (last, state))) else {
            return Some(format!("shows {}, which has no log", shown.room));
        };
        if shown.cursor != *last {
            return Some(format!("shows {} at {}, the log is at {last}", shown.room, shown.cursor));
        }
        let public = state.public().iter().map(|(alias, fields)| (alias, fields.clone()));
        if shown.entities != public.collect() {
            return Some(format!("shows {} in slot {} with other entities than it has at {last}", shown.room, slot.0));
        }
    }
    let team = RoomId::Team(team_of(device.player.as_str()).parse().ok()?);
    if !ledger.ended.contains_key(&team) && of_elsewhere(&team).is_some() {
        // The roster is the other region's, which knows whether its members are there.
        return None;
    }
    let roster = device.beside.get(&Slot::TEAM).filter(|beside| beside.room == team);
    let of_me = |field| roster.and_then(|roster| roster.of_member(device.player.as_str(), field));
    let sector = device.view.as_ref().map(|view| Value::from(view.sector.as_str()));
    if of_me(Field::SECTOR) != sector {
        return Some(format!("is in {sector:?}, and {team} shows {:?}", of_me(Field::SECTOR)));
    }
    let status = of_me(Field::STATUS);
    let is_here = status.as_ref().and_then(Value::as_text).is_some_and(|status| status != "offline");
    (!is_here).then(|| format!("is shown to {team} as {status:?}"))
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
