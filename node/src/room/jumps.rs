//! Jumps as a room's task sees them: offers its own to the link, and what came of them; takes in who comes from another
//! region. The link and redis-nexus are met in the region's log only.

use std::collections::{BTreeMap, BTreeSet};

use sectorbus::beyond::Beyond;
use sectorbus::ids::{ActorId, EntryId, Hop, PlayerId, RoomId, SectorId, SessionId};
use sectorbus::limits::JUMP_CANCELLED_AFTER;
use sectorbus::log::{JumpFate, JumpName, JumpOffer, Landed, Log, LogError, LogResult, OnChain, TicketHash};
use sectorbus::state::{Jump, Outgoing};

use crate::command::Landing;
use crate::core::Core;
use crate::jumps::ticket;
use crate::room::owner::{Input, Origin};
use crate::room::task::{RoomEvent, RoomTask};

/// What the task remembers of jumps, beside the room's state.
#[derive(Debug, Default)]
pub struct Jumps {
    /// Offers without an answer yet.
    offering: BTreeSet<PlayerId>,
    /// Cancelled, and to be settled when the room's state has no trace of them.
    cancelled: BTreeMap<PlayerId, Hop>,
    /// What players who come from another region bring, until they are here.
    landing: BTreeMap<PlayerId, Arrival>,
}

#[derive(Debug)]
struct Arrival {
    hop: Hop,
    actor_min: ActorId,
    tickets: Vec<(SessionId, TicketHash)>,
}

impl<L: Log> RoomTask<L> {
    /// A departure as its link is told of it.
    pub(super) fn jump_offer(&self, player: &PlayerId, out: &Outgoing, jump: &Jump) -> JumpOffer {
        let name = JumpName { player: player.clone(), hop: out.hop };
        let (now_ms, window_ms) = (self.now_ms(), self.core.config.resume_window.as_millis() as u64);
        let may_resume = |lost_ms: u64| lost_ms.saturating_add(window_ms) > now_ms;
        let sessions = out.record.sessions.iter().filter(|(_, session)| session.lost_ms.is_none_or(may_resume));
        let tickets = sessions.map(|(session, _)| {
            let ticket = ticket(&self.core.config, &name, &jump.region, session);
            (session.clone(), ticket.hash())
        });
        let landing = Landing { sector: out.to.clone(), record: out.record.clone(), tickets: tickets.collect() };
        let waited_ms = now_ms.saturating_sub(jump.since_ms);
        let wants_cancel = u128::from(waited_ms) >= JUMP_CANCELLED_AFTER.as_millis();
        let to = Beyond { region: jump.region.clone(), sector: out.to.clone() };
        JumpOffer { name, to, body: landing.encode(), wants_cancel }
    }

    /// Offers it, unless that is being done. `at` names the other region before the departure is forgotten.
    pub(super) fn offer_jump(&mut self, offer: JumpOffer) {
        let (name, to) = (offer.name.clone(), offer.to.clone());
        if !self.jumps.offering.insert(name.player.clone()) {
            return;
        }
        let (core, mailbox) = (self.core.clone(), self.mailbox.clone());
        self.core.tasks.spawn("jump", async move {
            let at = until_answered(|| core.log.at(&name.player)).await.flatten();
            // Its register may be long over: offered again it would be cancelled, and the player in both regions.
            let has_arrived = at.is_some_and(|at| at.hop >= name.hop && at.region.is_some());
            let fate = match has_arrived {
                true => JumpFate::Arrived,
                false => until_answered(|| core.log.offer_jump(offer.clone())).await.unwrap_or(JumpFate::Waiting),
            };
            if fate == JumpFate::Arrived {
                until_answered(|| core.log.left_for(&name.player, &to, name.hop)).await;
                until_answered(|| core.log.settle_jump(&name)).await;
            }
            if let Some(mailbox) = mailbox.upgrade() {
                let _ = mailbox.send(RoomEvent::JumpTold { name, fate }).await;
            }
        });
    }

