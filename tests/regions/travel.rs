//! Two regions with gates to each other, redis-nexus, nexus and nodes in this process; a player who travels; and who has that
//! player at any moment, read from what the regions have stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sectorbus::action::Action;
use sectorbus::ids::{Hop, PlayerId, RegionName, RoomId};
use sectorbus::log::memory::{MemoryConfig, MemoryLog, MemoryRegion};
use sectorbus::protocol::Codec;
use sectorbus::state::{Parts, PlayerRecord, RoomState};
use sectorbus::value::{Field, Value};
use sectorbus_nexus::{Nexus, NexusParts, Region};
use sectorbus_node::Node;
use sectorbus_node::config::Gate;
use sectorbus_node::load::apply;
use sectorbus_tests::client::Client;
use sectorbus_tests::cluster::{self, Connected};
use tokio::time::Instant;

pub(crate) const EU: &str = "eu";
pub(crate) const US: &str = "us";
const HOUR_MS: u64 = 3_600_000;
/// Ten times what a jump takes when nothing is wrong.
pub(crate) const SOON: Duration = Duration::from_secs(30);
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const QUICK_FOR: Duration = Duration::from_secs(4);

pub(crate) fn region_name(name: &str) -> RegionName {
    RegionName::new(name).expect("a name")
}

fn region(name: &str, seed: u64, clock_h: u64) -> MemoryRegion {
    let start_ms = 1_790_000_000_000 + clock_h * HOUR_MS;
    MemoryRegion::new(MemoryConfig { region: region_name(name), seed, start_ms, keep_history: false })
}

/// What a region has of a player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) region: &'static str,
    pub(crate) room: String,
    /// On the way out of there.
    pub(crate) is_leaving: bool,
    pub(crate) hop: Hop,
    pub(crate) credits: Option<i64>,
}

pub(crate) struct World {
    pub(crate) regions: BTreeMap<&'static str, MemoryRegion>,
    pub(crate) hub: MemoryRegion,
    nodes: BTreeMap<&'static str, Vec<Node<MemoryLog>>>,
    nexuses: Vec<Nexus>,
    seed: u64,
    started: u64,
}

