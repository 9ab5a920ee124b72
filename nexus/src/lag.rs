//! What a link's leader has read and not yet brought to the other end: how many items, and since when the oldest of them waits by
//! the clock of its own region. Knows no clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sectorbus::ids::RegionName;
use sectorbus::log::Source;
use sectorbus::metrics::Direction;

#[derive(Default)]
pub(crate) struct Lag(Mutex<HashMap<(Direction, Source), Waiting>>);

struct Waiting {
    items: usize,
    /// By the clock of the source's region, ms.
    oldest_ms: u64,
}

/// Until it is dropped, a page waits.
pub(crate) struct InHand {
    lag: Arc<Lag>,
    what: (Direction, Source),
}

impl Lag {
    /// A page was read; a source has one at a time in each direction.
    pub(crate) fn waits(
        self: &Arc<Self>,
        direction: Direction,
        source: &Source,
        items: usize,
        oldest_ms: u64,
    ) -> InHand {
        let what = (direction, source.clone());
        self.0.lock().insert(what.clone(), Waiting { items, oldest_ms });
        InHand { lag: self.clone(), what }
    }

    /// Whoever carried does not any more.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// How many items wait in a direction, and for how long the oldest has. `time_ms`: a region's TIME, if it is known.
    pub(crate) fn of(&self, direction: Direction, time_ms: impl Fn(&RegionName) -> Option<u64>) -> (usize, Duration) {
        let (mut items, mut behind_ms) = (0, 0);
        for ((_, source), waiting) in self.0.lock().iter().filter(|((found, _), _)| *found == direction) {
            items += waiting.items;
            let now_ms = time_ms(&source.region).unwrap_or(waiting.oldest_ms);
            behind_ms = behind_ms.max(now_ms.saturating_sub(waiting.oldest_ms));
        }
        (items, Duration::from_millis(behind_ms))
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
        assert_eq!(lag.of(Direction::Up, time_ms), (0, Duration::ZERO));
        let first = lag.waits(Direction::Up, &source("global@eu"), 3, 9_000);
        let _second = lag.waits(Direction::Up, &source("global@us"), 4, 4_999_500);
        let _unknown = lag.waits(Direction::Up, &source("global@asia"), 1, 1);
        let _down = lag.waits(Direction::Down, &source("global@eu"), 5, 10_500);
        assert_eq!(lag.of(Direction::Up, time_ms), (8, Duration::from_secs(1)));
        assert_eq!(lag.of(Direction::Down, time_ms), (5, Duration::ZERO), "no clock goes back");
        drop(first);
        assert_eq!(lag.of(Direction::Up, time_ms), (5, Duration::from_millis(500)));
        lag.clear();
        assert_eq!(lag.of(Direction::Up, time_ms), (0, Duration::ZERO));
    }
}
