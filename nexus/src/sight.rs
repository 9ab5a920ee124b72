//! What a nexus sees around it, looked at twice a second: whether each Redis answers, who leads each link, which links are
//! paused. Decides nothing; links and the admin listener read it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sectorbus::ids::RegionName;
use sectorbus::log::{Bridge, Hub, Log, LogResult};
use sectorbus::metrics::{Direction, LinkMeters, NexusMeters};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lag::Lag;
use crate::rules::EVERYTHING;
use crate::{LEAD_FOR, Refused, Region};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A Redis that is slow is not away.
const ANSWERS_WITHIN: Duration = Duration::from_millis(1_500);
/// A Redis that has not answered for this long is away.
const AWAY_AFTER: Duration = LEAD_FOR;
const _: () = assert!(ANSWERS_WITHIN.as_millis() < AWAY_AFTER.as_millis());

/// As of the last look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Redis-nexus answers.
    pub hub: bool,
    /// In the order of the configuration.
    pub links: Vec<LinkSeen>,
}

/// One link, named as its region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSeen {
    pub link: RegionName,
    /// The region answers.
    pub up: bool,
    /// As redis-nexus said last.
    pub leader: Option<String>,
    pub paused: bool,
}

impl Seen {
    /// What keeps it from doing its work; empty: it does.
    pub fn missing(&self) -> Vec<String> {
        if !self.hub {
            return vec!["redis-nexus is not reachable".to_owned()];
        }
        let links = self.links.iter().filter(|seen| !seen.paused);
        let missing = links.filter_map(|LinkSeen { link, up, leader, .. }| match (up, leader) {
            (false, _) => Some(format!("region {link} is not reachable")),
            (true, None) => Some(format!("link {link} has no leader")),
            (true, Some(_)) => None,
        });
        missing.collect()
    }
}

/// Reads what is seen.
pub(crate) struct Sight {
    seen: watch::Receiver<Seen>,
    lags: Vec<Arc<Lag>>,
}

impl Sight {
    /// With what looks.
    pub(crate) fn new<L: Log + Bridge + Hub>(
        regions: &[Region<L>],
        hub: Arc<L>,
        meters: NexusMeters,
    ) -> (Self, Look<L>) {
        let unseen =
            |region: &Region<L>| LinkSeen { link: region.name.clone(), up: false, leader: None, paused: false };
        let seen = Seen { hub: false, links: regions.iter().map(unseen).collect() };
        let (seen_tx, seen_rx) = watch::channel(seen);
        let of = |region: &Region<L>| Looked {
            name: region.name.clone(),
            log: region.log.clone(),
            meters: meters.link(region.name.as_str()),
            heard: None,
            lag: Arc::default(),
        };
        let regions: Vec<_> = regions.iter().map(of).collect();
        let lags = regions.iter().map(|looked| looked.lag.clone()).collect();
        (Self { seen: seen_rx, lags }, Look { regions, hub, hub_heard: None, meters, seen_tx })
    }

    pub(crate) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }

    /// Of one of the links.
    pub(crate) fn link(&self, link: &RegionName) -> LinkSight {
        let at = self.seen.borrow().links.iter().position(|seen| seen.link == *link).unwrap_or_default();
        LinkSight { seen: self.seen.clone(), at, lag: self.lags[at].clone() }
    }
}

/// One link's part of what is seen.
#[derive(Clone)]
pub struct LinkSight {
    seen: watch::Receiver<Seen>,
    at: usize,
    /// What the link has in hand.
    pub(crate) lag: Arc<Lag>,
}

impl LinkSight {
    /// Until the region answers, or does not.
    pub(crate) async fn until_up(&self, up: bool) {
        self.until(|seen| seen.up == up).await;
    }

    /// Until the link is paused, or is not.
    pub(crate) async fn until_paused(&self, paused: bool) {
        self.until(|seen| seen.paused == paused).await;
    }

    async fn until(&self, is_so: impl Fn(&LinkSeen) -> bool) {
        let mut seen = self.seen.clone();
        if seen.wait_for(|seen| is_so(&seen.links[self.at])).await.is_err() {
            // Nobody looks any more: this nexus ends.
            std::future::pending::<()>().await;
        }
    }
}

