//! What one bot was promised: which of its actions were acked and what must be true of its record because of that.
//! Pure; knows neither sockets nor logs.

use std::collections::{BTreeMap, VecDeque};

use sectorbus::action::{Action, Answer, RejectCode, Status};
use sectorbus::ids::{ActorId, Hop, Seq};

/// Marks of a record reach back this far with certainty (its bitmap has 128).
const RECENT_ACKED_MAX: usize = 64;

/// A bot's promises since it began.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Given by the server.
    pub actor: Option<ActorId>,
    /// Of the ship, at least and at most; `None`: the bot has not seen it yet.
    pub hop: Option<(Hop, Hop)>,
    pub acked: u64,
    pub rejected: u64,
    /// Jumps to another region.
    pub jumps_acked: u64,
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
            // How it was decided is forgotten.
            (
                Answer::Reject { code: RejectCode::Already, .. },
                action @ (Action::Move { .. } | Action::Jump { .. }),
            ) => {
                self.hop = self.hop.map(|(least, most)| (least, after(most, &action)));
            }
            (Answer::Reject { code: RejectCode::Already, .. }, Action::Status { .. }) => self.asked = None,
            (Answer::Reject { .. }, _) => self.rejected += 1,
        }
    }

    fn acked(&mut self, seq: Seq, action: &Action) {
        self.acked += 1;
        match action {
            Action::Move { .. } => self.hop = self.hop.map(|(least, most)| (least.next(), most.next())),
            Action::Status { status } => self.asked = Some(*status),
            Action::Attack { .. } => {}
            Action::Jump { .. } => {
                self.hop = self.hop.map(|(least, most)| (least.after_jump(), after(most, action)));
                self.jumps_acked += 1;
            }
        }
        self.recent_acked.push_back(seq);
        while self.recent_acked.len() > RECENT_ACKED_MAX {
            self.recent_acked.pop_front();
        }
    }

    /// The bot sees its ship for the first time.
    pub fn begins_at(&mut self, hop: Hop) {
        self.hop = Some((hop, hop));
    }

    /// At least this is the record's hop, once the bot has begun.
    pub fn hop_min(&self) -> Option<Hop> {
        Some(self.hop?.0)
    }

    /// At most this.
    pub fn hop_max(&self) -> Option<Hop> {
        Some(self.outstanding.values().fold(self.hop?.1, after))
    }

    /// What the record must say was asked; `None`: nothing certain, or a `status` is on the way.
    pub fn asked_for_certain(&self) -> Option<Status> {
        let asking = self.outstanding.values().any(|action| matches!(action, Action::Status { .. }));
        if asking { None } else { self.asked }
    }
}

/// At most, if it is done.
fn after(hop: Hop, action: &Action) -> Hop {
    match action {
        Action::Move { .. } => hop.next(),
        // Once more if it was cancelled.
        Action::Jump { .. } => hop.after_jump().next(),
        Action::Status { .. } | Action::Attack { .. } => hop,
    }
}
