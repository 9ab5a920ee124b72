//! A nexus process from start to end: its Redises, its admin listener, its links, its leave. What production and tests start.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::RegionName;
use sectorbus::log::redis::{ConnectError, RedisLog};
use sectorbus::log::{Hub, LogError};
use sectorbus::metrics::NexusMeters;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::Instant;

use crate::config::{HUB_REGION, NexusConfig, RedisAt};
use crate::status::Report;
use crate::{Ended, Nexus, NexusParts, Region, UnsafeHub, admin, safety};

/// A command that asks redis-nexus for something gives up then.
const ASKED_WITHIN: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Why a process ends other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum NexusError {
    #[error(transparent)]
    Ended(#[from] Ended),
    #[error(transparent)]
    UnsafeHub(#[from] UnsafeHub),
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

/// It cannot run, or do what it was asked for.
pub const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub const MISUSED: u8 = 2;
/// A panic inside, a broken invariant and not the world's fault: EX_SOFTWARE of sysexits.h.
pub const INTERNAL: u8 = 70;

impl NexusError {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            NexusError::Ended(Ended::Panicked(_)) => INTERNAL,
            NexusError::UnknownLink { .. } => MISUSED,
            _ => FAILED,
        }
    }
}

/// What a process ends with whose nexus ran as a task of its own: 0 after a shutdown.
pub fn exit_code(ended: Result<Result<(), NexusError>, JoinError>) -> u8 {
    match ended {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            tracing::error!(%error, "the nexus ended");
            error.exit_code()
        }
        Err(_panicked) => INTERNAL,
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
    let watched: Vec<_> = regions.iter().map(|region| (region.name.clone(), region.log.clone())).collect();
    let watched_hub = hub.clone();
    let meters = NexusMeters::new(config.name.as_str());
    let (unsafe_tx, unsafe_rx) = watch::channel(None);
    let mut nexus =
        Nexus::start(NexusParts { name: config.name.to_string(), hub, regions, rules: config.rules.clone() });
    tracing::info!(nexus = %config.name, regions = config.regions.len(), "started");
    let seen = nexus.seen();
    tokio::select! {
        ended = nexus.ended() => return ended.map_err(NexusError::from),
        error = admin::serve(listener, seen, unsafe_rx, recorder) => return Err(NexusError::Admin(error)),
        refused = safety::watch_over(&*watched_hub, &watched, meters, unsafe_tx) => return Err(refused.into()),
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

#[cfg(test)]
mod tests {
    use sectorbus::log::memory::{MemoryConfig, MemoryRegion};

    use super::*;
    use crate::rules::Rules;

    #[tokio::test]
    async fn a_panic_of_any_task_ends_the_nexus_with_70() {
        let outside: Result<Result<(), NexusError>, JoinError> =
            tokio::spawn(async { panic!("beside its tasks") }).await;
        assert_eq!(exit_code(outside), 70);

        let region = RegionName::new(HUB_REGION).expect("a name");
        let config = MemoryConfig { region, seed: 1, start_ms: 1_790_000_000_000, keep_history: false };
        let hub = Arc::new(MemoryRegion::new(config).handle());
        let (name, rules) = ("x1".to_owned(), Rules::default());
        let mut nexus = Nexus::start(NexusParts { name, hub, regions: Vec::new(), rules });
        // Links are tasks as this one is.
        nexus.tasks.spawn(async { panic!("a broken invariant") });
        let ended = nexus.ended().await;
        assert!(matches!(&ended, Err(Ended::Panicked(why)) if why.contains("a broken invariant")), "{ended:?}");
        assert_eq!(exit_code(Ok(ended.map_err(NexusError::from))), 70);
    }
}
