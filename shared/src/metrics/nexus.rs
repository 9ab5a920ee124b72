//! Every metric of a nexus. A link is called as its region; regions are few, so their names may be labels.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Unit};

use super::labels::{Direction, Label, What};
use super::{MetricDoc, MetricKind, describe};

const HUB_UP: &str = "sectorbus_nexus_hub_up";
const HUB_UNSAFE: &str = "sectorbus_nexus_hub_unsafe";
const UP: &str = "sectorbus_nexus_link_up";
const LEADER: &str = "sectorbus_nexus_leader";
const PAUSED: &str = "sectorbus_nexus_paused";
const ITEMS: &str = "sectorbus_nexus_items_total";
const BYTES: &str = "sectorbus_nexus_bytes_total";
const LAG_ITEMS: &str = "sectorbus_nexus_lag_items";
const LAG_SECONDS: &str = "sectorbus_nexus_lag_seconds";
const GAPS: &str = "sectorbus_nexus_gaps_total";
const RETRIES: &str = "sectorbus_nexus_retries_total";

const OF_LINK: &[&str] = &["link"];
const OF_KIND: &[&str] = &["link", What::NAME];
const OF_WAY: &[&str] = &["link", Direction::NAME, What::NAME];

const fn doc(
    name: &'static str,
    kind: MetricKind,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricDoc {
    MetricDoc { name, kind, unit, labels, help }
}

/// Every metric a nexus exports.
#[rustfmt::skip]
pub const NEXUS_METRICS: &[MetricDoc] = &[
    doc(HUB_UP, MetricKind::Gauge, Unit::Count, &[], "1 while redis-nexus answers this nexus, else 0."),
    doc(HUB_UNSAFE, MetricKind::Gauge, Unit::Count, &[], "Problems of redis-nexus's settings that endanger what regions gave it."),
    doc(UP, MetricKind::Gauge, Unit::Count, OF_LINK, "1 while the region's Redis answers this nexus, else 0."),
    doc(LEADER, MetricKind::Gauge, Unit::Count, OF_LINK, "1 while this nexus leads the link, else 0."),
    doc(PAUSED, MetricKind::Gauge, Unit::Count, OF_LINK, "1 while the link is paused, as this nexus knows, else 0."),
    doc(ITEMS, MetricKind::Counter, Unit::Count, OF_WAY, "Items that this nexus carried over the link."),
    doc(BYTES, MetricKind::Counter, Unit::Bytes, OF_WAY, "Bytes of these items."),
    doc(LAG_ITEMS, MetricKind::Gauge, Unit::Count, OF_WAY, "Items that the link's leader has read and not brought to the other end yet; 0 elsewhere. Of jumps, those that are not over."),
    doc(LAG_SECONDS, MetricKind::Gauge, Unit::Seconds, OF_WAY, "How long the oldest of them has waited: of feeds by the clock of the region it comes from, else since the leader saw it."),
    doc(GAPS, MetricKind::Counter, Unit::Count, OF_WAY, "Times that items were gone before they were carried; of logs, times that a copy went on from a snapshot for it."),
    doc(RETRIES, MetricKind::Counter, Unit::Count, OF_KIND, "Calls to the region or redis-nexus that were made again for want of an answer."),
];

/// What concerns a nexus as a whole. Cheap to clone.
#[derive(Clone)]
pub struct NexusMeters {
    nexus: Arc<str>,
    hub_up: Gauge,
    hub_unsafe: Gauge,
}

impl NexusMeters {
    /// Describes every metric. A second call with the same name shares the numbers.
    pub fn new(nexus: &str) -> Self {
        describe(NEXUS_METRICS);
        let gauge = |name: &'static str| metrics::gauge!(name, "nexus" => nexus.to_owned());
        Self { nexus: nexus.into(), hub_up: gauge(HUB_UP), hub_unsafe: gauge(HUB_UNSAFE) }
    }

    /// Whether redis-nexus answers.
    pub fn hub_is(&self, up: bool) {
        self.hub_up.set(f64::from(u8::from(up)));
    }

    /// How many of redis-nexus's settings let it forget.
    pub fn hub_is_unsafe(&self, problems: usize) {
        self.hub_unsafe.set(problems as f64);
    }

    /// The link of this region.
    pub fn link(&self, link: &str) -> LinkMeters {
        LinkMeters(Arc::new(Handles::new(&self.nexus, link)))
    }
}

/// What one link does in this process. Cheap to clone. All series exist from the start.
#[derive(Clone)]
pub struct LinkMeters(Arc<Handles>);

struct Handles {
    up: Gauge,
    leader: Gauge,
    paused: Gauge,
    /// By kind.
    retries: Vec<Counter>,
    ways: Vec<Way>,
}

/// One direction of one kind.
struct Way {
    items: Counter,
    bytes: Counter,
    lag_items: Gauge,
    lag_seconds: Gauge,
    gaps: Counter,
}

impl Handles {
    fn new(nexus: &str, link: &str) -> Self {
        let gauge = |name: &'static str| metrics::gauge!(name, "nexus" => nexus.to_owned(), "link" => link.to_owned());
        let retries = What::VALUES.iter().map(|what| {
            let labels = [("nexus", nexus.to_owned()), ("link", link.to_owned()), (What::NAME, (*what).to_owned())];
            metrics::counter!(RETRIES, &labels)
        });
        let mut ways = Vec::new();
        for direction in Direction::VALUES {
            for what in What::VALUES {
                let labels = [
                    ("nexus", nexus.to_owned()),
                    ("link", link.to_owned()),
                    (Direction::NAME, (*direction).to_owned()),
                    (What::NAME, (*what).to_owned()),
                ];
                ways.push(Way {
                    items: metrics::counter!(ITEMS, &labels),
                    bytes: metrics::counter!(BYTES, &labels),
                    lag_items: metrics::gauge!(LAG_ITEMS, &labels),
                    lag_seconds: metrics::gauge!(LAG_SECONDS, &labels),
                    gaps: metrics::counter!(GAPS, &labels),
                });
            }
        }
        Self { up: gauge(UP), leader: gauge(LEADER), paused: gauge(PAUSED), retries: retries.collect(), ways }
    }
}

impl LinkMeters {
    fn way(&self, direction: Direction, what: What) -> &Way {
        &self.0.ways[direction.index() * What::VALUES.len() + what.index()]
    }

    /// Whether the region answers.
    pub fn region_is(&self, up: bool) {
        self.0.up.set(f64::from(u8::from(up)));
    }

    /// Whether this nexus leads the link. Who does not, has nothing that waits.
    pub fn leads(&self, leads: bool) {
        self.0.leader.set(f64::from(u8::from(leads)));
        if !leads {
            self.0.ways.iter().for_each(|way| way.lag(0, Duration::ZERO));
        }
    }

    pub fn is_paused(&self, paused: bool) {
        self.0.paused.set(f64::from(u8::from(paused)));
    }

    /// Items arrived at the other end.
    pub fn mirrored(&self, direction: Direction, what: What, items: usize, bytes: usize) {
        let way = self.way(direction, what);
        way.items.increment(items as u64);
        way.bytes.increment(bytes as u64);
    }

    /// Items were gone before they could be carried.
    pub fn gap(&self, direction: Direction, what: What) {
        self.way(direction, what).gaps.increment(1);
    }

    /// A call about something of this kind is made again; those that are about the link itself count as feeds.
    pub fn retried(&self, what: What) {
        self.0.retries[what.index()].increment(1);
    }

    /// What waits now, of all rooms of this kind: how many items, and since when the oldest does.
    pub fn lag(&self, direction: Direction, what: What, items: usize, behind: Duration) {
        self.way(direction, what).lag(items, behind);
    }
}

impl Way {
    fn lag(&self, items: usize, behind: Duration) {
        self.lag_items.set(items as f64);
        self.lag_seconds.set(behind.as_secs_f64());
    }
}

impl std::fmt::Debug for LinkMeters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkMeters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_without_a_recorder_do_nothing() {
        let meters = NexusMeters::new("x1");
        meters.hub_is(true);
        let link = meters.link("eu");
        link.region_is(true);
        link.leads(true);
        link.mirrored(Direction::Down, What::Jumps, 3, 300);
        link.lag(Direction::Up, What::Feeds, 3, Duration::from_secs(1));
        link.gap(Direction::Down, What::Jumps);
        link.retried(What::Logs);
        link.leads(false);
    }
}
