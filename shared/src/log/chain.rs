//! The words of a room's log: head, lineage, entries, snapshots, and what each operation on them asks and answers.
//! Values only; who may do what is decided by the scripts (`redis/scripts`) and by the memory log alike.

use bytes::Bytes;

use crate::ids::{EntryId, FeedId, Incarnation, Nonce, RegionName, RingVersion, RoomId};

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
    /// Of a team's room that has no log here: the region that has it.
    pub home: Option<RegionName>,
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
    Claim(Box<ClaimBody>),
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
    /// `None` in `checkpoint`: unchanged since the snapshot at `Checkpoint::since`. Always `Some` when read.
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
    /// The replication id that the claimant's last beat saw. On another Redis a room whose head names another is `Owned`:
    /// its owner may not have put back yet what was lost. `None`: not looked at.
    pub replication_id: Option<String>,
    /// Written as snapshot `0-0` by the first claim of a room, ignored by later ones.
    pub genesis: SnapshotParts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// `id` is the claim entry; `prev` what was last before it; `lineage` as now in the head; `from` whom the room was
    /// taken from, not said again to a repeated claim.
    Granted {
        id: EntryId,
        prev: EntryId,
        lineage: Lineage,
        time_ms: u64,
        from: Option<Incarnation>,
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
    /// The room has no log here because its home is another region.
    Elsewhere {
        region: RegionName,
    },
}

/// Writes a lost claim entry again: same id, prev, nonce. Done only if the head's last is `prev`.
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
    /// The snapshot that must be stored now for its dormant part to stay; only looked at if `parts` have none.
    pub since: EntryId,
    /// Entries kept behind the snapshot.
    pub window: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpointed {
    Done,
    /// The stored snapshot is as new or newer.
    NotNewer,
    /// The stored snapshot is not the one at `since`: the dormant part is needed too.
    DormantNeeded,
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
