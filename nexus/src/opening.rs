//! The first contact with each Redis: that it is the one it is taken for, before anything is carried. Waits for one that
//! is away, and for no other.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sectorbus::ids::RegionName;
use sectorbus::log::{Bridge, Hub, Log, LogError, LogResult, Opened};
use tokio::sync::OnceCell;

use crate::config::HUB_REGION;

const RETRY_AFTER: Duration = Duration::from_millis(200);

/// A Redis that is not what the configuration takes it for: a nexus that went on would mix regions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the Redis of {wanted} belongs to region {found}: set the name or redis_url")]
    OtherRegion { wanted: String, found: String },
    #[error("the Redis of {of} holds format {found}, which this release does not know: use a release that does")]
    UnknownFormat { of: String, found: String },
    #[error("{first} and {second} have the same Redis: accepted is one of its own for each")]
    OneRedis { first: String, second: String },
    #[error("the Redis of {of} answers what cannot be read: {what}")]
    Unreadable { of: String, what: String },
}

/// Shared by the links of one nexus.
pub(crate) struct Opening<L> {
    hub: Arc<L>,
    hub_opened: OnceCell<()>,
    /// By the name that a server gives itself: whose it is.
    servers: Mutex<Vec<(String, String)>>,
}

impl<L: Log + Bridge + Hub> Opening<L> {
    pub(crate) fn new(hub: Arc<L>) -> Self {
        Self { hub, hub_opened: OnceCell::new(), servers: Mutex::default() }
    }

    /// Until redis-nexus and the region have answered.
    pub(crate) async fn open(&self, region: &RegionName, log: &L) -> Result<(), Refused> {
        let hub = || self.check("redis-nexus".to_owned(), HUB_REGION, &*self.hub);
        self.hub_opened.get_or_try_init(hub).await?;
        self.check(format!("region {region}"), region.as_str(), log).await
    }

    async fn check(&self, who: String, region: &str, log: &L) -> Result<(), Refused> {
        match answered(&who, || log.open()).await? {
            Opened::Ok => {}
            Opened::OtherRegion { found } => return Err(Refused::OtherRegion { wanted: who, found }),
            Opened::UnknownFormat { found } => return Err(Refused::UnknownFormat { of: who, found }),
        }
        let server = answered(&who, || log.server()).await?;
        let mut servers = self.servers.lock();
        if let Some((_, first)) = servers.iter().find(|(known, first)| *known == server && *first != who) {
            return Err(Refused::OneRedis { first: first.clone(), second: who });
        }
        tracing::info!(redis = who, region, "connected");
        servers.push((server, who));
        Ok(())
    }
}

async fn answered<T, F: Future<Output = LogResult<T>>>(who: &str, ask: impl Fn() -> F) -> Result<T, Refused> {
    let mut said = false;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(LogError::Corrupt(what)) => return Err(Refused::Unreadable { of: who.to_owned(), what }),
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(redis = who, %error, "waiting for Redis");
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}
