//! What a room remembers of one actor, so that an action takes effect at most once and gets one answer.
//! Knows only sequence numbers and answers; what an action was is not kept.

use serde::{Deserialize, Serialize};

use crate::action::Answer;
use crate::ids::Seq;
use crate::limits::{DEDUPE_ANSWERS_KEPT, DEDUPE_BITMAP_BITS};

/// Marks of one (player, actor, series): a high-water mark, a bitmap of the 128 seqs below it, the last 16 answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorMarks {
    /// The highest seq that was answered. It has no bit: it is answered by definition.
    high: Seq,
    /// Bit i: seq `high - 1 - i` was answered.
    #[serde(with = "halves")]
    bitmap: u128,
    /// In the order they were given, oldest first.
    #[serde(deserialize_with = "super::stored::growing")]
    answers: Vec<(Seq, Answer)>,
    /// Milliseconds since 1970 (Redis TIME) of the last answer, or of the join that made the actor known.
    used_ms: u64,
}

/// How a seq stands to an actor's marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// Never answered: decide it now.
    Run,
    /// Answered; this was the answer.
    Repeat(Answer),
    /// Answered; the answer is no longer kept.
    Already,
    /// More than 128 below the newest: may have been answered, does not run now.
    TooOld,
    /// More than 128 above the newest: earlier ones are missing.
    TooFar,
}

impl ActorMarks {
    /// An actor whose first action will be `first_seq`. Nothing below it can run: the 128 seqs below judge as
    /// `Already`, older ones as `TooOld`. (An actor names as its first the lowest seq it still waits for, so
    /// everything below was answered elsewhere.)
    pub fn new(first_seq: Seq, now_ms: u64) -> Self {
        Self { high: Seq(first_seq.0.saturating_sub(1)), bitmap: u128::MAX, answers: Vec::new(), used_ms: now_ms }
    }

    pub fn judge(&self, seq: Seq) -> Judged {
        if seq > self.high {
            return if seq.0 - self.high.0 > DEDUPE_BITMAP_BITS { Judged::TooFar } else { Judged::Run };
        }
        match self.high.0 - seq.0 {
            0 => self.answered(seq),
            below if below > DEDUPE_BITMAP_BITS => Judged::TooOld,
            below if self.bitmap & (1 << (below - 1)) != 0 => self.answered(seq),
            _ => Judged::Run,
        }
    }

    fn answered(&self, seq: Seq) -> Judged {
        let kept = self.answers.iter().find(|(kept, _)| *kept == seq);
        kept.map_or(Judged::Already, |(_, answer)| Judged::Repeat(answer.clone()))
    }

    /// Marks `seq` as answered. Does nothing unless [`Self::judge`] says `Run`: a `too_far` must not lift the mark,
    /// and a first answer is never replaced.
    pub fn record(&mut self, seq: Seq, answer: &Answer, now_ms: u64) {
        if self.judge(seq) != Judged::Run {
            return;
        }
        if seq > self.high {
            self.raise(seq);
        } else {
            self.bitmap |= 1 << (self.high.0 - seq.0 - 1);
        }
        if self.answers.len() >= DEDUPE_ANSWERS_KEPT {
            self.answers.drain(..=self.answers.len() - DEDUPE_ANSWERS_KEPT);
        }
        self.answers.push((seq, answer.clone()));
        self.used_ms = self.used_ms.max(now_ms);
    }

    /// Moves the mark up; the old mark becomes a set bit, what was skipped stays clear.
    fn raise(&mut self, seq: Seq) {
        let up = seq.0 - self.high.0;
        // `up` is 1 to 128: shifting by 128 at once would overflow.
        self.bitmap = ((self.bitmap << (up - 1)) << 1) | (1 << (up - 1));
        self.high = seq;
    }

    pub fn high(&self) -> Seq {
        self.high
    }

    /// Bit i: seq `high - 1 - i` was answered.
    pub fn bitmap(&self) -> u128 {
        self.bitmap
    }

    /// The answers still known, oldest first, at most 16.
    pub fn answers(&self) -> &[(Seq, Answer)] {
        &self.answers
    }

