//! One seed from start to verdict. Nothing outside the seed decides anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::counters::Counters;
use crate::invariants;
use crate::world::World;

pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) trace_hash: u64,
    /// `<invariant>: <what broke it>`.
    pub(crate) broken: Vec<String>,
    pub(crate) counters: BTreeMap<String, u64>,
}

/// Runs one seed on a runtime of its own, in virtual time. `is_told`: prints what happens.
pub(crate) fn run(seed: u64, is_told: bool) -> Outcome {
    run_with(seed, is_told, |_| {})
}

/// The same with a world that was changed before it starts.
pub(crate) fn run_with(seed: u64, is_told: bool, change: impl FnOnce(&mut World)) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let counters = Arc::new(Counters::default());
    let (evidence, trace_hash) = metrics::with_local_recorder(&*counters, || {
        runtime.block_on(async {
            let mut world = World::new(seed, is_told);
            change(&mut world);
            world.run().await;
            world.into_evidence(&counters)
        })
    });
    drop(runtime);
    let broken = invariants::check(&evidence);
    Outcome { seed, trace_hash, broken, counters: counters.all() }
}
