//! The durable side of a region: rooms' logs, feeds, inboxes, membership, and where players are.
//!
//! [`Log`] is the one seam to it, with two implementations under one conformance suite: [`redis`] (production) and
//! [`memory`] (embedded default, and the one that injects faults for the simulation). Everything stored is bytes
//! here: what an entry, a snapshot part or a command means is decided by `state` and by the node. Ids, prevs,
//! lineage and ownership are this module's own.
//!
//! Every operation is one atomic step on the region ("script"), does all its checks before its first write, and may
//! be repeated with the same arguments until an answer comes: the second execution answers like the first, or says
//! that it was already done. Times are the region's TIME in ms since 1970, never a node's clock.

pub mod memory;
pub mod redis;
pub mod stored;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::ids::{
    ActorId, EntryId, FeedId, Generation, Hop, Incarnation, Nonce, PlayerId, RingVersion, RoomId, SectorId, SessionId,
};

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

/// The last 16 epochs of a log with their last versions, oldest first, the current epoch excluded:
/// what makes a cursor provably on or off the chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage(pub Vec<EntryId>);

/// Where a cursor stands relative to a chain (room-log rule 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChain {
    Yes,
    /// Provably not: the log forked or lost what the cursor has seen.
    No,
    /// The cursor's epoch is older than the lineage reaches.
    Unknown,
}

/// The head of a room's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub last: EntryId,
    /// `None` after a park.
    pub owner: Option<Incarnation>,
    pub ring: RingVersion,
    pub nonce: Option<Nonce>,
    pub lineage: Lineage,
}

impl Head {
    /// A cursor (e, v) is on the chain iff e is the head's epoch and v <= head, or the lineage has (e, last >= v).
    /// The genesis cursor `0-0` is on every chain.
    pub fn on_chain(&self, cursor: EntryId) -> OnChain {
        if cursor == EntryId::GENESIS {
            return OnChain::Yes;
        }
        if cursor.epoch == self.last.epoch {
            return if cursor.version <= self.last.version { OnChain::Yes } else { OnChain::No };
        }
        match self.lineage.0.iter().find(|known| known.epoch == cursor.epoch) {
            Some(known) if cursor.version <= known.version => OnChain::Yes,
            Some(_) => OnChain::No,
            None => match self.lineage.0.first() {
                Some(oldest)
                    if cursor.epoch < oldest.epoch && self.lineage.0.len() >= crate::limits::LINEAGE_EPOCHS =>
                {
                    OnChain::Unknown
                }
                _ => OnChain::No,
            },
        }
    }
}

/// Head of log and feed, as compared for silent rooms. `None`: no such key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heads {
    pub log: Option<Head>,
    pub feed: Option<FeedId>,
}

/// One entry of a log as stored and as published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub id: EntryId,
    pub body: LogBody,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogBody {
    /// A change of ownership; written by `claim`, `reclaim` and `restore`. Changes no state.
    Claim(ClaimBody),
    /// A committed batch: the bytes given to `append` (a `state::Entry` with its format byte).
    Batch(Bytes),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimBody {
    /// The entry before this one in the chain; `0-0` before the first.
    pub prev: EntryId,
    pub owner: Incarnation,
    pub ring: RingVersion,
    pub nonce: Nonce,
}

/// The parts of a snapshot, each with its own format byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotParts {
    pub public: Bytes,
    pub own: Bytes,
    pub system: Bytes,
    /// `None` in `checkpoint`: unchanged since the stored one. Always `Some` when read.
    pub dormant: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// State after this entry; `0-0` for genesis.
    pub id: EntryId,
    pub lineage: Lineage,
    pub parts: SnapshotParts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// In the log. `receivers`: subscribers the publish reached, as far as this server knows.
    Ok { receivers: u64, time_ms: u64 },
    /// The head is of my epoch with a version at or above mine: a repeat of what is already in.
    Already { time_ms: u64 },
    /// A higher epoch owns the log.
    Fenced { last: EntryId },
    /// Anything else: Redis has less than my chain, or something else. `None`: no log.
    Lost { last: Option<EntryId> },
}

/// What to append: `id` must be `prev.following()`. `entry` absent: a chain check only (rejections of a batch without
/// effect); `receipts`: answers that are published and not stored.
#[derive(Debug, Clone)]
pub struct Append {
    pub room: RoomId,
    pub prev: EntryId,
    pub id: EntryId,
    pub entry: Option<Bytes>,
    pub receipts: Option<Bytes>,
}

