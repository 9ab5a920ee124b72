//! A planned leave: out of the ring, rooms handed over, players sent away in jittered batches, then gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use sectorbus::log::{Leave, Log};

use crate::core::Core;
use crate::room::task::RoomEvent;
use crate::session::SessionEvent;

const LOOK_EVERY: Duration = Duration::from_millis(20);
const SESSIONS_AT_ONCE: usize = 200;
const BATCH_EVERY: Duration = Duration::from_millis(100);
/// Clients come back within this time, spread evenly.
const RECONNECT_WITHIN_MS: u64 = 2_000;

/// Drains until everything is handed over, or the deadline.
pub async fn run<L: Log>(core: &Arc<Core<L>>) {
    let deadline = Instant::now() + core.config.drain_deadline;
    core.begin_drain();
    hand_over_rooms(core, deadline).await;
    send_sessions_away(core).await;
    while core.session_count() > 0 && Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    // What players said on their way out is still on its way to the owners.
    core.follows.settled_before(deadline).await;
    let incarnation = core.me();
    while core.log.leave(Leave { incarnation: incarnation.clone() }).await.is_err() && Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until other nodes have claimed what this one owns. The last node of a ring only checkpoints.
async fn hand_over_rooms<L: Log>(core: &Arc<Core<L>>, deadline: Instant) {
    while Instant::now() < deadline {
        let view = core.view();
        let out = !view.ring.contains(&core.me());
        if core.owners.owned().is_empty() {
            return;
        }
        if out && view.ring.members().is_empty() {
            core.owners.tell_all(|| RoomEvent::Checkpoint);
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tracing::warn!(
        rooms = core.owners.owned().len(),
        "drain deadline: rooms not handed over are claimed as left behind"
    );
}

async fn send_sessions_away<L: Log>(core: &Arc<Core<L>>) {
    for batch in core.sessions().chunks(SESSIONS_AT_ONCE) {
        for session in batch {
            let reconnect_after_ms = core.dice.below(RECONNECT_WITHIN_MS);
            let _ = session.send(SessionEvent::Leaving { reconnect_after_ms });
        }
        tokio::time::sleep(BATCH_EVERY).await;
    }
}
