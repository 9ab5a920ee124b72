//! Looks at everything four times a second: reads the logs, asks the bots, lets the oracle judge, and publishes one
//! picture for the page and the headless run. The only part that reads the region without a node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sectorbus::ids::SectorId;
use sectorbus::log::redis::RedisLog;
use sectorbus::log::{Log, LogResult, Opened, Workplace};
use sectorbus_node::admin;
use serde::Serialize;
use tokio::sync::watch;

use crate::aria;
use crate::backend::Backend;
use crate::bot::Report;
use crate::cluster::{Cluster, NodeView};
use crate::failover::FailoverClock;
use crate::fleet::Fleet;
use crate::oracle::{self, Oracle};
use crate::rooms::{Rooms, ShipView};
use crate::universe::{Storage, World};

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
}

/// One picture, as `/live` sends it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Live {
    pub nodes: Vec<NodeView>,
    /// Name of the node that owns each sector; sectors that nobody owns are left out.
    pub owners: BTreeMap<SectorId, String>,
    pub ships: Vec<ShipView>,
    pub counters: Counters,
    /// Every bot shows what the log has, waits for nothing, and its record was found.
    #[serde(skip)]
    pub converged: bool,
    /// Bots of which that is not true, and why.
    #[serde(skip)]
    pub apart: Vec<String>,
    /// Epoch in which each sector is owned.
    #[serde(skip)]
    pub epochs: BTreeMap<SectorId, u64>,
    /// Promises of the protocol that were not kept, for people.
    #[serde(skip)]
    pub broken: Vec<String>,
}

impl Live {
    /// Sectors of a node, with their epochs.
    pub fn rooms_of(&self, node: &str) -> BTreeMap<SectorId, u64> {
        let mine = self.owners.iter().filter(|(_, owner)| *owner == node);
        mine.map(|(sector, _)| (sector.clone(), self.epochs.get(sector).copied().unwrap_or(0))).collect()
    }
}

/// Nodes, bots and the lookout, running.
pub struct Demo {
    pub world: World,
    pub cluster: Cluster,
    pub backend: Backend,
    pub fleet: Arc<Fleet>,
    pub live: watch::Receiver<Arc<Live>>,
    failover: FailoverClock,
}

impl Demo {
    /// Starts everything. Fails if Redis is asked for and does not answer.
    pub async fn start(world: World) -> Result<Self> {
        let failover = FailoverClock::default();
        match world.storage.clone() {
            Storage::Memory(region) => Self::start_on(world, Arc::new(region.handle()), failover),
            Storage::Redis(url) => {
                let log = RedisLog::connect(world.redis_config(&url)).context("--redis")?;
                check_redis(&log).await.with_context(|| format!("--redis {url}"))?;
                Self::start_on(world, Arc::new(log), failover)
            }
        }
    }

    fn start_on<L: Log + Workplace>(world: World, log: Arc<L>, failover: FailoverClock) -> Result<Self> {
        let cluster = Cluster::start(world.clone())?;
        let fleet = Arc::new(Fleet::start(&world, &cluster, &failover));
        let (live_tx, live) = watch::channel(Arc::new(Live { nodes: cluster.views(), ..Live::default() }));
        let lookout = Lookout {
            rooms: Rooms::new(log.clone(), world.map.sectors()),
            oracle: Oracle::default(),
            cluster: cluster.clone(),
            fleet: fleet.clone(),
            failover: failover.clone(),
        };
        tokio::spawn(lookout.run(live_tx));
        tokio::spawn(async move { aria::run(log, "demo").await });
        let backend = Backend::new(cluster.clone(), world.backend_key());
        Ok(Self { world, cluster, backend, fleet, live, failover })
    }

    /// Kills a node and starts the failover's clock.
    pub async fn kill(&self, name: &str) -> Result<()> {
        let rooms = self.live.borrow().rooms_of(name);
        self.failover.start(rooms);
        self.cluster.kill(name).await
    }
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
    rooms: Rooms<L>,
    oracle: Oracle,
    cluster: Cluster,
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
        self.rooms.read().await?;
        let after = self.fleet.reports();
        let apart = self.apart(&after);
        for (before, after) in before.iter().zip(&after) {
            self.judge(before, after);
        }
        let owners = self.rooms.owners();
        let (owners, epochs) =
            owners.map(|(s, by, epoch)| ((s.clone(), by.node_name().to_owned()), (s.clone(), epoch))).unzip();
        Ok(Live {
            nodes: self.cluster.views(),
            owners,
            epochs,
            ships: self.rooms.ships(),
            counters: self.counters(&after),
            converged: resting && apart.is_empty(),
            apart,
            broken: self.broken(&after),
        })
    }

    fn apart(&self, reports: &[Report]) -> Vec<String> {
        let differences = reports.iter().filter_map(|report| {
            let replica = report.view.as_ref().and_then(|view| self.rooms.get(&view.sector));
            Some(format!("{} {}", report.player, oracle::difference(report, replica)?))
        });
        differences.collect()
    }

    fn judge(&mut self, before: &Report, after: &Report) {
        let record = self.rooms.record(&after.player);
        self.oracle.look_at(&after.player, &before.ledger, &after.ledger, record.as_ref());
    }

    fn counters(&self, reports: &[Report]) -> Counters {
        let contradictions: u64 = reports.iter().map(|report| report.contradictions).sum();
        let metrics = Scraped::now();
        Counters {
            acked: reports.iter().map(|report| report.ledger.acked).sum(),
            // The same loss may be seen by both.
            acked_lost: self.oracle.lost().max(metrics.sum("sectorbus_acked_lost_total")),
            duplicated: self.oracle.repeated() + self.rooms.acked_twice() + contradictions,
            failover_ms: self.failover.last_ms(),
            drift_repairs: metrics.sum("sectorbus_drift_repairs_total"),
        }
    }

    fn broken(&self, reports: &[Report]) -> Vec<String> {
        let of_bots = reports.iter().flat_map(|report| {
            let lines = report.broken.iter().chain(&report.stopped);
            lines.map(|line| format!("{}: {line}", report.player))
        });
        of_bots.chain(self.cluster.failures()).collect()
    }
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
