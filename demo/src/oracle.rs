//! Holds the nodes to what they acked: compares each bot's ledger with its record as the log has it.
//! Pure; what the log and the bots say is given.

use std::collections::BTreeMap;

use sectorbus::ids::{ActorId, Hop, PlayerId, Seq};
use sectorbus::state::{ActorMarks, Judged};

use crate::bot::Report;
use crate::ledger::Ledger;
use crate::rooms::{Record, Replica};

/// What is provably wrong with one bot's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Acked actions whose effect or mark is not there.
    pub lost: u64,
    /// Moves more than were acked or asked for.
    pub repeated: u64,
}

/// Rooms are read one after another, so that a player on the way may be in none of them, but never so often in a row.
const LOOKS_WITHOUT_RECORD_MAX: u32 = 8;

/// The worst that was ever seen of each bot: what was lost once does not become kept by more actions.
#[derive(Debug, Default)]
pub struct Oracle {
    worst: BTreeMap<PlayerId, Verdict>,
    /// Looks in a row that did not find a player's record.
    missing: BTreeMap<PlayerId, u32>,
}

impl Oracle {
    /// One look at one bot; see [`judge`].
    pub fn look_at(&mut self, player: &PlayerId, before: &Ledger, after: &Ledger, record: Option<&Record<'_>>) {
        // A copy that a source still keeps proves nothing of what happened since; where the player is was just not seen.
        let is_current =
            |record: &&Record<'_>| record.arrived || before.hop_min().is_none_or(|least| record.hop >= least);
        if let Some(record) = record.filter(is_current) {
            self.missing.remove(player);
            return self.note(player, judge(before, after, record));
        }
        let missing = self.missing.entry(player.clone()).or_default();
        *missing += 1;
        if *missing > LOOKS_WITHOUT_RECORD_MAX {
            // All that it was ever acked.
            self.note(player, Verdict { lost: before.acked, repeated: 0 });
        }
    }

    fn note(&mut self, player: &PlayerId, verdict: Verdict) {
        if verdict != Verdict::default() {
            tracing::error!(%player, ?verdict, "a promise is broken");
            let worst = self.worst.entry(player.clone()).or_default();
            worst.lost = worst.lost.max(verdict.lost);
            worst.repeated = worst.repeated.max(verdict.repeated);
        }
    }

    pub fn lost(&self) -> u64 {
        self.worst.values().map(|worst| worst.lost).sum()
    }

    pub fn repeated(&self) -> u64 {
        self.worst.values().map(|worst| worst.repeated).sum()
    }
}

/// `before` was taken before the log was read, so all it holds as acked must be in `record`; `after` was taken after,
/// so nothing may be in `record` that it does not know.
pub fn judge(before: &Ledger, after: &Ledger, record: &Record<'_>) -> Verdict {
    let marks = before.actor.and_then(|actor: ActorId| record.actors.get(&actor));
    let unmarked = before.recent_acked.iter().filter(|seq| !is_marked(marks, **seq)).count() as u64;
    let moves_missing = before.hop_min().map_or(0, |least| moves_between(record.hop, least));
    let asked_by_both = before.asked_for_certain().filter(|asked| after.asked_for_certain() == Some(*asked));
    // A `status` of the same kind may have run in between: then both agree all the same.
    let status_missing =
        u64::from(before.acked == after.acked && asked_by_both.is_some_and(|asked| asked != record.asked));
    // One lost action shows in its mark and in its effect: it is still one.
    let lost = unmarked.max(moves_missing + status_missing);
    Verdict { lost, repeated: after.hop_max().map_or(0, |most| moves_between(most, record.hop)) }
}

/// 0 if `to` is not later. Between different numbers of jumps only these are counted.
fn moves_between(from: Hop, to: Hop) -> u64 {
    let jumps = to.jumps().saturating_sub(from.jumps());
    if jumps > 0 { jumps } else { to.0.saturating_sub(from.0) }
}

