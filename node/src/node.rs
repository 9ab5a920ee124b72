//! One node from start to end: checks the region, starts its tasks, serves, drains.
//! `run` is what production, the demo and the tests all start.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use sectorbus::ids::{Incarnation, NodeName};
use sectorbus::limits::RING_VIRTUAL_NODES;
use sectorbus::log::redis::{ConnectError, RedisConfig, RedisLog};
use sectorbus::log::{Log, LogError, Opened, Unsafe};
use sectorbus::metrics::Metrics;
use sectorbus::protocol::Codec;
use sectorbus::rules::{Rules, Universe};

use crate::admin::{self, Readiness};
use crate::auth::Verifier;
use crate::config::NodeConfig;
use crate::core::{Core, Parts};
use crate::door::Door;
use crate::life::Life;
use crate::listen::{BindError, Listeners};
use crate::resume_token::ResumeKey;
use crate::session::hello::Keys;
use crate::tasks::Tasks;
use crate::{adopt, calls, drain, follow, jumps, people, players, revocations};

const RETRY_AFTER: Duration = Duration::from_millis(200);
const CHECK_SAFETY_EVERY: Duration = Duration::from_secs(60);

/// Why a node ended other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A broken invariant: the node ends as a whole, never a part of it.
    #[error("a task panicked: {0}")]
    Panicked(String),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Recorder(#[from] admin::RecorderError),
    #[error("the admin listener failed: {0}")]
    Admin(std::io::Error),
    #[error("redis_url: {0}")]
    Redis(#[from] ConnectError),
    #[error("redis_url is not set")]
    NoRedis,
    #[error("this Redis belongs to region {found}, not to {wanted}: set region or redis_url")]
    OtherRegion { found: String, wanted: String },
    #[error("this Redis holds format {found}, which this release does not know: use a release that does")]
    UnknownFormat { found: String },
    #[error("Redis is not safe: {0}; or start with allow_unsafe_redis = true")]
    UnsafeRedis(String),
    /// `ring` is no setting: another release places rooms otherwise.
    #[error("the members of this region run with another {}: it must be the same on all nodes", differing.join(", "))]
    SettingsDiffer { differing: Vec<String> },
    #[error("{0}")]
    Log(#[from] LogError),
}

/// What a node is started with.
pub struct NodeStart<L: Log> {
    pub config: NodeConfig,
    pub log: Arc<L>,
    /// Shown to peers and clients.
    pub address: String,
    /// Seeds the node's dice; `None`: from the operating system.
    pub seed: Option<u64>,
    /// For simulations: a smaller ring, built in place.
    pub simulated_ring: Option<usize>,
    /// What `/readyz` answers from.
    pub readiness: Arc<Readiness>,
}

/// A running node.
pub struct Node<L: Log> {
    core: Arc<Core<L>>,
    keys: Arc<Keys>,
    readiness: Arc<Readiness>,
    refused_rx: parking_lot::Mutex<mpsc::UnboundedReceiver<NodeError>>,
}

impl<L: Log> Node<L> {
    /// Checks the region and starts the node's tasks; waits for Redis as long as it is away.
    pub async fn start(start: NodeStart<L>) -> Result<Self, NodeError> {
        let NodeStart { config, log, address, seed, simulated_ring, readiness } = start;
        let metrics = Metrics::new(config.node_name.as_str());
        let time_ms = check_region(&*log, &config, &metrics).await?;
        let name = config.node_name.clone();
        let universe = Universe::new(config.universe_seed, config.universe_sectors);
        let gates = config.gates.iter().map(|gate| (gate.sector.clone(), gate.to.clone()));
        let rules = Rules::new(universe, config.move_cool_down.as_millis() as u64).with_gates(gates);
        let keys = Arc::new(Keys {
            verifier: Verifier::new(&config.jwt, config.region.clone()).fetching(&config.jwt, &metrics),
            resume: ResumeKey::new(&config.resume_secret),
        });
        let core = Core::new(Parts {
            config,
            log,
            metrics,
            rules: Arc::new(rules),
            incarnation: Incarnation::new(&name, time_ms),
            time_ms,
            seed: seed.unwrap_or_else(|| rand::rng().random()),
            tasks: Tasks::default(),
        });
        jumps::read_regions(&core).await;
        let (refused_tx, refused_rx) = mpsc::unbounded_channel();
        let node = Self { core, keys, readiness, refused_rx: parking_lot::Mutex::new(refused_rx) };
        node.spawn_tasks(name, address, simulated_ring, refused_tx);
        Ok(node)
    }

    fn spawn_tasks(
        &self,
        name: NodeName,
        address: String,
        simulated_ring: Option<usize>,
        refused_tx: mpsc::UnboundedSender<NodeError>,
    ) {
        let core = &self.core;
        let life = Life {
            core: core.clone(),
            name,
            address,
            readiness: self.readiness.clone(),
            virtual_nodes: simulated_ring.unwrap_or(RING_VIRTUAL_NODES),
            ring_in_place: simulated_ring.is_some(),
        };
        let tasks = core.tasks.clone();
        core.tasks.spawn("membership", async move {
            let differing = life.run().await;
            let _ = refused_tx.send(NodeError::SettingsDiffer { differing });
            tasks.kill();
        });
        self.readiness.set_keys(self.keys.verifier.has_keys());
        let (keys, readiness) = (self.keys.clone(), self.readiness.clone());
        core.tasks.spawn("keys", async move {
            if let Some(fetcher) = keys.verifier.fetcher() {
                fetcher.run(|| readiness.set_keys(true)).await;
            }
        });
        core.tasks.spawn("revocations", revocations::run(core.clone()));
        core.tasks.spawn("replies", calls::take_replies(core.clone()));
        core.tasks.spawn("jumps", jumps::run(core.clone()));
        core.tasks.spawn("adoption", adopt::run(core.clone()));
        core.tasks.spawn("heads", follow::heads::run(core.clone()));
        core.tasks.spawn("count", people::count::run(core.clone()));
        core.tasks.spawn("watches", people::watches::run(core.clone()));
        core.tasks.spawn("homes", people::homes::run(core.clone()));
        let tidied = core.clone();
        core.tasks.spawn("limits", async move {
            tidied.edge.keep_tidy(|| tidied.desk.forget_the_quiet()).await;
        });
        core.tasks.spawn("safety", keep_checking_safety(core.clone(), self.readiness.clone()));
    }

    pub fn core(&self) -> &Arc<Core<L>> {
        &self.core
    }

    pub fn readiness(&self) -> &Arc<Readiness> {
        &self.readiness
    }

    /// Lets the game's backend in.
    pub fn open_door(&self, door: &Door<L>) {
        door.open(self.core.clone(), self.keys.clone());
    }

    /// Accepts players on `listener`.
    pub fn serve_players(&self, listener: tokio::net::TcpListener) {
        self.core.tasks.spawn("players", players::serve(self.core.clone(), self.keys.clone(), listener));
    }

    /// A client in the same process: messages in as (is binary, payload), frames out with their headers.
    pub fn connect(&self, codec: Codec) -> (mpsc::UnboundedSender<(bool, Bytes)>, mpsc::UnboundedReceiver<Bytes>) {
        players::connect_in_process(&self.core, &self.keys, codec)
    }

    /// Takes over those of the settings that a running node may change.
    pub fn take_over(&self, config: &NodeConfig) {
        self.core.edge.take_over(config);
        self.core.desk.take_over(config);
        self.keys.verifier.reload(&config.jwt);
    }

    /// Ends everything where it stands, as `kill -9` would.
    pub fn kill(&self) {
        self.core.tasks.kill();
    }

    /// Hands over, sends players away and leaves.
    pub async fn drain(&self) {
        self.readiness.set_draining();
        drain::run(&self.core).await;
        self.core.tasks.kill();
    }

    /// Resolves when the node has ended: killed, drained, refused or by a panic.
    pub async fn ended(&self) -> Result<(), NodeError> {
        self.core.tasks.killed().await;
        self.core.tasks.ended().await;
        if let Ok(refused) = self.refused_rx.lock().try_recv() {
            return Err(refused);
        }
        self.core.tasks.panic().map_or(Ok(()), |panic| Err(NodeError::Panicked(panic)))
    }
}

impl<L: Log> Drop for Node<L> {
    fn drop(&mut self) {
        self.core.tasks.kill();
    }
}

/// Region, format and safety of the log; the region's TIME.
async fn check_region<L: Log>(log: &L, config: &NodeConfig, metrics: &Metrics) -> Result<u64, NodeError> {
    let mut said = false;
    loop {
        match try_region(log, config, metrics).await {
            Err(NodeError::Log(LogError::NotExecuted(what) | LogError::Ambiguous(what))) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(%what, "waiting for Redis");
                }
                metrics.redis_up.set(0.0);
                tokio::time::sleep(RETRY_AFTER).await;
            }
            outcome => return outcome,
        }
    }
}

