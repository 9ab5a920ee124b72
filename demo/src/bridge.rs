//! What joins the regions: a nexus in this process, the switch that cuts one of its links, and what waits to be carried over
//! each, as the nexus's own `status` counts it. Knows no node and no player.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sectorbus::log::{self, Hub, Log, Mirrors};
use sectorbus_nexus::rules::Rules;
use sectorbus_nexus::status::{LinkReport, Report};
use sectorbus_nexus::{Nexus, NexusParts, Region, Seen};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

const NEXUS: &str = "demo";
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A link is led, or given up, within some seconds.
const SWITCHED_WITHIN: Duration = Duration::from_secs(10);

/// As the page shows it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct BridgeView {
    /// Nothing crosses, by the switch.
    pub cut: bool,
    /// Redis-nexus answers.
    pub hub_up: bool,
    pub links: Vec<LinkReport>,
    /// What is said in a region from now on is for the others.
    #[serde(skip)]
    pub begun: bool,
    /// Why the nexus ended, which it should not.
    pub failure: Option<String>,
}

/// The bridge while it stands. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Bridge {
    wanted: watch::Sender<bool>,
    view: watch::Receiver<BridgeView>,
    stop: CancellationToken,
}

impl Bridge {
    /// Starts the nexus. Needs the metrics recorder.
    pub fn start<L: Log + log::Bridge + Hub + Mirrors>(hub: Arc<L>, regions: Vec<Region<L>>) -> Self {
        let again = |region: &Region<L>| Region {
            name: region.name.clone(),
            log: region.log.clone(),
            address: region.address.clone(),
        };
        let nexus = Nexus::start(NexusParts {
            name: NEXUS.to_owned(),
            hub: hub.clone(),
            regions: regions.iter().map(again).collect(),
            rules: Rules::default(),
        });
        let (view_tx, view) = watch::channel(BridgeView::default());
        let (wanted, wanted_rx) = watch::channel(false);
        let stop = CancellationToken::new();
        let seen = nexus.seen();
        let tended = Tended { hub, regions, rules: Rules::default(), seen, view_tx, wanted_rx, begun: false };
        tokio::spawn(tended.run(nexus, stop.clone()));
        Self { wanted, view, stop }
    }

    pub fn view(&self) -> watch::Receiver<BridgeView> {
        self.view.clone()
    }

    /// Pauses the link of the last region, so that nothing crosses, or resumes it. Returns when the nexus knows.
    pub async fn cut(&self, cut: bool) -> Result<()> {
        self.wanted.send_replace(cut);
        let mut view = self.view.clone();
        let done = timeout(SWITCHED_WITHIN, view.wait_for(|view| view.cut == cut)).await;
        done.context("redis-nexus does not answer")?.context("the nexus has ended")?;
        Ok(())
    }

    /// The nexus hands its links over and ends.
    pub async fn end(&self) {
        self.stop.cancel();
        let mut view = self.view.clone();
        while view.changed().await.is_ok() {}
    }
}

struct Tended<L> {
    hub: Arc<L>,
    regions: Vec<Region<L>>,
    rules: Rules,
    seen: watch::Receiver<Seen>,
    view_tx: watch::Sender<BridgeView>,
    wanted_rx: watch::Receiver<bool>,
    begun: bool,
}

impl<L: Log + log::Bridge + Hub + Mirrors> Tended<L> {
    async fn run(mut self, mut nexus: Nexus, stop: CancellationToken) {
        tokio::select! {
            ended = nexus.ended() => {
                let why = ended.err().map_or_else(|| "by itself".to_owned(), |error| error.to_string());
                self.view_tx.send_modify(|view| view.failure = Some(format!("the nexus ended: {why}")));
                // Whoever looks sees it until the demo ends.
                stop.cancelled().await;
            }
            () = self.tend() => {}
            () = stop.cancelled() => {}
        }
        nexus.shutdown().await;
    }

    /// For ever.
    async fn tend(&mut self) {
        loop {
            let began = Instant::now();
            let wanted = *self.wanted_rx.borrow_and_update();
            self.look(wanted).await;
            tokio::select! {
                () = sleep_until(began + LOOK_EVERY) => {}
                Ok(()) = self.wanted_rx.changed() => {}
                Ok(()) = self.seen.changed() => {}
            }
        }
    }

    async fn look(&mut self, wanted: bool) {
        let Some(last) = self.regions.last() else { return };
        // An earlier run in the same Redis may have left it paused.
        let link = last.name.to_string();
        if let Err(error) = self.hub.pause(&link, wanted).await {
            tracing::debug!(%error, "told again at the next look");
        }
        let cut = self.seen.borrow_and_update().links.last().is_some_and(|link| link.paused);
        self.begun = self.begun || self.has_begun().await;
        let Report { hub_up, links, .. } = Report::read(&*self.hub, &self.regions, &self.rules).await;
        let begun = self.begun;
        self.view_tx.send_modify(|view| {
            *view = BridgeView { cut, hub_up, links, begun, failure: None };
        });
    }

    async fn has_begun(&self) -> bool {
        for region in &self.regions {
            let (place, time_ms) = (region.log.open_bridge().await, region.log.time_ms().await);
            if !matches!((place, time_ms), (Ok(place), Ok(time_ms)) if time_ms > place.began_ms) {
                return false;
            }
        }
        true
    }
}
