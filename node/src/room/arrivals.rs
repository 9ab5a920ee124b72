//! The destination's side of a move: read `at` before every arrival, set it after, answer the source, forget.
//! What an arrival does to the state is decided in `owner`.

use sectorbus::ids::{Hop, PlayerId, RoomId, SectorId};
use sectorbus::log::{Log, LogBody, LogEntry};
use sectorbus::state::{Outgoing, PlayerRecord, SystemChange};

use crate::command::Command;
use crate::load;
use crate::room::owner::Input;
use crate::room::task::{RoomEvent, RoomTask};

pub fn announcement(player: &PlayerId, out: &Outgoing, from: Option<SectorId>) -> Command {
    Command::Arrive { player: player.clone(), hop: out.hop, record: Box::new(out.record.clone()), from }
}

impl<L: Log> RoomTask<L> {
    /// An arrival is announced. Three cases: committed here already, being checked, or new.
    pub(super) fn arrive(&mut self, player: PlayerId, hop: Hop, record: Box<PlayerRecord>, from: Option<SectorId>) {
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
            let known = at.is_some_and(|at| at.hop >= hop);
            if let Some(mailbox) = mailbox.upgrade() {
                let _ = mailbox.send(RoomEvent::ArrivalChecked { player, hop, record, from, known }).await;
            }
        });
    }

    pub(super) fn arrival_checked(
        &mut self,
        player: PlayerId,
        hop: Hop,
        record: Box<PlayerRecord>,
        from: Option<SectorId>,
        known: bool,
    ) -> Option<Input> {
        if known {
            self.checking.remove(&player);
            self.answer_source(&player, hop, from);
            return None;
        }
        if let Some(from) = &from {
            self.sources.insert(player.clone(), from.clone());
        }
        // The next check of this player starts only when what this one leads to is committed.
        self.decided.push(player.clone());
        Some(Input::TakeIn { player, hop, record, from })
    }

    /// After the arrival is committed: `at` is set, then the source is answered, then `incoming` is forgotten.
    pub(super) fn make_incoming_known(&mut self) {
        let incoming: Vec<_> = self.owner.state().system().incoming().iter().map(|(p, h)| (p.clone(), *h)).collect();
        for (player, hop) in incoming {
            let from = self.sources.remove(&player);
            self.make_known(player, hop, from);
        }
    }

    fn make_known(&mut self, player: PlayerId, hop: Hop, from: Option<SectorId>) {
        let RoomId::Sector(sector) = self.room.clone() else { return };
        if self.answering.get(&player).is_some_and(|answering| *answering >= hop) {
            return;
        }
        self.answering.insert(player.clone(), hop);
        let (core, mailbox) = (self.core.clone(), self.mailbox.clone());
        self.core.tasks.spawn("arrival known", async move {
            while core.log.arrived(&player, &sector, hop).await.is_err() {
                tokio::time::sleep(super::RETRY_AFTER).await;
            }
            if let Some(from) = from {
                core.deliver(&RoomId::Sector(from), Command::Arrived { player: player.clone(), hop });
            }
            if let Some(mailbox) = mailbox.upgrade() {
                let _ = mailbox.send(RoomEvent::ArrivalKnown { player, hop }).await;
            }
        });
    }

    pub(super) fn arrival_known(&mut self, player: PlayerId, hop: Hop) -> Option<Input> {
        if self.answering.get(&player) == Some(&hop) {
            self.answering.remove(&player);
        }
        Some(Input::ArrivalKnown { player, hop })
    }

    fn answer_source(&self, player: &PlayerId, hop: Hop, from: Option<SectorId>) {
        if let Some(from) = from {
            self.core.deliver(&RoomId::Sector(from), Command::Arrived { player: player.clone(), hop });
        }
    }

    /// `at` is set again for everybody here: Redis may have lost what it said.
    pub(super) fn reassert_all(&mut self) {
        let system = self.owner.state().system();
        let seated = system.seats().iter().map(|(player, seat)| (player.clone(), seat.hop));
        let dormant = system.dormants().iter().map(|(player, record)| (player.clone(), record.hop));
        let here: Vec<_> = seated.chain(dormant).collect();
        self.reassert(here);
    }

    /// After a claim: for the arrivals in the log that was loaded.
    pub(super) fn reassert_arrivals_in(&mut self, entries: &[LogEntry]) {
        let mut arrived = Vec::new();
        for entry in entries {
            let LogBody::Batch(bytes) = &entry.body else { continue };
            let Ok(batch) = load::decode_entry(entry.id, bytes) else { continue };
            for change in batch.system {
                if let SystemChange::Incoming(player, Some(hop)) = change {
                    arrived.push((player, hop));
                }
            }
        }
        let system = self.owner.state().system();
        arrived.retain(|(player, hop)| system.seat(player).is_some_and(|seat| seat.hop == *hop));
        self.reassert(arrived);
        self.make_incoming_known();
    }

    fn reassert(&self, players: Vec<(PlayerId, Hop)>) {
        let RoomId::Sector(sector) = self.room.clone() else { return };
        if players.is_empty() {
            return;
        }
        let core = self.core.clone();
        self.core.tasks.spawn("reassert", async move {
            for (player, hop) in players {
                while core.log.arrived(&player, &sector, hop).await.is_err() {
                    tokio::time::sleep(super::RETRY_AFTER).await;
                }
            }
        });
    }
}
