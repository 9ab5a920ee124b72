//! Looks at everything four times a second: reads the logs, asks the bots, lets the oracle judge, and publishes one
//! picture for the page and the headless run. The only part that reads the regions without a node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use sectorbus::ids::{RegionName, SectorId};
use sectorbus::log::redis::RedisLog;
use sectorbus::log::{self, Hub, Log, LogResult, Mirrors, Opened, Workplace};
use sectorbus_nexus::Region;
use sectorbus_node::admin;
use serde::Serialize;
use tokio::sync::watch;

use crate::aria;
use crate::bot::Report;
use crate::bridge::{Bridge, BridgeView};
use crate::cluster::NodeView;
use crate::failover::FailoverClock;
use crate::fleet::Fleet;
use crate::land::Land;
use crate::oracle::{self, Oracle};
use crate::rooms::{Acks, Record, Rooms, ShipView};
use crate::universe::{Storage, Universe, World, hub_region, redis_config};

const LOOK_EVERY: Duration = Duration::from_millis(250);
const REDIS_ANSWERS_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Actions of bots that were acked.
    pub acked: u64,
    /// Of those, provably not kept.
    pub acked_lost: u64,
    /// Actions that ran twice, or got two different answers.
    pub duplicated: u64,
    /// Of the last kill: until the first ack in a room the killed node owned. `None` before.
    pub failover_ms: Option<u64>,
    /// Clients whose checksum differed and that were repaired in place.
    pub drift_repairs: u64,
    /// Bots that jumped to another region and went on there.
    pub jumps: u64,
}

/// A region, as `/live` sends it.
#[derive(Debug, Clone, Serialize)]
pub struct RegionLive {
    pub name: RegionName,
    pub nodes: Vec<NodeView>,
    /// Name of the node that owns each sector; sectors that nobody owns are left out.
    pub owners: BTreeMap<SectorId, String>,
    pub ships: Vec<ShipView>,
    /// Epoch in which each sector is owned.
    #[serde(skip)]
    pub epochs: BTreeMap<SectorId, u64>,
}

/// One picture, as `/live` sends it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Live {
    pub regions: Vec<RegionLive>,
    pub bridge: BridgeView,
    pub counters: Counters,
    /// What criers have said; each has heard all of it once, if all is converged.
    #[serde(skip)]
    pub said: u64,
    /// Every bot shows what the log has, waits for nothing, its record was found, and it heard what was said.
    #[serde(skip)]
    pub converged: bool,
    /// Bots of which that is not true, and why.
    #[serde(skip)]
    pub apart: Vec<String>,
    /// Promises of the protocol that were not kept, for people.
    #[serde(skip)]
    pub broken: Vec<String>,
}

impl RegionLive {
    fn of(land: &Land) -> Self {
        let (name, nodes) = (land.name().clone(), land.cluster.views());
        Self { name, nodes, owners: BTreeMap::new(), ships: Vec::new(), epochs: BTreeMap::new() }
    }

    /// Sectors of a node, with their epochs.
    fn rooms_of(&self, node: &str) -> BTreeMap<SectorId, u64> {
        let mine = self.owners.iter().filter(|(_, owner)| *owner == node);
        mine.map(|(sector, _)| (sector.clone(), self.epochs.get(sector).copied().unwrap_or(0))).collect()
    }
}

impl Live {
    pub fn nodes(&self) -> impl Iterator<Item = &NodeView> {
        self.regions.iter().flat_map(|region| &region.nodes)
    }
}

/// Two regions, the bridge between them, bots and the lookout, running.
pub struct Demo {
    pub lands: Vec<Land>,
    pub bridge: Bridge,
    pub fleet: Arc<Fleet>,
    pub live: watch::Receiver<Arc<Live>>,
    failover: FailoverClock,
}

/// Access to each region and to redis-nexus.
struct Logs<L> {
    regions: Vec<Arc<L>>,
    hub: Arc<L>,
}

impl Demo {
    /// Starts everything; `criers`: with bots that say something. Fails if Redis is asked for and does not answer.
    pub async fn start(universe: Universe, criers: bool) -> Result<Self> {
        let Universe { worlds, hub } = universe;
        let storages = || worlds.iter().map(|world| (&world.region, &world.storage));
        let memories: Option<Vec<_>> = storages()
            .map(|(_, storage)| match storage {
                Storage::Memory(region) => Some(region.clone()),
                Storage::Redis(_) => None,
            })
            .collect();
        if let (Some(regions), Storage::Memory(hub)) = (memories, &hub) {
            let logs = || Logs {
                regions: regions.iter().map(|region| Arc::new(region.handle())).collect(),
                hub: Arc::new(hub.handle()),
            };
            return Self::start_on(worlds, logs(), logs(), criers).await;
        }
        let logs = || -> Result<Logs<RedisLog>> {
            let regions = storages().map(|(region, storage)| connect(region.clone(), storage));
            Ok(Logs { regions: regions.collect::<Result<_>>()?, hub: connect(hub_region(), &hub)? })
        };
        let looks = logs()?;
        let nexus = hub_region();
        let named = storages().chain([(&nexus, &hub)]).map(|(region, storage)| (region.clone(), url_of(storage)));
        let logs_of_all = looks.regions.iter().chain([&looks.hub]);
        check_redises(&logs_of_all.zip(named).collect::<Vec<_>>()).await?;
        let logs = logs()?;
        Self::start_on(worlds, looks, logs, criers).await
    }

