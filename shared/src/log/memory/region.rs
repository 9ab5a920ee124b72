//! The region as a server: its clock, database, connected handles, and the gate every operation goes through.
//! What operations do is in `room`, `players`, `inbox`; what goes wrong is decided in `faults`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::database::Database;
use super::delivery::Delivery;
use super::faults::{Faults, Mark};
use super::oracle::{Appearance, History};
use super::rng::Rng;
use super::trip::MemoryLog;
use crate::ids::{Incarnation, RegionName, RoomId};
use crate::log::{LogEntry, Push, Snapshot};

/// What a region is made of. The same configuration, calls and (paused) time give the same run.
#[derive(Debug, Clone)]
pub struct MemoryConfig {
    pub region: RegionName,
    pub seed: u64,
    /// TIME at creation, ms since 1970; from then on it follows tokio's clock.
    pub start_ms: u64,
    /// Keep every entry and publish ever made, for an oracle. Grows without bound: off for what runs for hours.
    pub keep_history: bool,
}

/// Names one handle (one node's access) to the fault functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HandleId(pub(super) u32);

/// The server. Cheap to clone; all clones are the same region.
#[derive(Clone)]
pub struct MemoryRegion {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) core: Mutex<Core>,
}

/// One node's connections, as the server sees them.
pub(super) struct Handle {
    /// Whose `alive` channel this handle follows: of the incarnation whose inbox it made.
    pub(super) alive: Option<Incarnation>,
    /// Operations and pushes of this handle are held until then.
    pub(super) stalled_until: Option<Instant>,
    /// The next operation of this handle is executed and not answered.
    pub(super) loses_answer: bool,
    pub(super) delivery: Delivery,
}

pub(super) struct Core {
    config: MemoryConfig,
    created: Instant,
    /// Added to the clock by `shift_clock`, in ms.
    pub(super) shift_ms: i64,
    pub(super) db: Database,
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) handles: BTreeMap<HandleId, Handle>,
    next_handle: u32,
    pub(super) history: History,
    pub(super) mark: Option<Mark>,
    pub(super) replication: u64,
    /// Counts restarts: operations in flight across one lose their answer.
    pub(super) connection_epoch: u64,
    inbox_bells: BTreeMap<Incarnation, Arc<Notify>>,
    /// Rings when there may be work or a reply for whoever waits for one.
    pub(super) calls_bell: Arc<Notify>,
    /// Gives pushes at one instant their order.
    pub(super) next_sequence: u64,
}

impl MemoryRegion {
    /// An empty region. Must be called inside a tokio runtime (its clock starts now).
    pub fn new(config: MemoryConfig) -> Self {
        let core = Core {
            created: Instant::now(),
            shift_ms: 0,
            db: Database::default(),
            rng: Rng::new(config.seed),
            faults: Faults::default(),
            handles: BTreeMap::new(),
            next_handle: 0,
            history: History::new(config.keep_history),
            mark: None,
            replication: 1,
            connection_epoch: 0,
            inbox_bells: BTreeMap::new(),
            calls_bell: Arc::default(),
            next_sequence: 0,
            config,
        };
        Self { shared: Arc::new(Shared { core: Mutex::new(core) }) }
    }

    /// A new node's access. Dropping it closes its connections, as a process that ends.
    pub fn handle(&self) -> MemoryLog {
        let region = self.shared.core.lock().config.region.clone();
        self.handle_configured_for(region)
    }

    /// Access by a node that believes this to be another region: `open` then says so.
    pub fn handle_configured_for(&self, region: RegionName) -> MemoryLog {
        let mut core = self.shared.core.lock();
        let id = HandleId(core.next_handle);
        core.next_handle += 1;
        let handle = Handle { alive: None, stalled_until: None, loses_answer: false, delivery: Delivery::default() };
        core.handles.insert(id, handle);
        MemoryLog::new(self.shared.clone(), id, region)
    }

    /// The region's TIME, ms since 1970.
    pub fn time_ms(&self) -> u64 {
        self.shared.core.lock().time_ms()
    }
}

impl fmt::Debug for MemoryRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryRegion")
    }
}

/// Whether an operation of a handle may go on now.
pub(super) enum Gate {
    Open,
    /// The handle (a frozen process) is held until then.
    Frozen(Instant),
    /// The whole region (a paused server) is held until then.
    Paused(Instant),
    /// No connection: certainly not executed by now.
    Unavailable,
    /// The connection the operation was sent over is gone.
    Disconnected,
    /// The handle was killed or dropped: no answer will ever come.
    Dead,
}

