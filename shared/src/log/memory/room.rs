//! One room's keys (`log`, `head`, `snap`, and its `feed`) and what each script does to them: pure, one call one step.
//! Time is an argument. Publishing and faults are the region's business: what to publish is answered, not sent.

mod mirrored;

use std::collections::VecDeque;

use bytes::Bytes;

use super::feed::Feed;
use super::records;
use crate::ids::{EntryId, Incarnation, Nonce, RegionName};
use crate::limits::LINEAGE_EPOCHS;
use crate::log::{
    Append, Appended, Checkpoint, Checkpointed, Claim, ClaimBody, Claimed, Head, Heads, Lineage, LogBody, LogEntry,
    Parked, Reclaim, Restore, Restored, Snapshot, SnapshotParts,
};

/// The head, and what `claim` must remember to answer the same nonce the same way.
#[derive(Debug, Clone)]
struct StoredHead {
    head: Head,
    /// The last grant of each incarnation, newest last, `LINEAGE_EPOCHS` at most.
    grants: Vec<Grant>,
}

#[derive(Debug, Clone)]
struct Grant {
    nonce: Nonce,
    id: EntryId,
    prev: EntryId,
}

impl StoredHead {
    fn grant_of(&self, incarnation: &Incarnation) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.nonce.incarnation == *incarnation)
    }

    /// The lineage as it was when `id` was written: without its own epoch and later ones.
    fn lineage_before(&self, id: EntryId) -> Lineage {
        Lineage(self.head.lineage.0.iter().copied().filter(|known| known.epoch < id.epoch).collect())
    }
}

/// What the counter of a nonce means to the last grant of its incarnation.
enum Asked {
    Anew,
    Before { id: EntryId, prev: EntryId, lineage: Lineage },
    Stale,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    head: Option<StoredHead>,
    /// Ids and records as `stored` writes them, oldest first.
    log: VecDeque<(EntryId, Bytes)>,
    /// The server lost `log`, while the head lives; an empty log is another thing.
    log_is_lost: bool,
    snapshot: Option<Snapshot>,
    pub(super) feed: Feed,
    /// Of a copy: how often it was begun.
    begun: u64,
    /// Of a team's room without log: the region that has it.
    home: Option<RegionName>,
}

impl Room {
    pub(super) fn heads(&self) -> Heads {
        let log = self.head.as_ref().map(|stored| stored.head.clone());
        Heads { home: self.home.clone().filter(|_| log.is_none()), log, feed: self.feed.last() }
    }

    pub(super) fn owner(&self) -> Option<&Incarnation> {
        self.head.as_ref()?.head.owner.as_ref()
    }

    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    pub(super) fn entries(&self, after: EntryId, count: usize) -> Vec<LogEntry> {
        let from = self.log.partition_point(|(id, _)| *id <= after);
        let wanted = self.log.iter().skip(from).take(count);
        wanted.map(|(id, record)| records::read_entry(*id, record)).collect()
    }

    pub(super) fn last(&self) -> Option<EntryId> {
        self.head.as_ref().map(|stored| stored.head.last)
    }

    pub(super) fn lose_log(&mut self) {
        self.log.clear();
        self.log_is_lost = self.head.is_some();
    }

    /// Adds an entry. What must only grow is asserted: two entries at one id would be a fork.
    fn push(&mut self, entry: &LogEntry) {
        if let Some((newest, _)) = self.log.back() {
            assert!(*newest < entry.id, "entry {} after {newest}", entry.id);
        }
        self.log.push_back((entry.id, records::entry_record(&entry.body)));
    }

    /// Answers, and the entry to publish. `OK` is answered with 0 receivers: the region knows better.
    pub(super) fn append(&mut self, append: &Append, time_ms: u64) -> (Appended, Option<LogEntry>) {
        assert_eq!(append.id, append.prev.following(), "an append must follow its prev");
        let Some(stored) = self.head.as_mut().filter(|stored| stored.head.last == append.prev) else {
            return (judge_refused(self.last(), append.id, time_ms), None);
        };
        if self.log_is_lost {
            return (Appended::Lost { last: None }, None);
        }
        let entry = append.entry.as_ref().map(|bytes| LogEntry { id: append.id, body: LogBody::Batch(bytes.clone()) });
        if let Some(entry) = &entry {
            stored.head.last = entry.id;
            self.push(entry);
        }
        (Appended::Ok { receivers: 0, time_ms }, entry)
    }

