//! Moves on the way: the source announces them; the destination reads `at` before every arrival, sets it after, answers the
//! source, forgets.
//! What an arrival does to the state is decided in `owner`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::{Hop, PlayerId, RoomId, SectorId};
use sectorbus::limits::ARRIVE_AGAIN_AFTER;
use sectorbus::log::{At, Log};
use sectorbus::state::{Outgoing, PlayerRecord};

use crate::command::Command;
use crate::room::jumps;
use crate::room::owner::{Input, Origin, Whereabouts};
use crate::room::seats;
use crate::room::task::{RoomEvent, RoomTask};

/// By then the other rooms have their new owners, if one died with several.
const ASSERT_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Sets `at`, until answered. Some: it names a later move of the player, or this one to another place, and where that led.
async fn assert_at<L: Log>(log: &L, player: &PlayerId, sector: &SectorId, hop: Hop) -> Option<Whereabouts> {
    loop {
        match log.arrived(player, sector, hop).await {
            Ok(named) if named.hop <= hop && named.is_there => return None,
            Ok(_) => {
                if let Ok(at) = log.at(player).await {
                    let is_here = |at: &At| at.room_here() == Some(sector);
                    return at.filter(|at| at.hop > hop || at.hop == hop && !is_here(at)).map(whereabouts);
                }
            }
            Err(_) => {}
        }
        tokio::time::sleep(super::RETRY_AFTER).await;
    }
}

fn whereabouts(at: At) -> Whereabouts {
    Whereabouts { region: at.region, sector: at.room, hop: at.hop }
}

fn announcement(player: &PlayerId, out: &Outgoing, from: Option<SectorId>) -> Command {
    Command::Arrive { player: player.clone(), hop: out.hop, record: Box::new(out.record.clone()), from }
}

impl<L: Log> RoomTask<L> {
    /// An arrival is announced. Three cases: committed here already, being checked, or new.
    pub(super) fn arrive(&mut self, player: PlayerId, hop: Hop, record: Box<PlayerRecord>, from: Origin) {
        if self.owner.state().system().incoming().get(&player).is_some_and(|known| *known >= hop) {
            self.make_known(player, hop, from);
            return;
        }
        if !self.checking.insert(player.clone()) {
            return;
        }
        let (core, mailbox) = (self.core.clone(), self.mailbox.clone());
        self.core.tasks.spawn("arrival check", async move {
            let at = loop {
                match core.log.at(&player).await {
                    Ok(at) => break at,
                    Err(_) => tokio::time::sleep(super::RETRY_AFTER).await,
                }
            };
            let at = at.map(whereabouts);
            if let Some(mailbox) = mailbox.upgrade() {
                let _ = mailbox.send(RoomEvent::ArrivalChecked { player, hop, record, from, at }).await;
            }
        });
    }

    pub(super) fn arrival_checked(
        &mut self,
        player: PlayerId,
        hop: Hop,
        record: Box<PlayerRecord>,
        from: Origin,
        at: Option<Whereabouts>,
    ) -> Option<Input> {
        let seen = |hop| seats::has_seen(self.owner.state().system(), &player, hop);
        let hop = match at.filter(|at| at.hop >= hop) {
            None => hop,
            Some(_) if seen(hop) => {
                self.checking.remove(&player);
                let here = self.room.sector().cloned();
                self.answer_source(&player, hop, from, here);
                return None;
            }
            // It names this room for an arrival that was in a lost tail.
            Some(at) if at.region.is_none() && self.room.sector() == Some(&at.sector) => at.hop,
            // The player has gone on to there, or was when a tail was lost: the source asks.
            Some(at) => {
                self.checking.remove(&player);
                let room = Some(at.sector).filter(|_| at.region.is_none());
                self.answer_source(&player, at.hop, from, room);
                return None;
            }
        };
        if from != Origin::Nowhere {
            self.sources.insert(player.clone(), from.clone());
        }
        // The next check of this player starts only when what this one leads to is committed.
        self.decided.push(player.clone());
        Some(Input::TakeIn { player, hop, record, from })
    }

