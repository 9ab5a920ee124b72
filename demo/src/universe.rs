//! What the demo's universe is: its two regions, their sizes, names and keys, and where their rooms are kept.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::seq::SliceRandom;
use sectorbus::ids::{NodeName, PlayerId, RegionName, SectorId};
use sectorbus::log::memory::{MemoryConfig, MemoryRegion};
use sectorbus::log::redis::RedisConfig;
use sectorbus::rules::Universe as Map;
use sectorbus_nexus::config::HUB_REGION;
use sectorbus_node::NodeConfig;
use sectorbus_node::auth::{Claims, mint, now_s};
use sectorbus_node::config::{ApiKey, Gate, RedisUrl, Scope, Scopes, Secret, TopicRule, new_api_key};

/// What is fixed of a region.
#[derive(Debug)]
struct Plan {
    name: &'static str,
    nodes: [&'static str; 2],
    seed: u64,
    /// From this sector, the one where players begin, to the same one of the other region.
    gate: &'static str,
}

const PLANS: [Plan; 2] = [
    Plan { name: "eu", nodes: ["alpha", "beta"], seed: 7, gate: "1 us:1" },
    Plan { name: "us", nodes: ["gamma", "delta"], seed: 11, gate: "1 eu:1" },
];
/// In each region.
pub const BOTS: usize = 20;
/// In each region.
pub const SECTORS: u32 = 24;
const MOVE_COOL_DOWN: Duration = Duration::from_millis(1_500);
/// What players may ask for beside the feeds of their rooms.
const TOPICS: [&str; 1] = ["market:*=everyone"];
const TOKEN_LIVES_S: u64 = 24 * 3600;
/// TIME of a region in memory when it begins; any time would do.
const MEMORY_BEGINS_MS: u64 = 1_760_000_000_000;

const FIRST_NAMES: [&str; 8] = ["Amber", "Brisk", "Copper", "Dusty", "Early", "Faint", "Golden", "Hollow"];
const LAST_NAMES: [&str; 5] = ["Comet", "Heron", "Lantern", "Petrel", "Wren"];

/// Where a region's rooms, inboxes and members are kept, or what redis-nexus has.
#[derive(Clone)]
pub enum Storage {
    /// In this process; gone with it.
    Memory(MemoryRegion),
    Redis(RedisUrl),
}

impl Storage {
    /// Must be called inside a tokio runtime: a region in memory starts its clock. `redis` `None`: in memory.
    fn new(region: &RegionName, redis: Option<RedisUrl>) -> Self {
        let memory = || MemoryConfig {
            region: region.clone(),
            seed: rand::rng().random(),
            start_ms: MEMORY_BEGINS_MS,
            keep_history: false,
        };
        redis.map_or_else(|| Self::Memory(MemoryRegion::new(memory())), Self::Redis)
    }
}

/// Two regions and what is between them.
pub struct Universe {
    pub worlds: Vec<World>,
    /// Redis-nexus.
    pub hub: Storage,
}

impl Universe {
    /// Must be called inside a tokio runtime. `redis`: of each region and redis-nexus; fewer: all of it in memory.
    pub fn new(redis: Option<Vec<RedisUrl>>) -> Self {
        let mut urls = redis.filter(|urls| urls.len() > PLANS.len()).unwrap_or_default().into_iter();
        // A player's token is good in both: it says who they are, and not where.
        let jwt_secret = new_key();
        let worlds = PLANS.iter().map(|plan| World::new(plan, urls.next(), jwt_secret.clone())).collect();
        Self { worlds, hub: Storage::new(&hub_region(), urls.next()) }
    }
}

/// The region name that redis-nexus has.
pub fn hub_region() -> RegionName {
    RegionName::new(HUB_REGION).expect("a name")
}

/// Who plays.
#[derive(Debug, Clone)]
pub struct Player {
    pub id: PlayerId,
    pub name: String,
    pub start: SectorId,
}

/// A region, fixed for one run of the demo; its keys are made at start and live nowhere else.
#[derive(Clone)]
pub struct World {
    pub storage: Storage,
    pub map: Arc<Map>,
    pub region: RegionName,
    pub gate: Gate,
    plan: &'static Plan,
    jwt_secret: Secret,
    resume_secret: Secret,
    backend_key: (String, ApiKey),
}

impl World {
    fn new(plan: &'static Plan, redis: Option<RedisUrl>, jwt_secret: Secret) -> Self {
        let region = RegionName::new(plan.name).expect("a name");
        Self {
            storage: Storage::new(&region, redis),
            map: Arc::new(Map::new(plan.seed, SECTORS)),
            gate: Gate::read(plan.gate).expect("a gate"),
            region,
            plan,
            jwt_secret,
            resume_secret: new_key(),
            backend_key: new_backend_key(),
        }
    }

