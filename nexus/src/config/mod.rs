//! A nexus's settings: what they are, their defaults, and which contradict each other. They come from one TOML file, and
//! every problem is told with its line; figment, which reads a node's, keeps no lines of what stands in `[[…]]`.
//! The only door to files. Knows nothing of what settings do.

mod document;
mod error;
mod mirror;
mod redis_at;
mod settings;

use std::net::SocketAddr;
use std::path::Path;

use sectorbus::ids::{NexusName, RegionName};

pub use error::{ConfigError, Place, Problem};
pub use redis_at::RedisAt;
pub use settings::{LogFormat, SETTINGS, SettingDoc};

use self::document::{Document, Part};
use crate::rules::Rules;

/// Of the file; another number is another format.
pub const FORMAT: i64 = 1;
/// What redis-nexus's keys and `meta` say in place of a region: no region may be called so.
pub const HUB_REGION: &str = "nexus";

/// Everything a nexus can be told. `Debug` shows no password.
#[derive(Debug, Clone)]
pub struct NexusConfig {
    pub name: NexusName,
    /// Where probes and metrics are served.
    pub admin_listen: SocketAddr,
    pub log_level: tracing::Level,
    pub log_format: LogFormat,
    /// redis-nexus.
    pub hub: RedisAt,
    /// At least one; each has another name and another Redis.
    pub regions: Vec<RegionAt>,
    pub rules: Rules,
}

/// A region as the file names it.
#[derive(Debug, Clone)]
pub struct RegionAt {
    pub name: RegionName,
    pub redis: RedisAt,
    /// Where players connect who jump there: `wss://…` or `ws://…`.
    pub address: Option<String>,
    /// Of its table in the file.
    line: usize,
}

impl NexusConfig {
    /// Reads `file`. All problems are reported, not only the first.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            ConfigError::of(Problem::Unreadable { path: file.to_owned(), reason: error.to_string() })
        })?;
        let document = Document::parse(file, &text).map_err(ConfigError::of)?;
        let config = Self::read(&document);
        match (config, document.into_problems()) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(ConfigError { problems }),
        }
    }

    /// `None` only if the document has a problem.
    fn read(document: &Document<'_>) -> Option<Self> {
        let root = document.root();
        root.format();
        let name = root.required("name", |text| text.parse().ok());
        let admin_listen = root.optional("admin_listen", |text| text.parse().ok());
        let log_level = root.optional("log_level", settings::log_level);
        let log_format = root.optional("log_format", settings::log_format);
        let hub = root.table("hub").and_then(|part| RedisAt::read(&part).map(|redis| (part.line(), redis)));
        let parts = root.tables("region");
        if !root.has("region") {
            root.missing("region", "one [[region]] with name and redis_url for each region");
        }
        let regions = parts.iter().map(RegionAt::read).collect::<Vec<_>>();
        // Rules may name a region in whose table something else is wrong.
        let names: Vec<RegionName> = parts.iter().filter_map(Part::region_name).collect();
        let rules = mirror::read(&root.tables("mirror"), &names);
        let regions: Option<Vec<RegionAt>> = regions.into_iter().collect();
        if let (Some((line, hub)), Some(regions)) = (&hub, &regions) {
            refuse_one_redis_for_two(document, (*line, hub), regions);
        }
        Some(Self {
            name: name?,
            admin_listen: admin_listen.unwrap_or_else(settings::admin_listen),
            log_level: log_level.unwrap_or(tracing::Level::INFO),
            log_format: log_format.unwrap_or(LogFormat::Text),
            hub: hub?.1,
            regions: regions.filter(|regions| !regions.is_empty())?,
            rules: rules?,
        })
    }
}

impl RegionAt {
    fn read(part: &Part<'_>) -> Option<Self> {
        let name =
            part.required("name", |text| text.parse().ok().filter(|name: &RegionName| name.as_str() != HUB_REGION));
        let redis = RedisAt::read(part);
        let address = part.optional("address", settings::address);
        if let Some(name) = &name {
            part.refuse_twice("name", name.as_str());
        }
        Some(Self { name: name?, redis: redis?, address, line: part.line() })
    }
}

/// Two names for one Redis would mirror a region to itself.
fn refuse_one_redis_for_two(document: &Document<'_>, hub: (usize, &RedisAt), regions: &[RegionAt]) {
    let named = regions.iter().map(|region| (region.line, format!("region {}", region.name), &region.redis));
    let all: Vec<_> = std::iter::once((hub.0, "hub".to_owned(), hub.1)).chain(named).collect();
    for (at, (line, who, redis)) in all.iter().enumerate() {
        if let Some((_, other, _)) = all[..at].iter().find(|(_, _, before)| before.place() == redis.place()) {
            let (first, second, place) = (other.clone(), who.clone(), redis.place().to_owned());
            document.found(Problem::OneRedis { at: document.place(*line), first, second, place });
        }
    }
}
