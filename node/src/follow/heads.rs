//! Compares the heads of rooms that were silent: the last publish of a burst can vanish.
//! Pipelined over the request path; what a difference means is judged by the room's own task.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::RoomId;
use sectorbus::limits::{HEADS_AT_ONCE, ROOM_SILENT_AFTER};
use sectorbus::log::{Heads, Log, LogError, LogResult};

use crate::core::Core;
use crate::follow::FollowEvent;

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub async fn run<L: Log>(core: Arc<Core<L>>) {
    let silent_ms = ROOM_SILENT_AFTER.as_millis() as u64;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(before_ms) = core.uptime_ms().checked_sub(silent_ms) else { continue };
        let silent = core.follows.silent_since(before_ms);
        for rooms in silent.chunks(HEADS_AT_ONCE) {
            core.metrics.head_checks.increment(rooms.len() as u64);
            let Ok(heads) = readable(&*core.log, rooms).await else { break };
            for (room, heads) in heads {
                core.follows.tell(&room, FollowEvent::Heads(heads));
            }
        }
    }
}

/// The heads of those rooms whose head this release can read: one that it cannot must not hide the others.
pub async fn readable<L: Log>(log: &L, rooms: &[RoomId]) -> LogResult<Vec<(RoomId, Heads)>> {
    match log.heads(rooms).await {
        Err(LogError::Corrupt(_)) if rooms.len() > 1 => {}
        Err(LogError::Corrupt(what)) => {
            tracing::error!(?rooms, %what, "a head cannot be read");
            return Ok(Vec::new());
        }
        answer => return Ok(rooms.iter().cloned().zip(answer?).collect()),
    }
    let mut heads = Vec::new();
    for room in rooms {
        heads.extend(Box::pin(readable(log, std::slice::from_ref(room))).await?);
    }
    Ok(heads)
}
