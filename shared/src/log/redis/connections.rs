//! Connections to Redis: one that replaces itself (requests, beat) and the pool for what is not per action.
//! Knows nothing of keys or scripts' meanings. Addresses are shown without user and password.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisError, RedisResult, TlsCertificates, Value,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::ConnectError;
use super::errors::{judge, not_connected};
use super::scripts::ScriptCall;
use crate::log::LogResult;

/// Until TCP is up and Redis has said hello.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// On a connection that waits for news: an answer may come this much after the end of the wait that was asked for.
pub(super) const WAITED_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// Between attempts to connect: doubled from the first to the last.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(250);
/// A request waits this long for a connection that is being made, then it was not executed.
const CONNECTION_WITHIN: Duration = Duration::from_millis(100);
/// This many answers in a row stayed out: the connection is replaced.
const SILENT_ANSWERS_MAX: u32 = 2;
/// A connection is not replaced for READONLY within this time of being made.
const READONLY_REPLACES_AFTER: Duration = Duration::from_secs(1);
/// Sent bytes that are not acknowledged for this long break the connection (TCP_USER_TIMEOUT).
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);
const POOL_CONNECTIONS: usize = 8;
/// Until one of the pool is free and has proved itself, or a new one is made.
const POOL_CONNECTION_WITHIN: Duration = Duration::from_secs(2);
/// Snapshots and pages of entries may be large.
const POOL_ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Reads the URL, never repeats it: it may hold a password. `ca`: as in [`RedisConfig`](super::RedisConfig).
pub(super) fn read_url(url: &str, ca: Option<&[u8]>) -> Result<ConnectionInfo, ConnectError> {
    let mut info = url.into_connection_info().map_err(|_| ConnectError::Url)?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        // The client takes the process's provider. One that is there already is the same one: the build has no other.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // The client takes a text without any block for no authority at all.
        let is_pem = |pem: &[u8]| {
            let blocks: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            blocks.is_ok_and(|blocks| !blocks.is_empty())
        };
        if !ca.is_none_or(is_pem) {
            return Err(ConnectError::Ca);
        }
        let trusted = TlsCertificates { client_tls: None, root_cert: ca.map(<[u8]>::to_vec) };
        let client = Client::build_with_tls(info, trusted).map_err(|_| ConnectError::Ca)?;
        info = client.get_connection_info().clone();
    } else if ca.is_some() {
        return Err(ConnectError::CaWithoutTls);
    }
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(UNACKNOWLEDGED_MAX)
        .with_interval(Duration::from_secs(1))
        .with_retries(3);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(UNACKNOWLEDGED_MAX);
    Ok(info.set_tcp_settings(tcp))
}

/// The same text for what is the same by its URL.
pub(super) fn place(info: &ConnectionInfo) -> String {
    let db = info.redis_settings().db();
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            let host = host.to_ascii_lowercase();
            let host = if ["localhost", "::1", "[::1]"].contains(&host.as_str()) { "127.0.0.1" } else { &host };
            format!("{host}:{port}/{db}")
        }
        ConnectionAddr::Unix(path) => format!("{}/{db}", path.display()),
        _ => format!("{}/{db}", info.addr()),
    }
}

/// A client that speaks RESP3: what breaks is noticed at once, and messages come beside answers.
pub(super) fn pushing_client(info: &ConnectionInfo) -> Result<Client, ConnectError> {
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.clone().set_redis_settings(settings)).map_err(|_| ConnectError::Url)
}

/// A client that speaks RESP2, for connections that are checked when they are used.
pub(super) fn plain_client(info: &ConnectionInfo) -> Result<Client, ConnectError> {
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    Client::open(info.clone().set_redis_settings(settings)).map_err(|_| ConnectError::Url)
}

/// Ends its task when dropped.
#[derive(Debug)]
pub(super) struct OwnedTask(pub(super) JoinHandle<()>);

impl Drop for OwnedTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits between attempts to connect.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: BACKOFF_MIN }
    }
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(BACKOFF_MAX);
        wait
    }
}