impl Core {
    pub(super) fn time_ms(&self) -> u64 {
        let elapsed_ms = u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.config.start_ms + elapsed_ms).saturating_add_signed(self.shift_ms)
    }

    pub(super) fn gate(&mut self, id: HandleId, sent_in_epoch: u64) -> Gate {
        let now = Instant::now();
        let Some(handle) = self.handles.get(&id) else {
            return Gate::Dead;
        };
        if let Some(until) = handle.stalled_until.filter(|until| *until > now) {
            return Gate::Frozen(until);
        }
        if sent_in_epoch != self.connection_epoch {
            return Gate::Disconnected;
        }
        if self.faults.unavailable_until.is_some_and(|until| until > now) {
            return Gate::Unavailable;
        }
        match self.faults.stalled_until.filter(|until| *until > now) {
            Some(until) => Gate::Paused(until),
            None => Gate::Open,
        }
    }

    /// How many connections follow the `alive` channel of an incarnation.
    pub(super) fn alive_subscribers(handles: &BTreeMap<HandleId, Handle>, of: &Incarnation) -> u64 {
        let now = Instant::now();
        let following = |handle: &&Handle| handle.alive.as_ref() == Some(of) && handle.delivery.is_connected(now);
        handles.values().filter(following).count() as u64
    }

    /// The incarnation of this handle is no member any more.
    pub(super) fn unfollow_alive(&mut self, id: HandleId, of: &Incarnation) {
        if let Some(handle) = self.handles.get_mut(&id) {
            handle.alive.take_if(|alive| alive == of);
        }
    }

    pub(super) fn name(&self) -> RegionName {
        self.config.region.clone()
    }

    pub(super) fn replication_id(&self) -> String {
        format!("{:016x}{:08x}", self.config.seed, self.replication)
    }

    /// Rings when an inbox may have something for its waiting reader.
    pub(super) fn inbox_bell(&mut self, of: &Incarnation) -> Arc<Notify> {
        self.inbox_bells.entry(of.clone()).or_default().clone()
    }

    pub(super) fn ring_inbox(&self, of: &Incarnation) {
        if let Some(bell) = self.inbox_bells.get(of) {
            bell.notify_waiters();
        }
    }

    pub(super) fn forget_inbox_bell(&mut self, of: &Incarnation) {
        self.inbox_bells.remove(of);
    }

    pub(super) fn ring_all_inboxes(&self) {
        self.inbox_bells.values().for_each(|bell| bell.notify_waiters());
        self.calls_bell.notify_waiters();
    }

    /// Records and publishes a new entry written by a handle; answers the receivers.
    pub(super) fn publish_entry(&mut self, via: HandleId, room: &RoomId, entry: LogEntry) -> u64 {
        self.record_entry(via, room, &entry, None);
        self.publish(room, Push::Entry(entry))
    }

    /// The same for the claim of a `restore`, which wrote a snapshot too.
    pub(super) fn publish_restored(&mut self, via: HandleId, room: &RoomId, entry: LogEntry) {
        let snapshot = self.db.rooms.get(room).and_then(|stored| stored.snapshot().cloned());
        self.record_entry(via, room, &entry, snapshot);
        self.publish(room, Push::Entry(entry));
    }

    fn record_entry(&mut self, via: HandleId, room: &RoomId, entry: &LogEntry, restored: Option<Snapshot>) {
        let by = self.db.rooms.get(room).and_then(|stored| stored.owner()).cloned();
        let (body, time_ms) = (entry.body.clone(), self.time_ms());
        let appearance = Appearance { id: entry.id, body, order: 0, by, via, restored, time_ms, branch: 0, lost: None };
        self.history.append(room, appearance);
    }

    /// Ends a handle: its subscriptions and waiting operations vanish and never act again.
    pub(super) fn end_handle(&mut self, id: HandleId) {
        if let Some(handle) = self.handles.remove(&id) {
            handle.delivery.ring();
        }
        self.ring_all_inboxes();
    }

    /// All connections break; they come back `down_for` plus a reconnect delay from now.
    pub(super) fn break_connections(&mut self, down_for: Duration) {
        self.connection_epoch += 1;
        let ids: Vec<HandleId> = self.handles.keys().copied().collect();
        for id in ids {
            self.disconnect(id, down_for);
        }
        self.ring_all_inboxes();
    }
}
