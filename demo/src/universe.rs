//! What the demo's universe is: its size, its names, its keys, and where its rooms are kept.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::seq::SliceRandom;
use sectorbus::ids::{NodeName, PlayerId, RegionName, SectorId};
use sectorbus::log::memory::{MemoryConfig, MemoryRegion};
use sectorbus::log::redis::RedisConfig;
use sectorbus::rules::Universe;
use sectorbus_node::NodeConfig;
use sectorbus_node::auth::{Claims, mint, now_s};
use sectorbus_node::config::{ApiKey, RedisUrl, Scope, Scopes, Secret, TopicRule, new_api_key};

pub const NODES: [&str; 3] = ["alpha", "beta", "gamma"];
pub const BOTS: usize = 40;
pub const SECTORS: u32 = 48;
const SEED: u64 = 7;
const MOVE_COOL_DOWN: Duration = Duration::from_millis(1_500);
/// What players may ask for beside the feeds of their rooms.
const TOPICS: [&str; 1] = ["market:*=everyone"];
const TOKEN_LIVES_S: u64 = 24 * 3600;
/// TIME of a region in memory when it begins; any time would do.
const MEMORY_BEGINS_MS: u64 = 1_760_000_000_000;

const FIRST_NAMES: [&str; 8] = ["Amber", "Brisk", "Copper", "Dusty", "Early", "Faint", "Golden", "Hollow"];
const LAST_NAMES: [&str; 5] = ["Comet", "Heron", "Lantern", "Petrel", "Wren"];

/// Where rooms, inboxes and members are kept.
#[derive(Clone)]
pub enum Storage {
    /// In this process; gone with it.
    Memory(MemoryRegion),
    Redis(RedisUrl),
}

/// Who plays.
#[derive(Debug, Clone)]
pub struct Player {
    pub id: PlayerId,
    pub name: String,
    pub start: SectorId,
}

/// Fixed for one run of the demo; its keys are made at start and live nowhere else.
#[derive(Clone)]
pub struct World {
    pub storage: Storage,
    pub map: Arc<Universe>,
    pub region: RegionName,
    jwt_secret: Secret,
    resume_secret: Secret,
    backend_key: (String, ApiKey),
}

impl World {
    /// Must be called inside a tokio runtime: a region in memory starts its clock. `redis` `None`: in memory.
    pub fn new(redis: Option<RedisUrl>) -> Self {
        let region = RegionName::new("demo").expect("a name");
        let memory = || MemoryConfig {
            region: region.clone(),
            seed: rand::rng().random(),
            start_ms: MEMORY_BEGINS_MS,
            keep_history: false,
        };
        let storage = redis.map_or_else(|| Storage::Memory(MemoryRegion::new(memory())), Storage::Redis);
        let map = Arc::new(Universe::new(SEED, SECTORS));
        Self { storage, map, region, jwt_secret: new_key(), resume_secret: new_key(), backend_key: new_backend_key() }
    }

    /// The configuration of the node `name`; its addresses are given by listeners.
    pub fn node_config(&self, name: NodeName) -> NodeConfig {
        let keys = (self.jwt_secret.clone(), self.resume_secret.clone());
        let mut config = NodeConfig::new(self.region.clone(), name, keys.0, keys.1);
        config.universe_seed = SEED;
        config.universe_sectors = SECTORS;
        config.move_cool_down = MOVE_COOL_DOWN;
        config.topics = TOPICS.iter().filter_map(|rule| TopicRule::read(rule)).collect();
        config.api_keys = vec![self.backend_key.1.clone()];
        if let Storage::Redis(url) = &self.storage {
            config.redis_url = Some(url.clone());
            // The demo kills nodes, not Redis; `lookout` says once what a production node would refuse.
            config.allow_unsafe_redis = true;
        }
        config
    }

    /// For the demo's own look at the region.
    pub fn redis_config(&self, url: &RedisUrl) -> RedisConfig {
        let few = RedisConfig::new(url.expose(), self.region.clone());
        RedisConfig { node: "lookout".to_owned(), command_connections: 2, pubsub_connections: 1, ..few }
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

    /// The bots, spread over the sectors.
    pub fn bots(&self) -> Vec<Player> {
        let mut sectors: Vec<SectorId> = self.map.sectors().collect();
        sectors.shuffle(&mut rand::rng());
        let starts = sectors.iter().cycle();
        let names = FIRST_NAMES.iter().flat_map(|first| LAST_NAMES.iter().map(move |last| format!("{first} {last}")));
        let bots = names.zip(starts).take(BOTS).enumerate();
        bots.map(|(at, (name, start))| player(&format!("bot-{:02}", at + 1), name, start.clone())).collect()
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