/// A region that is looked at.
struct Looked<L> {
    name: RegionName,
    log: Arc<L>,
    meters: LinkMeters,
    /// When it answered last, and its TIME then, ms.
    heard: Option<(Instant, u64)>,
    lag: Arc<Lag>,
}

/// What looks.
pub(crate) struct Look<L> {
    regions: Vec<Looked<L>>,
    hub: Arc<L>,
    hub_heard: Option<Instant>,
    meters: NexusMeters,
    seen_tx: watch::Sender<Seen>,
}

impl<L: Log + Bridge + Hub> Look<L> {
    /// For ever.
    pub(crate) async fn run(mut self) -> Result<(), Refused> {
        loop {
            let began = Instant::now();
            self.look().await;
            tokio::time::sleep_until(began + LOOK_EVERY).await;
        }
    }

    async fn look(&mut self) {
        let mut seen = self.seen_tx.borrow().clone();
        let times = join_all(self.regions.iter().map(|region| in_time(region.log.time_ms())));
        let links: Vec<String> = seen.links.iter().map(|seen| seen.link.to_string()).collect();
        let leaders = join_all(links.iter().map(|link| in_time(self.hub.leader(link))));
        let (times, paused, leaders) = tokio::join!(times, in_time(self.hub.paused()), leaders);
        let now = Instant::now();
        let is_near = |heard: Option<Instant>| heard.is_some_and(|heard| now - heard < AWAY_AFTER);
        if paused.is_some() {
            self.hub_heard = Some(now);
        }
        seen.hub = is_near(self.hub_heard);
        self.meters.hub_is(seen.hub);
        for (region, time_ms) in self.regions.iter_mut().zip(times) {
            region.heard = time_ms.map(|time_ms| (now, time_ms)).or(region.heard);
        }
        for ((link, region), leader) in seen.links.iter_mut().zip(&self.regions).zip(leaders) {
            link.up = is_near(region.heard.map(|(heard, _)| heard));
            if let Some(leader) = leader {
                link.leader = leader;
            }
            if let Some(paused) = &paused {
                link.paused = paused.iter().any(|paused| paused == link.link.as_str());
            }
            region.meters.region_is(link.up);
            region.meters.is_paused(link.paused);
            for direction in [Direction::Up, Direction::Down] {
                for what in EVERYTHING {
                    let (items, behind) = region.lag.of(direction, what, now, |of| self.time_ms(of, now));
                    region.meters.lag(direction, what, items, behind);
                }
            }
        }
        self.seen_tx.send_if_modified(|before| {
            let changed = *before != seen;
            *before = seen;
            changed
        });
    }

    /// A region's TIME, as it goes on since it answered last.
    fn time_ms(&self, region: &RegionName, now: Instant) -> Option<u64> {
        let (heard, time_ms) = self.regions.iter().find(|looked| looked.name == *region)?.heard?;
        Some(time_ms + u64::try_from((now - heard).as_millis()).unwrap_or(u64::MAX))
    }
}

async fn in_time<T>(asked: impl Future<Output = LogResult<T>>) -> Option<T> {
    tokio::time::timeout(ANSWERS_WITHIN, asked).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let link = |name: &str, up, leader: Option<&str>, paused| LinkSeen {
            link: name.parse().unwrap(),
            up,
            leader: leader.map(str::to_owned),
            paused,
        };
        let mut seen =
            Seen { hub: true, links: vec![link("eu", true, Some("x1"), false), link("us", true, None, true)] };
        assert_eq!(seen.missing(), Vec::<String>::new(), "a paused link needs no leader");
        seen.links.push(link("asia", false, Some("x2"), false));
        seen.links.push(link("mars", true, None, false));
        assert_eq!(seen.missing(), ["region asia is not reachable", "link mars has no leader"]);
        seen.hub = false;
        assert_eq!(seen.missing(), ["redis-nexus is not reachable"]);
    }
}
