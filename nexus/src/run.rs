//! A nexus process from start to end: its Redises, its admin listener, its links, its leave. What production and tests start.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::RegionName;
use sectorbus::log::redis::{ConnectError, RedisLog};
use sectorbus::log::{Hub, LogError};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::config::{HUB_REGION, NexusConfig, RedisAt};
use crate::status::Report;
use crate::{Ended, Nexus, NexusParts, Region, admin};

/// A command that asks redis-nexus for something gives up then.
const ASKED_WITHIN: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Why a process ends other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum NexusError {
    #[error(transparent)]
    Ended(#[from] Ended),
    #[error("admin_listen = {address} cannot be bound: {error}; choose another address")]
    Bind { address: SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Recorder(#[from] admin::RecorderError),
    #[error("the admin listener failed: {0}")]
    Admin(std::io::Error),
    #[error("{of}: {error}")]
    Redis { of: String, error: ConnectError },
    #[error("redis-nexus: {0}")]
    Hub(LogError),
    #[error("no link is called {link}: accepted is {accepted}")]
    UnknownLink { link: String, accepted: String },
    #[error("what there is cannot be printed: {0}")]
    Printed(String),
}

impl NexusError {
    /// A broken invariant and not the world's fault.
    pub fn is_panic(&self) -> bool {
        matches!(self, NexusError::Ended(Ended::Panicked(_)))
    }

    /// Asked for what the configuration does not have.
    pub fn is_misuse(&self) -> bool {
        matches!(self, NexusError::UnknownLink { .. })
    }
}

/// Binds what the configuration names.
pub async fn bind(config: &NexusConfig) -> Result<TcpListener, NexusError> {
    let address = config.admin_listen;
    TcpListener::bind(address).await.map_err(|error| NexusError::Bind { address, error })
}

/// Runs a nexus until `shutdown`, then hands over.
pub async fn run(
    config: NexusConfig,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), NexusError> {
    let recorder = admin::install_recorder()?;
    let (hub, regions) = connect(&config)?;
    let mut nexus =
        Nexus::start(NexusParts { name: config.name.to_string(), hub, regions, rules: config.rules.clone() });
    tracing::info!(nexus = %config.name, regions = config.regions.len(), "started");
    let seen = nexus.seen();
    tokio::select! {
        ended = nexus.ended() => return ended.map_err(NexusError::from),
        error = admin::serve(listener, seen, recorder) => return Err(NexusError::Admin(error)),
        () = shutdown => {}
    }
    nexus.shutdown().await;
    Ok(())
}

/// Redis-nexus and the regions; connecting goes on in the background.
pub(crate) fn connect(config: &NexusConfig) -> Result<(Arc<RedisLog>, Vec<Region<RedisLog>>), NexusError> {
    let hub = Arc::new(connect_hub(config)?);
    let mut regions = Vec::new();
    for region in &config.regions {
        let log = connect_one(format!("region {}", region.name), &region.redis, region.name.clone(), config)?;
        regions.push(Region { name: region.name.clone(), log: Arc::new(log), address: region.address.clone() });
    }
    Ok((hub, regions))
}

fn connect_hub(config: &NexusConfig) -> Result<RedisLog, NexusError> {
    let region = RegionName::new(HUB_REGION).expect("a name");
    connect_one("redis-nexus".to_owned(), &config.hub, region, config)
}

fn connect_one(of: String, at: &RedisAt, region: RegionName, config: &NexusConfig) -> Result<RedisLog, NexusError> {
    RedisLog::connect(at.config(region, config.name.as_str())).map_err(|error| NexusError::Redis { of, error })
}

/// Pauses a link, or resumes it.
pub async fn pause(config: &NexusConfig, link: &str, paused: bool) -> Result<String, NexusError> {
    if !config.regions.iter().any(|region| region.name.as_str() == link) {
        let names: Vec<&str> = config.regions.iter().map(|region| region.name.as_str()).collect();
        return Err(NexusError::UnknownLink { link: link.to_owned(), accepted: names.join(", ") });
    }
    let hub = connect_hub(config)?;
    let deadline = Instant::now() + ASKED_WITHIN;
    loop {
        match hub.pause(link, paused).await {
            Ok(()) => return Ok(format!("link {link} is {}\n", if paused { "paused" } else { "resumed" })),
            Err(error) if Instant::now() >= deadline => return Err(NexusError::Hub(error)),
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
        }
    }
}

/// What `status` prints.
pub async fn status(config: &NexusConfig, json: bool) -> Result<String, NexusError> {
    let (hub, regions) = connect(config)?;
    let report = Report::read(&*hub, &regions, &config.rules).await;
    if json {
        return Ok(
            serde_json::to_string_pretty(&report).map_err(|error| NexusError::Printed(error.to_string()))? + "\n"
        );
    }
    Ok(report.printed())
}
