//! All bots: started together, heard together, told to rest together.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bot::{Bot, Report, Sky};
use crate::cluster::Cluster;
use crate::failover::FailoverClock;
use crate::universe::World;

/// Dropping it ends all bots.
pub struct Fleet {
    bots: Vec<Arc<Bot>>,
    acting: watch::Sender<bool>,
    _flights: JoinSet<()>,
}

impl Fleet {
    pub fn start(world: &World, cluster: &Cluster, failover: &FailoverClock) -> Self {
        let acting = watch::Sender::new(true);
        let bots: Vec<Arc<Bot>> = world.bots().into_iter().map(Bot::new).collect();
        let mut flights = JoinSet::new();
        for bot in &bots {
            flights.spawn(bot.clone().fly(Sky {
                world: world.clone(),
                cluster: cluster.clone(),
                failover: failover.clone(),
                acting: acting.subscribe(),
            }));
        }
        Self { bots, acting, _flights: flights }
    }

    /// No new actions from now on; what waits for its answer is still answered.
    pub fn rest(&self) {
        self.acting.send_replace(false);
    }

    pub fn is_resting(&self) -> bool {
        !*self.acting.borrow()
    }

    /// What every bot knows now; each report is of one moment, all of them are not.
    pub fn reports(&self) -> Vec<Report> {
        self.bots.iter().map(|bot| bot.report()).collect()
    }
}
