//! What an owner has appended, and what to do when Redis has less than that. Pure: time is an argument.
//! Knows nothing of what entries mean.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use sectorbus::ids::EntryId;
use sectorbus::limits::{SUFFIX_KEPT_BYTES, SUFFIX_KEPT_FOR};
use sectorbus::log::{ClaimBody, Lineage};

/// One appended entry, kept to append it again.
#[derive(Debug, Clone)]
struct Kept {
    id: EntryId,
    prev: EntryId,
    bytes: Bytes,
    at: Duration,
}

/// The owner's end of a room's chain: its claim, its last id, and the youngest entries.
#[derive(Debug)]
pub struct Chain {
    claim_id: EntryId,
    claim: ClaimBody,
    /// Epochs before mine.
    lineage: Lineage,
    last: EntryId,
    suffix: VecDeque<Kept>,
    suffix_bytes: usize,
}

/// How to get the log back to my last id (room-log rule 2).
#[derive(Debug, PartialEq, Eq)]
pub enum Repair {
    /// Append these again, in order; the claim first if `reclaim`.
    Reappend { reclaim: bool, entries: Vec<(EntryId, EntryId, Bytes)> },
    /// What is left does not connect to what I kept: write my state as a snapshot under a new epoch.
    Restore,
    /// The log is on another branch: the room is not mine.
    Drop,
}

impl Chain {
    pub fn new(claim_id: EntryId, claim: ClaimBody, lineage: Lineage) -> Self {
        Self { claim_id, claim, lineage, last: claim_id, suffix: VecDeque::new(), suffix_bytes: 0 }
    }

    pub fn last(&self) -> EntryId {
        self.last
    }
    pub fn epoch(&self) -> u64 {
        self.claim_id.epoch
    }
    pub fn claim(&self) -> (EntryId, &ClaimBody) {
        (self.claim_id, &self.claim)
    }
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Takes an answered append into the chain.
    pub fn extend(&mut self, id: EntryId, bytes: Bytes, now: Duration) {
        assert_eq!(id, self.last.following(), "an owner's chain grows by one: last {}, new {id}", self.last);
        self.suffix_bytes += bytes.len();
        self.suffix.push_back(Kept { id, prev: self.last, bytes, at: now });
        self.last = id;
        while let Some(oldest) = self.suffix.front() {
            let young = now.saturating_sub(oldest.at) < SUFFIX_KEPT_FOR;
            if young || self.suffix_bytes - oldest.bytes.len() < SUFFIX_KEPT_BYTES {
                break;
            }
            self.suffix_bytes -= oldest.bytes.len();
            self.suffix.pop_front();
        }
    }

    /// What to do when the head says `last` instead of mine.
    pub fn repair(&self, last: Option<EntryId>) -> Repair {
        let Some(last) = last else { return Repair::Restore };
        if last == self.last {
            return Repair::Reappend { reclaim: false, entries: Vec::new() };
        }
        if last.epoch == self.epoch() && last.version <= self.last.version {
            return self.reappend_after(last, false);
        }
        if last == self.claim.prev {
            return self.reappend_after(self.claim_id, true);
        }
        let known = self.lineage.0.iter().find(|known| known.epoch == last.epoch);
        match (known, self.lineage.0.first()) {
            (Some(known), _) if last.version <= known.version => Repair::Restore,
            (None, Some(oldest)) if last.epoch < oldest.epoch => Repair::Restore,
            _ if last == EntryId::GENESIS => Repair::Restore,
            _ => Repair::Drop,
        }
    }

    fn reappend_after(&self, last: EntryId, reclaim: bool) -> Repair {
        let from = self.suffix.iter().position(|kept| kept.prev == last);
        let complete = from.is_some() || self.last == last;
        if !complete {
            return Repair::Restore;
        }
        let kept = self.suffix.iter().skip(from.unwrap_or(self.suffix.len()));
        Repair::Reappend { reclaim, entries: kept.map(|k| (k.prev, k.id, k.bytes.clone())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sectorbus::ids::{Incarnation, Nonce, RingVersion};

    fn chain() -> Chain {
        let owner: Incarnation = "n1#5".parse().expect("incarnation");
        let nonce = Nonce { incarnation: owner.clone(), counter: 1 };
        let claim = ClaimBody { prev: EntryId::new(10, 4), owner, ring: RingVersion(1), nonce };
        let lineage = Lineage(vec![EntryId::new(7, 2), EntryId::new(10, 4)]);
        let mut chain = Chain::new(EntryId::new(20, 5), claim, lineage);
        for version in 6..9 {
            chain.extend(EntryId::new(20, version), Bytes::from(vec![0; 10]), Duration::from_secs(version));
        }
        chain
    }

    fn ids(repair: Repair) -> (bool, Vec<u64>) {
        match repair {
            Repair::Reappend { reclaim, entries } => (reclaim, entries.iter().map(|(_, id, _)| id.version).collect()),
            other => panic!("expected a re-append, got {other:?}"),
        }
    }

    #[test]
    fn a_lost_tail_is_appended_again_from_where_it_broke() {
        assert_eq!(ids(chain().repair(Some(EntryId::new(20, 6)))), (false, vec![7, 8]));
        assert_eq!(ids(chain().repair(Some(EntryId::new(20, 5)))), (false, vec![6, 7, 8]));
        assert_eq!(ids(chain().repair(Some(EntryId::new(20, 8)))), (false, vec![]));
    }

    #[test]
    fn a_lost_claim_is_claimed_again_first() {
        assert_eq!(ids(chain().repair(Some(EntryId::new(10, 4)))), (true, vec![6, 7, 8]));
    }

    #[test]
    fn what_does_not_connect_is_restored_and_what_forked_is_dropped() {
        assert_eq!(chain().repair(None), Repair::Restore);
        assert_eq!(chain().repair(Some(EntryId::new(10, 3))), Repair::Restore);
        assert_eq!(chain().repair(Some(EntryId::new(7, 1))), Repair::Restore);
        assert_eq!(chain().repair(Some(EntryId::new(3, 1))), Repair::Restore);
        assert_eq!(chain().repair(Some(EntryId::new(10, 5))), Repair::Drop);
        assert_eq!(chain().repair(Some(EntryId::new(15, 5))), Repair::Drop);
    }

    #[test]
    fn a_suffix_that_was_trimmed_does_not_reach_back() {
        let mut chain = chain();
        let big = Bytes::from(vec![0; SUFFIX_KEPT_BYTES]);
        chain.extend(EntryId::new(20, 9), big.clone(), Duration::from_secs(60));
        chain.extend(EntryId::new(20, 10), big, Duration::from_secs(61));
        assert_eq!(chain.repair(Some(EntryId::new(20, 6))), Repair::Restore);
        assert_eq!(ids(chain.repair(Some(EntryId::new(20, 9)))), (false, vec![10]));
    }
}
