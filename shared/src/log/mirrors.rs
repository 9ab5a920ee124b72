//! Read-only mirrors of rooms' logs: one copy in redis-nexus, from there one in each region that wants it (as room
//! `<room>@<region>`, which is read and followed like any other). Ids are those of the room's own region. A step says on
//! what it builds, and is not done on anything else: whoever brings it, however often.

use std::future::Future;
use std::time::Duration;

use crate::ids::{EntryId, FeedId, RegionName, RingVersion, RoomId, TeamId};
use crate::log::{Head, Lineage, LogBody, LogEntry, LogResult, News, Snapshot, Source};

/// Which copy of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorAt {
    /// In redis-nexus: other regions are given it from there.
    Hub,
    /// In a region that reads: its nodes follow it.
    Region,
}

/// How far a copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorStanding {
    /// How often it was begun: one that was begun anew may have less than before, or something else.
    pub begun: u64,
    pub last: EntryId,
    /// Epochs before the last entry's.
    pub lineage: Lineage,
    /// What its snapshot is the state after.
    pub snapshot: EntryId,
}

impl MirrorStanding {
    pub fn head(&self) -> Head {
        Head { last: self.last, owner: None, ring: RingVersion(0), nonce: None, lineage: self.lineage.clone() }
    }
}

/// The next entries.
#[derive(Debug, Clone)]
pub struct ExtendMirror {
    pub of: Source,
    /// The last entry that the copy must have.
    pub prev: EntryId,
    /// Each follows the one before; at most [`crate::limits::MIRROR_ENTRIES_MAX`].
    pub entries: Vec<LogEntry>,
}

/// A new beginning: what the copy has is of another chain, does not reach to what comes next, or there is none.
#[derive(Debug, Clone)]
pub struct BeginMirror {
    pub of: Source,
    /// What the copy must be now ([`MirrorStanding::begun`] and `last`); `None`: nothing.
    pub expects: Option<(u64, EntryId)>,
    /// All parts present.
    pub snapshot: Snapshot,
    /// Those after it, as in [`ExtendMirror`].
    pub entries: Vec<LogEntry>,
}

/// Whether an entry is the one after `prev` on one chain.
pub fn is_next(prev: EntryId, entry: &LogEntry) -> bool {
    let connects = match &entry.body {
        LogBody::Claim(claim) => claim.prev == prev && entry.id.epoch > prev.epoch,
        LogBody::Batch(_) => entry.id.epoch == prev.epoch,
    };
    connects && entry.id.version == prev.version + 1
}

/// How many of these follow `prev` one after the other.
pub fn connected(prev: EntryId, entries: &[LogEntry]) -> usize {
    let mut at = prev;
    let is_broken = |entry: &LogEntry| !is_next(std::mem::replace(&mut at, entry.id), entry);
    entries.iter().position(is_broken).unwrap_or(entries.len())
}

/// A nexus's access to the copies. As with [`crate::log::Log`], a call without an answer may be made again.
pub trait Mirrors: Send + Sync + 'static {
    /// In the order asked; `None`: no copy. Pipelined by `limits::HEADS_AT_ONCE`.
    fn mirror_standings(
        &self,
        at: MirrorAt,
        of: &[Source],
    ) -> impl Future<Output = LogResult<Vec<Option<MirrorStanding>>>> + Send;
    /// Adds entries if `prev` is the last one there; answers how far the copy is now. In a region they are published as
    /// by [`crate::log::Log::append`].
    fn extend_mirror(
        &self,
        at: MirrorAt,
        extend: ExtendMirror,
    ) -> impl Future<Output = LogResult<Option<MirrorStanding>>> + Send;
    /// Puts a snapshot and what follows it in the place of what is there, if that is what was expected; answers how far the
    /// copy is now.
    fn begin_mirror(
        &self,
        at: MirrorAt,
        begin: BeginMirror,
    ) -> impl Future<Output = LogResult<Option<MirrorStanding>>> + Send;
    /// A later snapshot of the same chain, which the copy has reached; keeps the entries after it, and
    /// [`crate::limits::LOG_WINDOW_ENTRIES`] in any case.
    fn renew_mirror(
        &self,
        at: MirrorAt,
        of: &Source,
        snapshot: Snapshot,
    ) -> impl Future<Output = LogResult<Option<MirrorStanding>>> + Send;
    /// Of the copy in redis-nexus: entries above `after`, oldest first, at most `count`.
    fn hub_entries(
        &self,
        of: &Source,
        after: EntryId,
        count: usize,
    ) -> impl Future<Output = LogResult<Vec<LogEntry>>> + Send;
    fn hub_snapshot(&self, of: &Source) -> impl Future<Output = LogResult<Option<Snapshot>>> + Send;
    /// As [`crate::log::Hub::news`], of logs.
    fn log_news(
        &self,
        after: FeedId,
        count: usize,
        wait: Duration,
    ) -> impl Future<Output = LogResult<Vec<News>>> + Send;
    /// As [`crate::log::Hub::sources`], of logs.
    fn log_sources(&self) -> impl Future<Output = LogResult<(FeedId, Vec<Source>)>> + Send;
    /// Says which region a team's room has its log in, unless it has one here or that was said before. Nobody in this
    /// region begins one from then on.
    fn set_team_home(&self, team: &TeamId, region: &RegionName) -> impl Future<Output = LogResult<()>> + Send;
}

impl Source {
    /// The room as a region has it that mirrors its log; `None`: it has no log.
    pub fn mirrored(&self) -> Option<RoomId> {
        self.room.clone().at(self.region.clone()).ok()
    }
}
