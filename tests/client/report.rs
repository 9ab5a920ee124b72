//! What a player of `play.mjs` was told, and how that is compared with the logs. Knows nothing of processes.

use std::collections::BTreeSet;

use sectorbus::action::Answer;
use sectorbus::ids::{ActorId, EntryId, PlayerId, SectorId, Seq};
use sectorbus_tests::oracle::Audit;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    player: String,
    /// Every promise that was kept: the action's seq and its outcome.
    answers: Vec<(u64, Outcome)>,
    unanswered: u64,
    /// Acked ones.
    moves: u64,
    hops_before: u64,
    drops: Vec<Drop>,
    pub(crate) reconnects: Vec<Reconnect>,
    /// What the client showed when it left.
    sector: SectorId,
    cursor: EntryId,
    sum: u32,
    verified: bool,
    pending: u64,
    left: String,
    pub(crate) node: String,
    notices: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ack { version: Option<u64> },
    Reject { code: String },
    Unknown {},
}

#[derive(Debug, Deserialize)]
struct Drop {
    code: u16,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Reconnect {
    pub(crate) recovered: bool,
    source: String,
}

impl Report {
    /// A connection that was live ended with this code, and the state went on from its cursor.
    pub(crate) fn came_back_from(&self, code: u16) -> bool {
        self.drops.iter().any(|drop| drop.code == code)
            && self.reconnects.iter().all(|back| back.recovered)
            && self.reconnects.iter().any(|back| back.source != "snapshot")
    }

    /// What is not as it was promised: nothing lost, nothing twice, one answer each, the log's own state.
    pub(crate) fn breaches(&self, audit: &Audit, actions_min: usize) -> Vec<String> {
        let player = PlayerId::new(&self.player).expect("a player's name");
        let mut broken = audit.misplaced(&player);
        let mut check = |holds: bool, what: String| broken.extend((!holds).then_some(what));

        let seqs: BTreeSet<u64> = self.answers.iter().map(|(seq, _)| *seq).collect();
        check(seqs.len() == self.answers.len(), "an action was answered twice".to_owned());
        check(seqs == (1..=self.answers.len() as u64).collect(), format!("seqs have holes: {seqs:?}"));
        check(seqs.len() > actions_min, format!("only {} actions", seqs.len()));
        check((self.unanswered, self.pending) == (0, 0), format!("{} promises are open", self.unanswered));

        let actors: BTreeSet<ActorId> = audit.answers.keys().filter(|key| key.0 == player).map(|key| key.1).collect();
        check(actors.len() == 1, format!("{} actors", actors.len()));
        for (seq, outcome) in &self.answers {
            let logged: Vec<_> =
                actors.iter().filter_map(|a| audit.answers.get(&(player.clone(), *a, Seq(*seq)))).flatten().collect();
            let acked = logged.iter().find(|at| at.answer == Answer::Ack);
            let as_promised = match outcome {
                // A repeated answer comes with a later version than the first.
                Outcome::Ack { version } => acked.is_some_and(|at| version.is_none_or(|told| at.id.version <= told)),
                Outcome::Reject { code } => code == "already" || acked.is_none(),
                Outcome::Unknown {} => false,
            };
            check(as_promised, format!("seq {seq}: told {outcome:?}, the log has {logged:?}"));
        }

        let hop = audit.places(&player).first().map(|(_, place)| place.hop.0);
        check(
            hop == Some(self.hops_before + self.moves),
            format!("{} moves of {}, hop {hop:?}", self.moves, self.hops_before),
        );
        let logged = audit.rooms.get(&self.sector).and_then(|room| room.sums.get(&self.cursor).copied());
        check(
            logged == Some(self.sum),
            format!("shown {:08x} at {} of {}, the log has {logged:08x?}", self.sum, self.cursor, self.sector),
        );
        let is_whole = self.verified && !self.notices.iter().any(|notice| notice == "repairing");
        check(is_whole, format!("this copy had to be repaired: {:?}", self.notices));
        check(self.left == "normal", format!("left with {}", self.left));
        broken
    }
}