async fn try_region<L: Log>(log: &L, config: &NodeConfig, metrics: &Metrics) -> Result<u64, NodeError> {
    let problems = log.check_safety().await?;
    report_safety(metrics, &problems);
    if !problems.is_empty() && !config.allow_unsafe_redis {
        return Err(NodeError::UnsafeRedis(join(&problems)));
    }
    match log.open().await? {
        Opened::Ok => Ok(log.time_ms().await?),
        Opened::OtherRegion { found } => Err(NodeError::OtherRegion { found, wanted: config.region.to_string() }),
        Opened::UnknownFormat { found } => Err(NodeError::UnknownFormat { found }),
    }
}

fn join(problems: &[Unsafe]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn report_safety(metrics: &Metrics, problems: &[Unsafe]) {
    metrics.redis_unsafe.set(problems.len() as f64);
    if !problems.is_empty() {
        tracing::warn!(problems = %join(problems), "Redis endangers what is acked");
    }
}

/// A Redis that became unsafe gets no more players from a node that was not told to bear it.
async fn keep_checking_safety<L: Log>(core: Arc<Core<L>>, readiness: Arc<Readiness>) {
    loop {
        tokio::time::sleep(CHECK_SAFETY_EVERY).await;
        if let Ok(problems) = core.log.check_safety().await {
            readiness.set_unsafe_redis(!problems.is_empty() && !core.config.allow_unsafe_redis);
            report_safety(&core.metrics, &problems);
        }
    }
}

/// Runs a node until `shutdown`, then drains it. `settings_rx`: settings as they are read again.
pub async fn run<L: Log>(
    config: NodeConfig,
    listeners: Listeners,
    log: Arc<L>,
    shutdown: CancellationToken,
    settings_rx: watch::Receiver<Arc<NodeConfig>>,
) -> Result<(), NodeError> {
    let address = match listeners.players.local_addr() {
        Ok(bound) => config.advertised(bound),
        Err(error) => return Err(NodeError::Admin(error)),
    };
    let recorder = admin::install_recorder_once()?;
    let readiness = Arc::new(Readiness::default());
    let ended = CancellationToken::new();
    let door = Door::closed();
    let app = admin::router(readiness.clone(), recorder, &door);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listeners.admin, app).with_graceful_shutdown(ended.clone().cancelled_owned());
    let admin_task = tokio::spawn(serving.into_future());
    let start = NodeStart { config, log, address, seed: None, simulated_ring: None, readiness };
    let outcome = run_to_end(start, listeners.players, &door, &shutdown, settings_rx).await;
    ended.cancel();
    admin_task.abort();
    outcome
}

