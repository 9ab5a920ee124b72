//! Who gets in, and how much is taken from whom: what of the settings is about players' connections. Decides; sockets
//! and frames are `players`' and `session`'s.

pub mod address;
pub mod half_open;
pub mod limits;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sectorbus::metrics::Metrics;

use crate::config::NodeConfig;
use address::Address;
use half_open::{Entering, HalfOpen};
use limits::Limits;

/// Forgetting who has not been heard for long costs a walk over those who have.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// What the settings say; swapped in whole.
pub struct Policy {
    pub limits: Limits,
    address_half_open_max: usize,
}

impl Policy {
    fn new(config: &NodeConfig) -> Self {
        Self { limits: Limits::new(config), address_half_open_max: config.address_half_open_max }
    }
}

pub struct Edge {
    policy: ArcSwap<Policy>,
    half_open: Arc<HalfOpen>,
}

impl Edge {
    pub fn new(config: &NodeConfig, metrics: &Metrics) -> Self {
        let shown = metrics.half_open.clone();
        let half_open = Arc::new(HalfOpen::new(move |count| shown.set(count as f64)));
        Self { policy: ArcSwap::from_pointee(Policy::new(config)), half_open }
    }

    pub fn policy(&self) -> arc_swap::Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// A connection that has not said hello; `None`: there are too many of them.
    pub fn enter(&self, address: Option<Address>) -> Option<Entering> {
        let max = self.policy.load().address_half_open_max;
        HalfOpen::enter(&self.half_open, address, max)
    }

    /// Keeps the memory of limits to those who were heard lately.
    pub async fn keep_tidy(&self) {
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            self.policy.load().limits.forget_the_quiet();
        }
    }
}
