//! The durable side of a region: rooms' logs, feeds, inboxes, membership, and where players are.
//!
//! [`Log`] is the one seam to it, with two implementations under one conformance suite: [`redis`] (production) and
//! [`memory`] (embedded default; injects faults). Everything stored is bytes here: what an entry, a snapshot part or a
//! command means is decided by `state` and by the node; ids, prevs, lineage and ownership are this module's own.

pub mod bridge;
pub mod calls;
pub mod chain;
pub mod delivery;
pub mod ears;
pub mod facts;
pub mod hub;
pub mod jumps;
pub mod members;
pub mod mirrors;
pub mod outward;
pub mod revocations;
mod rosters;
pub mod seats;

pub mod memory;
pub mod redis;

pub mod stored;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{EntryId, FeedId, Generation, Hop, Incarnation, NodeName, PlayerId, RoomId, SectorId, SessionId};
use crate::presence::Shown;

pub use bridge::*;
pub use calls::*;
pub use chain::*;
pub use delivery::*;
pub use ears::*;
pub use facts::*;
pub use hub::*;
pub use jumps::*;
pub use members::*;
pub use mirrors::*;
pub use outward::*;
pub use revocations::*;
pub use rosters::*;
pub use seats::*;

/// Why an operation brought no answer. Outcomes of the protocol (fenced, lost, …) are values, not errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Certainly not executed (refused by Redis, no connection): repeat when convenient.
    #[error("the log did not execute this: {0}")]
    NotExecuted(String),
    /// May or may not have been executed (time-out, connection lost): repeat the identical call until it answers.
    #[error("the log did not answer: {0}")]
    Ambiguous(String),
    /// A stored record that this release cannot read, or an answer of the wrong shape. Repeating does not help.
    #[error("the log holds something unreadable: {0}")]
    Corrupt(String),
}

pub type LogResult<T> = Result<T, LogError>;

/// A problem with the server's settings that endangers what was acked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsafe {
    #[error("Redis {found} is too old: 7.0 or newer is needed")]
    Version { found: String },
    #[error(
        "maxmemory-policy is {found}: noeviction is needed, or entries vanish (CONFIG SET maxmemory-policy noeviction)"
    )]
    Eviction { found: String },
    #[error("appendonly is {found}: yes is needed, or a restart loses what was acked (CONFIG SET appendonly yes)")]
    NotAppendOnly { found: String },
}

/// What `meta` said at the first contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    Ok,
    /// This Redis belongs to another region.
    OtherRegion {
        found: String,
    },
    /// Stored by an unknown format.
    UnknownFormat {
        found: String,
    },
}

