//! Three regions, redis-nexus and two nexus in this process, in paused time. Their clocks are hours apart.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{RegionName, RoomId};
use sectorbus::log::memory::{Ambiguity, MemoryConfig, MemoryLog, MemoryRegion};
use sectorbus_nexus::{Nexus, NexusParts, Region};
use sectorbus_node::Node;
use sectorbus_tests::cluster;

use sectorbus_tests::pals::{Pals, room};

const NAMES: [&str; 3] = ["eu", "us", "asia"];
const HOUR_MS: u64 = 3_600_000;

fn region(name: &str, seed: u64, clock: u64) -> MemoryRegion {
    let region = RegionName::new(name).expect("a name");
    MemoryRegion::new(MemoryConfig { region, seed, start_ms: 1_790_000_000_000 + clock * HOUR_MS, keep_history: false })
}

/// Regions, what joins them, a node and a player in each.
struct Universe {
    regions: Vec<MemoryRegion>,
    hub: MemoryRegion,
    _nodes: Vec<Node<MemoryLog>>,
    pals: Pals,
}

impl Universe {
    async fn new(seed: u64) -> Self {
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
        Self { regions, hub: region("nexus", seed + 7, 1), _nodes: nodes, pals }
    }

    fn nexus(&self, name: &str) -> Nexus {
        let regions = NAMES.into_iter().zip(&self.regions).map(|(name, region)| Region {
            name: RegionName::new(name).expect("a name"),
            log: Arc::new(region.handle()),
            address: None,
        });
        Nexus::start(NexusParts {
            name: name.to_owned(),
            hub: Arc::new(self.hub.handle()),
            regions: regions.collect(),
            rooms: vec![RoomId::Global],
        })
    }

    fn all(&self) -> impl Iterator<Item = &MemoryRegion> {
        self.regions.iter().chain([&self.hub])
    }

    async fn passes(&mut self, time: Duration) {
        let _ = tokio::time::timeout(time, self.pals.until("never", |_| false)).await;
    }

    /// What each player heard of one author, in the order in which they heard it.
    fn heard_of(&self, author: &str) -> Vec<Vec<String>> {
        let of = |pal: usize| self.pals.heard(pal).texts(&room("global")).into_iter();
        let mine = |pal| of(pal).filter(|text| text.starts_with(author)).map(str::to_owned).collect();
        (0..NAMES.len()).map(mine).collect()
    }
}

fn unsure() -> Ambiguity {
    let (executed, not_executed, late) = (0.05, 0.05, 0.05);
    let (late_by, answered_after) = (Duration::from_millis(300), Duration::from_millis(80));
    Ambiguity { executed, not_executed, late, late_by, answered_after }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_in_one_region_is_heard_in_all_once_and_in_its_order_while_leaders_end() {
    for seed in 0..6_u64 {
        let mut universe = Universe::new(100 + seed).await;
        let mut nexus = vec![universe.nexus("x1"), universe.nexus("x2")];
        for region in universe.all() {
            region.set_latency(Duration::ZERO, Duration::from_millis(3 * seed));
            region.set_drop_chance(if seed > 2 { 0.3 } else { 0.0 });
            region.set_ambiguity(if seed > 1 { unsure() } else { Ambiguity::default() });
        }
        for round in 0..12 {
            for (pal, author) in ["ann", "bob", "cid"].into_iter().enumerate() {
                universe.pals.say(pal, "global", &format!("{author} {round}"));
            }
            universe.passes(Duration::from_millis(150 + 97 * (round + seed) % 400)).await;
            if round % 4 == 3 {
                // Whoever leads ends as a killed process does, and comes back under another name.
                nexus.remove(0).kill().await;
                nexus.push(universe.nexus(&format!("x{}", 3 + round)));
            }
        }
        universe.all().for_each(MemoryRegion::heal);
        universe.pals.heard_by(&[0, 1, 2], "global", 36).await;
        universe.passes(Duration::from_secs(5)).await;
        for author in ["ann", "bob", "cid"] {
            let all: Vec<String> = (0..12).map(|round| format!("{author} {round}")).collect();
            assert_eq!(universe.heard_of(author), vec![all; 3], "seed {seed}");
        }
        universe.pals.assert_kept();
    }
}

#[tokio::test(start_paused = true)]
async fn tails_that_are_lost_anywhere_are_made_good_and_nothing_is_heard_twice() {
    for seed in 0..8_u64 {
        let mut universe = Universe::new(200 + seed).await;
        let _nexus = [universe.nexus("x1"), universe.nexus("x2")];
        for region in universe.all() {
            region.set_latency(Duration::ZERO, Duration::from_millis(seed % 4));
        }
        let losing = (seed % 4) as usize;
        for round in 0..12 {
            for (pal, author) in ["ann", "bob", "cid"].into_iter().enumerate() {
                universe.pals.say(pal, "global", &format!("{author} {round}"));
            }
            if round % 4 == 1 {
                universe.all().nth(losing).expect("one of them").mark();
            }
            universe.passes(Duration::from_millis(40 + 61 * (round + seed) % 300)).await;
            if round % 4 == 3 {
                let region = universe.all().nth(losing).expect("one of them");
                assert!(region.lose_tail());
                if seed >= 4 {
                    // The replica that took over has a clock that is behind: it gives ids again.
                    region.shift_clock(-1_500);
                }
            }
        }
        universe.pals.heard_by(&[0, 1, 2], "global", 36).await;
        universe.passes(Duration::from_secs(5)).await;
        for author in ["ann", "bob", "cid"] {
            for (by, heard) in universe.heard_of(author).into_iter().enumerate() {
                let mut all = heard.clone();
                all.sort_unstable_by_key(|text| text[4..].parse::<u64>().expect("a round"));
                assert_eq!(
                    all,
                    (0..12).map(|round| format!("{author} {round}")).collect::<Vec<_>>(),
                    "seed {seed}, {by}: {heard:?}"
                );
            }
        }
        universe.pals.assert_kept();
    }
}
