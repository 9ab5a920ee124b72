//! A region's nodes in this process, each started as production does, each on its own runtime: a kill drops the runtime at
//! once, so that sockets close and nothing more is written, as `kill -9` does. Knows nothing of players and rooms.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use sectorbus::ids::NodeName;
use sectorbus_node::{Listeners, NodeConfig, NodeError, run, run_on_redis};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::universe::{Storage, World};

/// Each node's own; the machine's cores are shared by all.
const WORKER_THREADS: usize = 2;
/// A thread that does not end by then (it is in a long computation) is left to end by itself.
const THREADS_END_WITHIN: Duration = Duration::from_secs(2);
/// Members of an earlier run, with other keys, refuse ours until they expire (2 s): so many lives of nodes are tried.
const REFUSED_TRIES: u64 = 30;
const REFUSED_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A node as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeView {
    pub name: String,
    pub up: bool,
    /// `host:port` where players connect.
    pub address: String,
}

/// A node's own runtime; dropping it ends the node where it stands.
struct OwnRuntime(Option<Runtime>);

/// One life of a node.
struct Life {
    runtime: OwnRuntime,
    stop: CancellationToken,
    /// It ended by itself.
    ended: CancellationToken,
    number: u64,
}

/// What its supervisor knows of a life.
struct Watched {
    number: u64,
    ended: CancellationToken,
}

struct Place {
    name: NodeName,
    /// Kept across lives, so that clients find the node again; port 0 before the first.
    address: SocketAddr,
    /// Where this life's door is.
    door: SocketAddr,
    life: Option<Life>,
}

/// Cheap to clone; all clones are the same cluster.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    world: World,
    places: Mutex<Vec<Place>>,
    lives: AtomicU64,
    views: watch::Sender<Vec<NodeView>>,
    /// Nodes that ended by themselves: name and why.
    failures: Mutex<Vec<String>>,
}

impl Cluster {
    /// Starts all nodes of a region.
    pub fn start(world: World) -> Result<Self> {
        let nodes = world.nodes();
        let names = nodes.iter().map(|name| NodeName::new(name).expect("a name"));
        let unbound = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let places = names.map(|name| Place { name, address: unbound, door: unbound, life: None }).collect();
        let cluster = Self(Arc::new(Shared {
            world,
            places: Mutex::new(places),
            lives: AtomicU64::new(0),
            views: watch::Sender::new(Vec::new()),
            failures: Mutex::default(),
        }));
        for name in nodes {
            cluster.restart(name)?;
        }
        Ok(cluster)
    }

    pub fn views(&self) -> Vec<NodeView> {
        self.0.views.borrow().clone()
    }