#[derive(Clone)]
struct Live {
    multiplexed: MultiplexedConnection,
    number: u64,
    since: Instant,
    silent_answers: Arc<AtomicU32>,
}

/// One connection shared by many callers, whose requests are pipelined; replaced in the background when it breaks.
pub(super) struct Connection {
    live: watch::Receiver<Option<Live>>,
    /// Numbers of connections that turned out to be broken.
    broken_tx: mpsc::UnboundedSender<u64>,
    _task: OwnedTask,
}

impl Connection {
    /// Starts connecting. `name` is for the operator's log.
    pub(super) fn start(client: Client, name: &'static str, answers_within: Duration) -> Self {
        let (live_tx, live) = watch::channel(None);
        let (broken_tx, broken_rx) = mpsc::unbounded_channel();
        let maker = Maker { client, name, answers_within, broken_tx: broken_tx.clone() };
        let task = tokio::spawn(maker.keep_connected(live_tx, broken_rx));
        Self { live, broken_tx, _task: OwnedTask(task) }
    }

    pub(super) async fn script(&self, call: ScriptCall) -> LogResult<Value> {
        let mut live = self.live().await?;
        let answer = call.run_on(&mut live.multiplexed).await;
        self.judged(&live, answer)
    }

    pub(super) async fn command(&self, cmd: &Cmd) -> LogResult<Value> {
        let mut live = self.live().await?;
        let answer = live.multiplexed.send_packed_command(cmd).await.and_then(Value::extract_error);
        self.judged(&live, answer)
    }

    /// One answer per command.
    pub(super) async fn commands(&self, pipeline: &redis::Pipeline) -> LogResult<Vec<Value>> {
        let mut live = self.live().await?;
        let answer = pipeline.query_async(&mut live.multiplexed).await;
        self.judged(&live, answer)
    }

    /// Whether there is a connection within `within`.
    pub(super) async fn is_live_within(&self, within: Duration) -> bool {
        let mut live = self.live.clone();
        tokio::time::timeout(within, live.wait_for(Option::is_some)).await.is_ok_and(|found| found.is_ok())
    }

    async fn live(&self) -> LogResult<Live> {
        if let Some(live) = &*self.live.borrow() {
            return Ok(live.clone());
        }
        let mut changes = self.live.clone();
        match tokio::time::timeout(CONNECTION_WITHIN, changes.wait_for(Option::is_some)).await {
            Ok(Ok(live)) => live.clone().ok_or_else(|| not_connected(&"just lost")),
            Ok(Err(_)) => Err(not_connected(&"closed")),
            Err(_) => Err(not_connected(&"still trying")),
        }
    }

    fn judged<T>(&self, live: &Live, answer: RedisResult<T>) -> LogResult<T> {
        let error = match answer {
            Ok(answer) => {
                live.silent_answers.store(0, Ordering::Relaxed);
                return Ok(answer);
            }
            Err(error) => error,
        };
        if self.is_broken(live, &error) {
            // The receiver is the task that lives as long as this connection.
            let _ = self.broken_tx.send(live.number);
        }
        Err(judge(&error))
    }

    fn is_broken(&self, live: &Live, error: &RedisError) -> bool {
        if error.is_timeout() {
            return live.silent_answers.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT_ANSWERS_MAX;
        }
        // The address may lead to the promoted replica by now.
        let demoted = matches!(error.code(), Some("READONLY" | "MASTERDOWN"));
        error.is_unrecoverable_error() || demoted && live.since.elapsed() >= READONLY_REPLACES_AFTER
    }
}

/// What an operator may set so that a connection comes about.
fn hint(error: &RedisError) -> Option<&'static str> {
    // The client passes rustls's error on as text.
    error.to_string().contains("invalid peer certificate").then_some(
        "redis_ca_file must hold the certificate of the authority that signed Redis's, and that one must name the host of redis_url",
    )
}

struct Maker {
    client: Client,
    name: &'static str,
    answers_within: Duration,
    broken_tx: mpsc::UnboundedSender<u64>,
}

