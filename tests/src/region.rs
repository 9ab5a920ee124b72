//! A region of real processes: a redis-server, nodes, and the directory of their logs. Starts them together, tells
//! when they see each other, and cleans up. Knows nothing of players.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use crate::processes::{NodeProcess, NodeSettings};
use crate::proxy::Proxy;
use crate::redis_server::{RedisOptions, RedisServer};

const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);
const TOGETHER_WITHIN: Duration = Duration::from_secs(30);

/// A running region. Nodes are dropped before Redis, then the directory goes.
pub struct Region {
    pub nodes: Vec<NodeProcess>,
    pub redis: RedisServer,
    directory: PathBuf,
    passed: bool,
    /// What must live as long as the nodes.
    kept: Vec<Proxy>,
}

impl Region {
    /// Nodes of these names on a Redis of their own, and nothing in between.
    pub async fn start(names: &[&str]) -> Result<Self> {
        Self::start_with(names, |settings| settings).await
    }

    /// The same, each node with other settings or over a proxy.
    pub async fn start_with(names: &[&str], change: impl Fn(NodeSettings) -> NodeSettings) -> Result<Self> {
        let mut region = Self::without_nodes().await?;
        for name in names {
            let settings = change(region.settings(name));
            region.add(settings).await?;
        }
        region.together().await?;
        Ok(region)
    }

    /// The same, each node with a proxy of its own between it and Redis; in the order of the nodes.
    pub async fn behind_proxies(
        names: &[&str],
        change: impl Fn(NodeSettings) -> NodeSettings,
    ) -> Result<(Self, Vec<Proxy>)> {
        let mut region = Self::without_nodes().await?;
        let mut proxies = Vec::new();
        for name in names {
            let proxy = Proxy::to_redis(region.redis.port()).await?;
            let mut settings = change(region.settings(name));
            settings.redis_url = proxy.redis_url();
            region.add(settings).await?;
            proxies.push(proxy);
        }
        region.together().await?;
        Ok((region, proxies))
    }

    /// Redis only: nodes are added one by one.
    pub async fn without_nodes() -> Result<Self> {
        Self::on_redis(RedisOptions::default()).await
    }

    /// The same, on a Redis of other settings.
    pub async fn on_redis(options: RedisOptions) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("sectorbus-nodes-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let redis = RedisServer::start(options).await?;
        Ok(Self { nodes: Vec::new(), redis, directory, passed: false, kept: Vec::new() })
    }

    pub fn settings(&self, name: &str) -> NodeSettings {
        NodeSettings::new(name, self.redis.url())
    }

    /// Starts one more node and waits until it serves.
    pub async fn add(&mut self, settings: NodeSettings) -> Result<()> {
        self.nodes.push(NodeProcess::start(settings, &self.directory).await?);
        Ok(())
    }

    /// Starts one more node and does not wait for it.
    pub fn launch(&mut self, settings: NodeSettings) -> Result<&mut NodeProcess> {
        self.nodes.push(NodeProcess::launch(settings, &self.directory)?);
        self.nodes.last_mut().context("just pushed")
    }

    /// A node that ends by itself: its exit code and what it said.
    pub async fn refusal(&mut self, settings: NodeSettings) -> Result<(Option<i32>, String)> {
        let mut node = NodeProcess::launch(settings, &self.directory)?;
        let status = node.ended(TOGETHER_WITHIN).await?;
        Ok((status.code(), node.log_text()))
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(NodeProcess::address).collect()
    }

    /// Waits until every node sees as many members as there are nodes.
    pub async fn together(&self) -> Result<()> {
        let count = self.nodes.len();
        for node in &self.nodes {
            node_sees(node, count).await?;
        }
        Ok(())
    }

    /// The last word of a test that passed: without it the nodes' logs are printed. No node may have panicked.
    pub fn passed(mut self) -> Result<()> {
        for node in &self.nodes {
            ensure!(!node.log_text().contains("panicked"), "{} panicked", node.name());
        }
        self.passed = true;
        Ok(())
    }

    /// Keeps a proxy that nodes depend on.
    pub fn keep(&mut self, proxy: Proxy) {
        self.kept.push(proxy);
    }

    /// Where in `nodes` the node of this name is.
    pub fn position(&self, name: &str) -> usize {
        self.nodes.iter().position(|node| node.name() == name).expect("a node of the region")
    }

    /// The nodes that the test has neither killed nor seen end.
    pub fn running(&self) -> impl Iterator<Item = &NodeProcess> {
        self.nodes.iter().filter(|node| node.runs())
    }

    /// Sum of a metric over the running nodes, each of which must answer.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        ensure!(self.running().next().is_some(), "no node runs: nobody knows {name}");
        let mut sum = 0.0;
        for node in self.running() {
            sum += node.metric(name).await?;
        }
        Ok(sum)
    }

    /// Waits until every running node has said for `ttls` times its ttl that Redis is away: by failed beats, of which
    /// a node makes one per period at most.
    pub async fn without_redis_for(&self, ttls: u32) -> Result<()> {
        const FAILED: &str = "sectorbus_beats_total{result=\"failed\"}";
        for node in self.running() {
            until_metric(node, "sectorbus_redis_up", TOGETHER_WITHIN, |up| up == 0.0).await?;
        }
        let mut ends = Vec::new();
        for node in self.running() {
            let beats = node.ttl().as_millis() * u128::from(ttls) / node.beat().as_millis() + 1;
            ends.push(node.metric(FAILED).await? + beats as f64);
        }
        for (node, end) in self.running().zip(ends) {
            until_metric(node, FAILED, TOGETHER_WITHIN, |failed| failed >= end).await?;
            let (status, reasons) = node.get("/readyz").await?;
            ensure!(status == 503 && reasons.contains("redis"), "{}: /readyz is {status} {reasons}", node.name());
        }
        Ok(())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        for node in self.nodes.iter().filter(|_| !self.passed) {
            eprintln!("---- the end of {}'s log ----\n{}", node.name(), node.log_tail());
        }
        self.nodes.clear();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Waits until a node sees `count` members.
pub async fn node_sees(node: &NodeProcess, count: usize) -> Result<()> {
    until_metric(node, "sectorbus_members", TOGETHER_WITHIN, |members| members == count as f64).await
}

/// Waits until a node's metric is as asked.
pub async fn until_metric(node: &NodeProcess, name: &str, within: Duration, is_so: impl Fn(f64) -> bool) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        // A node that is frozen or starting does not answer yet.
        let value = node.metric(name).await;
        if value.as_ref().is_ok_and(|value| is_so(*value)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{}: {name} is {value:?} after {within:?}", node.name());
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}
