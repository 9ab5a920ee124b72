//! What a link's leader has read and not yet brought to the other end: how many items of each kind, and since when the oldest of
//! them waits: by the clock of its own region, or, where it has no time of its own, since the leader saw it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sectorbus::ids::RegionName;
use sectorbus::log::Source;
use sectorbus::metrics::{Direction, What};
use tokio::time::Instant;

#[derive(Default)]
pub(crate) struct Lag(Mutex<HashMap<Key, Waiting>>);

type Key = (Direction, What, Source);

struct Waiting {
    items: usize,
    since: Since,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Since {
    /// By the clock of the source's region, ms.
    Told(u64),
    Seen(Instant),
}

/// Until it is dropped, a page waits.
pub(crate) struct InHand {
    lag: Arc<Lag>,
    what: Key,
}

impl Lag {
    /// A page was read; a source has one of each kind at a time in each direction.
    pub(crate) fn waits(
        self: &Arc<Self>,
        direction: Direction,
        what: What,
        source: &Source,
        items: usize,
        since: Since,
    ) -> InHand {
        let what = (direction, what, source.clone());
        self.0.lock().insert(what.clone(), Waiting { items, since });
        InHand { lag: self.clone(), what }
    }

    /// Whoever carried does not any more.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// How many items of a kind wait in a direction, and for how long the oldest has. `time_ms`: a region's TIME, if it is known.
    pub(crate) fn of(
        &self,
        direction: Direction,
        what: What,
        now: Instant,
        time_ms: impl Fn(&RegionName) -> Option<u64>,
    ) -> (usize, Duration) {
        let (mut items, mut behind) = (0, Duration::ZERO);
        for ((_, _, source), waiting) in
            self.0.lock().iter().filter(|((way, of, _), _)| (*way, *of) == (direction, what))
        {
            items += waiting.items;
            behind = behind.max(match waiting.since {
                Since::Told(oldest_ms) => {
                    let now_ms = time_ms(&source.region).unwrap_or(oldest_ms);
                    Duration::from_millis(now_ms.saturating_sub(oldest_ms))
                }
                Since::Seen(seen) => now.saturating_duration_since(seen),
            });
        }
        (items, behind)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.lag.0.lock().remove(&self.what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_all_that_wait_counts_by_its_own_clock() {
        let lag = Arc::new(Lag::default());
        let source = |text: &str| text.parse::<Source>().unwrap();
        let time_ms = |region: &RegionName| match region.as_str() {
            "eu" => Some(10_000),
            "us" => Some(5_000_000),
            _ => None,
        };
        let now = Instant::now();
        let of = |direction, what| lag.of(direction, what, now, time_ms);
        let waits = |direction, text, items, oldest_ms| {
            lag.waits(direction, What::Feeds, &source(text), items, Since::Told(oldest_ms))
        };
        assert_eq!(of(Direction::Up, What::Feeds), (0, Duration::ZERO));
        let first = waits(Direction::Up, "global@eu", 3, 9_000);
        let _second = waits(Direction::Up, "global@us", 4, 4_999_500);
        let _unknown = waits(Direction::Up, "global@asia", 1, 1);
        let _down = waits(Direction::Down, "global@eu", 5, 10_500);
        let seen = Since::Seen(now - Duration::from_secs(3));
        let _log = lag.waits(Direction::Up, What::Logs, &source("global@eu"), 7, seen);
        assert_eq!(of(Direction::Up, What::Feeds), (8, Duration::from_secs(1)));
        assert_eq!(of(Direction::Up, What::Logs), (7, Duration::from_secs(3)), "each kind by itself");
        assert_eq!(of(Direction::Down, What::Feeds), (5, Duration::ZERO), "no clock goes back");
        drop(first);
        assert_eq!(of(Direction::Up, What::Feeds), (5, Duration::from_millis(500)));
        lag.clear();
        assert_eq!(of(Direction::Up, What::Feeds), (0, Duration::ZERO));
        assert_eq!(of(Direction::Up, What::Logs), (0, Duration::ZERO));
    }
}