    pub fn nodes(&self) -> [&'static str; 2] {
        self.plan.nodes
    }

    /// The configuration of the node `name`; its addresses are given by listeners.
    pub fn node_config(&self, name: NodeName) -> NodeConfig {
        let keys = (self.jwt_secret.clone(), self.resume_secret.clone());
        let mut config = NodeConfig::new(self.region.clone(), name, keys.0, keys.1);
        config.universe_seed = self.plan.seed;
        config.universe_sectors = SECTORS;
        config.move_cool_down = MOVE_COOL_DOWN;
        config.gates = vec![self.gate.clone()];
        config.topics = TOPICS.iter().filter_map(|rule| TopicRule::read(rule)).collect();
        config.api_keys = vec![self.backend_key.1.clone()];
        if let Storage::Redis(url) = &self.storage {
            config.redis_url = Some(url.clone());
            // The demo kills nodes, not Redis; `lookout` says once what a production node would refuse.
            config.allow_unsafe_redis = true;
        }
        config
    }

    /// A token for a player, valid for a day.
    pub fn token(&self, player: &Player) -> String {
        let mut claims = Claims::new(player.id.clone(), now_s() + TOKEN_LIVES_S);
        claims.name = Some(player.name.clone());
        claims.sector = Some(player.start.clone());
        mint(&claims, &self.jwt_secret)
    }

    /// What opens the nodes' door to the demo's own backend.
    pub fn backend_key(&self) -> String {
        self.backend_key.0.clone()
    }

    /// The bots, spread over the sectors; the first begins at the gate.
    pub fn bots(&self) -> Vec<Player> {
        let mut sectors: Vec<SectorId> = self.map.sectors().collect();
        sectors.shuffle(&mut rand::rng());
        let starts = std::iter::once(&self.gate.sector).chain(sectors.iter().cycle());
        let names = FIRST_NAMES.iter().flat_map(|first| LAST_NAMES.iter().map(move |last| format!("{first} {last}")));
        let bots = names.enumerate().skip(BOTS * self.at()).zip(starts).take(BOTS);
        bots.map(|((at, name), start)| player(&format!("bot-{:02}", at + 1), name, start.clone())).collect()
    }

    /// Who says something once a second, and listens.
    pub fn crier(&self) -> Player {
        player(&format!("crier-{}", self.region), format!("Crier of {}", self.region), self.map.start())
    }

    /// The player of the page's pane 1 or 2.
    pub fn pilot(&self, pane: u8) -> Option<Player> {
        let (id, name) = match pane {
            1 => ("pilot-a", "Pilot A"),
            2 => ("pilot-b", "Pilot B"),
            _ => return None,
        };
        Some(player(id, name.to_owned(), self.map.start()))
    }

    /// The number of this region, from 0.
    fn at(&self) -> usize {
        PLANS.iter().position(|plan| plan.name == self.plan.name).unwrap_or_default()
    }
}

/// For the demo's own look at a Redis.
pub fn redis_config(url: &RedisUrl, region: RegionName) -> RedisConfig {
    RedisConfig {
        node: "lookout".to_owned(),
        command_connections: 2,
        pubsub_connections: 1,
        ..RedisConfig::new(url.expose(), region)
    }
}

fn player(id: &str, name: String, start: SectorId) -> Player {
    Player { id: PlayerId::new(id).expect("a name"), name, start }
}

fn new_backend_key() -> (String, ApiKey) {
    let id = NodeName::new("demo").expect("a name");
    let said = new_api_key(&id, Scopes::default().with(Scope::Publish).with(Scope::State));
    // The key in a line of its own, then its entry in quotes.
    let mut parts = said.split(['\n', '"']);
    let key = parts.next().expect("a key").to_owned();
    (key, parts.nth(1).and_then(ApiKey::read).expect("an entry"))
}

fn new_key() -> Secret {
    let key: [u8; 32] = rand::rng().random();
    Secret::new(key).expect("32 bytes")
}