    /// After the arrival is committed: `at` is set, then the source is answered, then `incoming` is forgotten.
    pub(super) fn make_incoming_known(&mut self) {
        let incoming = self.owner.state().system().incoming().iter();
        let unknown = incoming.filter(|(player, hop)| !self.transfers.has_arrived(player, **hop));
        let incoming: Vec<_> = unknown.map(|(player, hop)| (player.clone(), *hop)).collect();
        for (player, hop) in incoming {
            let from = self.sources.remove(&player).unwrap_or(Origin::Nowhere);
            self.make_known(player, hop, from);
        }
    }

    fn make_known(&mut self, player: PlayerId, hop: Hop, from: Origin) {
        let RoomId::Sector(sector) = self.room.clone() else { return };
        if self.answering.get(&player).is_some_and(|answering| *answering >= hop) {
            return;
        }
        self.answering.insert(player.clone(), hop);
        let landed = if from == Origin::Region { self.landed(&player, &sector, hop) } else { None };
        let (room, committed) = (self.room.clone(), self.chain.last());
        let (core, mailbox) = (self.core.clone(), self.mailbox.clone());
        self.core.tasks.spawn("arrival known", async move {
            if let Some(landed) = landed {
                jumps::make_landing_known(&core, &room, committed, landed).await;
            }
            let elsewhere = assert_at(&*core.log, &player, &sector, hop).await;
            if let Origin::Sector(from) = from {
                let arrived = Command::Arrived { player: player.clone(), hop, room: Some(sector) };
                core.deliver(&RoomId::Sector(from), arrived);
            }
            let Some(mailbox) = mailbox.upgrade() else { return };
            if let Some(at) = elsewhere {
                let _ = mailbox.send(RoomEvent::FoundElsewhere { player: player.clone(), at }).await;
            }
            let _ = mailbox.send(RoomEvent::ArrivalKnown { player, hop }).await;
        });
    }

    pub(super) fn arrival_known(&mut self, player: PlayerId, hop: Hop) {
        if self.answering.get(&player) == Some(&hop) {
            self.answering.remove(&player);
        }
        self.transfers.arrived(player, hop, self.uptime());
    }

    fn answer_source(&mut self, player: &PlayerId, hop: Hop, from: Origin, room: Option<SectorId>) {
        match from {
            Origin::Nowhere => {}
            Origin::Sector(from) => {
                let arrived = Command::Arrived { player: player.clone(), hop, room };
                self.core.deliver(&RoomId::Sector(from), arrived);
            }
            Origin::Region => {
                let Some(sector) = self.room.sector().cloned() else { return };
                let Some(landed) = self.landed(player, &sector, hop) else { return };
                let (core, room, committed) = (self.core.clone(), self.room.clone(), self.chain.last());
                self.core.tasks.spawn("landing known", async move {
                    jumps::make_landing_known(&core, &room, committed, landed).await;
                });
            }
        }
    }

    /// A destination has the player, or knows where `at` says that this hop led.
    pub(super) fn departure_known(&mut self, player: PlayerId, hop: Hop, room: Option<SectorId>) -> Option<Input> {
        let system = self.owner.state().system();
        let here = system.seat(&player).map(|seat| seat.hop).or(system.dormant(&player).map(|record| record.hop));
        if let Some(known) = here.filter(|known| *known < hop) {
            self.look_for_later(player, known);
            return None;
        }
        let out = system.outgoing().get(&player).filter(|out| out.hop <= hop)?;
        match room {
            // `at` says where this or a later move led, and whoever was asked has not seen it: that room is asked.
            Some(room) if out.to != room || out.jump.is_some() => {
                self.sent_out.remove(&player);
                Some(Input::Elsewhere { player, at: Whereabouts { region: None, sector: room, hop } })
            }
            _ => {
                if !self.transfers.has_departed(&player, out.hop) {
                    self.core.metrics.transfers_finished.increment(1);
                }
                self.transfers.departed(player, hop, self.uptime());
                None
            }
        }
    }

