//! Invariant 3, acked is kept: an acked action is in the log, or in a snapshot after it, at the end of every run.
//! Relaxed where the entry went with a lost tail whose owner died, if that was reported: by the metric `acked_lost`, or
//! to this client (`recovered: false`, or a snapshot with reason `lost`). A client that left before it could be told, and
//! all nodes that knew dead with it, leave nobody to report.

use sectorbus::action::Answer;

use super::ledger::{ActionName, Ledger};
use crate::evidence::{Device, Evidence};

pub(crate) fn check(evidence: &Evidence, ledger: &Ledger) -> Vec<String> {
    evidence.devices.iter().flat_map(|device| check_device(evidence, ledger, device)).collect()
}

fn check_device(evidence: &Evidence, ledger: &Ledger, device: &Device) -> Vec<String> {
    let Some(actor) = device.actor else { return Vec::new() };
    let acked = device.answers.iter().filter(|(_, answer)| **answer == Answer::Ack);
    let names = acked.map(|(seq, _)| (device.player.clone(), actor, *seq));
    let reported = evidence.acked_lost > 0 || device.was_told_of_loss() || !device.stayed;
    names
        .filter(|name| !(is_kept(ledger, name) || (reported && went_with_a_tail(ledger, name))))
        .map(|name| format!("{}: {name:?} was acked and is gone", device.name))
        .collect()
}

fn is_kept(ledger: &Ledger, name: &ActionName) -> bool {
    let in_log =
        ledger.answers_to(name).iter().any(|given| given.answer == Answer::Ack && !given.lost && given.entry.is_some());
    // Where the log of an earlier room is gone, the record that moved on in time still has what happened there.
    let moved_on = || !ledger.is_whole() && ledger.is_behind(name);
    in_log || ledger.in_snapshots.contains(name) || moved_on()
}

fn went_with_a_tail(ledger: &Ledger, name: &ActionName) -> bool {
    !ledger.is_whole() && ledger.answers_to(name).iter().all(|given| given.lost || given.entry.is_none())
}