fn is_marked(marks: Option<&ActorMarks>, seq: Seq) -> bool {
    marks.is_some_and(|marks| !matches!(marks.judge(seq), Judged::Run | Judged::TooFar))
}

/// `None`: the bot waits for nothing and shows exactly what the log has: every entity, its own fields, the same last
/// entry. Else what is different, for people.
pub fn difference(report: &Report, replica: Option<&Replica>) -> Option<String> {
    let Some(view) = report.view.as_ref().filter(|_| report.live) else { return Some("is not connected".to_owned()) };
    let waiting = report.ledger.outstanding.len();
    if waiting > 0 {
        return Some(format!("waits for {waiting} answers"));
    }
    let shown = format!("{} {}", view.sector, view.cursor());
    let Some(replica) = replica else { return Some(format!("shows {shown}, which has no log")) };
    if view.cursor() != replica.cursor {
        return Some(format!("shows {shown}, the log is at {}", replica.cursor));
    }
    let public = replica.state.public();
    let same = |(alias, fields)| view.entities.get(&alias) == Some(fields);
    if view.entities.len() != public.len() || !public.iter().all(same) {
        return Some(format!("shows other entities than the log has at {shown}"));
    }
    let own = replica.state.own(&report.player).filter(|own| !own.is_empty());
    if own != Some(&view.own).filter(|own| !own.is_empty()) {
        return Some(format!("shows other own fields than the log has at {shown}"));
    }
    let seated = replica.state.system().seat(&report.player).is_some();
    (!seated).then(|| format!("shows {shown}, where it has no seat"))
}

/// What one crier said and another one has not heard once, for people.
pub fn misheard(reports: &[Report]) -> Vec<String> {
    let criers = || reports.iter().filter_map(|report| Some((&report.player, report.cries.as_ref()?)));
    let mut amiss = Vec::new();
    for (player, cries) in criers() {
        if cries.saying > 0 {
            amiss.push(format!("{player} waits for {} answers to what it said", cries.saying));
        }
        for (other, theirs) in criers() {
            for text in &theirs.said {
                let times = cries.heard.iter().filter(|heard| *heard == text).count();
                if times != 1 {
                    amiss.push(format!("{player} has heard {times} times what {other} said: {text}"));
                }
            }
        }
    }
    amiss
}

#[cfg(test)]
mod tests {
    use sectorbus::action::{Action, Answer, RejectCode, Status};
    use sectorbus::ids::SectorId;
    use sectorbus::small_map::SmallMap;

    use super::*;
    use crate::bot::Cries;

    const ACTOR: ActorId = ActorId(3);

    fn ledger() -> Ledger {
        Ledger { actor: Some(ACTOR), hop: Some((Hop(5), Hop(5))), ..Ledger::default() }
    }

    fn move_to(sector: &str) -> Action {
        Action::Move { to: SectorId::new(sector).unwrap() }
    }

    /// Seqs 1 and 2 acked: a move, then busy.
    fn two_acked() -> Ledger {
        let mut ledger = ledger();
        ledger.asks(Seq(1), move_to("2"));
        ledger.asks(Seq(2), Action::Status { status: Status::Busy });
        ledger.answered(Seq(1), &Answer::Ack);
        ledger.answered(Seq(2), &Answer::Ack);
        ledger
    }

    fn marks(decided: &[u64]) -> SmallMap<ActorId, ActorMarks> {
        let mut marks = ActorMarks::new(Seq(1), 0);
        decided.iter().for_each(|seq| marks.record(Seq(*seq), &Answer::Ack, 0));
        SmallMap::from([(ACTOR, marks)])
    }

    fn verdict(ledger: &Ledger, hop: u64, asked: Status, decided: &[u64]) -> (u64, u64) {
        let Verdict { lost, repeated } =
            judge(ledger, ledger, &Record { hop: Hop(hop), asked, actors: &marks(decided), arrived: true });
        (lost, repeated)
    }