    pub(super) fn claim(&mut self, claim: &Claim, replication_id: &str, time_ms: u64) -> (Claimed, Option<LogEntry>) {
        let head = self.head.as_ref().map(|stored| &stored.head);
        if let Some(region) = self.home.as_ref().filter(|_| head.is_none()) {
            return (Claimed::Elsewhere { region: region.clone() }, None);
        }
        match self.judge_nonce(&claim.nonce) {
            Asked::Anew => {}
            Asked::Stale => return (Claimed::StaleNonce, None),
            Asked::Before { id, prev, lineage } => {
                return (Claimed::Granted { id, prev, lineage, time_ms, from: None }, None);
            }
        }
        let may_take = claim.may_take && claim.replication_id.as_deref().is_none_or(|seen| seen == replication_id);
        if let Some(refused) = head.and_then(|head| refuse_claim(head, claim, may_take)) {
            return (refused, None);
        }
        let from = head.and_then(|head| head.owner.clone()).filter(|owner| *owner != claim.incarnation);
        let prev = head.map_or(EntryId::GENESIS, |head| head.last);
        let lineage = head.map_or_else(Lineage::default, |head| lengthened(&head.lineage, head.last));
        let id = EntryId::new(next_epoch(prev.epoch, claim.jitter, time_ms), prev.version + 1);
        if head.is_none() {
            let parts = completed(&claim.genesis, None);
            self.snapshot = Some(Snapshot { id: EntryId::GENESIS, lineage: Lineage::default(), parts });
        }
        let body = ClaimBody { prev, owner: claim.incarnation.clone(), ring: claim.ring, nonce: claim.nonce.clone() };
        let entry = self.write_claim(id, body, lineage.clone());
        (Claimed::Granted { id, prev, lineage, time_ms, from }, Some(entry))
    }

    pub(super) fn reclaim(&mut self, reclaim: &Reclaim, time_ms: u64) -> (Appended, Option<LogEntry>) {
        // A log that is gone is not made again here: it would have no snapshot. That is for `restore`.
        if self.last() != Some(reclaim.claim.prev) {
            return (judge_refused(self.last(), reclaim.id, time_ms), None);
        }
        if self.log_is_lost {
            return (Appended::Lost { last: None }, None);
        }
        let entry = self.write_claim(reclaim.id, reclaim.claim.clone(), reclaim.lineage.clone());
        (Appended::Ok { receivers: 0, time_ms }, Some(entry))
    }

    pub(super) fn restore(&mut self, restore: &Restore, time_ms: u64) -> (Restored, Option<LogEntry>) {
        let last = self.last();
        match self.judge_nonce(&restore.nonce) {
            Asked::Before { id, lineage, .. } => {
                return (Restored::Done { id, lineage, time_ms }, None);
            }
            Asked::Anew if last == restore.expects => {}
            // Lost(none) was the answer to its append: the head is there, and the log is not.
            Asked::Anew if restore.expects.is_none() && self.log_is_lost && last <= Some(at_most(restore)) => {}
            Asked::Anew | Asked::Stale => return (Restored::Refused { last }, None),
        }
        let prev = restore.my_last;
        let epoch_before = last.map_or(prev.epoch, |last| last.epoch.max(prev.epoch));
        let id = EntryId::new(next_epoch(epoch_before, restore.jitter, time_ms), prev.version + 1);
        let lineage = lengthened(&restore.lineage, prev);
        let stored_dormant = self.snapshot.as_ref().and_then(|snapshot| snapshot.parts.dormant.clone());
        let parts = completed(&restore.parts, stored_dormant);
        self.snapshot = Some(Snapshot { id: prev, lineage: restore.lineage.clone(), parts });
        let body =
            ClaimBody { prev, owner: restore.incarnation.clone(), ring: restore.ring, nonce: restore.nonce.clone() };
        let entry = self.write_claim(id, body, lineage.clone());
        (Restored::Done { id, lineage, time_ms }, Some(entry))
    }

    fn judge_nonce(&self, nonce: &Nonce) -> Asked {
        let Some(stored) = &self.head else {
            return Asked::Anew;
        };
        match stored.grant_of(&nonce.incarnation) {
            Some(grant) if grant.nonce.counter == nonce.counter => {
                Asked::Before { id: grant.id, prev: grant.prev, lineage: stored.lineage_before(grant.id) }
            }
            Some(grant) if grant.nonce.counter > nonce.counter => Asked::Stale,
            _ => Asked::Anew,
        }
    }