    /// What was confirmed may have been lost: outgoing players are announced again. Of arrivals nobody is told before the
    /// log has them again.
    pub(super) fn doubt_transfers(&mut self) {
        self.transfers.doubt();
        self.sent_out.clear();
    }

    /// `at` is set again for everybody here: Redis may have lost what it said, or this room what came after. Also after
    /// every claim: the owner before may have died with a tail.
    pub(super) fn reassert_all(&mut self) {
        let system = self.owner.state().system();
        let seated = system.seats().iter().map(|(player, seat)| (player.clone(), seat.hop));
        let dormant = system.dormants().iter().map(|(player, record)| (player.clone(), record.hop));
        // Who has left was here one move earlier: an older record that came back elsewhere must not look like the latest.
        let left = system.outgoing().iter().map(|(player, out)| (player.clone(), Hop(out.hop.0.saturating_sub(1))));
        let here: Vec<_> = seated.chain(dormant).chain(left).collect();
        self.reassert(here);
    }

    /// Twice: where a later move led, its room may have a new owner as well, which says so later than this one asks.
    fn reassert(&self, players: Vec<(PlayerId, Hop)>) {
        let RoomId::Sector(sector) = self.room.clone() else { return };
        if players.is_empty() {
            return;
        }
        let (core, mailbox, latest) = (self.core.clone(), self.mailbox.clone(), self.reasserted.clone());
        let mine = latest.fetch_add(1, Ordering::Relaxed) + 1;
        self.core.tasks.spawn("reassert", async move {
            for wait in [Duration::ZERO, ASSERT_AGAIN_AFTER] {
                tokio::time::sleep(wait).await;
                for (player, hop) in &players {
                    if latest.load(Ordering::Relaxed) != mine {
                        // Begun anew meanwhile.
                        return;
                    }
                    let Some(at) = assert_at(&*core.log, player, &sector, *hop).await else { continue };
                    let Some(mailbox) = mailbox.upgrade() else { return };
                    let _ = mailbox.send(RoomEvent::FoundElsewhere { player: player.clone(), at }).await;
                }
            }
        });
    }

    /// Somebody has seen a later move of a player whom this room has: it asks `at` what became of it.
    fn look_for_later(&self, player: PlayerId, hop: Hop) {
        let RoomId::Sector(sector) = self.room.clone() else { return };
        let (core, mailbox) = (self.core.clone(), self.mailbox.clone());
        self.core.tasks.spawn("later move", async move {
            let Some(at) = assert_at(&*core.log, &player, &sector, hop).await else { return };
            if let Some(mailbox) = mailbox.upgrade() {
                let _ = mailbox.send(RoomEvent::FoundElsewhere { player, at }).await;
            }
        });
    }

    /// Outgoing players are announced to their destinations until those say that they have them.
    pub(super) fn send_arrivals(&mut self) {
        let due = self.arrive_due.is_some_and(|due| Instant::now() >= due);
        self.settle_restored();
        let outgoing = self.owner.state().system().outgoing();
        self.sent_out.retain(|player, _| outgoing.contains_key(player));
        let mut unanswered =
            outgoing.iter().filter(|(player, out)| !self.transfers.has_departed(player, out.hop)).peekable();
        if unanswered.peek().is_none() {
            self.arrive_due = None;
            return;
        }
        let from = self.room.sector().cloned();
        let mut jumping = Vec::new();
        for (player, out) in unanswered {
            if due || self.sent_out.get(player) != Some(&out.hop) {
                if self.sent_out.insert(player.clone(), out.hop) != Some(out.hop) {
                    self.core.metrics.transfers_started.increment(1);
                }
                if let Some(jump) = &out.jump {
                    jumping.push(self.jump_offer(player, out, jump));
                    continue;
                }
                let arrive = announcement(player, out, from.clone());
                self.core.deliver(&RoomId::Sector(out.to.clone()), arrive);
            }
        }
        jumping.into_iter().for_each(|offer| self.offer_jump(offer));
        if due || self.arrive_due.is_none() {
            self.arrive_due = Some(Instant::now() + ARRIVE_AGAIN_AFTER);
        }
    }
}
