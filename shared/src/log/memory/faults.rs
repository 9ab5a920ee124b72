//! Everything that can go wrong in a memory region, by command or by seed. No fault is on by default.
//!
//! Chances are in 0..=1 and drawn from the region's seed. Durations count on tokio's clock from the call. Timers
//! have a grain of 1 ms: shorter latencies are rounded up.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::database::Database;
use super::oracle::HistoryMark;
use super::region::{HandleId, MemoryRegion};
use super::rng::Rng;
use crate::ids::{Incarnation, RoomId};

/// How long one way takes: an operation to the region, its answer back, a push. Uniform between the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    pub min: Duration,
    pub max: Duration,
}

impl Latency {
    pub(super) fn draw(self, rng: &mut Rng) -> Duration {
        rng.between(self.min, self.max)
    }
}

/// Operations that get no answer: after `answered_after` they end in `LogError::Ambiguous`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ambiguity {
    /// Chance that an operation is executed and its answer lost.
    pub executed: f64,
    /// Chance that it never reaches the region.
    pub not_executed: f64,
    /// Chance that it is executed only after the caller gave up, by up to `late_by`.
    pub late: f64,
    pub late_by: Duration,
    pub answered_after: Duration,
}

/// What becomes of one operation, decided when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    ExecutedUnanswered,
    NotExecuted,
    Late,
}

impl Ambiguity {
    pub(super) fn draw(&self, rng: &mut Rng) -> Fate {
        let drawn = rng.fraction();
        if drawn < self.executed {
            Fate::ExecutedUnanswered
        } else if drawn < self.executed + self.not_executed {
            Fate::NotExecuted
        } else if drawn < self.executed + self.not_executed + self.late {
            Fate::Late
        } else {
            Fate::Answered
        }
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) latency: Latency,
    pub(super) ambiguity: Ambiguity,
    pub(super) answer_timeout: Option<Duration>,
    pub(super) stalled_until: Option<Instant>,
    pub(super) unavailable_until: Option<Instant>,
    /// Operations to execute until the region stalls, and for how long.
    pub(super) stall_after: Option<(u64, Duration)>,
    drop_next: BTreeMap<RoomId, u32>,
    drop_chance: f64,
    operations: u64,
}

impl Faults {
    /// An operation was executed.
    pub(super) fn count_operation(&mut self) {
        self.operations += 1;
        let Some((left, duration)) = &mut self.stall_after else { return };
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.stalled_until = Some(Instant::now() + *duration);
            self.stall_after = None;
        }
    }

    pub(super) fn drops_publish(&mut self, room: &RoomId, rng: &mut Rng) -> bool {
        if let Some(left) = self.drop_next.get_mut(room) {
            *left -= 1;
            if *left == 0 {
                self.drop_next.remove(room);
            }
            return true;
        }
        self.drops_by_chance(rng)
    }

    pub(super) fn drops_by_chance(&self, rng: &mut Rng) -> bool {
        self.drop_chance > 0.0 && rng.fraction() < self.drop_chance
    }
}

/// The database as it was, to come back to.
pub(super) struct Mark {
    db: Database,
    history: HistoryMark,
}

impl MemoryRegion {
    /// Every way takes this long. Zero (the default): an operation only yields once.
    pub fn set_latency(&self, min: Duration, max: Duration) {
        self.shared.core.lock().faults.latency = Latency { min, max: max.max(min) };
    }

    pub fn set_ambiguity(&self, ambiguity: Ambiguity) {
        self.shared.core.lock().faults.ambiguity = ambiguity;
    }

    /// The next operation of this node is executed, and its answer is lost: it ends in `Ambiguous`.
    pub fn lose_next_answer(&self, id: HandleId) {
        if let Some(handle) = self.shared.core.lock().handles.get_mut(&id) {
            handle.loses_answer = true;
        }
    }

    /// While the region is stalled, operations end in `Ambiguous` after this long; half of them are executed when the
    /// stall ends. `None` (the default): they wait.
    pub fn set_answer_timeout(&self, timeout: Option<Duration>) {
        self.shared.core.lock().faults.answer_timeout = timeout;
    }

    /// The next `count` publishes to a room reach nobody, though the server counts its receivers.
    pub fn drop_publishes(&self, room: &RoomId, count: u32) {
        let mut core = self.shared.core.lock();
        if count == 0 {
            core.faults.drop_next.remove(room);
        } else {
            core.faults.drop_next.insert(room.clone(), count);
        }
    }

