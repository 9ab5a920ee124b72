//! From "this room is needed here" to owning it: claim until answered, then load up to the claim entry.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{EntryId, Incarnation, RingVersion, RoomId};
use sectorbus::limits::EPOCH_JITTER_EXCLUDED;
use sectorbus::log::{Claim, ClaimBody, Claimed, Log, LogEntry, LogError, LogResult, SnapshotParts};
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
    pub chain: Chain,
    pub state: RoomState,
    /// Entries that came after the snapshot: where recent arrivals are found.
    pub entries: Vec<LogEntry>,
    pub snapshot_version: u64,
}

/// Why it is not.
pub enum NotMine {
    OwnedBy {
        by: Incarnation,
        ring: RingVersion,
    },
    /// The ring moved on, or the log lost the claim: ask again.
    Moved,
}

pub fn to_log_parts(parts: Parts, with_dormant: bool) -> SnapshotParts {
    SnapshotParts {
        public: parts.public,
        own: parts.own,
        system: parts.system,
        dormant: with_dormant.then_some(parts.dormant),
    }
}

pub async fn claim_and_load<L: Log>(core: &Arc<Core<L>>, room: &RoomId) -> Result<OwnedRoom, NotMine> {
    let me = core.me();
    while core.log.rooms_add(&me, std::slice::from_ref(room)).await.is_err() {
        tokio::time::sleep(RETRY_AFTER).await;
    }
    let outcome = match claim(core, room, &me).await {
        Ok((chain, claim_id)) => load_claimed(core, room, chain, claim_id).await,
        Err(not_mine) => Err(not_mine),
    };
    if outcome.is_err() {
        // The set names rooms this node owns; one that stays in it by a crash is found owned and left alone.
        let _ = core.log.rooms_remove(&me, room).await;
    }
    outcome
}

async fn claim<L: Log>(core: &Arc<Core<L>>, room: &RoomId, me: &Incarnation) -> Result<(Chain, EntryId), NotMine> {
    let mut nonce = core.next_nonce();
    let mut unanswered = false;
    loop {
        let view = core.view();
        // A claim without an answer may be in the log: it is repeated until answered, whatever the ring says by then.
        if core.me() != *me || (!unanswered && !core.maps_to_me(room)) {
            return Err(NotMine::Moved);
        }
        let ring = view.ring.version();
        let claim = Claim {
            room: room.clone(),
            incarnation: me.clone(),
            ring,
            nonce: nonce.clone(),
            jitter: core.dice.below(EPOCH_JITTER_EXCLUDED),
            may_take: core.clock.now_ms() >= view.calm_until_ms,
            genesis: to_log_parts(core.rules.genesis(room).to_parts(), true),
        };
        let claimed = core.log.claim(claim).await;
        core.metrics.claims.count(result_of(&claimed));
        unanswered = claimed.is_err();
        match claimed {
            Ok(Claimed::Granted { id, prev, lineage, time_ms }) => {
                core.clock.observe(time_ms);
                let body = ClaimBody { prev, owner: me.clone(), ring, nonce };
                return Ok((Chain::new(id, body, lineage), id));
            }
            Ok(Claimed::Owned { by, ring }) => return Err(NotMine::OwnedBy { by, ring }),
            Ok(Claimed::StaleRing { head }) => {
                core.raise_ring_above(head);
                let mut changed = core.watch_view();
                if core.view().ring.version() <= head {
                    let _ = tokio::time::timeout(RING_WAIT, changed.changed()).await;
                }
                nonce = core.next_nonce();
            }
            Ok(Claimed::StaleNonce) => nonce = core.next_nonce(),
            Err(LogError::Corrupt(what)) => {
                tracing::error!(%room, %what, "a room cannot be claimed");
                return Err(NotMine::Moved);
            }
            Err(error) => {
                tracing::debug!(%room, %error, "claim not answered");
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
        Err(_) => ClaimResult::Failed,
    }
}

async fn load_claimed<L: Log>(
    core: &Arc<Core<L>>,
    room: &RoomId,
    chain: Chain,
    claim_id: EntryId,
) -> Result<OwnedRoom, NotMine> {
    loop {
        match load::load(&*core.log, room, Some(claim_id)).await {
            Ok(Some(loaded)) => {
                let snapshot_version = claim_id.version - loaded.entries.len() as u64;
                return Ok(OwnedRoom { chain, state: loaded.state, entries: loaded.entries, snapshot_version });
            }
            Ok(None) => return Err(NotMine::Moved),
            Err(error) => {
                tracing::warn!(%room, %error, "a claimed room is not loaded yet");
                if matches!(error, LogError::Corrupt(_)) || lost_claim(core, room, claim_id).await {
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
