//! What one bot was promised: which of its actions were acked and what must be true of its record because of that.
//! Pure; knows neither sockets nor logs.

use std::collections::{BTreeMap, VecDeque};

use sectorbus::action::{Action, Answer, RejectCode, Status};
use sectorbus::ids::{ActorId, Seq};

/// Marks of a record reach back this far with certainty (its bitmap has 128).
const RECENT_ACKED_MAX: usize = 64;

/// A bot's promises since it began.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Given by the server.
    pub actor: Option<ActorId>,
    /// Of the ship when the bot first saw it; `None`: it has not yet.
    pub first_hop: Option<u64>,
    pub acked: u64,
    pub rejected: u64,
    /// Acked moves: the hop must have grown by as many.
    pub moves_acked: u64,
    /// Of those, jumps to another region.
    pub jumps_acked: u64,
    /// Moves that were decided, but how is forgotten: the hop may have grown by as many more.
    pub moves_unknown: u64,
    /// Of the last acked `status`; `None` before the first.
    pub asked: Option<Status>,
    /// The latest acked actions, oldest first.
    pub recent_acked: VecDeque<Seq>,
    /// Sent or about to be sent, without an answer yet.
    pub outstanding: BTreeMap<Seq, Action>,
}

impl Ledger {
    /// Before the action is sent.
    pub fn asks(&mut self, seq: Seq, action: Action) {
        self.outstanding.insert(seq, action);
    }

    /// The answer to an outstanding action; another's changes nothing.
    pub fn answered(&mut self, seq: Seq, answer: &Answer) {
        let Some(action) = self.outstanding.remove(&seq) else { return };
        match (answer, action) {
            (Answer::Ack, action) => self.acked(seq, &action),
            (Answer::Reject { code: RejectCode::Already, .. }, Action::Move { .. } | Action::Jump { .. }) => {
                self.moves_unknown += 1
            }
            (Answer::Reject { code: RejectCode::Already, .. }, Action::Status { .. }) => self.asked = None,
            (Answer::Reject { .. }, _) => self.rejected += 1,
        }
    }

    fn acked(&mut self, seq: Seq, action: &Action) {
        self.acked += 1;
        match action {
            Action::Move { .. } => self.moves_acked += 1,
            Action::Status { status } => self.asked = Some(*status),
            Action::Attack { .. } => {}
            // Once more if it was cancelled.
            Action::Jump { .. } => {
                self.moves_acked += 1;
                self.jumps_acked += 1;
                self.moves_unknown += 1;
            }
        }
        self.recent_acked.push_back(seq);
        while self.recent_acked.len() > RECENT_ACKED_MAX {
            self.recent_acked.pop_front();
        }
    }

    /// At least this is the record's hop, once the bot has begun.
    pub fn hop_min(&self) -> Option<u64> {
        Some(self.first_hop? + self.moves_acked)
    }

    /// At most this.
    pub fn hop_max(&self) -> Option<u64> {
        let moving = self
            .outstanding
            .values()
            .filter(|action| matches!(action, Action::Move { .. } | Action::Jump { .. }))
            .count();
        Some(self.hop_min()? + self.moves_unknown + moving as u64)
    }

    /// What the record must say was asked; `None`: nothing certain, or a `status` is on the way.
    pub fn asked_for_certain(&self) -> Option<Status> {
        let asking = self.outstanding.values().any(|action| matches!(action, Action::Status { .. }));
        if asking { None } else { self.asked }
    }
}
