//! A room that is a copy of another region's: begun, extended and given later snapshots by a nexus. Pure.

use super::{Room, StoredHead, completed, lengthened};
use crate::ids::RegionName;
use crate::limits::LOG_WINDOW_ENTRIES;
use crate::log::{BeginMirror, ExtendMirror, LogBody, LogEntry, MirrorStanding, OnChain, Snapshot, connected};

impl Room {
    pub(in super::super) fn standing(&self) -> Option<MirrorStanding> {
        let head = &self.head.as_ref()?.head;
        let snapshot = self.snapshot.as_ref()?.id;
        Some(MirrorStanding { begun: self.begun, last: head.last, lineage: head.lineage.clone(), snapshot })
    }

    /// The entries that were added.
    pub(in super::super) fn extend(&mut self, extend: ExtendMirror) -> Vec<LogEntry> {
        assert_eq!(connected(extend.prev, &extend.entries), extend.entries.len(), "{} in pieces", extend.of);
        if self.last() != Some(extend.prev) {
            return Vec::new();
        }
        extend.entries.iter().for_each(|entry| self.copy(entry));
        extend.entries
    }

    /// True: done.
    pub(in super::super) fn begin(&mut self, begin: &BeginMirror) -> bool {
        let BeginMirror { of, expects, snapshot, entries } = begin;
        assert_eq!(connected(snapshot.id, entries), entries.len(), "{of} in pieces");
        if self.standing().map(|now| (now.begun, now.last)) != *expects {
            return false;
        }
        self.begun += 1;
        let (begun, lineage) = (self.begun, snapshot.lineage.clone());
        let head = MirrorStanding { begun, last: snapshot.id, lineage, snapshot: snapshot.id }.head();
        self.log.clear();
        self.head = Some(StoredHead { head, grants: Vec::new() });
        self.snapshot = Some(Snapshot { parts: completed(&snapshot.parts, None), ..snapshot.clone() });
        entries.iter().for_each(|entry| self.copy(entry));
        true
    }

    fn copy(&mut self, entry: &LogEntry) {
        self.push(entry);
        let Some(StoredHead { head, .. }) = &mut self.head else { return };
        if matches!(entry.body, LogBody::Claim(_)) {
            head.lineage = lengthened(&head.lineage, head.last);
        }
        head.last = entry.id;
    }

    pub(in super::super) fn renew(&mut self, snapshot: &Snapshot) {
        let (Some(stored), Some(old)) = (&self.head, &self.snapshot) else { return };
        let last = stored.head.last;
        if stored.head.on_chain(snapshot.id) != OnChain::Yes || snapshot.id.version <= old.id.version {
            return;
        }
        self.snapshot = Some(Snapshot { parts: completed(&snapshot.parts, None), ..snapshot.clone() });
        let kept = LOG_WINDOW_ENTRIES.max(last.version - snapshot.id.version);
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        self.log.drain(..self.log.len().saturating_sub(kept));
    }

    pub(in super::super) fn set_home(&mut self, region: &RegionName) {
        if self.last().is_none() {
            self.home.get_or_insert_with(|| region.clone());
        }
    }
}
