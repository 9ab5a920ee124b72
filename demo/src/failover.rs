//! The clock of a failover: from a kill to the first ack in a room that the killed node owned.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sectorbus::ids::{RegionName, SectorId};
use tokio::time::Instant;

/// Cheap to clone; all clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct FailoverClock(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    running: Option<Running>,
    last_ms: Option<u64>,
}

#[derive(Debug)]
struct Running {
    killed_at: Instant,
    region: RegionName,
    /// Rooms of the killed node, and the epoch in which it owned them.
    rooms: BTreeMap<SectorId, u64>,
}

impl FailoverClock {
    /// A node of a region that owned `rooms` (with their epochs) is killed now.
    pub fn start(&self, region: RegionName, rooms: BTreeMap<SectorId, u64>) {
        self.0.lock().running = Some(Running { killed_at: Instant::now(), region, rooms });
    }

    /// A client heard an ack in this room and epoch: the killed owner's own last acks do not count.
    pub fn saw_ack(&self, region: &RegionName, sector: &SectorId, epoch: u64) {
        let mut inner = self.0.lock();
        let taken_over = |running: &mut Running| {
            running.region == *region && running.rooms.get(sector).is_some_and(|before| epoch > *before)
        };
        if let Some(running) = inner.running.take_if(taken_over) {
            let took_ms = running.killed_at.elapsed().as_millis();
            inner.last_ms = Some(u64::try_from(took_ms).unwrap_or(u64::MAX));
        }
    }

    /// Of the last kill that is over, ms.
    pub fn last_ms(&self) -> Option<u64> {
        self.0.lock().last_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_an_ack_of_a_new_owner_stops_the_clock() {
        let (clock, lost, other) = (FailoverClock::default(), "4".parse().unwrap(), "5".parse().unwrap());
        let (eu, us): (RegionName, RegionName) = ("eu".parse().unwrap(), "us".parse().unwrap());
        clock.start(eu.clone(), BTreeMap::from([(SectorId::clone(&lost), 100)]));
        tokio::time::advance(std::time::Duration::from_millis(30)).await;
        clock.saw_ack(&eu, &lost, 100);
        clock.saw_ack(&eu, &other, 900);
        clock.saw_ack(&us, &lost, 900);
        assert_eq!(clock.last_ms(), None);
        tokio::time::advance(std::time::Duration::from_millis(12)).await;
        clock.saw_ack(&eu, &lost, 101);
        clock.saw_ack(&eu, &lost, 102);
        assert_eq!(clock.last_ms(), Some(42));
    }
}
