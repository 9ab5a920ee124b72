//! Nodes as processes of their own on a Redis of their own: started, asked whether they are ready, killed.
//! Knows nothing of what is measured on them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::Instant;

use crate::cluster::{JWT_SECRET, RESUME_SECRET};
use crate::http::get;
use crate::processes::{NO_LIMITS, free_address, without_settings};
use crate::redis_server::{RedisOptions, RedisServer};

/// Of every region that the tool starts.
pub const REGION: &str = "load";
pub const READY_WITHIN: Duration = Duration::from_secs(30);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// How nodes are started.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// More settings, as `SECTORBUS_<NAME>` wants them: `("realtime_frames_per_s", "0")`.
    pub settings: Vec<(&'static str, String)>,
    /// The one core each node runs on, by `taskset`; `None`: all.
    pub core: Option<u32>,
}

impl NodeOptions {
    /// A universe of this many sectors; one has two at least.
    pub fn sectors(mut self, count: usize) -> Self {
        self.settings.push(("universe_sectors", count.max(2).to_string()));
        self
    }
}

/// Logs are not trimmed: what was acked is looked up in them at the end.
pub fn keep_whole_logs() -> (&'static str, String) {
    ("log_window_entries", "1000000".to_owned())
}

/// One node process. Dropping it kills it.
#[derive(Debug)]
pub struct NodeProcess {
    pub name: String,
    pub address: SocketAddr,
    admin: SocketAddr,
    redis_url: String,
    options: NodeOptions,
    child: Child,
}

/// A Redis and the nodes on it.
pub struct Region {
    pub nodes: Vec<NodeProcess>,
    pub redis: RedisServer,
}

impl Region {
    pub async fn start(nodes: usize, options: &NodeOptions) -> Result<Self> {
        let redis = RedisServer::start(RedisOptions::default()).await?;
        let mut started = Vec::new();
        for number in 1..=nodes {
            started.push(NodeProcess::start(format!("n{number}"), redis.url(), options.clone())?);
        }
        let mut region = Self { nodes: started, redis };
        region.wait_until_ready().await?;
        Ok(region)
    }

    /// Every node serves, and sees all the others.
    pub async fn wait_until_ready(&mut self) -> Result<()> {
        let all = self.nodes.len();
        for node in &mut self.nodes {
            node.wait_until_ready(all).await?;
        }
        Ok(())
    }

    pub fn node(&mut self, name: &str) -> Result<&mut NodeProcess> {
        self.nodes.iter_mut().find(|node| node.name == name).with_context(|| format!("no node is called {name}"))
    }

    /// Addresses of the nodes but `name`, in order.
    pub fn others(&self, name: &str) -> Vec<SocketAddr> {
        self.nodes.iter().filter(|node| node.name != name).map(|node| node.address).collect()
    }
}

impl NodeProcess {
    fn start(name: String, redis_url: String, options: NodeOptions) -> Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let child = spawn(&name, address, admin, &redis_url, &options)?;
        Ok(Self { name, address, admin, redis_url, options, child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill the node")?;
        self.child.wait().context("the node does not end")?;
        Ok(())
    }

    /// Starts it again under its name and addresses.
    pub fn restart(&mut self) -> Result<()> {
        self.kill9()?;
        self.child = spawn(&self.name, self.address, self.admin, &self.redis_url, &self.options)?;
        Ok(())
    }

    /// `/readyz` says 200 and the node counts `members` living members.
    pub async fn wait_until_ready(&mut self, members: usize) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("node {} ended: {status}", self.name);
            }
            if self.is_ready(members).await {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "node {} is not ready within {READY_WITHIN:?}", self.name);
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    async fn is_ready(&self, members: usize) -> bool {
        let ready = get(self.admin, "/readyz").await.is_ok_and(|(status, _)| status == 200);
        ready && self.metric("members").await.is_ok_and(|count| count as usize == members)
    }

    /// Sum of the samples of a metric, by its name after the prefix.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let (_, body) = get(self.admin, "/metrics").await?;
        let name = format!("sectorbus_{name}");
        let samples = body.lines().filter(|line| line.split(['{', ' ']).next() == Some(name.as_str()));
        Ok(samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.kill9();
    }
}

/// An executable built beside this one.
pub(super) fn executable(name: &str) -> Result<PathBuf> {
    let mine = std::env::current_exe().context("no path of this program")?;
    let path = mine.with_file_name(name);
    ensure!(path.exists(), "{} is missing: build {name} with the same profile", path.display());
    Ok(path)
}

fn spawn(name: &str, address: SocketAddr, admin: SocketAddr, redis_url: &str, options: &NodeOptions) -> Result<Child> {
    let executable = executable("sectorbus-node")?;
    let mut command = match options.core {
        None => Command::new(&executable),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string()]).arg(&executable);
            command
        }
    };
    without_settings(&mut command);
    let (jwt, resume) = (String::from_utf8_lossy(JWT_SECRET), String::from_utf8_lossy(RESUME_SECRET));
    command
        .env("SECTORBUS_REGION", REGION)
        .env("SECTORBUS_NODE_NAME", name)
        .env("SECTORBUS_LISTEN", address.to_string())
        .env("SECTORBUS_ADMIN_LISTEN", admin.to_string())
        .env("SECTORBUS_REDIS_URL", redis_url)
        .env("SECTORBUS_JWT_SECRET", &*jwt)
        .env("SECTORBUS_RESUME_SECRET", &*resume)
        .env("SECTORBUS_LOG_LEVEL", "warn");
    let more = options.settings.iter().map(|(setting, value)| (*setting, &**value));
    for (setting, value) in NO_LIMITS.into_iter().chain(more) {
        command.env(format!("SECTORBUS_{}", setting.to_ascii_uppercase()), value);
    }
    command.stdin(Stdio::null()).spawn().context("cannot start the node")
}