#[derive(Debug, Clone)]
pub struct Claim {
    pub room: RoomId,
    pub incarnation: Incarnation,
    pub ring: RingVersion,
    pub nonce: Nonce,
    /// Random in `0..limits::EPOCH_JITTER_EXCLUDED`.
    pub jitter: u64,
    /// False for one ttl after a spare or a new replication id: a room whose head names another is then `Owned`.
    pub may_take: bool,
    /// Written as snapshot `0-0` by the first claim of a room, ignored by later ones.
    pub genesis: SnapshotParts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// `id` is the claim entry; `prev` what was last before it; `lineage` as now in the head.
    Granted {
        id: EntryId,
        prev: EntryId,
        lineage: Lineage,
        time_ms: u64,
    },
    Owned {
        by: Incarnation,
        ring: RingVersion,
    },
    /// Hand `head` to the next beat, which raises the ring version above it.
    StaleRing {
        head: RingVersion,
    },
    /// A lower counter of this incarnation than one already granted.
    StaleNonce,
}

/// Writes a lost claim entry again: same id, prev, nonce. Done only if the head's last is `prev` (or the log is gone
/// and `prev` is `0-0`).
#[derive(Debug, Clone)]
pub struct Reclaim {
    pub room: RoomId,
    pub id: EntryId,
    pub claim: ClaimBody,
    /// The head's lineage as `claim` left it.
    pub lineage: Lineage,
}

#[derive(Debug, Clone)]
pub struct Restore {
    pub room: RoomId,
    /// What the head must say now; `None`: no log.
    pub expects: Option<EntryId>,
    pub incarnation: Incarnation,
    pub ring: RingVersion,
    pub nonce: Nonce,
    pub jitter: u64,
    /// My last entry; the snapshot is the state after it.
    pub my_last: EntryId,
    /// My lineage, my own epoch excluded (it is added with `my_last`).
    pub lineage: Lineage,
    /// All parts present.
    pub parts: SnapshotParts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// The new claim entry: version `my_last.version + 1`, a new epoch.
    Done { id: EntryId, lineage: Lineage, time_ms: u64 },
    /// The head says something else.
    Refused { last: Option<EntryId> },
}

#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub room: RoomId,
    /// State after this entry; its epoch must be the head's.
    pub id: EntryId,
    pub lineage: Lineage,
    pub parts: SnapshotParts,
    /// Entries kept behind the snapshot.
    pub window: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpointed {
    Done,
    /// The stored snapshot is as new or newer.
    NotNewer,
    /// The head's epoch is not mine, or my version is not on the chain.
    Refused {
        last: Option<EntryId>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parked {
    Done,
    /// Head, owner or snapshot are not as required; nothing was done.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    Ok,
    /// The inbox has `limits::INBOX_ITEMS_MAX` items.
    Busy,
    /// No such inbox: route again.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    In,
    /// Out of the ring, still a member.
    Draining,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub incarnation: Incarnation,
    /// Where peers and operators find the node (its advertised `listen` address).
    pub address: String,
    pub state: MemberState,
    pub expires_ms: u64,
}

#[derive(Debug, Clone)]
pub struct Beat {
    pub incarnation: Incarnation,
    pub address: String,
    pub state: MemberState,
    pub ttl: Duration,
    /// Hash of (universe seed, ring hash, hash of `resume_secret`); equal on all nodes.
    pub settings: String,
    /// True on the first beat of this life: a member with other settings is then refused.
    pub joining: bool,
    /// A head's ring version seen in `Claimed::StaleRing`: the ring version is raised above it.
    pub ring_above: Option<RingVersion>,
    /// Peers that had no subscriber on `alive:<incarnation>` at this asker's previous beat.
    pub suspects: Vec<Incarnation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beaten {
    Ok(Roll),
    /// This incarnation is in `gone`: come back as a new one.
    Gone,
    /// Joining with settings that differ from the members'.
    SettingsDiffer {
        theirs: String,
    },
}

/// The roll of members, as a beat read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roll {
    pub time_ms: u64,
    pub ring: RingVersion,
    /// All living members, draining ones included, ordered by incarnation.
    pub members: Vec<Member>,
    /// Members that are gone, with when they went (ms since 1970).
    pub gone: BTreeMap<Incarnation, u64>,
    /// Until when nobody adopts or takes rooms (one ttl after a spare or a new replication id); 0: not at all.
    pub calm_until_ms: u64,
    /// Peers with no subscriber on their `alive` channel right now.
    pub silent: Vec<Incarnation>,
    pub replication_id: String,
}

impl Roll {
    /// Members that are on the ring.
    pub fn on_ring(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.state == MemberState::In)
    }
}

/// Leaves at once (end of a drain, or a clean stop): into `gone`, ring version raised if it was on the ring.
#[derive(Debug, Clone)]
pub struct Leave {
    pub incarnation: Incarnation,
}

/// Where a player is and which sessions they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    pub room: SectorId,
    pub hop: Hop,
    pub sessions: BTreeMap<SessionId, SeatedAt>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatedAt {
    pub generation: Generation,
    pub incarnation: Incarnation,
}

#[derive(Debug, Clone)]
pub struct Attach {
    pub player: PlayerId,
    pub session: SessionId,
    pub incarnation: Incarnation,
    /// Sessions per player; the lowest generations beyond it are evicted.
    pub max: usize,
    /// Where a player without a record starts (hop 0).
    pub start: SectorId,
    /// Give a new actor number.
    pub new_actor: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub generation: Generation,
    /// Highest evicted generation + 1, kept in `at`; 0 when nothing was ever evicted.
    pub floor: Generation,
    pub at: At,
    /// `Some` iff `new_actor`.
    pub actor: Option<ActorId>,
    pub time_ms: u64,
}

/// One item of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedItem {
    pub id: FeedId,
    /// The item before it when it was posted; `0-0` for the first.
    pub prev: FeedId,
    /// The room's head when posted; `None` in a room without log.
    pub as_of: Option<EntryId>,
    pub body: Bytes,
}