    async fn start_on<L>(worlds: Vec<World>, looks: Logs<L>, nexus: Logs<L>, criers: bool) -> Result<Self>
    where
        L: Log + Workplace + log::Bridge + Hub + Mirrors,
    {
        let recorder = admin::install_recorder_once().context("the metrics recorder")?;
        tokio::spawn(admin::upkeep(recorder));
        let failover = FailoverClock::default();
        let mut lands = Vec::new();
        for world in worlds {
            lands.push(Land::start(world).await?);
        }
        let region = |(land, log): (&Land, &Arc<L>)| Region {
            name: land.name().clone(),
            log: log.clone(),
            address: Some(format!("ws://{}", land.front)),
        };
        let bridge = Bridge::start(nexus.hub, lands.iter().zip(&nexus.regions).map(region).collect());
        let fleet = Arc::new(Fleet::start(&lands, bridge.view(), &failover, criers));
        let empty = Live { regions: lands.iter().map(RegionLive::of).collect(), ..Live::default() };
        let (live_tx, live) = watch::channel(Arc::new(empty));
        let acks = Arc::new(Mutex::new(Acks::default()));
        let rooms = lands
            .iter()
            .zip(&looks.regions)
            .map(|(land, log)| Rooms::new(land.name().clone(), log.clone(), land.world.map.sectors(), acks.clone()));
        let lookout = Lookout {
            rooms: rooms.collect(),
            acks: acks.clone(),
            oracle: Oracle::default(),
            lands: lands.clone(),
            bridge: bridge.view(),
            fleet: fleet.clone(),
            failover: failover.clone(),
        };
        tokio::spawn(lookout.run(live_tx));
        for log in looks.regions {
            tokio::spawn(async move { aria::run(log, "demo").await });
        }
        Ok(Self { lands, bridge, fleet, live, failover })
    }

    /// The region that has a node of this name.
    fn land_of(&self, node: &str) -> Result<&Land> {
        let land = self.lands.iter().find(|land| land.cluster.has(node));
        land.with_context(|| format!("no node {node}"))
    }

    /// Kills a node and starts the failover's clock.
    pub async fn kill(&self, name: &str) -> Result<()> {
        let land = self.land_of(name)?;
        let rooms =
            self.live.borrow().regions.iter().map(|region| region.rooms_of(name)).find(|rooms| !rooms.is_empty());
        self.failover.start(land.name().clone(), rooms.unwrap_or_default());
        land.cluster.kill(name).await
    }

    pub fn restart(&self, name: &str) -> Result<()> {
        self.land_of(name)?.cluster.restart(name)
    }

    /// All nodes hand over and leave, and the nexus gives up its links; what takes longer than `deadline` is killed.
    pub async fn drain(&self, deadline: Duration) {
        let drained = self.lands.iter().map(|land| land.cluster.drain(deadline));
        let ended = tokio::time::timeout(deadline, self.bridge.end());
        let _ = tokio::join!(futures_util::future::join_all(drained), ended);
    }
}

fn url_of(storage: &Storage) -> String {
    match storage {
        Storage::Memory(_) => "memory".to_owned(),
        Storage::Redis(url) => url.to_string(),
    }
}

fn connect(region: RegionName, storage: &Storage) -> Result<Arc<RedisLog>> {
    let Storage::Redis(url) = storage else { bail!("accepted is --redis with three URLs, or none") };
    Ok(Arc::new(RedisLog::connect(redis_config(url, region)).context("--redis")?))
}

/// Each answers, is what it is taken for, and is no other one's. With each its region and its URL.
async fn check_redises<L: Log + log::Bridge>(all: &[(&Arc<L>, (RegionName, String))]) -> Result<()> {
    let mut servers: BTreeMap<String, &str> = BTreeMap::new();
    for (log, (region, url)) in all {
        check_redis(&***log).await.with_context(|| format!("--redis {url} (of {region})"))?;
        let server = log.server().await.with_context(|| format!("--redis {url}"))?;
        if let Some(first) = servers.insert(server, region.as_str()) {
            bail!(
                "--redis: {first} and {region} have one server: accepted are three Redis servers, of eu, of us and of the \
                 nexus (another database of the same server is not enough)"
            );
        }
    }
    Ok(())
}

