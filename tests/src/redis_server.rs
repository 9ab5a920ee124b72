//! A real redis-server of a test's own: free port, own directory, killed and paused by pid, gone when dropped.
//! Knows nothing of what is stored in it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::Instant;

use crate::skewed_clock;

/// A start takes 50 ms; a loaded machine and an AOF to read may need longer.
const READY_WITHIN: Duration = Duration::from_secs(20);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// Another process may take the free port before redis-server does.
const PORTS_TRIED: usize = 5;

/// `appendfsync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    #[default]
    EverySec,
    Always,
}

#[derive(Debug, Clone)]
pub struct RedisOptions {
    pub appendonly: bool,
    pub fsync: Fsync,
    /// Its clock is this much ahead of the machine's.
    pub clock_ahead_s: i64,
    /// More settings, as on the command line: `["--maxmemory", "10mb"]`.
    pub more: Vec<String>,
}

impl Default for RedisOptions {
    /// What sectorbus asks for: appendonly yes, everysec, noeviction (the default of Redis).
    fn default() -> Self {
        Self { appendonly: true, fsync: Fsync::EverySec, clock_ahead_s: 0, more: Vec::new() }
    }
}

/// The redis-server to run: `REDIS_SERVER`, else the one on PATH.
#[allow(clippy::disallowed_methods, reason = "tests have no configuration: this is the one variable they read")]
pub fn executable() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// A running redis-server. Dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    directory: PathBuf,
    options: RedisOptions,
    child: Child,
}

impl RedisServer {
    /// Starts a server and waits until it answers PING.
    pub async fn start(options: RedisOptions) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("sectorbus-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        for _ in 0..PORTS_TRIED {
            let port = free_port()?;
            let child = spawn(port, &directory, &options)?;
            let mut server = Self { port, directory: directory.clone(), options: options.clone(), child };
            if server.wait_until_ready().await? {
                return Ok(server);
            }
            // It ended by itself: the port was taken. Its directory is used again.
            server.directory = PathBuf::new();
        }
        bail!("redis-server did not start on {PORTS_TRIED} ports; its last words are in {}", directory.display())
    }

    /// `redis://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without a chance to save anything. The directory with the AOF stays for [`RedisServer::restart`].
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill redis-server")?;
        self.child.wait().context("redis-server does not end")?;
        Ok(())
    }

    /// Starts it again on the same port and directory (killing it first if it runs); waits until it answers PING.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill9()?;
        self.start_again().await
    }

    /// Starts it again after [`RedisServer::kill9`].
    pub async fn start_again(&mut self) -> Result<()> {
        self.child = spawn(self.port, &self.directory, &self.options)?;
        ensure!(self.wait_until_ready().await?, "redis-server ended at its restart");
        Ok(())
    }

    /// SIGSTOP: connections stay, answers stay out.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// Makes it a replica of `master` and waits until it has what the master has.
    pub async fn replica_of(&self, master: &RedisServer) -> Result<()> {
        let mut connection = self.connection().await?;
        let mut command = redis::cmd("REPLICAOF");
        command.arg("127.0.0.1").arg(master.port).query_async::<()>(&mut connection).await?;
        self.wait_until(|info| info.contains("master_link_status:up")).await
    }

    /// Makes a replica a master of its own.
    pub async fn promote(&self) -> Result<()> {
        let mut connection = self.connection().await?;
        redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async::<()>(&mut connection).await?;
        self.wait_until(|info| info.contains("role:master")).await
    }

    /// A connection of the test's own, beside the log under test.
    pub async fn connection(&self) -> Result<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(self.url())?;
        // By default a loaded machine has half a second.
        let config = redis::AsyncConnectionConfig::new();
        let config = config.set_connection_timeout(Some(READY_WITHIN)).set_response_timeout(Some(READY_WITHIN));
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    async fn wait_until(&self, is_so: impl Fn(&str) -> bool) -> Result<()> {
        let mut connection = self.connection().await?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let info: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await?;
            if is_so(&info) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "replication did not get there: {info}");
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// False if the process ended by itself.
    async fn wait_until_ready(&mut self) -> Result<bool> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if self.answers_ping().await {
                return Ok(true);
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
        bail!("redis-server on port {} did not answer PING within {READY_WITHIN:?}", self.port)
    }

    /// PONG, from this process and no other on the same port.
    async fn answers_ping(&self) -> bool {
        let Ok(mut connection) = self.connection().await else {
            return false;
        };
        if redis::cmd("PING").query_async::<String>(&mut connection).await.is_err() {
            return false;
        }
        let info = redis::cmd("INFO").arg("server").query_async::<String>(&mut connection).await.unwrap_or_default();
        info.contains(&format!("process_id:{}\r\n", self.child.id()))
    }

    fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status()?;
        ensure!(status.success(), "cannot send SIG{name} to redis-server");
        Ok(())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process too.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.directory.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no free port")?.local_addr()?.port())
}

fn spawn(port: u16, directory: &Path, options: &RedisOptions) -> Result<Child> {
    let executable = executable();
    let log = std::fs::File::options().create(true).append(true).open(directory.join("redis.log"))?;
    let mut command = Command::new(&executable);
    skewed_clock::put_ahead(&mut command, options.clock_ahead_s)?;
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .args(["--appendonly", if options.appendonly { "yes" } else { "no" }])
        .args(["--appendfsync", if options.fsync == Fsync::Always { "always" } else { "everysec" }])
        .args(&options.more)
        .arg("--dir")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {executable}: put redis-server 7 on PATH or set REDIS_SERVER"))
}
