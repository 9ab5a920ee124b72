//! Three regions, redis-nexus and nexus in this process, in paused time. Their clocks are hours apart.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{RegionName, RoomId};
use sectorbus::limits::BRIDGE_BEGINS_AFTER;
use sectorbus::log::memory::{MemoryConfig, MemoryLog, MemoryRegion};
use sectorbus_nexus::rules::{Class, MirrorRule, RoomPattern, Rules, What};
use sectorbus_nexus::{Nexus, NexusParts, Region};
use sectorbus_node::Node;
use sectorbus_tests::cluster;
use sectorbus_tests::pals::{Pals, room};

pub(crate) const NAMES: [&str; 3] = ["eu", "us", "asia"];
const HOUR_MS: u64 = 3_600_000;

/// The rules that hold if none are given, and the logs of these sectors.
pub(crate) fn with_sectors(sectors: impl IntoIterator<Item = RoomId>) -> Rules {
    let rooms = sectors.into_iter().map(RoomPattern::Exactly).collect();
    let sectors = MirrorRule { what: What::Logs, rooms, from: None, to: None, class: Class::Normal };
    Rules::new(Rules::default().iter().cloned().chain([sectors]).collect())
}

pub(crate) fn region(name: &str, seed: u64, clock: u64) -> MemoryRegion {
    let region = RegionName::new(name).expect("a name");
    MemoryRegion::new(MemoryConfig { region, seed, start_ms: 1_790_000_000_000 + clock * HOUR_MS, keep_history: false })
}

/// Regions, what joins them, a node and a player in each.
pub(crate) struct Universe {
    pub(crate) regions: Vec<MemoryRegion>,
    pub(crate) hub: MemoryRegion,
    pub(crate) nodes: Vec<Node<MemoryLog>>,
    pub(crate) pals: Pals,
}

impl Universe {
    pub(crate) async fn new(seed: u64) -> Self {
        let mut regions = Vec::new();
        let (mut nodes, mut pals) = (Vec::new(), Pals::default());
        for (n, name) in NAMES.into_iter().enumerate() {
            let region = region(name, 10 * seed + n as u64, [2, 0, 5][n]);
            let mut config = cluster::config(&format!("{name}-1"));
            config.region = RegionName::new(name).expect("a name");
            let node = cluster::start(&region, config, seed + n as u64).await;
            pals.add(["ann", "bob", "cid"][n], &node).await;
            regions.push(region);
            nodes.push(node);
        }
        Self { regions, hub: region("nexus", seed + 7, 1), nodes, pals }
    }

    /// Two nexus, and the time until regions are bridged.
    pub(crate) async fn bridged(&mut self) -> Vec<Nexus> {
        let nexus = vec![self.nexus("x1"), self.nexus("x2")];
        self.passes(BRIDGE_BEGINS_AFTER + Duration::from_secs(1)).await;
        nexus
    }

    pub(crate) fn nexus(&self, name: &str) -> Nexus {
        let regions = NAMES.into_iter().zip(&self.regions).map(|(name, region)| Region {
            name: RegionName::new(name).expect("a name"),
            log: Arc::new(region.handle()),
            address: None,
        });
        Nexus::start(NexusParts {
            name: name.to_owned(),
            hub: Arc::new(self.hub.handle()),
            regions: regions.collect(),
            rules: Rules::default(),
        })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &MemoryRegion> {
        self.regions.iter().chain([&self.hub])
    }

    pub(crate) async fn passes(&mut self, time: Duration) {
        let _ = tokio::time::timeout(time, self.pals.until("never", |_| false)).await;
    }

    /// What each player heard of one author, in the order in which they heard it.
    pub(crate) fn heard_of(&self, author: &str) -> Vec<Vec<String>> {
        let of = |pal: usize| self.pals.heard(pal).texts(&room("global")).into_iter();
        let mine = |pal| of(pal).filter(|text| text.starts_with(author)).map(str::to_owned).collect();
        (0..NAMES.len()).map(mine).collect()
    }
}