async fn run_to_end<L: Log>(
    start: NodeStart<L>,
    players: tokio::net::TcpListener,
    door: &Door<L>,
    shutdown: &CancellationToken,
    settings_rx: watch::Receiver<Arc<NodeConfig>>,
) -> Result<(), NodeError> {
    let node = tokio::select! {
        started = Node::start(start) => started?,
        // Redis was never there: nothing to drain.
        () = shutdown.cancelled() => return Ok(()),
    };
    node.serve_players(players);
    node.open_door(door);
    tokio::select! {
        outcome = node.ended() => outcome,
        never = keep_taking_over(&node, settings_rx) => match never {},
        () = shutdown.cancelled() => {
            tokio::select! {
                () = node.drain() => {}
                outcome = node.ended() => return outcome,
            }
            node.ended().await
        }
    }
}

/// Never ends, even when nobody will read settings again.
async fn keep_taking_over<L: Log>(node: &Node<L>, mut settings_rx: watch::Receiver<Arc<NodeConfig>>) -> Infallible {
    loop {
        let config = settings_rx.borrow_and_update().clone();
        node.take_over(&config);
        if settings_rx.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// How the configuration's Redis is reached.
pub fn redis_of(config: &NodeConfig) -> Result<RedisConfig, NodeError> {
    let url = config.redis_url.as_ref().ok_or(NodeError::NoRedis)?.expose();
    Ok(RedisConfig {
        ca: config.redis_ca.clone(),
        node: config.node_name.to_string(),
        member_ttl: config.member_ttl,
        player_feed_kept: config.player_feed_kept,
        ..RedisConfig::new(url, config.region.clone())
    })
}

/// Runs a node on the configuration's Redis until `shutdown`, then drains.
pub async fn run_on_redis(
    config: NodeConfig,
    listeners: Listeners,
    shutdown: CancellationToken,
    settings_rx: watch::Receiver<Arc<NodeConfig>>,
) -> Result<(), NodeError> {
    let log = Arc::new(RedisLog::connect(redis_of(&config)?)?);
    run(config, listeners, log, shutdown, settings_rx).await
}
