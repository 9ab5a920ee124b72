//! Rosters of teams with their home elsewhere, on a memory region. Pure, one call one script; must not know what a
//! wish does to a roster.

use std::collections::BTreeMap;

use super::trip::MemoryLog;
use crate::ids::{PlayerId, RegionName, RoomId, TeamId};
use crate::limits::ROSTER_ASK_KEPT_FOR;
use crate::log::{DueWhat, LogResult, Part, RosterAsk, RosterDue, RosterWish, Rosters};

/// Asks with their names, and until when (ms) they are kept.
type Asks = (BTreeMap<TeamId, (RosterAsk, String)>, u64);

#[derive(Debug, Clone, Default)]
pub(super) struct RosterStore {
    asks: BTreeMap<PlayerId, Asks>,
    known: BTreeMap<(PlayerId, RegionName, TeamId), u64>,
    due: Vec<RosterDue>,
    turns: u64,
}

impl RosterStore {
    fn asks(&self, player: &PlayerId, now_ms: u64) -> Vec<RosterAsk> {
        let kept = self.asks.get(player).filter(|(_, until_ms)| now_ms < *until_ms);
        let mut asks: Vec<RosterAsk> =
            kept.into_iter().flat_map(|(asks, _)| asks.values()).map(|(ask, _)| ask.clone()).collect();
        asks.sort_by_key(|ask| ask.number);
        asks
    }

    fn ask(&mut self, player: &PlayerId, team: &TeamId, wish: RosterWish, name: &str, above: u64, now_ms: u64) -> u64 {
        let last = self.asks(player, now_ms).last().map_or(0, |ask| ask.number);
        let (asks, until_ms) = self.asks.entry(player.clone()).or_default();
        if now_ms >= *until_ms {
            asks.clear();
        }
        if let Some((ask, _)) = asks.get(team).filter(|(_, known)| known == name) {
            return ask.number;
        }
        let number = (last.max(above) + 1).max(now_ms);
        *until_ms = now_ms + ROSTER_ASK_KEPT_FOR.as_millis() as u64;
        asks.insert(team.clone(), (RosterAsk { team: team.clone(), number, wish }, name.to_owned()));
        number
    }

    fn add(&mut self, player: &PlayerId, what: DueWhat) {
        let is_same = |known: &DueWhat| match (known, &what) {
            (DueWhat::Seen, DueWhat::Seen) => true,
            (DueWhat::Asked { from, team, .. }, DueWhat::Asked { from: its, team: of, .. }) => {
                (from, team) == (its, of)
            }
            _ => false,
        };
        self.due.retain(|due| due.player != *player || !is_same(&due.what));
        self.turns += 1;
        self.due.push(RosterDue { player: player.clone(), what, turn: self.turns });
    }
}

impl Rosters for MemoryLog {
    async fn ask_roster(
        &self,
        player: &PlayerId,
        team: &TeamId,
        wish: &RosterWish,
        name: &str,
        above: u64,
    ) -> LogResult<u64> {
        let (player, team, wish, name) = (player.clone(), team.clone(), wish.clone(), name.to_owned());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let number = core.db.rosters.ask(&player, &team, wish, &name, above, now_ms);
            core.touch(Part::Roster, &RoomId::Player(player));
            number
        })
        .await
    }

    async fn roster_asks(&self, player: &PlayerId) -> LogResult<Vec<RosterAsk>> {
        let player = player.clone();
        self.run(move |core| core.db.rosters.asks(&player, core.time_ms())).await
    }

    async fn learn_roster_ask(&self, player: &PlayerId, from: &RegionName, ask: &RosterAsk) -> LogResult<()> {
        let (player, from, ask) = (player.clone(), from.clone(), ask.clone());
        self.run(move |core| {
            let rosters = &mut core.db.rosters;
            let known = rosters.known.entry((player.clone(), from.clone(), ask.team.clone())).or_default();
            if ask.number > *known {
                *known = ask.number;
                rosters.add(&player, DueWhat::Asked { from, team: ask.team, wish: ask.wish });
            }
        })
        .await
    }

    async fn far_seen(&self, player: &PlayerId) -> LogResult<()> {
        let player = player.clone();
        self.run(move |core| core.db.rosters.add(&player, DueWhat::Seen)).await
    }

    async fn rosters_due(&self, skip: usize, count: usize) -> LogResult<Vec<RosterDue>> {
        self.run(move |core| core.db.rosters.due.iter().skip(skip).take(count).cloned().collect()).await
    }

    async fn roster_done(&self, due: &RosterDue) -> LogResult<()> {
        let due = due.clone();
        self.run(move |core| core.db.rosters.due.retain(|known| *known != due)).await
    }
}
