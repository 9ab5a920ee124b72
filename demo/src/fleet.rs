//! All bots: started together, heard together, told to rest together.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bot::{Bot, Report, Sky};
use crate::bridge::BridgeView;
use crate::failover::FailoverClock;
use crate::land::Land;

/// Dropping it ends all bots.
pub struct Fleet {
    bots: Vec<Arc<Bot>>,
    acting: watch::Sender<bool>,
    _flights: JoinSet<()>,
}

impl Fleet {
    /// The bots of all regions; `criers`: and one in each that says something once a second and hears what is said.
    pub fn start(lands: &[Land], bridge: watch::Receiver<BridgeView>, failover: &FailoverClock, criers: bool) -> Self {
        let acting = watch::Sender::new(true);
        let mut bots = Vec::new();
        for (at, land) in lands.iter().enumerate() {
            bots.extend(land.world.bots().into_iter().map(|player| Bot::new(player, at, false)));
            bots.extend(criers.then(|| Bot::new(land.world.crier(), at, true)));
        }
        let listening = Arc::new(AtomicUsize::new(0));
        let mut flights = JoinSet::new();
        for bot in &bots {
            flights.spawn(bot.clone().fly(Sky {
                lands: lands.to_vec(),
                bridge: bridge.clone(),
                listening: listening.clone(),
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
