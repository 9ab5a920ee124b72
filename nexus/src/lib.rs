//! The nexus: mirrors what regions say to each other through redis-nexus. A link joins one region and redis-nexus; whichever
//! nexus leads it carries items up (region to redis-nexus) and down (from the other regions). Nothing of it is in the
//! nexus's memory only: places are kept where the items go, so that a crash neither loses nor repeats, and two leaders
//! at once are harmless.
//! In reading order: `link` (who leads), `up`, `down`, `jumps`.

pub mod link;

mod down;
mod jumps;
mod up;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use sectorbus::ids::{RegionName, RoomId};
use sectorbus::log::{Bridge, Hub, Log};

pub use link::Link;

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
    /// Whose feeds are mirrored, between all regions.
    pub rooms: Vec<RoomId>,
}

/// A running nexus. Dropping it ends its tasks where they wait.
pub struct Nexus {
    killed: CancellationToken,
    tracker: TaskTracker,
}

impl Nexus {
    pub fn start<L: Log + Bridge + Hub>(parts: NexusParts<L>) -> Self {
        let NexusParts { name, hub, regions, rooms } = parts;
        let (killed, tracker) = (CancellationToken::new(), TaskTracker::new());
        let all: Vec<_> = regions.iter().map(|region| (region.name.clone(), region.address.clone())).collect();
        for Region { name: region, log, .. } in regions {
            let others = all.iter().filter(|(other, _)| *other != region).cloned().collect();
            let link = Link { nexus: name.clone(), region, log, hub: hub.clone(), rooms: rooms.clone(), others };
            let killed = killed.clone();
            tracker.spawn(async move {
                tokio::select! {
                    biased;
                    () = killed.cancelled() => {}
                    () = link.run() => {}
                }
            });
        }
        Self { killed, tracker }
    }

    /// Ends it at once, as a kill would: its leads run out by themselves.
    pub async fn kill(self) {
        self.killed.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Drop for Nexus {
    fn drop(&mut self) {
        self.killed.cancel();
    }
}
