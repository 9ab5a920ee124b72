//! One room's log, read from entry to entry; what does not follow the entry before it is refused.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use sectorbus::ids::{EntryId, RoomId};
use sectorbus::limits::LINEAGE_EPOCHS;
use sectorbus::log::redis::RedisLog;
use sectorbus::log::{Log, LogBody, LogEntry};
use sectorbus::state::{Entry, Parts, RoomState};

use super::Room;

const PAGE: usize = 500;

pub(super) async fn read_room(log: &RedisLog, room: &RoomId, genesis: RoomState) -> Result<Option<Room>> {
    let heads = log.heads(std::slice::from_ref(room)).await?;
    let Some(head) = heads.into_iter().next().and_then(|heads| heads.log) else { return Ok(None) };
    let mut walk = Walk {
        cursor: EntryId::GENESIS,
        epochs: BTreeMap::new(),
        room: Room {
            head,
            state: genesis,
            claims: Vec::new(),
            entries: Vec::new(),
            sums: BTreeMap::new(),
            restored_at: Vec::new(),
        },
    };
    loop {
        let page = log.entries(room, walk.cursor, PAGE).await?;
        let last_page = page.len() < PAGE;
        for entry in page {
            walk.step(log, room, entry).await?;
        }
        if last_page {
            break;
        }
    }
    // The head is older than the entries: some may have come since.
    let head = walk.room.head.last;
    ensure!(walk.cursor >= head, "the head says {head}, the entries end at {}", walk.cursor);
    let Walk { cursor, epochs, mut room } = walk;
    let from = room.restored_at.first().map_or(0, |restored| restored.epoch);
    let lineage = &room.head.lineage.0;
    for known in lineage.iter().filter(|known| known.epoch >= from) {
        let last = epochs.get(&known.epoch);
        ensure!(last == Some(&known.version), "the lineage has {known}, the log's epoch ends at {last:?}");
    }
    let ended = epochs.range(from..head.epoch).rev().take(LINEAGE_EPOCHS);
    for (epoch, version) in ended {
        let end = EntryId::new(*epoch, *version);
        ensure!(lineage.contains(&end), "the log's epoch ended at {end}, which the lineage {lineage:?} does not have");
    }
    room.head.last = cursor;
    Ok(Some(room))
}

/// Reads one log from entry to entry and refuses what does not follow.
struct Walk {
    cursor: EntryId,
    /// Last version of each epoch.
    epochs: BTreeMap<u64, u64>,
    room: Room,
}

impl Walk {
    async fn step(&mut self, log: &RedisLog, room: &RoomId, entry: LogEntry) -> Result<()> {
        let LogEntry { id, body } = entry;
        match body {
            LogBody::Claim(claim) => {
                ensure!(id.epoch > self.cursor.epoch, "claim {id} after {}", self.cursor);
                if claim.prev != self.cursor {
                    self.restart(log, room, claim.prev)
                        .await
                        .with_context(|| format!("claim {id} of {}", claim.prev))?;
                }
                ensure!(id.version == claim.prev.version + 1, "claim {id} follows {}", claim.prev);
                self.room.claims.push((id, *claim));
            }
            LogBody::Batch(bytes) => {
                ensure!(id == self.cursor.following(), "entry {id} after {}", self.cursor);
                let entry = Entry::decode(&bytes)?;
                if let Err(mismatch) = self.room.state.apply(&entry) {
                    bail!("entry {id}: {mismatch}");
                }
                self.room.entries.push((id, entry));
            }
        }
        self.cursor = id;
        self.epochs.insert(id.epoch, id.version);
        self.room.sums.insert(id, self.room.state.public().sum());
        Ok(())
    }

    /// A restore writes a snapshot in place of the entries that Redis had lost.
    async fn restart(&mut self, log: &RedisLog, room: &RoomId, prev: EntryId) -> Result<()> {
        let snapshot = log.snapshot(room).await?.context("no snapshot")?;
        ensure!(snapshot.id == prev, "a gap after {}; the snapshot is at {}", self.cursor, snapshot.id);
        let parts = snapshot.parts;
        let dormant = parts.dormant.unwrap_or_default();
        let parts = Parts { public: parts.public, own: parts.own, system: parts.system, dormant };
        self.room.state = RoomState::from_parts(&parts)?;
        self.room.restored_at.push(prev);
        self.room.sums.insert(prev, self.room.state.public().sum());
        Ok(())
    }
}