/// A node's access to its region. Cheap to clone behind an `Arc`; all methods may run concurrently.
///
/// Every operation is one atomic step on the region ("script"), does all its checks before its first write, and may
/// be repeated with the same arguments until an answer comes: the second execution answers like the first, or says
/// that it was already done. Times are the region's TIME in ms since 1970, never a node's clock.
pub trait Log: Facts + Jumps + Rosters {
    /// Writes or checks `meta` (region name, format number).
    fn open(&self) -> impl Future<Output = LogResult<Opened>> + Send;
    /// Version, eviction policy, persistence. Empty: safe.
    fn check_safety(&self) -> impl Future<Output = LogResult<Vec<Unsafe>>> + Send;
    /// The region's TIME, ms since 1970.
    fn time_ms(&self) -> impl Future<Output = LogResult<u64>> + Send;
    fn beat(&self, beat: Beat) -> impl Future<Output = LogResult<Beaten>> + Send;
    fn leave(&self, leave: Leave) -> impl Future<Output = LogResult<()>> + Send;
    /// Drops the rooms set and inbox of a member that is gone and whose set is empty.
    fn forget(&self, gone: &Incarnation) -> impl Future<Output = LogResult<()>> + Send;
    fn rooms_of(&self, incarnation: &Incarnation) -> impl Future<Output = LogResult<Vec<RoomId>>> + Send;
    fn rooms_add(&self, incarnation: &Incarnation, rooms: &[RoomId]) -> impl Future<Output = LogResult<()>> + Send;
    fn rooms_remove(&self, incarnation: &Incarnation, room: &RoomId) -> impl Future<Output = LogResult<()>> + Send;
    fn claim(&self, claim: Claim) -> impl Future<Output = LogResult<Claimed>> + Send;
    fn append(&self, append: Append) -> impl Future<Output = LogResult<Appended>> + Send;
    fn reclaim(&self, reclaim: Reclaim) -> impl Future<Output = LogResult<Appended>> + Send;
    fn restore(&self, restore: Restore) -> impl Future<Output = LogResult<Restored>> + Send;
    fn checkpoint(&self, checkpoint: Checkpoint) -> impl Future<Output = LogResult<Checkpointed>> + Send;
    /// Closes an idle room: log trimmed to nothing, owner cleared. Only if head.last = prev, the owner is
    /// `incarnation` and the snapshot is at the head's version.
    fn park(
        &self,
        room: &RoomId,
        prev: EntryId,
        incarnation: &Incarnation,
    ) -> impl Future<Output = LogResult<Parked>> + Send;
    /// Heads of log and feed, in the order asked; pipelined by `limits::HEADS_AT_ONCE`.
    fn heads(&self, rooms: &[RoomId]) -> impl Future<Output = LogResult<Vec<Heads>>> + Send;
    fn snapshot(&self, room: &RoomId) -> impl Future<Output = LogResult<Option<Snapshot>>> + Send;
    /// Entries with an id above `after`, oldest first, at most `count`.
    fn entries(
        &self,
        room: &RoomId,
        after: EntryId,
        count: usize,
    ) -> impl Future<Output = LogResult<Vec<LogEntry>>> + Send;
    fn create_inbox(&self, incarnation: &Incarnation) -> impl Future<Output = LogResult<()>> + Send;
    /// All or none of `commands` (at most `limits::SEND_COMMANDS_MAX`).
    fn send(&self, to: &Incarnation, commands: &[Bytes]) -> impl Future<Output = LogResult<Sent>> + Send;
    /// Items after `after`, waiting up to `wait` for the first; removes items at or below `after`.
    /// A missing inbox is created again and read from 0.
    fn take_inbox(
        &self,
        incarnation: &Incarnation,
        after: FeedId,
        wait: Duration,
    ) -> impl Future<Output = LogResult<Vec<(FeedId, Bytes)>>> + Send;
    /// `None`: the session was logged out, or what `attach` would replace was superseded meanwhile.
    fn attach(&self, attach: Attach) -> impl Future<Output = LogResult<Option<Attached>>> + Send;
    /// Removes the session only if that generation is still its own; true if it was.
    fn detach(
        &self,
        player: &PlayerId,
        session: &SessionId,
        generation: Generation,
    ) -> impl Future<Output = LogResult<bool>> + Send;
    /// Sets what a session is shown as, if that generation is still its own; true if it is. A number of presence up to
    /// `known` was told: if less is stored, a tail was lost, and who is present is told again under a number above it.
    fn show(
        &self,
        player: &PlayerId,
        session: &SessionId,
        generation: Generation,
        shown: Shown,
        known: u64,
    ) -> impl Future<Output = LogResult<bool>> + Send;
    /// Changes which team a player is in; the player need not have been seen yet. Answers what is stored afterwards: a
    /// repeat changes nothing, nor does a change by which more teams than may be had still to hear of it.
    fn set_team(&self, player: &PlayerId, change: &SetTeam) -> impl Future<Output = LogResult<TeamAt>> + Send;
    /// Every team that a player had left by the change of this number has heard of it; after a later change, nothing happens.
    fn team_settled(&self, player: &PlayerId, number: u64) -> impl Future<Output = LogResult<()>> + Send;
    /// Ends a session for good, whichever connection has it: for as long as its resume tokens live no `attach` seats it
    /// again. A connection that had attached it meanwhile hears of a generation above its own.
    fn log_out(&self, player: &PlayerId, session: &SessionId) -> impl Future<Output = LogResult<()>> + Send;
    /// Tells the player's sessions on all nodes, or the one named, to close their connections. Nothing is stored.
    fn kick(&self, player: &PlayerId, session: Option<&SessionId>) -> impl Future<Output = LogResult<()>> + Send;
    /// Revokes until then; answers when that was ([`Revocation::at_ms`]). `None`: `until_ms` is over.
    fn revoke(&self, what: &Revoked, until_ms: u64) -> impl Future<Output = LogResult<Option<u64>>> + Send;
    /// What was revoked after `after_ms`, oldest first, at most `count`. If all there is was before it, all of that: Redis lost a
    /// tail, and its clock may be behind.
    fn revocations(&self, after_ms: u64, count: usize) -> impl Future<Output = LogResult<Vec<Revocation>>> + Send;
    /// Sets room and hop if `hop` is larger than the stored one; creates the record if it is missing.
    fn arrived(&self, player: &PlayerId, room: &SectorId, hop: Hop) -> impl Future<Output = LogResult<Named>> + Send;
    fn at(&self, player: &PlayerId) -> impl Future<Output = LogResult<Option<At>>> + Send;
    /// Of each player, in the order asked; `None` for one that nobody has seen yet.
    fn ats(&self, players: &[PlayerId]) -> impl Future<Output = LogResult<Vec<Option<At>>>> + Send;
    fn post(&self, room: &RoomId, once: &OnceKey, body: Bytes) -> impl Future<Output = LogResult<Posted>> + Send;
    /// Items with an id above `after`, oldest first, at most `count`.
    fn feed(&self, room: &RoomId, after: FeedId, count: usize)
    -> impl Future<Output = LogResult<Vec<FeedItem>>> + Send;
    /// Items with an id below `before` (`None`: the newest), newest first, at most `count`.
    fn feed_before(
        &self,
        room: &RoomId,
        before: Option<FeedId>,
        count: usize,
    ) -> impl Future<Output = LogResult<Vec<FeedItem>>> + Send;
    /// The item of that name, if it was posted; for as long as a repeat would be known.
    fn posted(&self, room: &RoomId, once: &OnceKey) -> impl Future<Output = LogResult<Option<FeedId>>> + Send;
    fn ears(&self, player: &PlayerId) -> impl Future<Output = LogResult<Ears>> + Send;
    /// Tells those who follow the player's room of it.
    fn change_ears(
        &self,
        player: &PlayerId,
        change: &EarsChange,
    ) -> impl Future<Output = LogResult<EarsChanged>> + Send;
    /// Part of [`Log::ears`], for everything that is said; may be over.
    fn muted_until_ms(&self, player: &PlayerId) -> impl Future<Output = LogResult<Option<u64>>> + Send;
    fn takes_from(&self, player: &PlayerId, author: &PlayerId) -> impl Future<Output = LogResult<TakesFrom>> + Send;
    /// Adds a record to a stream; asked again after no answer, it may be there twice.
    fn note(&self, stream: Outward, record: OutwardRecord) -> impl Future<Output = LogResult<FeedId>> + Send;
    /// Records with an id below `before` (absent: all), newest first, at most `count`.
    fn noted(
        &self,
        stream: Outward,
        before: Option<FeedId>,
        count: usize,
    ) -> impl Future<Output = LogResult<Vec<OutwardItem>>> + Send;
    /// Adds events to [`Outward::Events`], each once: those of entries that were told of are passed over.
    fn tell(&self, tell: Tell) -> impl Future<Output = LogResult<()>> + Send;
    /// Up to which entry a room's events were told; `None`: never.
    fn told(&self, room: &RoomId) -> impl Future<Output = LogResult<Option<EntryId>>> + Send;
    /// Opens a call beside its player, who has at most `limits::CALLS_OPEN_MAX` open; or finds the one of this name.
    fn open_call(&self, call: OpenCall) -> impl Future<Output = LogResult<CallOpened>> + Send;
    /// Gives an open call to the workers of its callee.
    fn queue_call(&self, work: CallWork) -> impl Future<Output = LogResult<Queued>> + Send;
    /// Ends a call without an answer, unless it has one.
    fn end_call(&self, call: &CallName, end: CallEnd) -> impl Future<Output = LogResult<Option<Reply>>> + Send;
    /// Answers an open call and tells the followers of its player.
    fn answer_call(&self, reply: &ReplyId, body: Bytes) -> impl Future<Output = LogResult<CallAnswered>> + Send;
    /// Answers that workers have written, each given to one node; again, to any, if that one does not drop it within
    /// `limits::REPLY_TAKEN_AGAIN_AFTER`. Waits up to `wait` for the first.
    fn take_replies(
        &self,
        reader: &NodeName,
        wait: Duration,
    ) -> impl Future<Output = LogResult<Vec<WrittenReply>>> + Send;
    /// These answers were dealt with.
    fn drop_replies(&self, taken: &[FeedId]) -> impl Future<Output = LogResult<()>> + Send;
    /// Follows a room. Never fails: without a connection, `Push::Following` comes when there is one.
    fn follow(&self, room: &RoomId) -> Following;
    /// An owner's own entry was not heard in time, or reached nobody: unless it was told to the room's followers, which may
    /// be slow to take it, the subscription or its connection is broken.
    fn suspect(&self, room: &RoomId, missed: EntryId);
}
