//! Whether the Redises keep what they were given, asked as nodes ask theirs: at the start and once a minute. A redis-nexus that could
//! forget what regions gave it is refused; of a region's Redis it only warns, because its nodes refuse it or were told to bear it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sectorbus::ids::RegionName;
use sectorbus::log::{Log, Unsafe};
use sectorbus::metrics::NexusMeters;
use tokio::sync::watch;

const CHECK_EVERY: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Settings of redis-nexus under which it may forget; nothing was carried yet that it could.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("redis-nexus is not safe: {0}")]
pub struct UnsafeHub(String);

/// For ever, unless redis-nexus is unsafe when it answers first. `unsafe_tx`: what is found of redis-nexus later; none: it is safe.
pub(crate) async fn watch_over<L: Log>(
    hub: &L,
    regions: &[(RegionName, Arc<L>)],
    meters: NexusMeters,
    unsafe_tx: watch::Sender<Option<UnsafeHub>>,
) -> UnsafeHub {
    let of_regions = join_all(regions.iter().map(|(region, log)| warn_of(region, &**log)));
    tokio::select! {
        refused = of_hub(hub, &meters, &unsafe_tx) => refused,
        _ = of_regions => std::future::pending().await,
    }
}

async fn of_hub<L: Log>(hub: &L, meters: &NexusMeters, unsafe_tx: &watch::Sender<Option<UnsafeHub>>) -> UnsafeHub {
    if let Some(refused) = of(&answered(hub).await) {
        return refused;
    }
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        let problems = answered(hub).await;
        meters.hub_is_unsafe(problems.len());
        let found = of(&problems);
        if let Some(problem) = &found {
            tracing::warn!(%problem, "redis-nexus endangers what it was given");
        }
        unsafe_tx.send_replace(found);
    }
}

fn of(problems: &[Unsafe]) -> Option<UnsafeHub> {
    (!problems.is_empty()).then(|| UnsafeHub(join(problems)))
}

async fn warn_of<L: Log>(region: &RegionName, log: &L) {
    loop {
        let problems = answered(log).await;
        if !problems.is_empty() {
            tracing::warn!(%region, problems = %join(&problems), "the region's Redis endangers what is acked");
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

/// Waits for a Redis that is away.
async fn answered<L: Log>(log: &L) -> Vec<Unsafe> {
    loop {
        match log.check_safety().await {
            Ok(problems) => return problems,
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
        }
    }
}

fn join(problems: &[Unsafe]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
