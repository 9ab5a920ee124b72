//! A read-only copy of a room, and the recent deltas that bring resuming sessions up to date. Pure.
//! Knows nothing of sessions or frames.

use std::collections::VecDeque;

use sectorbus::ids::{EntryId, Incarnation, PlayerId, RingVersion};
use sectorbus::limits::{LINEAGE_EPOCHS, REPLICA_DELTAS_KEPT};
use sectorbus::log::{Head, Lineage, LogBody, LogEntry, LogResult, OnChain};
use sectorbus::state::RoomState;
use sectorbus::state::{Delta, FieldChanges};
use sectorbus::state::{Entry, OwnChange};

use crate::load::{self, Loaded};

/// What a client that resumes knows of a sector's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The last entry that its state has.
    pub cursor: EntryId,
    /// The last entry that it was told of, by an ack or in its state.
    pub acked: EntryId,
}

/// What one applied entry was.
#[derive(Debug)]
pub struct Applied {
    pub id: EntryId,
    /// Its public changes are in `delta`. `None`: a claim.
    pub entry: Option<Entry>,
    /// The new owner, if this is a claim.
    pub claimed_by: Option<Incarnation>,
    pub delta: Delta,
}

/// An entry that was applied, for sessions that resume from before it. As it is stored: decoded it takes ten times as
/// much, in each of the rooms that a node follows, and most are never asked for.
#[derive(Debug)]
struct Recent {
    prev: EntryId,
    entry: LogEntry,
}

#[derive(Debug)]
pub struct Replica {
    cursor: EntryId,
    state: RoomState,
    owner: Option<Incarnation>,
    /// Epochs before the cursor's.
    lineage: Lineage,
    recent: VecDeque<Recent>,
}

impl Replica {
    pub fn new(loaded: Loaded) -> Self {
        let claims = loaded.entries.iter().rev().find_map(|entry| match &entry.body {
            LogBody::Claim(claim) => Some(claim.owner.clone()),
            LogBody::Batch(_) => None,
        });
        let owner = claims.or(loaded.head.owner);
        let mut lineage = loaded.head.lineage;
        let newer = loaded.entries.iter().filter(|entry| entry.id > loaded.head.last);
        for entry in newer {
            if let LogBody::Claim(claim) = &entry.body {
                extend_lineage(&mut lineage, claim.prev);
            }
        }
        Self { cursor: loaded.cursor, state: loaded.state, owner, lineage, recent: VecDeque::new() }
    }

    pub fn cursor(&self) -> EntryId {
        self.cursor
    }
    pub fn state(&self) -> &RoomState {
        &self.state
    }
    /// All that a resuming client was told is on this replica's chain.
    pub fn has(&self, known: &Known) -> bool {
        let head =
            Head { last: self.cursor, owner: None, ring: RingVersion(0), nonce: None, lineage: self.lineage.clone() };
        head.on_chain(known.cursor) == OnChain::Yes && head.on_chain(known.acked) == OnChain::Yes
    }
    pub fn owner(&self) -> Option<&Incarnation> {
        self.owner.as_ref()
    }
    /// The room was parked: nobody owns it, though its last claim names somebody.
    pub fn see_head(&mut self, head: &Head) {
        if head.last == self.cursor {
            self.owner = head.owner.clone();
        }
    }

    /// Applies the next entry of the chain and verifies the sums it carries.
    pub fn apply(&mut self, entry: &LogEntry) -> LogResult<Applied> {
        assert!(entry.id > self.cursor, "a cursor only grows: at {}, applying {}", self.cursor, entry.id);
        assert_eq!(entry.id.version, self.cursor.version + 1, "versions are contiguous: at {}", self.cursor);
        let mut decoded = load::apply(&mut self.state, entry)?;
        let claimed_by = match &entry.body {
            LogBody::Claim(claim) => {
                extend_lineage(&mut self.lineage, claim.prev);
                Some(claim.owner.clone())
            }
            LogBody::Batch(_) => None,
        };
        self.owner = claimed_by.clone().or(self.owner.take());
        let delta = Delta {
            from: self.cursor.version,
            to: entry.id.version,
            changes: decoded.as_mut().map(|entry| std::mem::take(&mut entry.public)).unwrap_or_default(),
            sum: self.state.public().sum(),
        };
        if self.recent.len() == REPLICA_DELTAS_KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { prev: self.cursor, entry: entry.clone() });
        self.cursor = entry.id;
        Ok(Applied { id: entry.id, entry: decoded, claimed_by, delta })
    }

    /// Everything after `cursor` that is still in memory; `None` if it does not reach back to exactly there.
    pub fn since(&self, cursor: EntryId) -> Option<Vec<LogEntry>> {
        if cursor == self.cursor {
            return Some(Vec::new());
        }
        let from = self.recent.iter().position(|recent| recent.prev == cursor)?;
        Some(self.recent.iter().skip(from).map(|recent| recent.entry.clone()).collect())
    }
}

fn extend_lineage(lineage: &mut Lineage, ended: EntryId) {
    if ended != EntryId::GENESIS && lineage.0.last() != Some(&ended) {
        lineage.0.push(ended);
        if lineage.0.len() > LINEAGE_EPOCHS {
            lineage.0.remove(0);
        }
    }
}

/// What a session that stood at the first entry's `prev` has missed.
#[derive(Debug, Default)]
pub struct Missed {
    /// In the order of the log. No delta reaches across a claim: a connection that breaks in between leaves its client
    /// with a cursor that is on the chain.
    pub steps: Vec<Step>,
    pub own: FieldChanges,
}

/// One frame's worth of what was missed.
#[derive(Debug)]
pub enum Step {
    /// All changes between two claims.
    Delta(Delta),
    Claim(EntryId, Incarnation),
}

impl Missed {
    fn push(&mut self, step: Step) {
        match (self.steps.last_mut(), step) {
            (Some(Step::Delta(delta)), Step::Delta(next)) => delta.merge_in(&next),
            (_, step) => self.steps.push(step),
        }
    }

    /// Adds what came right after.
    pub fn append(&mut self, next: Missed) {
        next.steps.into_iter().for_each(|step| self.push(step));
        self.own.extend(next.own);
    }
}

/// What `player` has to be shown of the entries after `cursor`. `None`: they do not reach from there to exactly `upto`, or
/// the player left in between: what was their own is made anew then.
pub fn missed(cursor: EntryId, upto: EntryId, entries: &[LogEntry], player: &PlayerId) -> Option<Missed> {
    let (mut at, mut missed) = (cursor, Missed::default());
    for entry in entries.iter().filter(|entry| entry.id <= upto) {
        match load::judge(at, entry) {
            load::Follows::Next => {}
            load::Follows::Duplicate => continue,
            load::Follows::Stale | load::Follows::Gap | load::Follows::Fork => return None,
        }
        match &entry.body {
            LogBody::Claim(claim) => missed.push(Step::Claim(entry.id, claim.owner.clone())),
            LogBody::Batch(bytes) => {
                let mut decoded = load::decode_entry(entry.id, bytes).ok()?;
                match decoded.own.remove(player) {
                    Some(OwnChange::Set(changes)) => missed.own.extend(changes),
                    Some(OwnChange::Removed) => return None,
                    None => {}
                }
                let (from, to, sum) = (at.version, entry.id.version, decoded.sums.public);
                missed.push(Step::Delta(Delta { from, to, changes: decoded.public, sum }));
            }
        }
        at = entry.id;
    }
    (at == upto).then_some(missed)
}
