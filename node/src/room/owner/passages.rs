//! Players who leave a room and come in: moves, jumps to other regions, and what a lost tail makes of them. Part of
//! `owner`.

use sectorbus::ids::{Hop, PlayerId, RoomId, SectorId};
use sectorbus::rules;
use sectorbus::small_map::SmallMap;
use sectorbus::state::{Answered, Draft, Jump, Outgoing, PlayerRecord, SystemChange};

use super::{Batch, Origin, Whereabouts};
use crate::command::Receipt;
use crate::room::seats;

impl Batch<'_> {
    /// Takes the player out of the room's state and keeps the record as outgoing. Answers of this batch go with it.
    pub(super) fn depart(&mut self, draft: &mut Draft<'_>, player: &PlayerId, to: SectorId, jump: Option<Jump>) {
        self.log_rejections_of(draft, player);
        // The answers given so far in this batch are part of the marks that travel.
        let (mine, others) = std::mem::take(self.answers).into_iter().partition(|a| &a.player == player);
        *self.answers = others;
        for answered in mine {
            draft.answer(answered);
        }
        let mut record = seats::take_out(draft, player);
        record.hop = if jump.is_some() { record.hop.after_jump() } else { record.hop.next() };
        let outgoing = Outgoing { hop: record.hop, to, record, jump };
        draft.system(SystemChange::Outgoing(player.clone(), Some(outgoing)));
    }

    /// The ack of a departure: in this entry for the client, and in the marks that travel.
    pub(super) fn record_departed(&mut self, draft: &mut Draft<'_>, answered: Answered) {
        let player = answered.player.clone();
        let outgoing = draft.state().system().outgoing().get(&player).cloned();
        if let Some(mut outgoing) = outgoing {
            if let Some(marks) = outgoing.record.actors.get_mut(&answered.actor) {
                marks.record(answered.seq, &answered.answer, draft.now_ms());
            }
            draft.system(SystemChange::Outgoing(player, Some(outgoing)));
        }
        draft.answer(answered);
    }

    pub(super) fn take_in(
        &mut self,
        draft: &mut Draft<'_>,
        player: &PlayerId,
        hop: Hop,
        mut record: PlayerRecord,
        from: &Origin,
    ) {
        if seats::has_seen(draft.state().system(), player, hop) {
            return;
        }
        // A player on the way cannot be refused; one who is new is nowhere yet, and asks again.
        if *from == Origin::Nowhere && draft.state().public().len() >= self.limits.entities_max {
            self.receipts.push(Receipt::Full { player: player.clone() });
            return;
        }
        record.hop = hop;
        if *from == Origin::Region {
            rules::naturalize(&mut record, self.rules.move_cool_down_ms, draft.now_ms());
        }
        if let RoomId::Sector(sector) = self.room {
            seats::place(self.rules, sector, from.sector(), player, &mut record);
        }
        // What an earlier stay left here is over: a lost tail brought it back, or the player returns before it is forgotten.
        if draft.state().system().seat(player).is_some() {
            seats::take_out(draft, player);
        }
        seats::forget_outgoing(draft, player, hop);
        draft.system(SystemChange::Incoming(player.clone(), Some(hop)));
        seats::put_in(draft, self.limits, player, record);
    }

    /// A jump that nobody took is over. The player is here again with the next hop, as `at` is told after the entry: who
    /// was told of the jump is told of something later.
    pub(super) fn restore(&mut self, draft: &mut Draft<'_>, player: &PlayerId, hop: Hop) {
        let system = draft.state().system();
        let out = system.outgoing().get(player).filter(|out| out.hop == hop && out.jump.is_some()).cloned();
        let Some(Outgoing { mut record, .. }) = out else { return };
        draft.system(SystemChange::Outgoing(player.clone(), None));
        if seats::has_seen(draft.state().system(), player, hop) {
            return;
        }
        record.hop = hop.next();
        // Connections that were lost meanwhile have told nobody; those that live ask for a seat.
        record.sessions = SmallMap::new();
        draft.system(SystemChange::Incoming(player.clone(), Some(record.hop)));
        seats::put_in(draft, self.limits, player, record);
    }

    /// A record that `at` says has gone on is sent after itself: where it went has it and says so, or lost it too and
    /// takes it in.
    pub(super) fn send_after(&mut self, draft: &mut Draft<'_>, player: &PlayerId, at: Whereabouts) {
        let Whereabouts { region, sector: room, hop } = at;
        let system = draft.state().system();
        let is_here = region.is_none() && matches!(self.room, RoomId::Sector(sector) if *sector == room);
        // Under the same number they are in one place, and `at` says which: a departure was lost whose arrival was not, and they moved again.
        let is_older = |own: Hop| own < hop || own == hop && !is_here;
        let seated = system.seat(player).is_some_and(|seat| is_older(seat.hop));
        let asleep = system.dormant(player).is_some_and(|record| is_older(record.hop));
        if (seated || asleep) && is_here {
            return seats::raise_hop(draft, player, hop);
        }
        let goes_elsewhere = |out: &&Outgoing| out.to != room || out.region() != region.as_ref();
        let out = system.outgoing().get(player).filter(|out| out.hop <= hop).filter(goes_elsewhere).cloned();
        if let (true, Some(out)) = (is_here, &out) {
            // It came back here, and that was lost.
            return self.take_in(draft, player, hop, out.record.clone(), &Origin::Nowhere);
        }
        let mut record = if seated {
            self.log_rejections_of(draft, player);
            seats::take_out(draft, player)
        } else if let Some(record) = system.dormant(player).filter(|_| asleep).cloned() {
            draft.system(SystemChange::Dormant(player.clone(), None));
            record
        } else if let Some(out) = out {
            out.record
        } else {
            return;
        };
        record.hop = hop;
        let jump = region.map(|region| Jump { region, since_ms: draft.now_ms() });
        draft.system(SystemChange::Outgoing(player.clone(), Some(Outgoing { hop, to: room, record, jump })));
    }

    /// The sector shows the gates that the rules have: one that was made under other settings is put right.
    pub(super) fn show_gates(&self, draft: &mut Draft<'_>) {
        let RoomId::Sector(sector) = self.room else { return };
        let (missing, too_many) = self.rules.gates_amiss(sector, draft.state());
        too_many.into_iter().for_each(|alias| draft.remove(alias));
        let places = self.limits.entities_max.saturating_sub(draft.state().public().len());
        for gate in missing.into_iter().take(places) {
            draft.create(gate);
        }
    }
}
