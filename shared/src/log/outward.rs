//! The words of what a region tells the game's backend and its operators: two capped streams of flat records. What the
//! fields mean is between who writes and who reads.

use crate::ids::{EntryId, FeedId, RoomId};

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outward {
    /// What happened to players and rooms, for consumer groups; the newest `limits::EVENTS_KEPT`.
    Events,
    /// What was changed from outside, by whom; the newest `limits::AUDIT_KEPT`.
    Audit,
}

/// Names and values of a record's fields, in their order. At least one.
pub type OutwardRecord = Vec<(String, String)>;

/// An item of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutwardItem {
    pub id: FeedId,
    pub record: OutwardRecord,
}

/// Events that follow from a room's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tell {
    pub room: RoomId,
    /// Whatever entries up to this one led to is told with this.
    pub upto: EntryId,
    /// Each with the entry it follows from, in the order of the log; those of an entry together.
    pub events: Vec<(EntryId, OutwardRecord)>,
}
