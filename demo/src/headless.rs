//! The demo without a page: kills a node after 10 s, restarts it at 20 s, and says at the end whether every promise
//! was kept, in both regions and on the way between them. Standard output gets the counters once a second and one JSON line at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::{Instant, interval, timeout};

use crate::lookout::{Demo, Live};

const KILL_AT_S: u64 = 10;
const RESTART_AT_S: u64 = 20;
/// From the last action until all bots show the same as the log.
const CONVERGED_WITHIN: Duration = Duration::from_secs(60);
/// Nothing may still change once they do: so many looks in a row.
const CONVERGED_LOOKS: u32 = 3;
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    pub acked: u64,
    pub acked_lost: u64,
    pub duplicated: u64,
    /// `null`: no room of the killed node acked anything afterwards.
    pub failover_ms: Option<u64>,
    pub drift_repairs: u64,
    /// Bots that jumped to the other region and went on there, with all they were acked before.
    pub jumps: u64,
    /// Things said in either region; converged: each was heard in both, once.
    pub said: u64,
    pub converged: bool,
}

impl Outcome {
    /// Something was acked, some have jumped and something was said, and nothing was lost, repeated or left diverged.
    pub fn is_good(&self) -> bool {
        let is_tried = self.acked > 0 && self.jumps > 0 && self.said > 0;
        is_tried && self.acked_lost == 0 && self.duplicated == 0 && self.converged
    }
}

/// Lets the bots act for `seconds`, then rest; stops the nodes at the end.
pub async fn run(demo: Demo, seconds: u64) -> Result<Outcome> {
    let mut victim = None;
    let mut every_second = interval(Duration::from_secs(1));
    every_second.tick().await;
    for second in 1..=seconds {
        every_second.tick().await;
        let live = demo.live.borrow().clone();
        println!("{}", line(second, &live));
        if second == KILL_AT_S {
            let name = busiest(&live);
            println!("      {name} is killed");
            demo.kill(&name).await?;
            victim = Some(name);
        }
        if let Some(name) = victim.take_if(|_| second == RESTART_AT_S) {
            println!("      {name} is restarted");
            demo.restart(&name)?;
        }
    }
    demo.fleet.rest();
    let converged = timeout(CONVERGED_WITHIN, converge(&demo)).await.is_ok();
    let live = demo.live.borrow().clone();
    let apart = if converged { &[][..] } else { &live.apart };
    live.broken.iter().chain(apart).for_each(|wrong| eprintln!("{wrong}"));
    demo.drain(LEAVE_WITHIN).await;
    Ok(outcome(&live, converged))
}

fn outcome(live: &Live, converged: bool) -> Outcome {
    let counters = live.counters.clone();
    Outcome {
        acked: counters.acked,
        acked_lost: counters.acked_lost,
        duplicated: counters.duplicated,
        failover_ms: counters.failover_ms,
        drift_repairs: counters.drift_repairs,
        jumps: counters.jumps,
        said: live.said,
        converged: converged && live.broken.is_empty(),
    }
}

async fn converge(demo: &Demo) {
    let mut live = demo.live.clone();
    let mut looks = 0;
    let started = Instant::now();
    while looks < CONVERGED_LOOKS && live.changed().await.is_ok() {
        looks = if live.borrow_and_update().converged { looks + 1 } else { 0 };
    }
    tracing::info!(took = ?started.elapsed(), "converged");
}

/// The node whose sectors hold the most ships: its death is felt.
fn busiest(live: &Arc<Live>) -> String {
    let mut ships: BTreeMap<&str, usize> = live.nodes().map(|node| (node.name.as_str(), 0)).collect();
    for region in &live.regions {
        for owner in region.ships.iter().filter_map(|ship| region.owners.get(&ship.sector)) {
            *ships.entry(owner).or_default() += 1;
        }
    }
    ships.into_iter().max_by_key(|(_, ships)| *ships).map(|(name, _)| name.to_owned()).unwrap_or_default()
}

fn line(second: u64, live: &Live) -> String {
    let counters = &live.counters;
    let failover = counters.failover_ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
    let up = live.nodes().filter(|node| node.up).count();
    format!(
        "{second:>3} s  acked {:>5}  lost {}  repeated {}  failover {failover:>8}  drift repairs {}  jumps {}  nodes {up}/{}",
        counters.acked,
        counters.acked_lost,
        counters.duplicated,
        counters.drift_repairs,
        counters.jumps,
        live.nodes().count()
    )
}