async fn check_redis<L: Log>(log: &L) -> Result<()> {
    let opened = tokio::time::timeout(REDIS_ANSWERS_WITHIN, log.open()).await.context("no answer")??;
    match opened {
        Opened::Ok => {}
        Opened::OtherRegion { found } => bail!("it belongs to region {found}"),
        Opened::UnknownFormat { found } => bail!("it holds format {found}, which this release does not know"),
    }
    for problem in log.check_safety().await? {
        eprintln!("note: a production node would refuse this Redis: {problem}");
    }
    Ok(())
}

struct Lookout<L: Log> {
    /// By the number of the region, as `lands`.
    rooms: Vec<Rooms<L>>,
    acks: Arc<Mutex<Acks>>,
    oracle: Oracle,
    lands: Vec<Land>,
    bridge: watch::Receiver<BridgeView>,
    fleet: Arc<Fleet>,
    failover: FailoverClock,
}

impl<L: Log> Lookout<L> {
    async fn run(mut self, live_tx: watch::Sender<Arc<Live>>) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !live_tx.is_closed() {
            every.tick().await;
            match self.look().await {
                Ok(live) => drop(live_tx.send_replace(Arc::new(live))),
                Err(error) => tracing::warn!(%error, "the log could not be read"),
            }
        }
    }

    async fn look(&mut self) -> LogResult<Live> {
        let resting = self.fleet.is_resting();
        let before = self.fleet.reports();
        for rooms in &mut self.rooms {
            rooms.read().await?;
        }
        let after = self.fleet.reports();
        let apart = self.apart(&after);
        for (before, after) in before.iter().zip(&after) {
            self.judge(before, after);
        }
        let said = after.iter().filter_map(|report| Some(report.cries.as_ref()?.said.len() as u64)).sum();
        let bridge = self.bridge.borrow().clone();
        Ok(Live {
            regions: self.lands.iter().zip(&self.rooms).map(|(land, rooms)| picture(land, rooms)).collect(),
            counters: self.counters(&after),
            said,
            converged: resting && apart.is_empty(),
            apart,
            broken: self.broken(&after, &bridge),
            bridge,
        })
    }

    fn apart(&self, reports: &[Report]) -> Vec<String> {
        let differences = reports.iter().filter_map(|report| {
            let replica = report.view.as_ref().and_then(|view| self.rooms[report.at].get(&view.sector));
            Some(format!("{} {}", report.player, oracle::difference(report, replica)?))
        });
        differences.chain(oracle::misheard(reports)).collect()
    }

    fn judge(&mut self, before: &Report, after: &Report) {
        let records = self.rooms.iter().filter_map(|rooms| rooms.record(&after.player));
        let record = records.max_by_key(Record::rank);
        self.oracle.look_at(&after.player, &before.ledger, &after.ledger, record.as_ref());
    }

    fn counters(&self, reports: &[Report]) -> Counters {
        let contradictions: u64 = reports.iter().map(|report| report.contradictions).sum();
        let metrics = Scraped::now();
        Counters {
            acked: reports.iter().map(|report| report.ledger.acked).sum(),
            // The same loss may be seen by both.
            acked_lost: self.oracle.lost().max(metrics.sum("sectorbus_acked_lost_total")),
            duplicated: self.oracle.repeated() + self.acks.lock().twice + contradictions,
            failover_ms: self.failover.last_ms(),
            drift_repairs: metrics.sum("sectorbus_drift_repairs_total"),
            jumps: reports.iter().map(|report| report.jumps).sum(),
        }
    }

    fn broken(&self, reports: &[Report], bridge: &BridgeView) -> Vec<String> {
        let of_bots = reports.iter().flat_map(|report| {
            let lines = report.broken.iter().chain(&report.stopped);
            lines.map(|line| format!("{}: {line}", report.player))
        });
        let of_nodes = self.lands.iter().flat_map(|land| land.cluster.failures());
        of_bots.chain(of_nodes).chain(bridge.failure.clone()).collect()
    }
}

fn picture<L: Log>(land: &Land, rooms: &Rooms<L>) -> RegionLive {
    let owners = rooms.owners();
    let (owners, epochs) =
        owners.map(|(s, by, epoch)| ((s.clone(), by.node_name().to_owned()), (s.clone(), epoch))).unzip();
    RegionLive { owners, epochs, ships: rooms.ships(), ..RegionLive::of(land) }
}

/// The nodes' own counts, as a scraper would read them.
struct Scraped(String);

impl Scraped {
    fn now() -> Self {
        Self(admin::install_recorder_once().map(|recorder| recorder.render()).unwrap_or_default())
    }

    /// Of all nodes and labels.
    fn sum(&self, name: &str) -> u64 {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(name));
        let values = lines.filter(|rest| rest.starts_with(['{', ' '])).filter_map(|rest| rest.rsplit(' ').next());
        values.filter_map(|value| value.parse::<f64>().ok()).map(|value| value as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_nodes_are_added() {
        let text =
            "# TYPE x_total counter\nx_total{node=\"a\",by=\"owner\"} 2\nx_total{node=\"b\"} 3\nx_total_more 7\n";
        assert_eq!(Scraped(text.to_owned()).sum("x_total"), 5);
    }
}