    /// Where players may connect: all nodes, the dead included, as a client would know them.
    pub fn addresses(&self) -> Vec<String> {
        self.0.views.borrow().iter().map(|node| node.address.clone()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.views.borrow().iter().any(|node| node.name == name)
    }

    /// Where the backend may ask: the nodes that run.
    pub fn doors(&self) -> Vec<SocketAddr> {
        let places = self.0.places.lock();
        places.iter().filter(|place| place.life.is_some()).map(|place| place.door).collect()
    }

    /// Why nodes ended that nobody killed; empty in a healthy run.
    pub fn failures(&self) -> Vec<String> {
        self.0.failures.lock().clone()
    }

    /// Ends a node where it stands. Returns when its threads have ended and its sockets are closed.
    pub async fn kill(&self, name: &str) -> Result<()> {
        let life = self.0.take_life(name, None)?.with_context(|| format!("{name} is not running"))?;
        life.runtime.end().await;
        Ok(())
    }

    /// Starts a node that is not running, on the address it had.
    pub fn restart(&self, name: &str) -> Result<()> {
        let mut places = self.0.places.lock();
        let Some(place) = places.iter_mut().find(|place| place.name.as_str() == name) else { bail!("no node {name}") };
        if place.life.is_some() {
            bail!("{name} is running");
        }
        let players = bind_again(place.address)?;
        let admin = bind_again(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        place.address = players.local_addr()?;
        place.door = admin.local_addr()?;
        let number = self.0.lives.fetch_add(1, Ordering::Relaxed);
        let runtime = OwnRuntime::new(name)?;
        let stop = CancellationToken::new();
        let config = self.0.world.node_config(place.name.clone());
        let storage = self.0.world.storage.clone();
        let (ended_tx, ended_rx) = oneshot::channel();
        let stopped = stop.clone();
        runtime.spawn(async move {
            // As a task of its own, so that a panic anywhere in it arrives as an outcome.
            let node = tokio::spawn(run_node(storage, config, players, admin, stopped));
            let outcome = node.await.unwrap_or_else(|panic| Err(NodeError::Panicked(panic.to_string())));
            let _ = ended_tx.send(outcome);
        });
        let watched = Watched { number, ended: CancellationToken::new() };
        place.life = Some(Life { runtime, stop, ended: watched.ended.clone(), number });
        self.0.publish(&places);
        tokio::spawn(supervise(self.clone(), name.to_owned(), watched, ended_rx));
        Ok(())
    }

    /// Hands over and leaves, all nodes at once; what has not left within `deadline` is killed.
    pub async fn drain(&self, deadline: Duration) {
        let lives: Vec<Life> = self.0.places.lock().iter_mut().filter_map(|place| place.life.take()).collect();
        lives.iter().for_each(|life| life.stop.cancel());
        let all_ended = async {
            for life in &lives {
                life.ended.cancelled().await;
            }
        };
        let _ = tokio::time::timeout(deadline, all_ended).await;
        for life in lives {
            life.runtime.end().await;
        }
    }
}

impl Shared {
    /// The running life of a node, taken out of its place; `None`: it does not run (as life `number`).
    fn take_life(&self, name: &str, number: Option<u64>) -> Result<Option<Life>> {
        let mut places = self.places.lock();
        let Some(place) = places.iter_mut().find(|place| place.name.as_str() == name) else { bail!("no node {name}") };
        let life = place.life.take_if(|life| number.is_none_or(|number| number == life.number));
        self.publish(&places);
        Ok(life)
    }

    fn publish(&self, places: &[Place]) {
        let view = |place: &Place| NodeView {
            name: place.name.to_string(),
            up: place.life.is_some(),
            address: place.address.to_string(),
        };
        self.views.send_replace(places.iter().map(view).collect());
    }
}

/// Waits for one life's own end; an end that nobody asked for is a failure, or a refusal that passes.
async fn supervise(cluster: Cluster, name: String, life: Watched, ended_rx: oneshot::Receiver<Result<(), NodeError>>) {
    // Dropped with the runtime: killed.
    let Ok(outcome) = ended_rx.await else { return };
    life.ended.cancel();
    let Ok(Some(ended)) = cluster.0.take_life(&name, Some(life.number)) else { return };
    ended.runtime.end().await;
    let Err(error) = outcome else { return };
    if matches!(error, NodeError::SettingsDiffer { .. }) && life.number < REFUSED_TRIES {
        tokio::time::sleep(REFUSED_AGAIN_AFTER).await;
        if cluster.restart(&name).is_ok() {
            return;
        }
    }
    cluster.0.failures.lock().push(format!("{name} ended: {error}"));
}

async fn run_node(
    storage: Storage,
    config: NodeConfig,
    players: TcpListener,
    admin: TcpListener,
    stop: CancellationToken,
) -> Result<(), NodeError> {
    let listener = |listener: TcpListener| tokio::net::TcpListener::from_std(listener).map_err(NodeError::Admin);
    let listeners = Listeners { players: listener(players)?, admin: listener(admin)? };
    let (_, settings_rx) = watch::channel(Arc::new(config.clone()));
    match storage {
        Storage::Memory(region) => run(config, listeners, Arc::new(region.handle()), stop, settings_rx).await,
        Storage::Redis(_) => run_on_redis(config, listeners, stop, settings_rx).await,
    }
}

impl OwnRuntime {
    fn new(name: &str) -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let built = builder.worker_threads(WORKER_THREADS).thread_name(name).enable_all().build();
        Ok(Self(Some(built.context("a runtime for the node")?)))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(task);
        }
    }

    /// Returns when its threads have ended. Waiting for threads is nothing for a thread of ours.
    async fn end(mut self) {
        if let Some(runtime) = self.0.take() {
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(THREADS_END_WITHIN)).await;
        }
    }
}

impl Drop for OwnRuntime {
    /// Without waiting: this may be a thread of another runtime.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The same address, or any other port if somebody took it meanwhile.
fn bind_again(address: SocketAddr) -> Result<TcpListener> {
    let any = SocketAddr::from((address.ip(), 0));
    let listener = TcpListener::bind(address).or_else(|_| TcpListener::bind(any)).context("no free port")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
