//! What tests may look at: rooms as stored, and everything that was ever appended or published, lost tails included.
//! Read-only; no operation depends on it.

use std::collections::BTreeMap;

use super::region::{HandleId, MemoryRegion};
use crate::ids::{EntryId, FeedId, Incarnation, RoomId};
use crate::log::{FeedItem, Heads, LogBody, LogEntry, Push, Snapshot};

/// A room now, and its past (empty unless `MemoryConfig::keep_history`).
#[derive(Debug, Clone)]
pub struct RoomDump {
    pub heads: Heads,
    pub snapshot: Option<Snapshot>,
    /// The log as stored, trimmed entries excluded.
    pub entries: Vec<LogEntry>,
    /// The feed as stored.
    pub feed: Vec<FeedItem>,
    /// Every entry ever appended, in the order of appending.
    pub history: Vec<Appearance>,
}

/// One entry when it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appearance {
    pub id: EntryId,
    pub body: LogBody,
    /// Place among all appearances and publications of the region, from 1.
    pub order: u64,
    /// The owner by the head at that time.
    pub by: Option<Incarnation>,
    /// The handle (the node's process) that wrote it.
    pub via: HandleId,
    /// A claim by `restore`: the snapshot written with it.
    pub restored: Option<Snapshot>,
    /// The region's TIME, ms since 1970.
    pub time_ms: u64,
    /// Number of tails lost before it was appended.
    pub branch: u32,
    /// Which `lose_tail` took it away, from 1.
    pub lost: Option<u32>,
}

/// One publish, whether anyone heard it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Place among all appearances and publications of the region, from 1.
    pub order: u64,
    pub time_ms: u64,
    pub room: RoomId,
    pub push: Push,
    /// Connections the server sent it to.
    pub receivers: u64,
    /// Lost by the fault `drop_publishes` or `set_drop_chance`: nobody hears it.
    pub dropped: bool,
}

pub(super) struct History {
    kept: bool,
    branch: u32,
    order: u64,
    entries: BTreeMap<RoomId, Vec<Appearance>>,
    publications: Vec<Publication>,
}

/// How much of each room's history a mark covers.
pub(super) type HistoryMark = BTreeMap<RoomId, usize>;

impl History {
    pub(super) fn new(kept: bool) -> Self {
        Self { kept, branch: 0, order: 0, entries: BTreeMap::new(), publications: Vec::new() }
    }

    /// Takes an appearance, numbers it and says on which branch it is.
    pub(super) fn append(&mut self, room: &RoomId, appearance: Appearance) {
        if self.kept {
            self.order += 1;
            let appearance = Appearance { order: self.order, branch: self.branch, ..appearance };
            self.entries.entry(room.clone()).or_default().push(appearance);
        }
    }

    pub(super) fn publish(&mut self, time_ms: u64, room: &RoomId, push: Push, receivers: u64, dropped: bool) {
        if self.kept {
            self.order += 1;
            self.publications.push(Publication {
                order: self.order,
                time_ms,
                room: room.clone(),
                push,
                receivers,
                dropped,
            });
        }
    }

    pub(super) fn mark(&self) -> HistoryMark {
        self.entries.iter().map(|(room, entries)| (room.clone(), entries.len())).collect()
    }

    pub(super) fn lose_after(&mut self, mark: &HistoryMark) {
        self.branch += 1;
        for (room, entries) in &mut self.entries {
            let kept = mark.get(room).copied().unwrap_or(0);
            for entry in entries.iter_mut().skip(kept) {
                entry.lost.get_or_insert(self.branch);
            }
        }
    }
}

impl MemoryRegion {
    /// A room as it is stored, with its history. `None`: nothing was ever written to it.
    pub fn room_dump(&self, room: &RoomId) -> Option<RoomDump> {
        let core = self.shared.core.lock();
        let stored = core.db.rooms.get(room).cloned();
        let history = core.history.entries.get(room).cloned();
        if stored.is_none() && history.is_none() {
            return None;
        }
        let stored = stored.unwrap_or_default();
        Some(RoomDump {
            heads: stored.heads(),
            snapshot: stored.snapshot().cloned(),
            entries: stored.entries(EntryId::GENESIS, usize::MAX),
            feed: stored.feed.items(FeedId::START, usize::MAX),
            history: history.unwrap_or_default(),
        })
    }

    /// Every room with anything stored now or ever appended, in order.
    pub fn rooms(&self) -> Vec<RoomId> {
        let core = self.shared.core.lock();
        let mut rooms: Vec<RoomId> = core.db.rooms.keys().chain(core.history.entries.keys()).cloned().collect();
        rooms.sort();
        rooms.dedup();
        rooms
    }

    /// How many appearances and publications there were: what has a higher `order` came later.
    pub fn order(&self) -> u64 {
        self.shared.core.lock().history.order
    }

    /// Everything ever published, in order (empty unless `MemoryConfig::keep_history`).
    pub fn publications(&self) -> Vec<Publication> {
        self.shared.core.lock().history.publications.clone()
    }
}
