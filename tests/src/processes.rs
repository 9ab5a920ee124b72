//! Real `sectorbus-node` processes of a test's own: started, killed, frozen, sent away and started again; gone when
//! dropped. Their log lines go to files. Knows nothing of players.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sectorbus::limits::{BEAT_EVERY, MEMBER_TTL};
use tokio::time::Instant;

use crate::binaries;
use crate::cluster::{JWT_SECRET, RESUME_SECRET};
use crate::http;
use crate::metrics_page;

/// A start takes 0.3 s; a loaded machine needs longer.
const READY_WITHIN: Duration = Duration::from_secs(30);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Another process may take a free port before the node does.
const PORTS_TRIED: usize = 5;
const LOG_LINES_SHOWN: usize = 150;

/// Settings of a node whose players all come from one address and do what they can.
pub const NO_LIMITS: [(&str, &str); 5] = [
    ("frames_per_s", "0"),
    ("actions_per_s", "0"),
    ("address_frames_per_s", "0"),
    ("address_handshakes_per_s", "0"),
    ("address_half_open_max", "0"),
];

/// How a node is started; nothing else in its environment is a setting.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    pub name: String,
    pub redis_url: String,
    /// Given with `--config`.
    pub file: Option<PathBuf>,
    /// More settings by their names in the file: `("drain_deadline_ms", "5000")`.
    pub more: Vec<(String, String)>,
}

impl NodeSettings {
    /// A small universe with quick drives, whole logs kept so that an audit can read them from their first entry.
    pub fn new(name: &str, redis_url: String) -> Self {
        let more = [
            ("region", "test"),
            ("universe_sectors", "12"),
            ("move_cool_down_ms", "100"),
            ("log_window_entries", "1000000"),
            ("log_level", "debug"),
        ];
        let more = more.iter().chain(&NO_LIMITS).map(|(setting, value)| (setting.to_string(), value.to_string()));
        let more = more.collect();
        Self { name: name.to_owned(), redis_url, file: None, more }
    }

    /// With a file that gives the settings named.
    pub fn with_file(mut self, file: &Path, given_there: &[&str]) -> Self {
        self.more.retain(|(setting, _)| !given_there.contains(&&**setting));
        self.file = Some(file.to_owned());
        self
    }

    /// With the limits that a node has by itself.
    pub fn limited(mut self) -> Self {
        self.more.retain(|(setting, _)| NO_LIMITS.iter().all(|(lifted, _)| lifted != setting));
        self
    }

    pub fn with(mut self, setting: &str, value: impl ToString) -> Self {
        self.more.retain(|(known, _)| known != setting);
        self.more.push((setting.to_owned(), value.to_string()));
        self
    }

    fn duration(&self, setting: &str) -> Option<Duration> {
        let (_, ms) = self.more.iter().find(|(known, _)| known == setting)?;
        ms.parse().ok().map(Duration::from_millis)
    }
}

/// A running node. Dropping it kills it.
#[derive(Debug)]
pub struct NodeProcess {
    settings: NodeSettings,
    players: SocketAddr,
    admin: SocketAddr,
    log_file: PathBuf,
    child: Child,
    /// By what the test did and saw: one that ended without its asking is a running one that does not answer.
    runs: bool,
}

impl NodeProcess {
    /// Starts a node and does not wait for it. `directory` gets its log file.
    pub fn launch(settings: NodeSettings, directory: &Path) -> Result<Self> {
        let log_file = directory.join(format!("{}.log", settings.name));
        let (players, admin) = (free_address()?, free_address()?);
        let child = spawn(&settings, players, admin, &log_file)?;
        Ok(Self { settings, players, admin, log_file, child, runs: true })
    }

    /// Starts a node and waits until `/readyz` says 200.
    pub async fn start(settings: NodeSettings, directory: &Path) -> Result<Self> {
        for _ in 0..PORTS_TRIED {
            let mut node = Self::launch(settings.clone(), directory)?;
            if node.wait_until_ready().await? {
                return Ok(node);
            }
        }
        let log_file = directory.join(format!("{}.log", settings.name));
        bail!("node {} did not start; its last words:\n{}", settings.name, tail(&log_file))
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Where players connect.
    pub fn address(&self) -> SocketAddr {
        self.players
    }

    /// Where probes and metrics are served.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// How often it beats.
    pub fn beat(&self) -> Duration {
        self.settings.duration("beat_ms").unwrap_or(BEAT_EVERY)
    }

    /// How long it may be silent.
    pub fn ttl(&self) -> Duration {
        self.settings.duration("member_ttl_ms").unwrap_or(MEMBER_TTL)
    }

    /// No chance to say anything to anybody.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill the node")?;
        self.child.wait().context("the node does not end")?;
        self.runs = false;
        Ok(())
    }

