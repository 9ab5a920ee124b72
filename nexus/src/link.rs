//! One link: a region and redis-nexus. One nexus leads it at a time and carries what goes over it; the others ask again and
//! again whether they may.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::{RegionName, RoomId};
use sectorbus::log::{Bridge, Hub, Log, LogError, LogResult};

use crate::{LEAD_FOR, down, jumps, up};

const RETRY_AFTER: Duration = Duration::from_millis(50);

pub struct Link<L> {
    /// The name under which this nexus leads.
    pub nexus: String,
    pub region: RegionName,
    pub log: Arc<L>,
    pub hub: Arc<L>,
    pub rooms: Vec<RoomId>,
    /// The other regions, and where players connect there.
    pub others: Vec<(RegionName, Option<String>)>,
}

impl<L: Log + Bridge + Hub> Link<L> {
    /// For ever.
    pub async fn run(&self) {
        loop {
            if self.ask().await != Some(true) {
                tokio::time::sleep(LEAD_FOR / 4).await;
                continue;
            }
            tracing::info!(link = %self.region, nexus = self.nexus, "leads");
            tokio::select! {
                biased;
                () = self.until_overtaken() => tracing::warn!(link = %self.region, nexus = self.nexus, "leads no more"),
                () = self.carry() => {}
            }
        }
    }

    async fn carry(&self) {
        tokio::join!(up::run(self), down::run(self), jumps::run(self));
    }

    /// Keeps the lead as long as it may.
    async fn until_overtaken(&self) {
        let mut kept = Instant::now();
        loop {
            tokio::time::sleep(LEAD_FOR / 4).await;
            let asked = Instant::now();
            match self.ask().await {
                Some(true) => kept = asked,
                Some(false) => return,
                // It runs out there as well.
                None if kept.elapsed() >= LEAD_FOR => return,
                None => {}
            }
        }
    }

    /// `None`: redis-nexus does not say.
    async fn ask(&self) -> Option<bool> {
        self.hub.lead(self.region.as_str(), &self.nexus, LEAD_FOR).await.ok()
    }
}

/// Asks until there is an answer. `None`: what is there cannot be read.
pub(crate) async fn until_answered<T, F: Future<Output = LogResult<T>>>(ask: impl Fn() -> F) -> Option<T> {
    loop {
        match ask().await {
            Ok(answer) => return Some(answer),
            Err(LogError::Corrupt(what)) => {
                tracing::error!(%what, "what a link carries cannot be read");
                return None;
            }
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
        }
    }
}
