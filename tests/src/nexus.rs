//! Real `sectorbus-nexus` processes of a test's own: started, killed, frozen, sent away; gone when dropped. Their settings are a
//! file, their log lines another. Knows nothing of what they mirror.

use std::fmt::Write;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::Instant;

use crate::http;
use crate::processes::{free_address, without_settings};

const READY_WITHIN: Duration = Duration::from_secs(30);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Another process may take a free port before the nexus does.
const PORTS_TRIED: usize = 5;
const LOG_LINES_SHOWN: usize = 100;

/// What a nexus is told, as its file has it.
#[derive(Debug, Clone)]
pub struct NexusSettings {
    /// Of no other nexus that runs.
    pub name: String,
    pub hub_url: String,
    /// Names and URLs.
    pub regions: Vec<(String, String)>,
    /// `[[mirror]]` tables; empty: what is mirrored by default.
    pub mirrors: String,
    pub log_level: &'static str,
}

impl NexusSettings {
    fn file(&self, admin: SocketAddr) -> String {
        let mut text = format!(
            "format = 1\nname = \"{}\"\nadmin_listen = \"{admin}\"\nlog_level = \"{}\"\nlog_format = \"text\"\n\n\
             [hub]\nredis_url = \"{}\"\n",
            self.name, self.log_level, self.hub_url
        );
        for (name, url) in &self.regions {
            let _ = write!(text, "\n[[region]]\nname = \"{name}\"\nredis_url = \"{url}\"\n");
        }
        let _ = write!(text, "\n{}", self.mirrors);
        text
    }
}

/// A running nexus. Dropping it kills it.
#[derive(Debug)]
pub struct NexusProcess {
    name: String,
    admin: SocketAddr,
    log_file: PathBuf,
    child: Child,
}

impl NexusProcess {
    /// Starts a nexus and does not wait for it. `directory` gets its files.
    pub fn launch(binary: &Path, settings: &NexusSettings, directory: &Path) -> Result<Self> {
        let name = settings.name.clone();
        let (config, log_file) = (directory.join(format!("{name}.toml")), directory.join(format!("{name}.log")));
        let admin = free_address()?;
        std::fs::write(&config, settings.file(admin))?;
        let log = File::options().create(true).append(true).open(&log_file)?;
        let mut command = Command::new(binary);
        without_settings(&mut command);
        command.arg("--config").arg(&config).env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot run sectorbus-nexus")?;
        Ok(Self { name, admin, log_file, child })
    }

    /// Starts a nexus and waits until it serves its pages.
    pub async fn start(binary: &Path, settings: &NexusSettings, directory: &Path) -> Result<Self> {
        for _ in 0..PORTS_TRIED {
            let mut nexus = Self::launch(binary, settings, directory)?;
            if nexus.is_served().await? {
                return Ok(nexus);
            }
            let said = nexus.log_tail();
            ensure!(said.contains("in use"), "{} ended:\n{said}", nexus.name);
        }
        bail!("{} found no free port", settings.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// No chance to say anything to anybody.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill the nexus")?;
        self.child.wait().context("the nexus does not end")?;
        Ok(())
    }

    /// SIGTERM: it hands over what it leads and ends.
    pub fn send_away(&self) -> Result<()> {
        let status = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status()?;
        ensure!(status.success(), "cannot send SIGTERM to {}", self.name);
        Ok(())
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "{} still runs after {within:?}", self.name);
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// Status and body of a GET on the admin listener.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        http::get(self.admin, path).await
    }

    /// Everything it has logged so far.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log_file).unwrap_or_default()
    }

    /// The last lines of it.
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// False if it ended by itself.
    async fn is_served(&mut self) -> Result<bool> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if matches!(self.get("/healthz").await, Ok((200, _))) {
                return Ok(true);
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
        bail!("{} does not serve after {READY_WITHIN:?}:\n{}", self.name, self.log_tail())
    }
}

impl Drop for NexusProcess {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
