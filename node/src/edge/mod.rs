//! Who gets in, and how much is taken from whom: what of the settings is about players' connections. Decides; sockets
//! and frames are `players`' and `session`'s.

pub mod arrival;

pub mod address;
pub mod half_open;
pub mod origins;
pub mod proxies;
pub mod proxy_header;

pub mod limits;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::HeaderMap;
use sectorbus::metrics::Metrics;

use crate::config::{NodeConfig, Origin, TlsServer};
use half_open::{Entering, HalfOpen};
use limits::Limits;
use proxies::Proxies;

/// Forgetting who has not been heard for long costs a walk over those who have.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// What the settings say; swapped in whole.
pub struct Policy {
    pub limits: Limits,
    pub proxies: Proxies,
    pub proxy_protocol: bool,
    /// For the next handshakes; `None`: players connect without TLS.
    pub tls: Option<TlsServer>,
    allowed_origins: Vec<Origin>,
    address_half_open_max: usize,
}

impl Policy {
    fn new(config: &NodeConfig) -> Self {
        Self {
            limits: Limits::new(config),
            proxies: Proxies::new(config.trusted_proxies.clone()),
            proxy_protocol: config.proxy_protocol,
            tls: config.tls.clone(),
            allowed_origins: config.allowed_origins.clone(),
            address_half_open_max: config.address_half_open_max,
        }
    }

    /// The page that a request comes from may connect.
    pub fn allows_origin(&self, headers: &HeaderMap) -> bool {
        origins::allow(&self.allowed_origins, headers)
    }
}

pub struct Edge {
    policy: ArcSwap<Policy>,
    half_open: Arc<HalfOpen>,
    /// A trusted proxy has let a connection through without saying whose it is.
    unnamed_seen: AtomicBool,
}

impl Edge {
    pub fn new(config: &NodeConfig, metrics: &Metrics) -> Self {
        let shown = metrics.half_open.clone();
        let half_open = Arc::new(HalfOpen::new(move |count| shown.set(count as f64)));
        Self { policy: ArcSwap::from_pointee(Policy::new(config)), half_open, unnamed_seen: AtomicBool::new(false) }
    }

    pub fn policy(&self) -> arc_swap::Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// What comes from now on is judged by these settings. Nobody's past counts against them.
    pub fn take_over(&self, config: &NodeConfig) {
        self.policy.store(Arc::new(Policy::new(config)));
    }

    /// True once, for the operator's log.
    pub fn is_first_unnamed(&self) -> bool {
        !self.unnamed_seen.swap(true, Ordering::Relaxed)
    }

    /// A connection that has not said hello; `None`: there are too many of them.
    fn enter(&self) -> Option<Entering> {
        HalfOpen::enter(&self.half_open)
    }

    /// Keeps the memory of limits to those who were heard lately.
    pub async fn keep_tidy(&self, others: impl Fn()) {
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            self.policy.load().limits.forget_the_quiet();
            others();
        }
    }
}