    /// Milliseconds since 1970 of the last answer, or of the join.
    pub fn used_ms(&self) -> u64 {
        self.used_ms
    }
}

/// MessagePack has no 128-bit number: two of 64 bits, high one first.
mod halves {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bitmap: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        ((bitmap >> 64) as u64, *bitmap as u64).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let (high, low) = <(u64, u64)>::deserialize(deserializer)?;
        Ok((u128::from(high) << 64) | u128::from(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::RejectCode;

    fn marks(first_seq: u64) -> ActorMarks {
        ActorMarks::new(Seq(first_seq), 5)
    }

    #[test]
    fn an_answered_action_is_repeated_until_its_answer_is_forgotten() {
        let mut marks = marks(1);
        assert_eq!(marks.judge(Seq(1)), Judged::Run);
        marks.record(Seq(1), &Answer::Ack, 9);
        assert_eq!(marks.judge(Seq(1)), Judged::Repeat(Answer::Ack));
        for seq in 2..=17 {
            marks.record(Seq(seq), &Answer::Ack, 9);
        }
        assert_eq!(marks.judge(Seq(1)), Judged::Already);
        assert_eq!(marks.judge(Seq(2)), Judged::Repeat(Answer::Ack));
        assert_eq!(marks.answers().len(), 16);
        assert_eq!(marks.used_ms(), 9);
    }

    #[test]
    fn a_skipped_action_runs_as_long_as_it_is_inside_the_bitmap() {
        let mut marks = marks(1);
        marks.record(Seq(2), &Answer::Ack, 0);
        assert_eq!(marks.judge(Seq(1)), Judged::Run);
        marks.record(Seq(129), &Answer::Ack, 0);
        assert_eq!(marks.judge(Seq(1)), Judged::Run);
        assert_eq!(marks.judge(Seq(2)), Judged::Repeat(Answer::Ack));
        marks.record(Seq(130), &Answer::Ack, 0);
        assert_eq!(marks.judge(Seq(1)), Judged::TooOld);
        assert_eq!(marks.judge(Seq(2)), Judged::Repeat(Answer::Ack));
    }

    #[test]
    fn a_jump_of_128_runs_and_one_more_is_too_far() {
        let mut marks = marks(1);
        assert_eq!(marks.judge(Seq(128)), Judged::Run);
        assert_eq!(marks.judge(Seq(129)), Judged::TooFar);
        marks.record(Seq(128), &Answer::Ack, 0);
        assert_eq!(marks.high(), Seq(128));
        // Seqs 1 to 127 were skipped; the bit of seq 0, the old mark, is set.
        assert_eq!(marks.bitmap(), 1 << 127);
    }

    #[test]
    fn recording_what_must_not_run_changes_nothing() {
        let mut marks = marks(10);
        marks.record(Seq(10), &Answer::Ack, 7);
        let before = marks.clone();
        for seq in [0, 9, 10, 139, u64::MAX] {
            marks.record(Seq(seq), &Answer::reject(RejectCode::TooFar), 8);
        }
        assert_eq!(marks, before);
    }

    #[test]
    fn nothing_below_the_first_seq_runs() {
        let marks = marks(500);
        assert_eq!(marks.judge(Seq(500)), Judged::Run);
        assert_eq!(marks.judge(Seq(499)), Judged::Already);
        assert_eq!(marks.judge(Seq(371)), Judged::Already);
        assert_eq!(marks.judge(Seq(370)), Judged::TooOld);
    }

    #[test]
    fn every_seq_runs_once_in_any_order_within_the_bitmap() {
        let mut marks = marks(1);
        let mut ran = std::collections::BTreeSet::new();
        for n in 0..2_000u64 {
            let seq = Seq(1 + n / 2 + (n * 37) % 64);
            if marks.judge(seq) == Judged::Run {
                assert!(ran.insert(seq), "{seq} ran twice");
                marks.record(seq, &Answer::Ack, n);
            }
            assert_ne!(marks.judge(seq), Judged::Run);
        }
    }
}
