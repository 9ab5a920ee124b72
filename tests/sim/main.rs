//! The deterministic simulation: the real nodes on the memory log in virtual time, with every fault the log can
//! inject, stepped by one seeded scheduler. A seed is a run; the same seed is the same run.
//!
//! `SECTORBUS_SIM_SEEDS`: how many seeds (default 1000), from `SECTORBUS_SIM_FIRST` (default 1) on. `SECTORBUS_SIM_SEED`: only this one, printing what happens.

mod chaos;
mod counters;
mod dice;
mod doctored;
mod evidence;
mod invariants;
mod notices;
mod player;
mod run;
mod steps;
mod trace;
mod universe;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use run::{Outcome, run};

const SEEDS: u64 = 1_000;
/// A universe of two regions takes as long as several of one; one of so many seeds is run as such.
const REGIONS_SHARE: u64 = 5;
/// A seed takes a tenth of a second.
const SEED_ENDS_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many seeds meet everything there is.
const MEANINGFUL_SEEDS: u64 = 200;
/// Counters that a simulation worth its name moves.
const MUST_HAPPEN: [&str; 13] = [
    "sectorbus_acked_lost_total",
    "sectorbus_actions_total",
    "sectorbus_adopted_rooms_total",
    "sectorbus_append_retries_total",
    "sectorbus_checkpoints_total",
    "sectorbus_fenced_total",
    "sectorbus_lost_tail_total",
    "sectorbus_parked_total",
    "sectorbus_relay_gaps_total",
    "sectorbus_restored_total",
    "sectorbus_resumes_total",
    "sectorbus_superseded_total",
    "sectorbus_transfers_finished_total",
];
/// Failing seeds that are reported in full; the rest is counted.
const REPORTED_MAX: usize = 8;

#[allow(clippy::disallowed_methods, reason = "the simulation's own two settings")]
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number is needed")))
}

fn report(test: &str, outcome: &Outcome) -> String {
    let broken: Vec<String> = outcome.broken.iter().map(|what| format!("    {what}\n")).collect();
    let seed = outcome.seed;
    format!(
        "seed {seed}:\n{}  again: SECTORBUS_SIM_SEED={seed} cargo test -p sectorbus-tests --test sim {test} -- --nocapture\n",
        broken.concat()
    )
}

#[test]
fn invariants_hold_whatever_goes_wrong() {
    if let Some(seed) = setting("SECTORBUS_SIM_SEED") {
        show_logs();
        let outcome = run(seed, true);
        println!("trace {:016x}, {:#?}", outcome.trace_hash, outcome.counters);
        assert!(outcome.broken.is_empty(), "{}", report("invariants_hold", &outcome));
        return;
    }
    let seeds = setting("SECTORBUS_SIM_SEEDS").unwrap_or(SEEDS);
    let first = setting("SECTORBUS_SIM_FIRST").unwrap_or(1);
    let counters = all_hold("invariants_hold", first, seeds, |seed| run(seed, false));
    if seeds >= MEANINGFUL_SEEDS {
        let idle: Vec<_> = MUST_HAPPEN.iter().filter(|name| !counters.contains_key(**name)).collect();
        assert!(idle.is_empty(), "never happened in {seeds} seeds: {idle:?}");
    }
}

#[test]
fn regions_are_one_universe_whatever_goes_wrong() {
    if let Some(seed) = setting("SECTORBUS_SIM_SEED") {
        show_logs();
        let outcome = universe::run(seed, true);
        assert!(outcome.broken.is_empty(), "{}", report("regions_are", &outcome));
        return;
    }
    let seeds = setting("SECTORBUS_SIM_SEEDS").unwrap_or(SEEDS) / REGIONS_SHARE;
    let first = setting("SECTORBUS_SIM_FIRST").unwrap_or(1);
    all_hold("regions_are", first, seeds, |seed| universe::run(seed, false));
}

/// The counters of all.
fn all_hold(test: &str, first: u64, seeds: u64, run: impl Fn(u64) -> Outcome + Sync) -> BTreeMap<String, u64> {
    let Seeds { failed, counters } = in_parallel(first, seeds, run);
    println!("{seeds} seeds from {first}: {counters:?}");
    let reports: Vec<String> = failed.iter().take(REPORTED_MAX).map(|outcome| report(test, outcome)).collect();
    assert!(failed.is_empty(), "{} of {seeds} seeds failed\n{}", failed.len(), reports.concat());
    counters
}

/// What came of many seeds.
#[derive(Default)]
struct Seeds {
    failed: Vec<Outcome>,
    /// Summed.
    counters: BTreeMap<String, u64>,
}

/// Runs seeds on all cores. A seed that does not end is named, and ends the process.
fn in_parallel(first: u64, seeds: u64, run: impl Fn(u64) -> Outcome + Sync) -> Seeds {
    let next = AtomicU64::new(first);
    let ended = Mutex::new(Seeds::default());
    let watch = Watch::default();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        scope.spawn(|| watch.until_all_ended(workers));
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return watch.worker_ended();
                    }
                    watch.begin(seed);
                    let outcome = run(seed);
                    watch.end(seed);
                    let mut ended = ended.lock();
                    for (name, count) in &outcome.counters {
                        *ended.counters.entry(name.clone()).or_default() += count;
                    }
                    if !outcome.broken.is_empty() {
                        ended.failed.push(outcome);
                    }
                }
            });
        }
    });
    let mut ended = ended.into_inner();
    ended.failed.sort_by_key(|outcome| outcome.seed);
    ended
}

/// Seeds that run, each since when: something that goes round in virtual time never ends by itself.
#[derive(Default)]
struct Watch {
    running: Mutex<(BTreeMap<u64, Instant>, usize)>,
    changed: Condvar,
}

impl Watch {
    #[expect(clippy::disallowed_methods, reason = "the one place that watches real time")]
    fn begin(&self, seed: u64) {
        self.running.lock().0.insert(seed, Instant::now());
    }

    fn end(&self, seed: u64) {
        self.running.lock().0.remove(&seed);
    }

    fn worker_ended(&self) {
        self.running.lock().1 += 1;
        self.changed.notify_all();
    }

    fn until_all_ended(&self, workers: usize) {
        let mut running = self.running.lock();
        while running.1 < workers {
            self.changed.wait_for(&mut running, LOOK_EVERY);
            if let Some((seed, _)) = running.0.iter().find(|(_, since)| since.elapsed() > SEED_ENDS_WITHIN) {
                eprintln!("seed {seed} does not end; again: SECTORBUS_SIM_SEED={seed}");
                std::process::exit(1);
            }
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 7, 11, 19, 23, 42] {
        let (once, again) = (run(seed, false), run(seed, false));
        assert_eq!(once.trace_hash, again.trace_hash, "seed {seed}");
    }
    for seed in [5, 8] {
        let (once, again) = (universe::run(seed, false), universe::run(seed, false));
        assert_eq!(once.trace_hash, again.trace_hash, "seed {seed} of two regions");
    }
}

fn show_logs() {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .without_time()
        .try_init();
}
