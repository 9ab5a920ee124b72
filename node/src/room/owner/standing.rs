//! How an action stands before the rules are asked: what was answered is answered the same, and who was replaced is not
//! heard. Part of `owner`.

use sectorbus::action::{Answer, RejectCode};
use sectorbus::ids::{ActorId, PlayerId, Seq};
use sectorbus::limits::{DEDUPE_BITMAP_BITS, REJECTIONS_UNLOGGED_MAX};
use sectorbus::state::{Answered, Draft, Judged};

use super::Batch;
use crate::command::{Receipt, Speaker};
use crate::room::seats;

/// How an action stands before the rules are asked.
pub(super) enum Standing {
    Run,
    Answer(Answer),
    Receipt(Receipt),
}

impl Batch<'_> {
    /// Rejections that are in no entry lift no mark. Before the mark would be left too far behind for `seq` to be
    /// recorded, they become part of this entry.
    pub(super) fn log_rejections_below(&mut self, draft: &mut Draft<'_>, player: &PlayerId, actor: ActorId, seq: Seq) {
        let Some(high) = draft.state().system().actors_of(player).get(&actor).map(|marks| marks.high().0) else {
            return;
        };
        let key = (player.clone(), actor);
        if seq.0 <= high + REJECTIONS_UNLOGGED_MAX || !self.rejections.contains_key(&key) {
            return;
        }
        for (seq, answer) in self.rejections.remove(&key).unwrap_or_default() {
            draft.answer(Answered { player: player.clone(), actor, seq, answer });
        }
    }

    /// What was rejected without an entry travels with the marks, in this entry: the next room would decide it anew.
    pub(super) fn log_rejections_of(&mut self, draft: &mut Draft<'_>, player: &PlayerId) {
        let of_player = self.rejections.range((player.clone(), ActorId(0))..).take_while(|((of, _), _)| of == player);
        let keys: Vec<_> = of_player.map(|(key, _)| key.clone()).collect();
        for key in keys {
            let kept = self.rejections.remove(&key).unwrap_or_default();
            let actor = key.1;
            for (seq, answer) in kept {
                let marks = draft.state().system().actors_of(player).get(&actor);
                if marks.is_some_and(|marks| marks.judge(seq) == Judged::Run) {
                    draft.answer(Answered { player: player.clone(), actor, seq, answer });
                }
            }
        }
    }

    /// Dedupe and fencing of one action, before the rules.
    pub(super) fn standing(&self, draft: &Draft<'_>, speaker: &Speaker, actor: ActorId, seq: Seq) -> Standing {
        let system = draft.state().system();
        let Some(seat) = system.seat(&speaker.player) else {
            return Standing::Receipt(seats::elsewhere(system, &speaker.player));
        };
        let marks = system.actors_of(&speaker.player).get(&actor);
        let unlogged = self.rejections.get(&(speaker.player.clone(), actor));
        // What was answered is answered the same, whoever asks again.
        if let Some(answered) =
            self.answers.iter().find(|a| a.player == speaker.player && a.actor == actor && a.seq == seq)
        {
            return Standing::Answer(answered.answer.clone());
        }
        if let Some(answer) = unlogged.and_then(|kept| kept.get(&seq)) {
            return Standing::Answer(answer.clone());
        }
        let judged = marks.map(|marks| marks.judge(seq));
        match judged {
            Some(Judged::Repeat(answer)) => return Standing::Answer(answer),
            Some(Judged::Already) => return Standing::Answer(Answer::reject(RejectCode::Already)),
            _ => {}
        }
        let session = seat.sessions.get(&speaker.session).map(|session| session.generation);
        if speaker.generation < seat.floor || session.is_some_and(|generation| speaker.generation < generation) {
            return Standing::Receipt(Receipt::Stale { speaker: speaker.clone(), actor, seq });
        }
        if session.is_none() {
            return Standing::Receipt(Receipt::Unseated { speaker: speaker.clone() });
        }
        let (Some(marks), Some(judged)) = (marks, judged) else {
            return Standing::Answer(Answer::reject(RejectCode::UnknownActor));
        };
        let ahead = self.answers.iter().filter(|a| a.player == speaker.player && a.actor == actor).map(|a| a.seq).max();
        if seq.0 > marks.high().max(ahead.unwrap_or_default()).0 + DEDUPE_BITMAP_BITS {
            return Standing::Answer(Answer::reject(RejectCode::TooFar));
        }
        match judged {
            Judged::TooOld => Standing::Answer(Answer::reject(RejectCode::TooOld)),
            Judged::Run | Judged::TooFar | Judged::Repeat(_) | Judged::Already => Standing::Run,
        }
    }
}