    #[test]
    fn a_kept_promise_is_neither_lost_nor_repeated() {
        assert_eq!(verdict(&two_acked(), 6, Status::Busy, &[1, 2]), (0, 0));
    }

    #[test]
    fn an_acked_action_without_mark_or_effect_is_lost_once() {
        assert_eq!(verdict(&two_acked(), 5, Status::Busy, &[2]), (1, 0));
        assert_eq!(verdict(&two_acked(), 6, Status::Online, &[1]), (1, 0));
        assert_eq!(verdict(&two_acked(), 5, Status::Online, &[]), (2, 0));
        assert_eq!(verdict(&two_acked(), 5, Status::Online, &[1, 2]), (2, 0));
    }

    #[test]
    fn a_hop_more_than_was_asked_for_is_repeated() {
        assert_eq!(verdict(&two_acked(), 7, Status::Busy, &[1, 2]), (0, 1));
        let mut moving = two_acked();
        moving.asks(Seq(3), move_to("1"));
        assert_eq!(verdict(&moving, 7, Status::Busy, &[1, 2, 3]), (0, 0));
        moving.answered(Seq(3), &Answer::reject(RejectCode::CoolingDown));
        assert_eq!(verdict(&moving, 7, Status::Busy, &[1, 2, 3]), (0, 1));
    }

    #[test]
    fn a_record_that_stays_away_is_lost_with_all_it_was_acked() {
        let (mut oracle, ann, ledger) = (Oracle::default(), PlayerId::new("ann").unwrap(), two_acked());
        for _ in 0..LOOKS_WITHOUT_RECORD_MAX {
            oracle.look_at(&ann, &ledger, &ledger, None);
        }
        assert_eq!(oracle.lost(), 0);
        oracle.look_at(&ann, &ledger, &ledger, None);
        assert_eq!(oracle.lost(), 2);
    }

    #[test]
    fn what_a_crier_says_is_heard_once_by_all() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let crier = |player: &str, said: &[&str], heard: &[&str]| Report {
            player: PlayerId::new(player).unwrap(),
            at: 0,
            jumps: 0,
            cries: Some(Cries { said: texts(said), saying: 0, heard: texts(heard) }),
            live: true,
            view: None,
            ledger: Ledger::default(),
            contradictions: 0,
            broken: Vec::new(),
            stopped: None,
        };
        let eu = crier("eu", &["a", "b"], &["a", "c", "b"]);
        assert_eq!(misheard(&[eu.clone(), crier("us", &["c"], &["c", "a", "b"])]), Vec::<String>::new());
        assert_eq!(misheard(&[eu.clone(), crier("us", &["c"], &["c", "b"])]).len(), 1, "lost");
        assert_eq!(misheard(&[eu, crier("us", &["c"], &["a", "c", "a", "b"])]).len(), 1, "twice");
    }

    #[test]
    fn a_copy_that_was_left_behind_is_as_good_as_none() {
        let (mut oracle, ann, ledger) = (Oracle::default(), PlayerId::new("ann").unwrap(), two_acked());
        let marks = marks(&[1, 2]);
        let old = Record { hop: Hop(5), asked: Status::Online, actors: &marks, arrived: false };
        oracle.look_at(&ann, &ledger, &ledger, Some(&old));
        assert_eq!(oracle.lost(), 0);
        oracle.look_at(&ann, &ledger, &ledger, Some(&Record { arrived: true, ..old }));
        assert_eq!(oracle.lost(), 2, "a move and a status");
    }

    #[test]
    fn the_worst_of_each_bot_stays() {
        let mut oracle = Oracle::default();
        let (ann, bob) = (PlayerId::new("ann").unwrap(), PlayerId::new("bob").unwrap());
        oracle.note(&ann, Verdict { lost: 2, repeated: 0 });
        oracle.note(&ann, Verdict::default());
        oracle.note(&bob, Verdict { lost: 1, repeated: 1 });
        assert_eq!((oracle.lost(), oracle.repeated()), (3, 1));
    }
}
