//! Real `sectorbus-nexus` processes of a test's own: started, killed, sent away; their commands run; gone when dropped. Their
//! log lines go to files.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::load::usage::rss_bytes_of;
use crate::processes::{free_address, signal, without_settings};
use crate::waiting::until_async;
use crate::{binaries, http, metrics_page};

/// A start takes 0.3 s; a loaded machine needs longer.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Another process may take a free port before the nexus does.
const PORTS_TRIED: usize = 5;
const ENDS_WITHIN_S: &str = "60";

/// A nexus's file: redis-nexus, regions by name with their Redis and the address for players, and whatever follows.
#[derive(Debug, Clone)]
pub struct NexusFile {
    pub hub: String,
    pub regions: Vec<(String, String)>,
    /// `[[mirror]]` tables, as text.
    pub more: String,
    pub log_level: &'static str,
}

impl Default for NexusFile {
    fn default() -> Self {
        Self { hub: String::new(), regions: Vec::new(), more: String::new(), log_level: "debug" }
    }
}

impl NexusFile {
    /// As it is written for a nexus of this name.
    pub fn text(&self, name: &str, admin: SocketAddr) -> String {
        let level = self.log_level;
        let top = format!("format = 1\nname = \"{name}\"\nadmin_listen = \"{admin}\"\nlog_level = \"{level}\"\n");
        let regions =
            self.regions.iter().map(|(name, url)| format!("[[region]]\nname = \"{name}\"\nredis_url = \"{url}\"\n"));
        format!("{top}[hub]\nredis_url = \"{}\"\n{}{}", self.hub, regions.collect::<String>(), self.more)
    }
}

/// A running nexus. Dropping it kills it.
#[derive(Debug)]
pub struct NexusProcess {
    name: String,
    admin: SocketAddr,
    file: PathBuf,
    log_file: PathBuf,
    child: Child,
}

impl NexusProcess {
    /// Starts a nexus and waits until its admin listener answers. `directory` gets its file and its log.
    pub async fn start(name: &str, file: &NexusFile, directory: &Path) -> Result<Self> {
        Self::start_binary(&binary()?, name, file, directory).await
    }

    /// The same, of a binary that is nobody's to build here.
    pub async fn start_binary(binary: &Path, name: &str, file: &NexusFile, directory: &Path) -> Result<Self> {
        for _ in 0..PORTS_TRIED {
            let mut nexus = Self::launch_binary(binary, name, file, directory)?;
            if nexus.is_there().await? {
                return Ok(nexus);
            }
        }
        let said = std::fs::read_to_string(directory.join(format!("{name}.log"))).unwrap_or_default();
        bail!("nexus {name} does not start:\n{said}")
    }

    /// The same, without waiting.
    pub fn launch_binary(binary: &Path, name: &str, file: &NexusFile, directory: &Path) -> Result<Self> {
        let (admin, path) = (free_address()?, directory.join(format!("{name}.toml")));
        std::fs::write(&path, file.text(name, admin))?;
        let log_file = directory.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&log_file)?;
        let mut command = command(binary);
        command.arg("--config").arg(&path).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot run sectorbus-nexus")?;
        Ok(Self { name: name.to_owned(), admin, file: path, log_file, child })
    }

    /// False: it ended by itself.
    async fn is_there(&mut self) -> Result<bool> {
        let mut ended = false;
        until_async(READY_WITHIN, "the nexus answers", async || {
            ended = self.child.try_wait()?.is_some();
            Ok(ended || matches!(http::get(self.admin, "/healthz").await, Ok((200, _))))
        })
        .await?;
        Ok(!ended)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Status and body of a GET on the admin listener.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        http::get(self.admin, path).await
    }

    pub async fn is_ready(&self) -> bool {
        matches!(self.get("/readyz").await, Ok((200, _)))
    }

    /// Sum of all samples of a metric over its labels; `name` may end with labels, or the end of them.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let (status, page) = self.get("/metrics").await?;
        ensure!(status == 200, "{}: /metrics says {status}: {page}", self.name);
        metrics_page::sum(&page, name).with_context(|| self.name.clone())
    }

    /// What a command prints with this nexus's file: `["status", "--json"]`. One that fails is an error.
    pub fn command(&self, words: &[&str]) -> Result<String> {
        let said = run(words, &self.file)?;
        ensure!(
            said.status.success(),
            "{words:?} ended with {}: {}",
            said.status,
            String::from_utf8_lossy(&said.stderr)
        );
        Ok(String::from_utf8(said.stdout)?)
    }

    /// No chance to say anything to anybody.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill the nexus")?;
        self.child.wait().context("the nexus does not end")?;
        Ok(())
    }

    /// SIGTERM: it hands over.
    pub fn send_away(&self) -> Result<()> {
        signal(&self.child, "TERM")
    }

    /// SIGSTOP: its sockets stay open, it does nothing.
    pub fn freeze(&self) -> Result<()> {
        signal(&self.child, "STOP")
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        signal(&self.child, "CONT")
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let mut status = None;
        until_async(within, "the nexus ends", async || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })
        .await?;
        status.context("it has ended")
    }

    /// Resident, in bytes.
    pub fn memory(&self) -> Result<u64> {
        rss_bytes_of(self.child.id())
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log_file).unwrap_or_default()
    }
}

impl Drop for NexusProcess {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary with these words and a file: how it ended and what it said. A nexus that runs on is killed, after a while.
pub fn run(words: &[&str], file: &Path) -> Result<Output> {
    let mut limited = Command::new("timeout");
    limited.args(["--signal=KILL", ENDS_WITHIN_S]).arg(binary()?);
    without_settings(&mut limited);
    limited.env("NO_COLOR", "1").args(words).arg("--config").arg(file).stdin(Stdio::null());
    Ok(limited.output()?)
}

fn binary() -> Result<PathBuf> {
    binaries::built("sectorbus-nexus", &["nexus/src", "shared/src"])
}

/// The binary, without the settings of whoever runs the test.
pub fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    without_settings(&mut command);
    command.env("NO_COLOR", "1");
    command
}