    /// Each publish reaches nobody with this chance.
    pub fn set_drop_chance(&self, chance: f64) {
        self.shared.core.lock().faults.drop_chance = chance;
    }

    /// Freezes one node (SIGSTOP): its operations and their answers wait, pushes to it are held. It stays connected.
    pub fn stall(&self, id: HandleId, duration: Duration) {
        let mut core = self.shared.core.lock();
        if let Some(handle) = core.handles.get_mut(&id) {
            handle.stalled_until = Some(Instant::now() + duration);
        }
    }

    /// Freezes the server: nothing is executed, published or delivered. Its TIME goes on.
    pub fn stall_region(&self, duration: Duration) {
        self.shared.core.lock().faults.stalled_until = Some(Instant::now() + duration);
    }

    /// Operations that were executed so far.
    pub fn operations(&self) -> u64 {
        self.shared.core.lock().faults.operations
    }

    /// The same as soon as this many more operations have been executed: a test that strikes while the region is stalled
    /// strikes between two operations.
    pub fn stall_region_after(&self, operations: u64, duration: Duration) {
        self.shared.core.lock().faults.stall_after = Some((operations, duration));
    }

    pub fn is_stalled(&self) -> bool {
        self.shared.core.lock().faults.stalled_until.is_some_and(|until| until > Instant::now())
    }

    /// Refuses everything (`NotExecuted`), and new subscriptions wait. Existing ones stay.
    pub fn unavailable(&self, duration: Duration) {
        self.shared.core.lock().faults.unavailable_until = Some(Instant::now() + duration);
    }

    /// Remembers the whole database for `lose_tail`; a later mark replaces it.
    pub fn mark(&self) {
        let mut core = self.shared.core.lock();
        let mark = Mark { db: core.db.clone(), history: core.history.mark() };
        core.mark = Some(mark);
    }

    /// A replica that had only what was there at the mark is promoted: everything since is lost, the replication id
    /// changes, every connection breaks, operations in flight end in `Ambiguous`. The mark stays. False: no mark.
    pub fn lose_tail(&self) -> bool {
        let mut core = self.shared.core.lock();
        let Some(mark) = core.mark.take() else {
            return false;
        };
        core.db = mark.db.clone();
        core.history.lose_after(&mark.history);
        core.mark = Some(mark);
        core.replication += 1;
        core.break_connections(Duration::ZERO);
        true
    }

    /// The server restarts and loses nothing stored: unavailable for `down_for`, connections break, operations in
    /// flight end in `Ambiguous`, what is published until followers are back is not heard. As Redis, it has another
    /// replication id afterwards.
    pub fn restart(&self, down_for: Duration) {
        let mut core = self.shared.core.lock();
        core.replication += 1;
        core.faults.unavailable_until = Some(Instant::now() + down_for);
        core.break_connections(down_for);
    }

    /// One node's pub/sub connection breaks and comes back after 20 to 250 ms.
    pub fn disconnect_pubsub(&self, id: HandleId) {
        self.shared.core.lock().disconnect(id, Duration::ZERO);
    }

    /// One node's pub/sub connection is half-open: pushes to it vanish until it suspects the connection, or after
    /// `at_most` (when its canary would have told it).
    pub fn deafen_pubsub(&self, id: HandleId, at_most: Duration) {
        self.shared.core.lock().deafen(id, at_most);
    }

    /// Redis lost the log of this room, and nothing else of it.
    pub fn forget_log(&self, room: &RoomId) {
        self.shared.core.lock().db.room_mut(room).lose_log();
    }

    /// Redis lost this inbox.
    pub fn forget_inbox(&self, incarnation: &Incarnation) {
        self.shared.core.lock().db.inboxes.remove(incarnation);
    }

    /// The region's clock jumps, forward or back.
    pub fn shift_clock(&self, by_ms: i64) {
        self.shared.core.lock().shift_ms += by_ms;
    }

    /// kill -9 of one node: its subscriptions end, its pending operations never answer and never execute later.
    pub fn kill(&self, id: HandleId) {
        self.shared.core.lock().end_handle(id);
    }

    /// Ends every fault in force (not the ones already done). Latency stays.
    pub fn heal(&self) {
        let mut core = self.shared.core.lock();
        let latency = core.faults.latency;
        core.faults = Faults { latency, ..Faults::default() };
        core.handles.values_mut().for_each(|handle| handle.stalled_until = None);
        let ids: Vec<HandleId> = core.handles.keys().copied().collect();
        for id in ids {
            core.undeafen(id);
        }
    }
}
