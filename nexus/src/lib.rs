//! The nexus: mirrors what regions say to each other through redis-nexus. A link joins one region and redis-nexus; whichever
//! nexus leads it carries items up (region to redis-nexus) and down (from the other regions). Nothing of it is in the
//! nexus's memory only: places are kept where the items go, so that a crash neither loses nor repeats, and two leaders
//! at once are harmless.
//! In reading order: `rules`, `link` (who leads); `up`, `down`, `queue` (feeds); `logs`, `logs_up`, `logs_down`; `facts`, `told`, `jumps`; beside them
//! `opening`, `safety` and `sight` (whose Redis it is, whether it forgets, whether it answers); around them `config`, `run`, `admin`, `status`.

pub mod admin;
pub mod cli;
pub mod config;
pub mod rules;
pub mod run;
pub mod status;

pub mod link;
pub mod sight;

mod behind;
mod down;
mod facts;
mod flags;
mod jumps;
mod lag;
mod opening;
mod places;
mod queue;
mod safety;
mod told;
mod up;

mod logs;
mod logs_down;
mod logs_up;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use sectorbus::ids::RegionName;
use sectorbus::log::{Bridge, Hub, Log, Mirrors};
use sectorbus::metrics::NexusMeters;

pub use config::NexusConfig;
pub use link::Link;
pub use opening::Refused;
pub use safety::UnsafeHub;
pub use sight::Seen;

use opening::Opening;
use rules::Rules;
use sight::Sight;

/// How long a link's leader is taken to live after it said so last: a successor takes over within this.
pub const LEAD_FOR: Duration = Duration::from_secs(2);

/// A region as a nexus reaches it.
pub struct Region<L> {
    pub name: RegionName,
    pub log: Arc<L>,
    /// Where players connect who jump there.
    pub address: Option<String>,
}

/// What a nexus starts with.
pub struct NexusParts<L> {
    /// Its own name, of no other that runs: leads are held under it.
    pub name: String,
    pub hub: Arc<L>,
    pub regions: Vec<Region<L>>,
    pub rules: Rules,
}

/// Why a nexus ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// A broken invariant: the nexus ends as a whole, never a part of it.
    #[error("a task panicked: {0}")]
    Panicked(String),
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// A running nexus. Dropping it ends its tasks where they wait.
pub struct Nexus {
    tasks: JoinSet<Result<(), Refused>>,
    leave_tx: watch::Sender<bool>,
    sight: Sight,
}

impl Nexus {
    /// Never waits for a Redis: each link begins as soon as its region and redis-nexus have answered.
    pub fn start<L: Log + Bridge + Hub + Mirrors>(parts: NexusParts<L>) -> Self {
        let NexusParts { name, hub, regions, rules } = parts;
        let rules = Arc::new(rules);
        let all: Vec<_> = regions.iter().map(|region| (region.name.clone(), region.address.clone())).collect();
        let logs: Vec<_> = regions.iter().map(|region| (region.name.clone(), region.log.clone())).collect();
        let meters = NexusMeters::new(&name);
        let (leave_tx, leave_rx) = watch::channel(false);
        let (sight, look) = Sight::new(&regions, hub.clone(), meters.clone());
        let opening = Arc::new(Opening::new(hub.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(look.run());
        for Region { name: region, log, .. } in regions {
            let others = all.iter().filter(|(other, _)| *other != region).cloned().collect();
            let fellows = logs.iter().filter(|(other, _)| *other != region).cloned().collect();
            let (meters, sight) = (meters.link(region.as_str()), sight.link(&region));
            let (nexus, hub, rules) = (name.clone(), hub.clone(), rules.clone());
            let link = Link { nexus, region, log, hub, rules, others, fellows, meters, sight };
            tasks.spawn(serve(link, opening.clone(), leave_rx.clone()));
        }
        Self { tasks, leave_tx, sight }
    }

    /// What is seen of the Redises and links, as it changes.
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.sight.seen()
    }

    /// Resolves when it ends by itself: it does not, unless it must not go on.
    pub async fn ended(&mut self) -> Result<(), Ended> {
        while let Some(task) = self.tasks.join_next().await {
            task.map_err(|error| Ended::Panicked(error.to_string()))??;
        }
        Ok(())
    }

    /// Hands its links over, so that others lead them at once, and ends.
    pub async fn shutdown(mut self) {
        self.leave_tx.send_replace(true);
        // The look around goes on for ever.
        while self.tasks.len() > 1 && self.tasks.join_next().await.is_some() {}
        self.tasks.shutdown().await;
    }

    /// Ends it at once, as a kill would: its leads run out by themselves.
    pub async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}

/// One link until this nexus leaves.
async fn serve<L: Log + Bridge + Hub + Mirrors>(
    link: Link<L>,
    opening: Arc<Opening<L>>,
    mut leave_rx: watch::Receiver<bool>,
) -> Result<(), Refused> {
    let served = async {
        opening.open(&link.region, &*link.log).await?;
        link::counting_retries(link.meters.clone(), rules::What::Feeds, link.run()).await;
        Ok(())
    };
    tokio::select! {
        biased;
        _ = leave_rx.wait_for(|leaves| *leaves) => {}
        refused = served => return refused,
    }
    link.resign().await;
    Ok(())
}
