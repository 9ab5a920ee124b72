//! Reading a room from the log: snapshot, then the entries after it, checked to be one chain.
//! Used by owners after a claim and by relays at bootstrap. Knows nothing of sessions.

use std::time::Duration;

use sectorbus::ids::{EntryId, RoomId};
use sectorbus::limits::LOAD_PAGE_ENTRIES;
use sectorbus::log::{Head, Log, LogBody, LogEntry, LogError, LogResult, Snapshot};
use sectorbus::state::Entry;
use sectorbus::state::Parts;
use sectorbus::state::RoomState;

/// A trim or a new snapshot between two reads is over within one of these.
const READINGS_MAX: usize = 20;
const READ_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// A room as the log has it.
pub struct Loaded {
    pub head: Head,
    /// Where the snapshot was.
    pub snapshot: EntryId,
    /// The last entry that is in `state`.
    pub cursor: EntryId,
    pub state: RoomState,
    /// The entries that were applied on top of the snapshot, oldest first.
    pub entries: Vec<LogEntry>,
}

/// How an entry follows a cursor (room-log rule 2, the reader's side).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// The next one.
    Next,
    /// Already seen: same epoch, version at or below the cursor's.
    Duplicate,
    /// From an epoch below the cursor's: a fenced owner's, or a branch that was lost. Never applied.
    Stale,
    /// Entries are missing in between.
    Gap,
    /// It follows something that is not behind the cursor: this cursor is on another branch.
    Fork,
}

/// Judges one entry against a reader's cursor.
pub fn judge(cursor: EntryId, entry: &LogEntry) -> Follows {
    if entry.id.epoch < cursor.epoch {
        return Follows::Stale;
    }
    if entry.id.epoch == cursor.epoch {
        return match entry.id.version {
            version if version <= cursor.version => Follows::Duplicate,
            version if version == cursor.version + 1 => Follows::Next,
            _ => Follows::Gap,
        };
    }
    match &entry.body {
        LogBody::Claim(claim) if claim.prev == cursor => Follows::Next,
        LogBody::Claim(claim) if claim.prev < cursor => Follows::Fork,
        LogBody::Claim(_) | LogBody::Batch(_) => Follows::Gap,
    }
}

/// Decodes a stored batch. An entry this release cannot read stops the reader: it must not guess.
pub fn decode_entry(id: EntryId, bytes: &[u8]) -> LogResult<Entry> {
    Entry::decode(bytes).map_err(|error| LogError::Corrupt(format!("entry {id}: {error}")))
}

fn decode_snapshot(room: &RoomId, snapshot: &Snapshot) -> LogResult<RoomState> {
    let parts = Parts {
        public: snapshot.parts.public.clone(),
        own: snapshot.parts.own.clone(),
        system: snapshot.parts.system.clone(),
        dormant: snapshot.parts.dormant.clone().unwrap_or_default(),
    };
    RoomState::from_parts(&parts)
        .map_err(|error| LogError::Corrupt(format!("snapshot {} of {room}: {error}", snapshot.id)))
}

/// Applies `entry` to `state`; sums that differ are corruption of this copy.
pub fn apply(state: &mut RoomState, entry: &LogEntry) -> LogResult<Option<Entry>> {
    let LogBody::Batch(bytes) = &entry.body else { return Ok(None) };
    let decoded = decode_entry(entry.id, bytes)?;
    state.apply(&decoded).map_err(|mismatch| LogError::Corrupt(format!("entry {}: {mismatch}", entry.id)))?;
    Ok(Some(decoded))
}

/// Loads a room up to `upto` (its claim entry) or up to what is there. `None`: the room has no log.
///
/// A trim or a new snapshot between the reads makes the pieces not fit; it then reads again.
pub async fn load<L: Log>(log: &L, room: &RoomId, upto: Option<EntryId>) -> LogResult<Option<Loaded>> {
    for attempt in 0..READINGS_MAX {
        if attempt > 0 {
            tokio::time::sleep(READ_AGAIN_AFTER).await;
        }
        let heads = log.heads(std::slice::from_ref(room)).await?;
        let Some(head) = heads.into_iter().next().and_then(|heads| heads.log) else { return Ok(None) };
        let Some(snapshot) = log.snapshot(room).await? else {
            return Err(LogError::Corrupt(format!("{room} has a head and no snapshot")));
        };
        let state = decode_snapshot(room, &snapshot)?;
        let loaded = Loaded { head, snapshot: snapshot.id, cursor: snapshot.id, state, entries: Vec::new() };
        if let Some(loaded) = read_on(log, room, upto, loaded).await? {
            return Ok(Some(loaded));
        }
    }
    Err(LogError::Corrupt(format!("{room}: log and snapshot did not fit together in {READINGS_MAX} readings")))
}

/// Entries after the snapshot; `None` if they do not connect.
async fn read_on<L: Log>(
    log: &L,
    room: &RoomId,
    upto: Option<EntryId>,
    mut loaded: Loaded,
) -> LogResult<Option<Loaded>> {
    loop {
        let page = log.entries(room, loaded.cursor, LOAD_PAGE_ENTRIES).await?;
        let last_page = page.len() < LOAD_PAGE_ENTRIES;
        for entry in page {
            if upto.is_some_and(|upto| entry.id > upto) {
                break;
            }
            match judge(loaded.cursor, &entry) {
                Follows::Next => {}
                Follows::Duplicate => continue,
                Follows::Stale | Follows::Gap | Follows::Fork => return Ok(None),
            }
            apply(&mut loaded.state, &entry)?;
            loaded.cursor = entry.id;
            loaded.entries.push(entry);
        }
        if last_page {
            break;
        }
    }
    let complete = match upto {
        Some(upto) => loaded.cursor == upto,
        None => loaded.cursor >= loaded.head.last,
    };
    Ok(complete.then_some(loaded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sectorbus::ids::{Incarnation, Nonce, RingVersion};
    use sectorbus::log::ClaimBody;

    fn claim(epoch: u64, version: u64, prev: EntryId) -> LogEntry {
        let owner: Incarnation = "n1#5".parse().expect("incarnation");
        let nonce = Nonce { incarnation: owner.clone(), counter: 1 };
        let body = LogBody::Claim(Box::new(ClaimBody { prev, owner, ring: RingVersion(1), nonce }));
        LogEntry { id: EntryId::new(epoch, version), body }
    }

    fn batch(epoch: u64, version: u64) -> LogEntry {
        LogEntry { id: EntryId::new(epoch, version), body: LogBody::Batch(Bytes::new()) }
    }

    #[test]
    fn only_the_next_entry_of_the_chain_is_next() {
        let cursor = EntryId::new(10, 4);
        assert_eq!(judge(cursor, &batch(10, 5)), Follows::Next);
        assert_eq!(judge(cursor, &batch(10, 4)), Follows::Duplicate);
        assert_eq!(judge(cursor, &batch(10, 6)), Follows::Gap);
        assert_eq!(judge(cursor, &batch(9, 5)), Follows::Stale);
        assert_eq!(judge(cursor, &batch(11, 5)), Follows::Gap);
        assert_eq!(judge(cursor, &claim(11, 5, cursor)), Follows::Next);
        assert_eq!(judge(cursor, &claim(11, 7, EntryId::new(10, 6))), Follows::Gap);
        assert_eq!(judge(cursor, &claim(11, 4, EntryId::new(10, 3))), Follows::Fork);
    }
}