impl World {
    /// Eu's clock is five hours ahead of us's; eu's sector 1, where its players begin, has a gate to us's 3, and back.
    pub(crate) async fn new(seed: u64, nodes: usize, nexuses: usize) -> Self {
        let regions = BTreeMap::from([(EU, region(EU, seed, 5)), (US, region(US, seed + 1, 0))]);
        let hub = region("nexus", seed + 2, 2);
        let nodes_of = BTreeMap::from([(EU, Vec::new()), (US, Vec::new())]);
        let mut world = Self { regions, hub, nodes: nodes_of, nexuses: Vec::new(), seed, started: 0 };
        for _ in 0..nexuses {
            world.start_nexus();
        }
        // Nodes that begin before a link has told them of other regions hear of them within two seconds.
        for name in [EU, US].into_iter().filter(|_| nexuses > 0) {
            let log = world.regions[name].handle();
            while sectorbus::log::Jumps::regions(&log).await.map_or(true, |regions| regions.is_empty()) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        for name in [EU, US] {
            for _ in 0..nodes {
                world.start_node(name).await;
            }
        }
        world
    }

    pub(crate) async fn start_node(&mut self, of: &'static str) {
        self.started += 1;
        let mut config = cluster::config(&format!("{of}-{}", self.started));
        config.region = region_name(of);
        config.gates = vec![Gate::read(if of == EU { "1 us:3" } else { "3 eu:1" }).expect("a gate")];
        let node = cluster::start(&self.regions[of], config, self.seed + 10 + self.started).await;
        self.nodes.get_mut(of).expect("a region").push(node);
    }

    pub(crate) fn start_nexus(&mut self) {
        self.started += 1;
        let regions = self.regions.iter().map(|(name, region)| Region {
            name: region_name(name),
            log: Arc::new(region.handle()),
            address: Some(format!("wss://{name}.example")),
        });
        self.nexuses.push(Nexus::start(NexusParts {
            name: format!("x{}", self.started),
            hub: Arc::new(self.hub.handle()),
            regions: regions.collect(),
            rules: sectorbus_nexus::rules::Rules::default(),
        }));
    }

    /// The oldest, which leads if anybody does; as `kill -9` would.
    pub(crate) async fn kill_nexus(&mut self) {
        if !self.nexuses.is_empty() {
            self.nexuses.remove(0).kill().await;
        }
    }

    /// One of a region's nodes, as `kill -9` would.
    pub(crate) fn kill_node(&mut self, of: &'static str, which: usize) {
        let nodes = self.nodes.get_mut(of).expect("a region");
        if which < nodes.len() {
            let node = nodes.remove(which);
            self.regions[of].kill(node.core().log.id());
            node.kill();
        }
    }

    pub(crate) fn node(&self, of: &str) -> Option<&Node<MemoryLog>> {
        self.nodes[of].last()
    }

    /// The position of the node that owns a sector, and of one that a player is connected to.
    pub(crate) fn owner_of(&self, of: &str, sector: &str) -> Option<usize> {
        let room: RoomId = format!("sector:{sector}").parse().expect("a room");
        self.nodes[of].iter().position(|node| node.core().owners.is_owned(&room))
    }

    pub(crate) fn last_node(&self, of: &str) -> usize {
        self.nodes[of].len().saturating_sub(1)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &MemoryRegion> {
        self.regions.values().chain([&self.hub])
    }

    /// Every record of a player that any region has stored now, at one moment.
    pub(crate) fn kept(&self, player: &PlayerId) -> Vec<Kept> {
        let mut found = Vec::new();
        for (region, stored) in &self.regions {
            for room in stored.rooms().into_iter().filter(|room| room.sector().is_some()) {
                let Some(state) = state_of(stored, &room) else { continue };
                let system = state.system();
                let credits = |fields: &sectorbus::state::Fields| fields.get(&Field::CREDITS).and_then(Value::as_int);
                let kept = |is_leaving, hop, credits| Kept { region, room: room.to_string(), is_leaving, hop, credits };
                if let Some(seat) = system.seat(player) {
                    found.push(kept(false, seat.hop, state.own(player).and_then(credits)));
                }
                let of_record = |record: &PlayerRecord| credits(&record.own);
                found.extend(system.dormant(player).map(|record| kept(false, record.hop, of_record(record))));
                found.extend(system.outgoing().get(player).map(|out| kept(true, out.hop, of_record(&out.record))));
            }
        }
        found
    }

    /// Never in both, never in neither, and nothing lost on the way.
    pub(crate) fn assert_one_place(&self, player: &PlayerId) {
        let kept = self.kept(player);
        let here: Vec<_> = kept.iter().filter(|kept| !kept.is_leaving).collect();
        assert!(here.len() <= 1, "seed {}: {player} is in two places: {kept:?}", self.seed);
        // A departure is remembered for a while after the arrival.
        let arrived = here.first().map(|kept| kept.hop);
        let leaving = kept.iter().filter(|kept| kept.is_leaving && Some(kept.hop) > arrived);
        let newest = leaving.max_by_key(|kept| kept.hop);
        assert!(here.len() == 1 || newest.is_some(), "seed {}: {player} is nowhere: {kept:?}", self.seed);
        for kept in here.into_iter().chain(newest) {
            assert_eq!(kept.credits, Some(sectorbus::rules::STARTING_CREDITS), "seed {}: {kept:?}", self.seed);
        }
    }

    /// Nobody is on the way any more; where the player is.
    pub(crate) fn at_rest(&self, player: &PlayerId) -> Option<Kept> {
        let kept = self.kept(player);
        let here = kept.iter().find(|kept| !kept.is_leaving)?;
        kept.iter().all(|kept| !kept.is_leaving || kept.hop <= here.hop).then(|| here.clone())
    }
}

fn state_of(stored: &MemoryRegion, room: &RoomId) -> Option<RoomState> {
    let dump = stored.room_dump(room)?;
    let snapshot = dump.snapshot?;
    let parts = Parts {
        public: snapshot.parts.public,
        own: snapshot.parts.own,
        system: snapshot.parts.system,
        dormant: snapshot.parts.dormant.unwrap_or_default(),
    };
    let mut state = RoomState::from_parts(&parts).expect("a state");
    for entry in dump.entries.iter().filter(|entry| entry.id.version > snapshot.id.version) {
        apply(&mut state, entry).expect("an entry that fits");
    }
    Some(state)
}

/// A player's client, which goes wherever it is told to, and comes back when its connection breaks.
pub(crate) struct Traveller {
    pub(crate) player: PlayerId,
    pub(crate) connected: Connected,
    /// Where it connects.
    pub(crate) region: &'static str,
    connect_at: Option<Instant>,
    /// How often it was told to go to another region.
    pub(crate) sent_on: u32,
}

impl Traveller {
    pub(crate) fn new(player: &str, region: &'static str, codec: Codec) -> Self {
        let connected = Connected::new(player, codec);
        let (player, connect_at) = (player.parse().expect("a name"), Some(Instant::now()));
        Self { player, connected, region, connect_at, sent_on: 0 }
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.connected.act(action);
    }

    pub(crate) fn jump(&mut self, to: &str) {
        self.act(Action::Jump { to: to.parse().expect("a sector beyond") });
    }

    pub(crate) fn is_in(&self, region: &str) -> bool {
        self.region == region && self.connected.client.is_live()
    }

    /// Plays until it is so, for so long; the player is in one place all the time.
    pub(crate) async fn until(&mut self, world: &World, within: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let began = Instant::now();
        let deadline = began + within;
        while !done(self) {
            if Instant::now() >= deadline {
                return false;
            }
            // Most happens right after something was done.
            let look_every = if began.elapsed() < QUICK_FOR { LOOK_EVERY } else { 10 * LOOK_EVERY };
            self.step(world, look_every).await;
            if !self.connected.client.welcomes.is_empty() {
                world.assert_one_place(&self.player);
            }
        }
        true
    }

    /// The same while what is stored may be torn.
    pub(crate) async fn until_unwatched(&mut self, world: &World, within: Duration, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + within;
        while !done(self) && Instant::now() < deadline {
            self.step(world, LOOK_EVERY).await;
        }
    }

    async fn step(&mut self, world: &World, look_every: Duration) {
        if self.connect_at.is_some_and(|at| Instant::now() >= at)
            && let Some(node) = world.node(self.region)
        {
            self.connect_at = None;
            self.connected.connect(node);
        }
        match tokio::time::timeout(look_every, self.connected.next()).await {
            Ok(true) | Err(_) => {}
            // The connection is over.
            Ok(false) => {
                if let Some(elsewhere) = &self.connected.client.elsewhere {
                    let next = [EU, US].into_iter().find(|name| *name == elsewhere.region.as_str());
                    self.region = next.expect("a region of this world");
                    assert_eq!(elsewhere.address.as_deref(), Some(format!("wss://{}.example", self.region).as_str()));
                    self.sent_on += 1;
                }
                self.connect_at = Some(Instant::now() + CONNECT_AGAIN_AFTER);
            }
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.connected.client
    }

    pub(crate) fn own(&self, field: Field) -> Option<i64> {
        self.client().view.as_ref()?.own.get(&field)?.as_int()
    }

    pub(crate) fn sector(&self) -> Option<&str> {
        self.client().view.as_ref().map(|view| view.sector.as_str())
    }
}
