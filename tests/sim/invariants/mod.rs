//! The oracle: one pure function per invariant of ARCHITECTURE.md, each from the evidence of a run to what broke it.
//! Where loss was reported, an invariant is relaxed as its own file says, and no further.

mod acked_is_kept;
mod checksums;
mod convergence;
mod feeds;
mod log_first;
mod once;
mod one_chain;
mod one_entry_per_id;
mod one_place;
mod regions;

mod ledger;

use crate::evidence::Evidence;
use ledger::Ledger;

type Check = fn(&Evidence, &Ledger) -> Vec<String>;

/// By name, in the order of the invariants' numbers.
const CHECKS: [(&str, Check); 9] = [
    ("one_chain", one_chain::check),
    ("one_entry_per_id", one_entry_per_id::check),
    ("acked_is_kept", acked_is_kept::check),
    ("once", once::check),
    ("log_first", log_first::check),
    ("checksums", checksums::check),
    ("one_place", one_place::check),
    ("convergence", convergence::check),
    ("feeds", feeds::check),
];

/// All that is broken, as `<invariant>: <what>`.
pub(crate) fn check(evidence: &Evidence) -> Vec<String> {
    match Ledger::of(evidence) {
        Ok(ledger) => check_one(evidence, &ledger),
        Err(unreadable) => vec![format!("checksums: {unreadable}")],
    }
}

/// The same of regions that players jump between, as `<region>: <invariant>: <what>`; and what is to hold over all of them.
pub(crate) fn check_regions(names: [&str; 2], mut evidence: Vec<Evidence>) -> Vec<String> {
    let mut ledgers = Vec::new();
    for of_one in &evidence {
        match Ledger::of(of_one) {
            Ok(ledger) => ledgers.push(ledger),
            Err(unreadable) => return vec![format!("checksums: {unreadable}")],
        }
    }
    let mut broken = Vec::new();
    for (number, name) in names.iter().enumerate() {
        evidence[number].elsewhere = Some(regions::elsewhere(&ledgers[1 - number]));
        let of_one = check_one(&evidence[number], &ledgers[number]);
        broken.extend(of_one.into_iter().map(|what| format!("{name}: {what}")));
    }
    broken.extend(regions::check(&evidence, &ledgers));
    broken
}

fn check_one(evidence: &Evidence, ledger: &Ledger) -> Vec<String> {
    let mut broken: Vec<String> = evidence.panics.iter().map(|panic| format!("panic: {panic}")).collect();
    for (name, check) in CHECKS {
        broken.extend(check(evidence, ledger).into_iter().map(|what| format!("{name}: {what}")));
    }
    broken
}
