//! Words the rules are written in: rooms, requests, one owner's steps, waiting with a deadline.

use std::time::Duration;

use bytes::Bytes;
use sectorbus::ids::{EntryId, Incarnation, Nonce, RingVersion, RoomId};
use sectorbus::log::{
    Append, Appended, Checkpoint, Checkpointed, Claim, ClaimBody, Claimed, Following, Head, Heads, Lineage, Log,
    LogBody, LogEntry, LogError, LogResult, Push, SnapshotParts,
};
use tokio::time::Instant;

/// Real time on Redis, paused time on memory: only ever reached by a rule that does not hold.
pub(crate) const SOON: Duration = Duration::from_secs(20);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

pub(crate) fn room(text: &str) -> RoomId {
    text.parse().unwrap()
}

pub(crate) fn node(text: &str) -> Incarnation {
    text.parse().unwrap()
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

pub(crate) fn parts(text: &str) -> SnapshotParts {
    let part = |name: &str| bytes(&format!("{name} of {text}"));
    SnapshotParts { public: part("public"), own: part("own"), system: part("system"), dormant: Some(part("dormant")) }
}

/// Asks until there is something, with a deadline.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}

/// Repeats the identical call until an answer comes, as every caller must.
pub(crate) async fn answered<T>(mut call: impl AsyncFnMut() -> LogResult<T>) -> T {
    eventually("an answer", async || match call().await {
        Ok(answer) => Some(answer),
        Err(LogError::Corrupt(why)) => panic!("{why}"),
        Err(_) => None,
    })
    .await
}

pub(crate) async fn next(following: &mut Following) -> Push {
    tokio::time::timeout(SOON, following.pushes.recv()).await.expect("a push in time").expect("a living log")
}

/// The next entry; anything else is a failure.
pub(crate) async fn next_entry(following: &mut Following) -> LogEntry {
    match next(following).await {
        Push::Entry(entry) => entry,
        other => panic!("an entry was to come, not {other:?}"),
    }
}

/// A following that is confirmed.
pub(crate) async fn followed(log: &impl Log, room: &RoomId) -> Following {
    let mut following = log.follow(room);
    assert_eq!(next(&mut following).await, Push::Following, "confirmed first");
    following
}

pub(crate) async fn heads(log: &impl Log, room: &RoomId) -> Heads {
    let mut heads = answered(async || log.heads(std::slice::from_ref(room)).await).await;
    assert_eq!(heads.len(), 1);
    heads.remove(0)
}

pub(crate) async fn head(log: &impl Log, room: &RoomId) -> Head {
    heads(log, room).await.log.expect("a log")
}

pub(crate) async fn all_entries(log: &impl Log, room: &RoomId) -> Vec<LogEntry> {
    answered(async || log.entries(room, EntryId::GENESIS, 10_000).await).await
}

pub(crate) fn ids(entries: &[LogEntry]) -> Vec<EntryId> {
    entries.iter().map(|entry| entry.id).collect()
}

pub(crate) fn claim_of(room: &RoomId, who: &Incarnation, ring: u64, counter: u64) -> Claim {
    Claim {
        room: room.clone(),
        incarnation: who.clone(),
        ring: RingVersion(ring),
        nonce: Nonce { incarnation: who.clone(), counter },
        jitter: 7,
        may_take: true,
        replication_id: None,
        genesis: parts("genesis"),
    }
}

pub(crate) fn append_of(room: &RoomId, prev: EntryId, text: &str) -> Append {
    Append { room: room.clone(), prev, id: prev.following(), entry: Some(bytes(text)), receipts: None }
}

/// An owner of one room, as a node's room actor would be: remembers its chain.
pub(crate) struct Owner<'l, L> {
    pub(crate) log: &'l L,
    pub(crate) room: RoomId,
    pub(crate) me: Incarnation,
    pub(crate) ring: u64,
    pub(crate) counter: u64,
    /// The last entry this owner knows to be in the log.
    pub(crate) last: EntryId,
    pub(crate) lineage: Lineage,
    /// Its last claim: id and prev.
    pub(crate) claim: (EntryId, EntryId),
}

impl<'l, L: Log> Owner<'l, L> {
    /// Claims the room; it must be granted.
    pub(crate) async fn claiming(log: &'l L, room: &RoomId, who: &str, ring: u64) -> Self {
        let mut owner = Self {
            log,
            room: room.clone(),
            me: node(who),
            ring,
            counter: 0,
            last: EntryId::GENESIS,
            lineage: Lineage::default(),
            claim: (EntryId::GENESIS, EntryId::GENESIS),
        };
        owner.claim_again(ring).await;
        owner
    }

    /// A claim with the next counter; it must be granted.
    pub(crate) async fn claim_again(&mut self, ring: u64) {
        self.ring = ring;
        self.counter += 1;
        let request = claim_of(&self.room, &self.me, ring, self.counter);
        match answered(async || self.log.claim(request.clone()).await).await {
            Claimed::Granted { id, prev, lineage, .. } => {
                (self.last, self.lineage, self.claim) = (id, lineage, (id, prev));
            }
            refused => panic!("not granted: {refused:?}"),
        }
    }

    /// The body of the last claim entry.
    pub(crate) fn claim_body(&self) -> ClaimBody {
        ClaimBody {
            prev: self.claim.1,
            owner: self.me.clone(),
            ring: RingVersion(self.ring),
            nonce: Nonce { incarnation: self.me.clone(), counter: self.counter },
        }
    }

    /// Tries to append behind what it knows; follows its chain if that was done.
    pub(crate) async fn try_append(&mut self, text: &str) -> Appended {
        let request = append_of(&self.room, self.last, text);
        let appended = answered(async || self.log.append(request.clone()).await).await;
        if let Appended::Ok { .. } | Appended::Already { .. } = appended {
            self.last = request.id;
        }
        appended
    }

    /// Appends; it must be done. Answers the entry.
    pub(crate) async fn append(&mut self, text: &str) -> LogEntry {
        let appended = self.try_append(text).await;
        assert!(matches!(appended, Appended::Ok { .. } | Appended::Already { .. }), "{appended:?}");
        LogEntry { id: self.last, body: LogBody::Batch(bytes(text)) }
    }

    pub(crate) async fn append_many(&mut self, count: usize) -> Vec<LogEntry> {
        let mut entries = Vec::new();
        for number in 0..count {
            entries.push(self.append(&format!("entry {number}")).await);
        }
        entries
    }

    pub(crate) fn checkpoint_at(&self, id: EntryId, window: u64) -> Checkpoint {
        let parts = parts(&format!("state at {id}"));
        Checkpoint {
            room: self.room.clone(),
            id,
            lineage: self.lineage.clone(),
            parts,
            since: EntryId::GENESIS,
            window,
        }
    }

    pub(crate) async fn checkpoint(&self, id: EntryId, window: u64) -> Checkpointed {
        let request = self.checkpoint_at(id, window);
        answered(async || self.log.checkpoint(request.clone()).await).await
    }
}
