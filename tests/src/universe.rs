//! A universe of real processes: regions with nodes, each on a redis-server of its own, redis-nexus, and nexus processes that
//! reach every server over a proxy. The servers' clocks are hours apart. Knows nothing of what is said in it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use crate::folder::Folder;
use crate::mirrored::Feeds;
use crate::nexuses::{NexusFile, NexusProcess};
use crate::processes::NodeSettings;
use crate::proxy::Proxy;
use crate::redis_server::{RedisOptions, RedisServer};
use crate::region::Region;

/// Of all regions that a universe may have, and how far their clocks are ahead.
const REGIONS: [(&str, i64); 3] = [("eu", 2 * HOUR_S), ("us", 0), ("asia", 5 * HOUR_S)];
const HUB_AHEAD_S: i64 = -HOUR_S;
const HOUR_S: i64 = 3_600;
const LOG_LINES_SHOWN: usize = 100;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// A region of the universe.
pub struct Member {
    pub name: &'static str,
    pub region: Region,
    /// Between its Redis and every nexus.
    pub link: Proxy,
}

pub struct Universe {
    /// Those that the test has started and not taken out.
    pub nexuses: Vec<NexusProcess>,
    pub members: Vec<Member>,
    pub hub: RedisServer,
    /// Between redis-nexus and every nexus.
    pub hub_link: Proxy,
    launched: usize,
    folder: Folder,
    passed: bool,
}

impl Universe {
    /// Three regions with this many nodes each, bridged, and no nexus yet.
    pub async fn start(nodes: usize) -> Result<Self> {
        Self::start_with(REGIONS.len(), nodes, |_, settings| settings).await
    }

    /// The same of the first `regions`, their nodes with other settings by the name of the region.
    pub async fn start_with(
        regions: usize,
        nodes: usize,
        change: impl Fn(&str, NodeSettings) -> NodeSettings,
    ) -> Result<Self> {
        let mut members = Vec::new();
        for (name, clock_ahead_s) in REGIONS.into_iter().take(regions) {
            let mut region = Region::on_redis(RedisOptions { clock_ahead_s, ..RedisOptions::default() }).await?;
            for number in 1..=nodes {
                let settings = region.settings(&format!("{name}-{number}")).with("region", name);
                region.add(change(name, settings)).await?;
            }
            region.together().await?;
            let link = Proxy::to_redis(region.redis.port()).await?;
            members.push(Member { name, region, link });
        }
        let hub = RedisServer::start(hub_options()).await?;
        let hub_link = Proxy::to_redis(hub.port()).await?;
        let folder = Folder::new("universe")?;
        let universe = Self { nexuses: Vec::new(), members, hub, hub_link, launched: 0, folder, passed: false };
        for member in &universe.members {
            universe.feeds(member.name).await?.bridged().await?;
        }
        Ok(universe)
    }

    /// One more nexus with `[[mirror]]` tables, or what is mirrored by default; of a name that none had before.
    pub async fn start_nexus(&mut self, mirrors: &str) -> Result<&mut NexusProcess> {
        self.launched += 1;
        let regions = self.members.iter().map(|member| (member.name.to_owned(), member.link.redis_url()));
        let (hub, regions) = (self.hub_link.redis_url(), regions.collect());
        let file = NexusFile { hub, regions, more: mirrors.to_owned(), ..NexusFile::default() };
        let name = format!("x{}", self.launched);
        self.nexuses.push(NexusProcess::start(&name, &file, self.folder.path()).await?);
        self.nexuses.last_mut().context("just pushed")
    }

    pub fn member(&self, name: &str) -> &Member {
        self.members.iter().find(|member| member.name == name).expect("a region of the universe")
    }

    pub fn member_mut(&mut self, name: &str) -> &mut Member {
        self.members.iter_mut().find(|member| member.name == name).expect("a region of the universe")
    }

    /// A connection of the test's own to a region, past the proxy.
    pub async fn feeds(&self, name: &str) -> Result<Feeds> {
        Feeds::connect(&self.member(name).region.redis.url(), name, "test").await
    }

    /// The name of the nexus that leads a region's link, as redis-nexus has it.
    pub async fn leader(&self, of: &str) -> Result<Option<String>> {
        let mut connection = self.hub.connection().await?;
        let leader =
            redis::cmd("GET").arg(format!("sb:nexus:{{hub}}:leader:{of}")).query_async(&mut connection).await?;
        let leader: Option<String> = leader;
        Ok(leader.map(|life| life.split('#').next().unwrap_or_default().to_owned()))
    }

    /// Waits until this nexus leads every link.
    pub async fn led_by(&self, nexus: &str, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        for name in self.members.iter().map(|member| member.name) {
            loop {
                let leader = self.leader(name).await?;
                if leader.as_deref() == Some(nexus) {
                    break;
                }
                ensure!(Instant::now() < deadline, "the link of {name} is led by {leader:?}, not by {nexus}");
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            }
        }
        Ok(())
    }

    /// The last word of a test that passed: without it logs are printed. Nobody may have panicked.
    pub fn passed(mut self) -> Result<()> {
        for nexus in &self.nexuses {
            ensure!(!nexus.log_text().contains("panicked"), "{} panicked:\n{}", nexus.name(), end_of_log(nexus));
        }
        self.passed = true;
        for member in std::mem::take(&mut self.members) {
            member.region.passed()?;
        }
        Ok(())
    }
}

/// Of redis-nexus and of what is to replace it.
pub fn hub_options() -> RedisOptions {
    RedisOptions { clock_ahead_s: HUB_AHEAD_S, ..RedisOptions::default() }
}

impl Drop for Universe {
    fn drop(&mut self) {
        for nexus in self.nexuses.iter().filter(|_| !self.passed) {
            eprintln!("---- the end of {}'s log ----\n{}", nexus.name(), end_of_log(nexus));
        }
    }
}

fn end_of_log(nexus: &NexusProcess) -> String {
    let text = nexus.log_text();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}
