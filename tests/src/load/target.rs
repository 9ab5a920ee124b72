//! What is measured: a region of this run's own, whose processes can be looked into, or running nodes given by `--url`.
//! Mints the players' tokens for either.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sectorbus_node::config::Secret;

use crate::cluster::{JWT_SECRET, secret};
use crate::load::player::Player;
use crate::load::region::{NodeOptions, Region};
use crate::load::usage::cpu_of;

/// Where to measure; nothing given: on nodes and a Redis that the run starts itself.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Where {
    /// Running node to connect to, ws://host:port; again for each further node. What only its host knows (CPU, memory, Redis) is left out
    #[arg(long, global = true, value_name = "URL")]
    url: Vec<String>,
    /// File with the HS256 key that the nodes of --url check tokens with
    #[arg(long, global = true, value_name = "FILE")]
    jwt_secret_file: Option<PathBuf>,
}

impl Where {
    /// For scenarios that kill nodes or look into them.
    pub fn require_own(&self, scenario: &str) -> Result<()> {
        ensure!(self.url.is_empty(), "{scenario} starts its nodes itself: leave out --url");
        Ok(())
    }
}

/// Nodes that players can connect to.
pub struct Target {
    addresses: Vec<SocketAddr>,
    own: Option<Region>,
    key: Secret,
    /// In players' names: nobody on a running region is met twice.
    run: String,
}

impl Target {
    pub async fn start(place: &Where, nodes: usize, options: &NodeOptions) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let run = format!("{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        ensure!(nodes > 0, "--nodes is 0: 1 and up are accepted");
        if place.url.is_empty() {
            let region = Region::start(nodes, options).await?;
            let addresses = region.nodes.iter().map(|node| node.address).collect();
            return Ok(Self { addresses, own: Some(region), key: secret(JWT_SECRET), run });
        }
        let file = place.jwt_secret_file.as_ref().context("--url needs --jwt-secret-file")?;
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let key = Secret::new(text.trim_end_matches(['\r', '\n']).as_bytes())
            .map_err(|_| anyhow::anyhow!("{} holds fewer than 32 bytes", file.display()))?;
        let addresses = place.url.iter().map(|url| address_of(url)).collect::<Result<_>>()?;
        Ok(Self { addresses, own: None, key, run })
    }

    /// Of the `n`th session: the nodes in turn.
    pub fn address(&self, n: usize) -> SocketAddr {
        self.addresses[n % self.addresses.len()]
    }

    /// The region, if this run started it.
    pub fn own(&self) -> Option<&Region> {
        self.own.as_ref()
    }

    pub fn own_mut(&mut self) -> Option<&mut Region> {
        self.own.as_mut()
    }

    /// A new player who will start in the `sector`th sector, from 1.
    pub fn player(&self, name: &str, sector: usize) -> Result<Player> {
        Player::new(&format!("{name}-{}", self.run), &sector.to_string(), &self.key)
    }

    pub fn cpu(&self) -> Result<Option<Cpu>> {
        self.own.as_ref().map(Cpu::of).transpose()
    }
}

/// CPU time spent since the processes started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub nodes: Duration,
    pub redis: Duration,
}

impl Cpu {
    pub fn of(region: &Region) -> Result<Self> {
        let mut nodes = Duration::ZERO;
        for node in &region.nodes {
            nodes += cpu_of(node.pid())?;
        }
        Ok(Self { nodes, redis: cpu_of(region.redis.pid())? })
    }

    pub fn since(self, before: Cpu) -> Cpu {
        Cpu { nodes: self.nodes - before.nodes, redis: self.redis - before.redis }
    }
}

pub fn per_million(cpu: Duration, count: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / count.max(1) as f64
}

fn address_of(url: &str) -> Result<SocketAddr> {
    let Some(rest) = url.strip_prefix("ws://") else { bail!("--url {url}: ws://host:port is accepted, without TLS") };
    let host = rest.strip_suffix("/ws").unwrap_or(rest).trim_end_matches('/');
    let mut found = host.to_socket_addrs().with_context(|| format!("--url {url}: ws://host:port is accepted"))?;
    found.next().with_context(|| format!("--url {url}: no such host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_address_without_tls() {
        assert_eq!(address_of("ws://127.0.0.1:7700").ok(), "127.0.0.1:7700".parse().ok());
        assert_eq!(address_of("ws://127.0.0.1:7700/ws").ok(), "127.0.0.1:7700".parse().ok());
        for wrong in ["wss://127.0.0.1:7700", "127.0.0.1:7700", "ws://127.0.0.1"] {
            let error = address_of(wrong).expect_err(wrong).to_string();
            assert!(error.contains("ws://host:port is accepted"), "{error}");
        }
    }
}