    /// Neither killed nor seen to end.
    pub fn runs(&self) -> bool {
        self.runs
    }

    /// SIGSTOP: its sockets stay open, its clock goes on, it does nothing. Returns when every thread has stopped.
    pub fn freeze(&self) -> Result<()> {
        self.signal("STOP")?;
        while !self.is_stopped()? {
            std::thread::yield_now();
        }
        Ok(())
    }

    fn is_stopped(&self) -> Result<bool> {
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
            // The state comes after the name, which may hold anything but ends with the last parenthesis.
            if !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// SIGHUP: it reads its settings again.
    pub fn hang_up(&self) -> Result<()> {
        self.signal("HUP")
    }

    /// Files and sockets it has open.
    pub fn open_files(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// SIGTERM: a planned leave begins.
    pub fn send_away(&self) -> Result<()> {
        self.signal("TERM")
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.runs = false;
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "{} still runs after {within:?}", self.name());
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// Starts it again under the same name and on the same ports (killing it first if it runs); waits until ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill9()?;
        self.child = spawn(&self.settings, self.players, self.admin, &self.log_file)?;
        self.runs = true;
        ensure!(self.wait_until_ready().await?, "{} ended at its restart:\n{}", self.name(), tail(&self.log_file));
        Ok(())
    }

    /// Status and body of a GET on the admin listener.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        http::get(self.admin, path).await
    }

    /// Sum of all samples of a metric over its labels. `name` may end with one: `sectorbus_acked_lost_total{by="owner"}`.
    /// A name or label that no node exports is an error.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let (status, page) = self.get("/metrics").await?;
        ensure!(status == 200, "{}: /metrics says {status}: {page}", self.name());
        metrics_page::sum(&page, name).with_context(|| self.name().to_owned())
    }

    /// Everything the node has logged so far, over its restarts.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log_file).unwrap_or_default()
    }

    /// The last lines of it.
    pub fn log_tail(&self) -> String {
        tail(&self.log_file)
    }

    /// Waits until the node serves; false if it ended by itself.
    pub async fn wait_until_ready(&mut self) -> Result<bool> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if matches!(self.get("/readyz").await, Ok((200, _))) {
                return Ok(true);
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
        bail!("{} is not ready after {READY_WITHIN:?}:\n{}", self.name(), tail(&self.log_file))
    }

    fn signal(&self, name: &str) -> Result<()> {
        signal(&self.child, name).with_context(|| self.name().to_owned())
    }
}

/// Sends a signal to a process.
pub fn signal(child: &Child, name: &str) -> Result<()> {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())).status()?;
    ensure!(status.success(), "cannot send SIG{name}");
    Ok(())
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command of the node's binary prints with these settings; a command that fails is an error.
pub fn run_command(settings: &NodeSettings, arguments: &[&str]) -> Result<String> {
    let output = command(settings)?.args(arguments).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?} ended with {}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn spawn(settings: &NodeSettings, players: SocketAddr, admin: SocketAddr, log_file: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log_file)?;
    let mut command = command(settings)?;
    command.env("SECTORBUS_LISTEN", players.to_string()).env("SECTORBUS_ADMIN_LISTEN", admin.to_string());
    command.args(settings.file.iter().flat_map(|file| ["--config".as_ref(), file.as_os_str()]));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("cannot run sectorbus-node")
}

/// The node's binary with its settings in the environment; a file is not given yet.
fn command(settings: &NodeSettings) -> Result<Command> {
    let binary = binaries::built("sectorbus-node", &["node/src", "shared/src"])?;
    let secret = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut command = Command::new(&binary);
    without_settings(&mut command);
    command.env("SECTORBUS_NODE_NAME", &settings.name).env("SECTORBUS_REDIS_URL", &settings.redis_url);
    command.env("SECTORBUS_JWT_SECRET", secret(JWT_SECRET)).env("SECTORBUS_RESUME_SECRET", secret(RESUME_SECRET));
    command.env("NO_COLOR", "1");
    for (setting, value) in &settings.more {
        command.env(format!("SECTORBUS_{}", setting.to_ascii_uppercase()), value);
    }
    Ok(command)
}

/// Takes away what the test command keeps in the environment for itself: it is no setting, and a node refuses it.
pub fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SECTORBUS_")) {
        command.env_remove(name);
    }
}

/// A port that nobody has now.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}

fn tail(log_file: &Path) -> String {
    let text = std::fs::read_to_string(log_file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}
