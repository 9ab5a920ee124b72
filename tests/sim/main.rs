//! The deterministic simulation: the real nodes on the memory log in virtual time, with every fault the log can
//! inject, stepped by one seeded scheduler. A seed is a run; the same seed is the same run.
//!
//! `SECTORBUS_SIM_SEEDS`: how many seeds (default 1000). `SECTORBUS_SIM_SEED`: only this one, printing what happens.

mod chaos;
mod counters;
mod dice;
mod evidence;
mod invariants;
mod player;
mod run;
mod trace;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use run::{Outcome, run};

const SEEDS: u64 = 1_000;
/// Failing seeds that are reported in full; the rest is counted.
const REPORTED_MAX: usize = 8;

#[allow(clippy::disallowed_methods, reason = "the simulation's own two settings")]
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number is needed")))
}

fn report(outcome: &Outcome) -> String {
    let broken: Vec<String> = outcome.broken.iter().map(|what| format!("    {what}\n")).collect();
    let seed = outcome.seed;
    format!(
        "seed {seed}:\n{}  again: SECTORBUS_SIM_SEED={seed} cargo test -p sectorbus-tests --test sim invariants_hold -- --nocapture\n",
        broken.concat()
    )
}

#[test]
fn invariants_hold_whatever_goes_wrong() {
    if let Some(seed) = setting("SECTORBUS_SIM_SEED") {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .without_time()
            .try_init();
        let outcome = run(seed, true);
        println!("trace {:016x}, {:#?}", outcome.trace_hash, outcome.counters);
        assert!(outcome.broken.is_empty(), "{}", report(&outcome));
        return;
    }
    let seeds = setting("SECTORBUS_SIM_SEEDS").unwrap_or(SEEDS);
    let first = setting("SECTORBUS_SIM_FIRST").unwrap_or(1);
    let failed = in_parallel(first, seeds);
    let reports: Vec<String> = failed.iter().take(REPORTED_MAX).map(report).collect();
    assert!(failed.is_empty(), "{} of {seeds} seeds failed\n{}", failed.len(), reports.concat());
}

/// Runs seeds on all cores; answers the outcomes that broke something.
fn in_parallel(first: u64, seeds: u64) -> Vec<Outcome> {
    let next = AtomicU64::new(first);
    let failed = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let outcome = run(seed, false);
                    if !outcome.broken.is_empty() {
                        failed.lock().push(outcome);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner();
    failed.sort_by_key(|outcome| outcome.seed);
    failed
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 7, 11, 19, 23, 42] {
        let (once, again) = (run(seed, false), run(seed, false));
        assert_eq!(once.trace_hash, again.trace_hash, "seed {seed}");
    }
}
