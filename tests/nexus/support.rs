//! Two regions and redis-nexus, a redis-server each, the file that joins them, and what is said in them.

use std::time::Duration;

use anyhow::Result;
use sectorbus::ids::{ActorId, FeedId, PlayerId, RegionName, RoomId};
use sectorbus::item;
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::log::{Bridge, Log, LogError, OnceKey};
use sectorbus_tests::folder::Folder;
use sectorbus_tests::nexuses::{NexusFile, NexusProcess};
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};
use sectorbus_tests::waiting;

/// Ten times what anything here takes on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);
pub(crate) const NAMES: [&str; 2] = ["eu", "us"];

pub(crate) struct Universe {
    pub(crate) hub: RedisServer,
    pub(crate) regions: [RedisServer; 2],
    pub(crate) logs: [RedisLog; 2],
    pub(crate) file: NexusFile,
    pub(crate) folder: Folder,
}

impl Universe {
    pub(crate) async fn start() -> Result<Self> {
        Self::on(RedisOptions::default(), [RedisOptions::default(), RedisOptions::default()]).await
    }

    pub(crate) async fn on(hub: RedisOptions, [eu, us]: [RedisOptions; 2]) -> Result<Self> {
        let hub = RedisServer::start(hub).await?;
        let regions = [RedisServer::start(eu).await?, RedisServer::start(us).await?];
        let log = |at: usize| {
            let config = RedisConfig::new(regions[at].url(), RegionName::new(NAMES[at])?);
            anyhow::Ok(RedisLog::connect(RedisConfig { node: "writer".to_owned(), ..config })?)
        };
        let logs = [log(0)?, log(1)?];
        for log in &logs {
            // As after a first nexus: what was said before it stays where it is.
            waiting::until_async(SOON, "Redis", async || Ok(log.open_bridge().await.is_ok())).await?;
            let began_ms = log.open_bridge().await?.began_ms;
            waiting::until_async(SOON, "a bridge", async || Ok(log.time_ms().await? > began_ms)).await?;
        }
        let named = NAMES.iter().zip(&regions).map(|(name, server)| ((*name).to_owned(), server.url()));
        let file = NexusFile { hub: hub.url(), regions: named.collect(), ..NexusFile::default() };
        Ok(Self { hub, regions, logs, file, folder: Folder::new("nexus")? })
    }

    pub(crate) async fn nexus(&self, name: &str) -> Result<NexusProcess> {
        NexusProcess::start(name, &self.file, self.folder.path()).await
    }

    /// Says something in a region's global room.
    pub(crate) async fn say(&self, region: usize, text: &str, seq: u64) -> Result<()> {
        let name = OnceKey::Player { player: PlayerId::new("ann")?, actor: ActorId(1), seq };
        let body = item::encode(&name, text.as_bytes());
        while let Err(error) = self.logs[region].post(&RoomId::Global, &name, body.clone()).await {
            assert!(!matches!(error, LogError::Corrupt(_)), "{error}");
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// What is in a region's global feed, oldest first.
    pub(crate) async fn heard(&self, region: usize) -> Result<Vec<String>> {
        let items = self.logs[region].feed(&RoomId::Global, FeedId::START, 10_000).await?;
        let read = items.iter().filter_map(|item| item::decode(&item.body));
        Ok(read.map(|(_, body)| String::from_utf8_lossy(&body).into_owned()).collect())
    }

    pub(crate) async fn until_heard(&self, region: usize, text: &str) -> Result<()> {
        let is_heard = async || Ok(self.heard(region).await?.iter().any(|heard| heard == text));
        waiting::until_async(SOON, text, is_heard).await
    }
}

pub(crate) async fn until_metric(nexus: &NexusProcess, name: &str, is_so: impl Fn(f64) -> bool) -> Result<()> {
    let looked = async || Ok(is_so(nexus.metric(name).await?));
    waiting::until_async(SOON, name, looked).await
}

pub(crate) async fn until_ready(nexus: &NexusProcess) -> Result<()> {
    waiting::until_async(SOON, "the nexus is ready", async || Ok(nexus.is_ready().await)).await
}
