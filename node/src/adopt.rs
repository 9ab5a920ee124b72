//! Rooms left behind by members that are gone: claims what maps to this node, clears what lives elsewhere (room-log 4).
//! Works from the sets in the log alone, so that any node can finish what another began.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::{Incarnation, RoomId};
use sectorbus::limits::{ADOPT_AT_ONCE, GONE_KEPT_FOR};
use sectorbus::log::{Log, LogResult};

use crate::core::{Core, View};
use crate::follow::heads::readable;
use crate::owners::Owners;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// While rooms are being claimed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// About what a claim takes.
const CLAIMED_WITHIN: Duration = Duration::from_millis(2);

pub async fn run<L: Log>(core: Arc<Core<L>>) {
    let mut changed = core.watch_view();
    let mut done: BTreeSet<Incarnation> = BTreeSet::new();
    loop {
        let view = core.view();
        let mut claiming = false;
        if !view.is_calm() {
            for (gone, went_ms) in &view.gone {
                if done.contains(gone) {
                    continue;
                }
                match adopt_from(&core, &view, gone, *went_ms).await {
                    Ok(Left::Nothing) => drop(done.insert(gone.clone())),
                    Ok(Left::Claiming) => claiming = true,
                    Ok(Left::OfOthers) | Err(_) => {}
                }
            }
        }
        let wait = if claiming { LOOK_AGAIN_AFTER } else { LOOK_EVERY };
        let _ = tokio::time::timeout(wait, changed.changed()).await;
    }
}

/// What a gone member's set still holds.
enum Left {
    Nothing,
    /// Rooms that this node claims now.
    Claiming,
    /// Rooms that map to other nodes.
    OfOthers,
}

async fn adopt_from<L: Log>(core: &Arc<Core<L>>, view: &View, gone: &Incarnation, went_ms: u64) -> LogResult<Left> {
    let rooms = core.log.rooms_of(gone).await?;
    let now_ms = core.clock.now_ms();
    if rooms.is_empty() {
        let ttl_ms = core.config.member_ttl.as_millis() as u64;
        if now_ms < went_ms + ttl_ms {
            return Ok(Left::OfOthers);
        }
        core.log.forget(gone).await?;
        return Ok(Left::Nothing);
    }
    let mut mine = Vec::new();
    for (room, heads) in readable(&*core.log, &rooms).await? {
        let owner = heads.log.as_ref().and_then(|head| head.owner.as_ref());
        let lives = owner.is_some_and(|owner| view.members.contains(owner));
        let parked = heads.log.is_some() && owner.is_none();
        if lives || parked {
            core.log.rooms_remove(gone, &room).await?;
        } else if core.maps_to_me(&room) {
            mine.push(room);
        }
    }
    if mine.is_empty() {
        return Ok(if now_ms > went_ms + GONE_KEPT_FOR.as_millis() as u64 { Left::Nothing } else { Left::OfOthers });
    }
    // Rooms that sessions here watch come first.
    mine.sort_by_key(|room| !core.follows.is_followed(room));
    let mut owned = 0;
    for rooms in mine.chunks(ADOPT_AT_ONCE) {
        start_some(core, rooms).await;
        owned += rooms.iter().filter(|room| core.owners.is_owned(room)).count();
    }
    // What was not to be had now is tried again at leisure.
    Ok(if owned > 0 { Left::Claiming } else { Left::OfOthers })
}

/// Starts some rooms and waits until each is claimed or is not to be had.
async fn start_some<L: Log>(core: &Arc<Core<L>>, rooms: &[RoomId]) {
    for room in rooms {
        Owners::start(core, room, None);
    }
    let deadline = Instant::now() + LOOK_EVERY;
    while Instant::now() < deadline && rooms.iter().any(|room| core.owners.is_claiming(room)) {
        tokio::time::sleep(CLAIMED_WITHIN).await;
    }
}