    pub(super) fn jump_told(&mut self, name: JumpName, fate: JumpFate) -> Option<Input> {
        self.jumps.offering.remove(&name.player);
        let JumpName { player, hop } = name;
        self.owner.state().system().outgoing().get(&player).filter(|out| out.hop == hop && out.jump.is_some())?;
        match fate {
            JumpFate::Waiting | JumpFate::Asked | JumpFate::Taken => None,
            JumpFate::Arrived => {
                if !self.transfers.has_departed(&player, hop) {
                    self.core.metrics.transfers_finished.increment(1);
                }
                self.transfers.departed(player, hop, self.uptime());
                None
            }
            JumpFate::Cancelled => {
                self.jumps.cancelled.insert(player.clone(), hop);
                Some(Input::Restore { player, hop })
            }
        }
    }

    /// The log may forget cancelled jumps whose players are here again.
    pub(super) fn settle_restored(&mut self) {
        let outgoing = self.owner.state().system().outgoing();
        let is_over = |player: &PlayerId, hop: &mut Hop| outgoing.get(player).is_none_or(|out| out.hop != *hop);
        let over: Vec<_> = self.jumps.cancelled.extract_if(.., is_over).collect();
        for (player, hop) in over {
            let (core, name) = (self.core.clone(), JumpName { player, hop });
            self.core.tasks.spawn("jump settled", async move {
                until_answered(|| core.log.settle_jump(&name)).await;
            });
        }
    }

    /// A player comes from another region: as any arrival, but for what they bring.
    pub(super) fn land(&mut self, player: PlayerId, hop: Hop, landing: Landing) {
        let Landing { record, tickets, .. } = landing;
        let actor_min = record.actors.keys().max().copied().unwrap_or_default();
        self.jumps.landing.insert(player.clone(), Arrival { hop, actor_min, tickets });
        self.arrive(player, hop, Box::new(record), Origin::Region);
    }

    /// What is to be said of a player who came from another region, and was seen here or elsewhere with hop `seen`: of a
    /// later landing that is still to be taken in nothing.
    pub(super) fn landed(&mut self, player: &PlayerId, sector: &SectorId, seen: Hop) -> Option<Landed> {
        self.jumps.landing.get(player).filter(|arrival| arrival.hop <= seen)?;
        let Arrival { hop, actor_min, tickets } = self.jumps.landing.remove(player)?;
        let name = JumpName { player: player.clone(), hop };
        Some(Landed { name, room: sector.clone(), actor_min, tickets })
    }
}

/// Sets `at` with the tickets, then has the jump dealt with, if the log has what this owner had committed by then: a tail may have
/// gone with it, and whoever owns the room then is told of the jump again, as long as nobody says that it was dealt with.
pub(super) async fn make_landing_known<L: Log>(core: &Core<L>, room: &RoomId, committed: EntryId, landed: Landed) {
    let Some((_, region_is)) = until_answered(|| core.log.landed(landed.clone())).await else { return };
    let heads = until_answered(|| core.log.heads(std::slice::from_ref(room))).await;
    let head = heads.and_then(|heads| heads.into_iter().next()?.log);
    if head.is_none_or(|head| head.on_chain(committed) != OnChain::Yes) {
        return core.owners.tell_one(room, RoomEvent::CheckHead);
    }
    until_answered(|| core.log.take_jump(&landed.name, &region_is)).await;
}

/// `None`: what is there cannot be read.
async fn until_answered<T, F: Future<Output = LogResult<T>>>(ask: impl Fn() -> F) -> Option<T> {
    loop {
        match ask().await {
            Ok(answer) => return Some(answer),
            Err(LogError::Corrupt(what)) => {
                tracing::error!(%what, "what is stored of a jump cannot be read");
                return None;
            }
            Err(_) => tokio::time::sleep(super::RETRY_AFTER).await,
        }
    }
}