    fn write_claim(&mut self, id: EntryId, body: ClaimBody, lineage: Lineage) -> LogEntry {
        let head = Head {
            last: id,
            owner: Some(body.owner.clone()),
            ring: body.ring,
            nonce: Some(body.nonce.clone()),
            lineage,
        };
        let mut grants = self.head.take().map_or_else(Vec::new, |stored| stored.grants);
        grants.retain(|grant| grant.nonce.incarnation != body.nonce.incarnation);
        grants.push(Grant { nonce: body.nonce.clone(), id, prev: body.prev });
        grants.drain(..grants.len().saturating_sub(LINEAGE_EPOCHS));
        self.head = Some(StoredHead { head, grants });
        self.log_is_lost = false;
        let entry = LogEntry { id, body: LogBody::Claim(Box::new(body)) };
        self.push(&entry);
        entry
    }

    pub(super) fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Checkpointed {
        let last = self.last();
        let Some(head) = last.filter(|last| last.epoch == checkpoint.id.epoch && checkpoint.id.version <= last.version)
        else {
            return Checkpointed::Refused { last };
        };
        if self.snapshot.as_ref().is_some_and(|stored| stored.id.version >= checkpoint.id.version) {
            return Checkpointed::NotNewer;
        }
        let stored_id = self.snapshot.as_ref().map(|stored| stored.id);
        if checkpoint.parts.dormant.is_none() && stored_id != Some(checkpoint.since) {
            return Checkpointed::DormantNeeded;
        }
        let stored_dormant = self.snapshot.as_ref().and_then(|snapshot| snapshot.parts.dormant.clone());
        self.snapshot = Some(Snapshot {
            id: checkpoint.id,
            lineage: checkpoint.lineage.clone(),
            parts: completed(&checkpoint.parts, stored_dormant),
        });
        let kept = checkpoint.window.max(head.version - checkpoint.id.version);
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        self.log.drain(..self.log.len().saturating_sub(kept));
        Checkpointed::Done
    }

    pub(super) fn park(&mut self, prev: EntryId, incarnation: &Incarnation) -> Parked {
        let Some(stored) = &mut self.head else {
            return Parked::Refused;
        };
        let head = &mut stored.head;
        let parked_by_me_before = head.owner.is_none()
            && head.last == prev
            && head.nonce.as_ref().is_some_and(|nonce| nonce.incarnation == *incarnation);
        if parked_by_me_before {
            return Parked::Done;
        }
        let at_snapshot = self.snapshot.as_ref().is_some_and(|snapshot| snapshot.id.version == head.last.version);
        if head.last != prev || head.owner.as_ref() != Some(incarnation) || !at_snapshot {
            return Parked::Refused;
        }
        head.owner = None;
        self.log.clear();
        Parked::Done
    }
}

/// Why an append or reclaim at `id` is not done when the head is at `last`.
fn judge_refused(last: Option<EntryId>, id: EntryId, time_ms: u64) -> Appended {
    match last {
        Some(last) if last.epoch == id.epoch && last.version >= id.version => Appended::Already { time_ms },
        Some(last) if last.epoch > id.epoch => Appended::Fenced { last },
        last => Appended::Lost { last },
    }
}

fn refuse_claim(head: &Head, claim: &Claim, may_take: bool) -> Option<Claimed> {
    let other = head.owner.as_ref().filter(|owner| **owner != claim.incarnation);
    match other {
        Some(by) if !may_take || claim.ring == head.ring => Some(Claimed::Owned { by: by.clone(), ring: head.ring }),
        _ if claim.ring < head.ring => Some(Claimed::StaleRing { head: head.ring }),
        _ => None,
    }
}

/// The highest id of the epoch that a restore goes on from.
fn at_most(restore: &Restore) -> EntryId {
    EntryId::new(restore.my_last.epoch, u64::MAX)
}

/// The jitter keeps two branches after a lost tail from meeting at one number.
fn next_epoch(before: u64, jitter: u64, time_ms: u64) -> u64 {
    (before + 1 + jitter).max(time_ms)
}

fn lengthened(lineage: &Lineage, last: EntryId) -> Lineage {
    let mut epochs = lineage.0.clone();
    if last != EntryId::GENESIS {
        epochs.push(last);
    }
    epochs.drain(..epochs.len().saturating_sub(LINEAGE_EPOCHS));
    Lineage(epochs)
}

/// Parts as stored: dormant always there.
fn completed(parts: &SnapshotParts, stored_dormant: Option<Bytes>) -> SnapshotParts {
    let dormant = parts.dormant.clone().or(stored_dormant).unwrap_or_default();
    SnapshotParts { dormant: Some(dormant), ..parts.clone() }
}