/// Names a post for ever: a resend is not a second item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceKey {
    pub player: PlayerId,
    pub actor: ActorId,
    pub seq: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    New(FeedId),
    /// The id it got the first time.
    Already(FeedId),
}

/// What a follower of a room hears. The stream is the truth; this is how it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// The subscription is confirmed: whatever is published from now on is heard. Sent first, and again after `Lost`.
    Following,
    /// The place in the channel was lost (reconnect, slot moved, overflow): compare heads after the next `Following`.
    Lost,
    Entry(LogEntry),
    /// Answers of a batch without entry; `at` is the head it was checked against.
    Receipts {
        at: EntryId,
        body: Bytes,
    },
    Feed(FeedItem),
    /// A session of this player was attached or evicted somewhere (channel of `player:<id>` only).
    Attached {
        session: SessionId,
        generation: Generation,
        floor: Generation,
    },
}

/// A followed room. Dropping it unfollows.
#[derive(Debug)]
pub struct Following {
    pub pushes: mpsc::UnboundedReceiver<Push>,
    /// Runs when dropped; the implementation's business.
    pub guard: FollowGuard,
}

/// Ends the following when dropped.
pub struct FollowGuard(pub Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for FollowGuard {
    fn drop(&mut self) {
        if let Some(unfollow) = self.0.take() {
            unfollow();
        }
    }
}

impl std::fmt::Debug for FollowGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FollowGuard")
    }
}

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
pub trait Log: Send + Sync + 'static {
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

    fn attach(&self, attach: Attach) -> impl Future<Output = LogResult<Attached>> + Send;
    /// Removes the session only if that generation is still its own; true if it was.
    fn detach(
        &self,
        player: &PlayerId,
        session: &SessionId,
        generation: Generation,
    ) -> impl Future<Output = LogResult<bool>> + Send;
    /// Sets room and hop if `hop` is larger than the stored one; creates the record if it is missing.
    /// Answers the hop stored afterwards.
    fn arrived(&self, player: &PlayerId, room: &SectorId, hop: Hop) -> impl Future<Output = LogResult<Hop>> + Send;
    fn at(&self, player: &PlayerId) -> impl Future<Output = LogResult<Option<At>>> + Send;

    fn post(&self, room: &RoomId, once: &OnceKey, body: Bytes) -> impl Future<Output = LogResult<Posted>> + Send;
    /// Items with an id above `after`, oldest first, at most `count`.
    fn feed(&self, room: &RoomId, after: FeedId, count: usize)
    -> impl Future<Output = LogResult<Vec<FeedItem>>> + Send;

    /// Follows a room. Never fails: without a connection, `Push::Following` comes when there is one.
    fn follow(&self, room: &RoomId) -> Following;
    /// An owner's own entry was not heard in time, or reached nobody: the pub/sub connection of this room is broken.
    fn suspect(&self, room: &RoomId);
}
