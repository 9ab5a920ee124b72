//! From "this room is needed here" to owning it: claim until answered, then load up to the claim entry.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{EntryId, Incarnation, RingVersion, RoomId};
use sectorbus::limits::EPOCH_JITTER_EXCLUDED;
use sectorbus::log::{Claim, ClaimBody, Claimed, Log, LogError, LogResult, SnapshotParts};
use sectorbus::metrics::ClaimResult;
use sectorbus::state::Parts;
use sectorbus::state::RoomState;

use crate::core::Core;
use crate::load;
use crate::room::chain::Chain;

const RETRY_AFTER: Duration = Duration::from_millis(50);
const RING_WAIT: Duration = Duration::from_secs(5);

/// A room that is now this node's.
pub struct OwnedRoom {
    /// The life of this node that claimed it.
    pub me: Incarnation,
    pub chain: Chain,
    pub state: RoomState,
    pub snapshot: EntryId,
}

/// A claim that was granted.
struct Grant {
    id: EntryId,
    chain: Chain,
    /// Taken over from an owner that is gone: its last sign of life, region TIME.
    last_sign_ms: Option<u64>,
}

/// Why it is not.
pub enum NotMine {
    OwnedBy(Incarnation),
    /// The ring moved on, or the log lost the claim: ask again.
    Moved,
    /// A stored record cannot be read.
    Unreadable,
    /// The team was made in another region.
    Elsewhere,
}

pub fn to_log_parts(parts: Parts, with_dormant: bool) -> SnapshotParts {
    SnapshotParts {
        public: parts.public,
        own: parts.own,
        system: parts.system,
        dormant: with_dormant.then_some(parts.dormant),
    }
}

pub async fn claim_and_load<L: Log>(
    core: &Arc<Core<L>>,
    room: &RoomId,
    me: &Incarnation,
) -> Result<OwnedRoom, NotMine> {
    while core.log.rooms_add(me, std::slice::from_ref(room)).await.is_err() {
        tokio::time::sleep(RETRY_AFTER).await;
    }
    let Grant { id, chain, last_sign_ms } = claim(core, room, me).await?;
    let owned = load_claimed(core, room, me, chain, id).await?;
    if let Some(last_sign_ms) = last_sign_ms {
        core.metrics.adopted_rooms.increment(1);
        core.metrics.failover_seconds.record(Duration::from_millis(core.clock.now_ms().saturating_sub(last_sign_ms)));
    }
    Ok(owned)
}

async fn claim<L: Log>(core: &Arc<Core<L>>, room: &RoomId, me: &Incarnation) -> Result<Grant, NotMine> {
    loop {
        if core.me() != *me || !core.maps_to_me(room) {
            return Err(NotMine::Moved);
        }
        let view = core.view();
        let claim = Claim {
            room: room.clone(),
            incarnation: me.clone(),
            ring: view.ring.version(),
            nonce: core.next_nonce(),
            jitter: core.dice.below(EPOCH_JITTER_EXCLUDED),
            may_take: !view.is_calm(),
            replication_id: Some(view.replication_id.clone()),
            genesis: to_log_parts(core.rules.genesis(room).to_parts(), true),
        };
        match claim_until_answered(core, me, &claim).await? {
            Claimed::Granted { id, prev, lineage, time_ms, from } => {
                core.clock.observe(time_ms);
                let body = ClaimBody { prev, owner: me.clone(), ring: claim.ring, nonce: claim.nonce };
                let went_ms = from.and_then(|from| view.gone.get(&from).copied());
                let last_sign_ms = went_ms.map(|ms| ms.saturating_sub(core.config.member_ttl.as_millis() as u64));
                return Ok(Grant { id, chain: Chain::new(id, body, lineage), last_sign_ms });
            }
            // Named by a ring as new as mine, and gone all the same: only a newer ring can take the room from it.
            Claimed::Owned { by, ring } if claim.may_take && ring == claim.ring && !view.members.contains(&by) => {
                newer_ring(core, ring).await;
            }
            Claimed::Owned { by, .. } => return Err(NotMine::OwnedBy(by)),
            Claimed::StaleRing { head } => newer_ring(core, head).await,
            Claimed::StaleNonce => {}
            Claimed::Elsewhere { region } => {
                tracing::info!(%room, %region, "a room is not owned here: its home is another region");
                return Err(NotMine::Elsewhere);
            }
        }
    }
}

/// Has the region's ring raised above `head` and waits for it.
async fn newer_ring<L: Log>(core: &Core<L>, head: RingVersion) {
    core.raise_ring_above(head);
    let mut changed = core.watch_view();
    if core.view().ring.version() <= head {
        let _ = tokio::time::timeout(RING_WAIT, changed.changed()).await;
    }
}

/// A claim without an answer may be in the log: the identical one is repeated, whatever the ring says by then.
async fn claim_until_answered<L: Log>(
    core: &Arc<Core<L>>,
    me: &Incarnation,
    claim: &Claim,
) -> Result<Claimed, NotMine> {
    loop {
        let claimed = core.log.claim(claim.clone()).await;
        core.metrics.claims.count(result_of(&claimed));
        match claimed {
            Ok(claimed) => return Ok(claimed),
            Err(LogError::Corrupt(what)) => {
                tracing::error!(room = %claim.room, %what, "a room cannot be claimed");
                return Err(NotMine::Unreadable);
            }
            Err(_) if core.me() != *me => return Err(NotMine::Moved),
            Err(error) => {
                tracing::debug!(room = %claim.room, %error, "claim not answered");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

fn result_of(claimed: &LogResult<Claimed>) -> ClaimResult {
    match claimed {
        Ok(Claimed::Granted { .. }) => ClaimResult::Granted,
        Ok(Claimed::Owned { .. }) => ClaimResult::Owned,
        Ok(Claimed::StaleRing { .. }) => ClaimResult::StaleRing,
        Ok(Claimed::StaleNonce) => ClaimResult::StaleNonce,
        Ok(Claimed::Elsewhere { .. }) => ClaimResult::Elsewhere,
        Err(_) => ClaimResult::Failed,
    }
}

async fn load_claimed<L: Log>(
    core: &Arc<Core<L>>,
    room: &RoomId,
    me: &Incarnation,
    chain: Chain,
    claim_id: EntryId,
) -> Result<OwnedRoom, NotMine> {
    loop {
        match load::load(&*core.log, room, Some(claim_id)).await {
            Ok(Some(loaded)) => {
                let snapshot = loaded.snapshot;
                return Ok(OwnedRoom { me: me.clone(), chain, state: loaded.state, snapshot });
            }
            Ok(None) => return Err(NotMine::Moved),
            Err(error) => {
                tracing::warn!(%room, %error, "a claimed room is not loaded yet");
                if matches!(error, LogError::Corrupt(_)) {
                    return Err(NotMine::Unreadable);
                }
                if core.me() != *me || lost_claim(core, room, claim_id).await {
                    return Err(NotMine::Moved);
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// The head says that another claim, or none of mine, is last: nothing was decided yet, so the room is let go.
async fn lost_claim<L: Log>(core: &Arc<Core<L>>, room: &RoomId, claim_id: EntryId) -> bool {
    match core.log.heads(std::slice::from_ref(room)).await {
        Ok(heads) => heads.first().and_then(|h| h.log.as_ref()).is_none_or(|head| head.last != claim_id),
        Err(_) => false,
    }
}