impl Maker {
    async fn keep_connected(self, live_tx: watch::Sender<Option<Live>>, mut broken_rx: mpsc::UnboundedReceiver<u64>) {
        let address = self.client.get_connection_info().addr().to_string();
        let mut backoff = Backoff::new();
        let mut told = false;
        for number in 1.. {
            match self.connect(number).await {
                Ok(multiplexed) => {
                    tracing::info!(connection = self.name, %address, "connected to Redis");
                    (told, backoff) = (false, Backoff::new());
                    let live = Live { multiplexed, number, since: Instant::now(), silent_answers: Arc::default() };
                    live_tx.send_replace(Some(live));
                    while broken_rx.recv().await.is_some_and(|broken| broken != number) {}
                    live_tx.send_replace(None);
                    tracing::warn!(connection = self.name, %address, "lost the connection to Redis");
                }
                Err(error) if told => {
                    tracing::debug!(connection = self.name, %error, "Redis is still away")
                }
                Err(error) => {
                    let hint = hint(&error);
                    tracing::warn!(connection = self.name, %address, %error, hint, "cannot connect to Redis, trying on");
                    told = true;
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn connect(&self, number: u64) -> RedisResult<MultiplexedConnection> {
        let broken_tx = self.broken_tx.clone();
        let on_push = move |push: PushInfo| match push.kind {
            PushKind::Disconnection => broken_tx.send(number),
            _ => Ok(()),
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(self.answers_within))
            .set_pipeline_buffer_size(1024)
            .set_push_sender(on_push);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// For what is not per action: loads, checkpoints, sets, start-up. Checked on every use, so never stale.
pub(super) struct Pool(deadpool_redis::Pool);

impl Pool {
    pub(super) fn new(info: &ConnectionInfo) -> Result<Self, ConnectError> {
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(POOL_ANSWERS_WITHIN));
        let manager = deadpool_redis::Manager::new_with_config(info.clone().set_redis_settings(settings), config)
            .map_err(|_| ConnectError::Url)?;
        let timeouts = deadpool_redis::Timeouts {
            wait: Some(POOL_ANSWERS_WITHIN),
            create: Some(CONNECT_WITHIN),
            recycle: Some(CONNECT_WITHIN),
        };
        let pool = deadpool_redis::Pool::builder(manager)
            .max_size(POOL_CONNECTIONS)
            .timeouts(timeouts)
            .runtime(deadpool_redis::Runtime::Tokio1)
            .build()
            .map_err(|_| ConnectError::Url)?;
        Ok(Self(pool))
    }

    pub(super) async fn script(&self, call: ScriptCall) -> LogResult<Value> {
        let mut connection = self.connection().await?;
        call.run_on(&mut connection).await.map_err(|error| self.judged(connection, &error))
    }

    pub(super) async fn command(&self, cmd: &Cmd) -> LogResult<Value> {
        let mut connection = self.connection().await?;
        cmd.query_async(&mut connection).await.map_err(|error| self.judged(connection, &error))
    }

    async fn connection(&self) -> LogResult<deadpool_redis::Connection> {
        // Boxed: seven kilobytes that every task that may ever read would carry with it.
        // The pool tries every idle connection in turn; against a stopped Redis that would take a second each.
        match tokio::time::timeout(POOL_CONNECTION_WITHIN, Box::pin(self.0.get())).await {
            Ok(got) => got.map_err(|error| not_connected(&error)),
            Err(_) => Err(not_connected(&"none that answers")),
        }
    }

    /// A connection with an answer outstanding is not given to the next caller.
    fn judged(&self, connection: deadpool_redis::Connection, error: &RedisError) -> crate::log::LogError {
        if error.is_io_error() || matches!(error.code(), Some("READONLY" | "MASTERDOWN")) {
            drop(deadpool_redis::Connection::take(connection));
        }
        judge(error)
    }
}

/// A connection of its own for what waits at Redis: it holds up whatever comes after it.
pub(super) async fn connect_to_wait(client: &Client) -> LogResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(WAITED_ANSWERS_WITHIN));
    let connected = client.get_multiplexed_async_connection_with_config(&config).await;
    connected.map_err(|error| not_connected(&error))
}
