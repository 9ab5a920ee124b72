//! How one operation of a node travels to the region and its answer back, through whatever is wrong.
//! An operation is executed at send or on arrival, by seed, and never after its future was dropped; only the fault
//! model's late ones outlive their caller. Knows nothing of what operations do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::faults::Fate;
use super::region::{Core, Gate, HandleId, Shared};
use crate::ids::RegionName;
use crate::log::{LogError, LogResult};

/// A node's access to a [`MemoryRegion`](super::MemoryRegion). Dropping it closes its connections.
pub struct MemoryLog {
    pub(super) shared: Arc<Shared>,
    pub(super) id: HandleId,
    pub(super) region: RegionName,
}

/// What the region's seed decided about one operation when it was sent.
struct Trip {
    there: Duration,
    back: Duration,
    /// Executed when sent, not on arrival: what tells them apart is only a future dropped in between.
    at_send: bool,
    fate: Fate,
    late_by: Duration,
    unanswered_after: Duration,
    /// If it times out in a stall: executed when the stall ends.
    outlives_stall: bool,
    answer_timeout: Option<Duration>,
    sent_at: Instant,
    sent_in_epoch: u64,
}

impl MemoryLog {
    pub(super) fn new(shared: Arc<Shared>, id: HandleId, region: RegionName) -> Self {
        Self { shared, id, region }
    }

    /// This handle's name in the region's fault functions.
    pub fn id(&self) -> HandleId {
        self.id
    }

    fn plan(&self) -> Trip {
        let core = &mut *self.shared.core.lock();
        let loses_answer =
            core.handles.get_mut(&self.id).is_some_and(|handle| std::mem::take(&mut handle.loses_answer));
        let rng = &mut core.rng;
        Trip {
            there: core.faults.latency.draw(rng),
            back: core.faults.latency.draw(rng),
            at_send: rng.coin(),
            fate: match core.faults.ambiguity.draw(rng) {
                _ if loses_answer => Fate::ExecutedUnanswered,
                drawn => drawn,
            },
            late_by: rng.between(Duration::ZERO, core.faults.ambiguity.late_by),
            unanswered_after: core.faults.ambiguity.answered_after,
            outlives_stall: rng.coin(),
            answer_timeout: core.faults.answer_timeout,
            sent_at: Instant::now(),
            sent_in_epoch: core.connection_epoch,
        }
    }

    /// One operation, there and back. `script` is one atomic step on the region.
    pub(super) async fn run<T, F>(&self, script: F) -> LogResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Core) -> T + Send + 'static,
    {
        let trip = self.plan();
        let mut script = Some(script);
        let mut answer = None;
        if trip.at_send && matches!(trip.fate, Fate::Answered | Fate::ExecutedUnanswered) {
            let core = &mut *self.shared.core.lock();
            if let Gate::Open = core.gate(self.id, trip.sent_in_epoch) {
                answer = script.take().map(|script| script(core));
                core.faults.count_operation();
            }
        }
        travel(trip.there).await;
        match trip.fate {
            Fate::Answered | Fate::ExecutedUnanswered => self.arrive(&trip, &mut script, &mut answer).await?,
            Fate::NotExecuted => {}
            Fate::Late => self.execute_at(Instant::now() + trip.unanswered_after + trip.late_by, &trip, script.take()),
        }
        if trip.fate != Fate::Answered {
            tokio::time::sleep_until(trip.sent_at + trip.unanswered_after).await;
            self.thaw().await;
            return Err(LogError::Ambiguous("no answer in time".into()));
        }
        travel(trip.back).await;
        self.thaw().await;
        let in_this_epoch = self.shared.core.lock().connection_epoch == trip.sent_in_epoch;
        answer.filter(|_| in_this_epoch).ok_or_else(connection_lost)
    }

    /// Executes the script when the region lets it, if it was not executed at send.
    async fn arrive<T, F>(&self, trip: &Trip, script: &mut Option<F>, answer: &mut Option<T>) -> LogResult<()>
    where
        T: Send + 'static,
        F: FnOnce(&mut Core) -> T + Send + 'static,
    {
        loop {
            let gate = {
                let core = &mut *self.shared.core.lock();
                let gate = core.gate(self.id, trip.sent_in_epoch);
                if let (Gate::Open, Some(script)) = (&gate, script.take_if(|_| matches!(gate, Gate::Open))) {
                    *answer = Some(script(core));
                    core.faults.count_operation();
                }
                gate
            };
            match gate {
                Gate::Open => return Ok(()),
                Gate::Dead => std::future::pending().await,
                Gate::Frozen(until) => tokio::time::sleep_until(until).await,
                Gate::Disconnected => return Err(connection_lost()),
                Gate::Unavailable if answer.is_some() => return Err(connection_lost()),
                Gate::Unavailable => {
                    return Err(LogError::NotExecuted("the region is away".into()));
                }
                Gate::Paused(until) => match trip.answer_timeout.map(|timeout| trip.sent_at + timeout) {
                    Some(gives_up) if gives_up < until => {
                        tokio::time::sleep_until(gives_up).await;
                        if trip.outlives_stall {
                            self.execute_at(until, trip, script.take());
                        }
                        return Err(LogError::Ambiguous("no answer in time".into()));
                    }
                    _ => tokio::time::sleep_until(until).await,
                },
            }
        }
    }

    /// Leaves a script behind that runs after its caller gave up, unless its connection or its handle ends before.
    fn execute_at<T, F>(&self, at: Instant, trip: &Trip, script: Option<F>)
    where
        F: FnOnce(&mut Core) -> T + Send + 'static,
    {
        let (id, sent_in_epoch) = (self.id, trip.sent_in_epoch);
        let region = Arc::downgrade(&self.shared);
        tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            if let (Some(shared), Some(script)) = (region.upgrade(), script) {
                let core = &mut *shared.core.lock();
                if let Gate::Open = core.gate(id, sent_in_epoch) {
                    script(core);
                }
            }
        });
    }

    /// Holds an answer while its node is frozen, for ever if it is dead.
    pub(super) async fn thaw(&self) {
        loop {
            let sent_now = self.shared.core.lock().connection_epoch;
            let gate = self.shared.core.lock().gate(self.id, sent_now);
            match gate {
                Gate::Dead => std::future::pending().await,
                Gate::Frozen(until) => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }
}

async fn travel(duration: Duration) {
    if duration.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(duration).await;
    }
}

pub(super) fn connection_lost() -> LogError {
    LogError::Ambiguous("the connection was lost".into())
}

impl Drop for MemoryLog {
    fn drop(&mut self) {
        self.shared.core.lock().end_handle(self.id);
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryLog({})", self.id.0)
    }
}
