//! Two regions that hear each other: a redis-server for each, one for redis-nexus, nodes where a part needs them, and nexus
//! processes. Knows nothing of what is measured.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use redis::aio::MultiplexedConnection;
use sectorbus::ids::RoomId;
use tokio::time::Instant;

use crate::folder::Folder;
use crate::load::region::{NodeOptions, Region, executable};
use crate::load::usage::{cpu_of, rss_bytes_of};
use crate::mirrored::Feeds;
use crate::nexuses::{NexusFile, NexusProcess};
use crate::redis_server::{RedisOptions, RedisServer};

pub(super) const NAMES: [&str; 2] = ["a", "b"];
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

pub(super) struct Pair {
    /// Dropped first: what it is connected to is still there.
    pub(super) nexuses: Vec<NexusProcess>,
    pub(super) regions: Vec<Region>,
    pub(super) hub: RedisServer,
    folder: Folder,
    binary: PathBuf,
    launched: usize,
}

impl Pair {
    /// With this many nodes in each region, bridged, and no nexus yet.
    pub(super) async fn start(nodes: usize) -> Result<Self> {
        let binary = executable("sectorbus-nexus")?;
        let mut regions = Vec::new();
        for name in NAMES {
            let options = NodeOptions { settings: vec![("region", name.to_owned())], core: None };
            regions.push(Region::start(nodes, &options).await?);
        }
        let hub = RedisServer::start(RedisOptions::default()).await?;
        let pair = Self { nexuses: Vec::new(), regions, hub, folder: Folder::new("xregion")?, binary, launched: 0 };
        for region in 0..NAMES.len() {
            pair.feeds(region).await?.bridged().await?;
        }
        Ok(pair)
    }

    /// Starts one more nexus and does not wait for it.
    pub(super) fn launch_nexus(&mut self) -> Result<()> {
        let (name, file) = self.next_file();
        self.nexuses.push(NexusProcess::launch_binary(&self.binary, &name, &file, self.folder.path())?);
        Ok(())
    }

    /// The same, and waits until it serves.
    pub(super) async fn start_nexus(&mut self) -> Result<()> {
        let (name, file) = self.next_file();
        self.nexuses.push(NexusProcess::start_binary(&self.binary, &name, &file, self.folder.path()).await?);
        Ok(())
    }

    fn next_file(&mut self) -> (String, NexusFile) {
        self.launched += 1;
        let regions = NAMES.iter().zip(&self.regions).map(|(name, region)| (name.to_string(), region.redis.url()));
        let file =
            NexusFile { hub: self.hub.url(), regions: regions.collect(), more: String::new(), log_level: "warn" };
        (format!("x{}", self.launched), file)
    }

    /// Where in `nexuses` the leader of a region's link is; waits until there is one.
    pub(super) async fn leader(&self, of: &str, within: Duration) -> Result<usize> {
        let deadline = Instant::now() + within;
        let mut connection = self.hub.connection().await?;
        loop {
            let asked = redis::cmd("GET").arg(format!("sb:nexus:{{hub}}:leader:{of}")).clone();
            let leader: Option<String> = asked.query_async(&mut connection).await?;
            let is_it = |nexus: &NexusProcess| {
                leader.as_ref().is_some_and(|leader| leader.split('#').next() == Some(nexus.name()))
            };
            if let Some(at) = self.nexuses.iter().position(is_it) {
                return Ok(at);
            }
            ensure!(Instant::now() < deadline, "the link of {of} is led by {leader:?} after {within:?}");
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }

    pub(super) async fn feeds(&self, region: usize) -> Result<Feeds> {
        Feeds::connect(&self.regions[region].redis.url(), NAMES[region], "poster").await
    }

    pub(super) fn nexus_rss_bytes(&self) -> Result<u64> {
        self.nexuses.iter().map(|nexus| rss_bytes_of(nexus.pid())).try_fold(0, |most, rss| Ok(rss?.max(most)))
    }

    pub(super) fn nexus_cpu(&self) -> Result<Duration> {
        self.nexuses.iter().map(|nexus| cpu_of(nexus.pid())).sum()
    }

    /// Of all three servers.
    pub(super) fn redis_cpu(&self) -> Result<Duration> {
        self.regions.iter().map(|region| &region.redis).chain([&self.hub]).map(|redis| cpu_of(redis.pid())).sum()
    }
}

/// Counts what a region's feeds hold.
pub(super) struct Lengths {
    connection: MultiplexedConnection,
    ask: redis::Pipeline,
}

impl Lengths {
    pub(super) async fn of(pair: &Pair, region: usize, rooms: &[RoomId]) -> Result<Self> {
        let mut ask = redis::pipe();
        for room in rooms {
            ask.cmd("XLEN").arg(format!("sb:{}:{{{room}}}:feed", NAMES[region]));
        }
        Ok(Self { connection: pair.regions[region].redis.connection().await?, ask })
    }

    /// Items in all of them.
    pub(super) async fn sum(&mut self) -> Result<u64> {
        let lengths: Vec<u64> = self.ask.query_async(&mut self.connection).await.context("XLEN")?;
        Ok(lengths.iter().sum())
    }

    /// Waits until there are this many.
    pub(super) async fn reach(&mut self, count: u64, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let sum = self.sum().await?;
            if sum >= count {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{sum} of {count} items are there after {within:?}");
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }
}

/// Rooms whose feeds are mirrored by default, and nobody is in.
pub(super) fn rooms(count: usize) -> Vec<RoomId> {
    (0..count).map(|n| format!("team:load{n}").parse().expect("a room")).collect()
}
