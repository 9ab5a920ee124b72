//! One seed from start to verdict. Nothing outside the seed decides anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::counters::Counters;
use crate::evidence::Evidence;
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
    let (evidence, trace_hash, counters) = live(seed, is_told, async |world| world.run().await);
    Outcome { seed, trace_hash, broken: invariants::check(&evidence), counters }
}

/// Lives through `story` in a world of this seed: the evidence, the hash of the trace, the nodes' counters.
pub(crate) fn live(
    seed: u64,
    is_told: bool,
    story: impl AsyncFnOnce(&mut World),
) -> (Evidence, u64, BTreeMap<String, u64>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let counters = Arc::new(Counters::default());
    let (evidence, trace_hash) = metrics::with_local_recorder(&*counters, || {
        runtime.block_on(async {
            let mut world = World::new(seed, is_told);
            story(&mut world).await;
            world.into_evidence(&counters)
        })
    });
    drop(runtime);
    (evidence, trace_hash, counters.all())
}
