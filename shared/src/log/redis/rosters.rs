//! Rosters of teams with their home elsewhere: what is asked here, and what other regions ask of those at home here. Must
//! not know what a wish does to a roster.

use super::answers::{Answer, wrong};
use super::{RedisLog, scripts};
use crate::ids::{PlayerId, RegionName, RoomId, TeamId};
use crate::limits::ROSTER_ASK_KEPT_FOR;
use crate::log::{DueWhat, LogResult, Part, RosterAsk, RosterDue, RosterWish, Rosters};

impl Rosters for RedisLog {
    async fn ask_roster(
        &self,
        player: &PlayerId,
        team: &TeamId,
        wish: &RosterWish,
        name: &str,
        above: u64,
    ) -> LogResult<u64> {
        let key = self.keys.roster_asks(player);
        let call = scripts::ROSTER_ASK.call(std::slice::from_ref(&key)).arg(team.as_str()).arg(wish.to_string());
        let call = call.arg(name).arg(above).arg(ROSTER_ASK_KEPT_FOR.as_millis().to_string());
        let ask = async { Answer::of("roster_ask", self.requests_of(&key).script(call).await?)?.parse() };
        self.touching(Part::Roster, &RoomId::Player(player.clone()), ask).await
    }

    async fn roster_asks(&self, player: &PlayerId) -> LogResult<Vec<RosterAsk>> {
        let key = self.keys.roster_asks(player);
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(&key);
        let mut fields = Answer::of("roster_asks", self.requests_of(&key).command(&cmd).await?)?;
        let mut asks = Vec::new();
        while !fields.is_empty() {
            let (field, value) = (fields.text()?, fields.text()?);
            let Some(team) = field.strip_prefix("t:") else { continue };
            let mut words = value.splitn(3, ' ');
            let (number, _, wish) = (words.next(), words.next(), words.next());
            let read = || Some((team.parse().ok()?, number?.parse().ok()?, wish?.parse().ok()?));
            let (team, number, wish) = read().ok_or_else(|| wrong("roster_asks"))?;
            asks.push(RosterAsk { team, number, wish });
        }
        asks.sort_by_key(|ask| ask.number);
        Ok(asks)
    }

    async fn learn_roster_ask(&self, player: &PlayerId, from: &RegionName, ask: &RosterAsk) -> LogResult<()> {
        let field = format!("{player} {from} {}", ask.team);
        self.add_due(&field, &ask.number.to_string(), &ask.wish.to_string()).await
    }

    async fn far_seen(&self, player: &PlayerId) -> LogResult<()> {
        self.add_due(player.as_str(), "", "").await
    }

    async fn rosters_due(&self, skip: usize, count: usize) -> LogResult<Vec<RosterDue>> {
        let keys = [self.keys.rosters_due(), self.keys.rosters_words()];
        let last = skip.saturating_add(count).saturating_sub(1);
        let call = scripts::ROSTERS_DUE.call(&keys).arg(skip).arg(last);
        let mut answer = Answer::of("rosters_due", self.requests_of(&keys[0]).script(call).await?)?;
        let mut found = Vec::new();
        while !answer.is_empty() {
            let (field, turn, words) = (answer.text()?, answer.parse()?, answer.text()?);
            found.push(read_due(&field, turn, &words).ok_or_else(|| wrong("rosters_due"))?);
        }
        Ok(found)
    }

    async fn roster_done(&self, due: &RosterDue) -> LogResult<()> {
        let keys = [self.keys.rosters_due(), self.keys.rosters_words()];
        let field = match &due.what {
            DueWhat::Asked { from, team, .. } => format!("{} {from} {team}", due.player),
            DueWhat::Seen => due.player.to_string(),
        };
        let call = scripts::ROSTER_DONE.call(&keys).arg(field).arg(due.turn);
        self.requests_of(&keys[0]).script(call).await.map(drop)
    }
}

impl RedisLog {
    async fn add_due(&self, field: &str, number: &str, words: &str) -> LogResult<()> {
        let keys = [self.keys.rosters_due(), self.keys.rosters_words(), self.keys.rosters_known()];
        let call = scripts::ROSTER_DUE.call(&keys).arg(field).arg(number).arg(words);
        self.requests_of(&keys[0]).script(call).await.map(drop)
    }
}

fn read_due(field: &str, turn: u64, words: &str) -> Option<RosterDue> {
    let mut names = field.split(' ');
    let player = names.next()?.parse().ok()?;
    let what = match (names.next(), names.next()) {
        (Some(from), Some(team)) => {
            DueWhat::Asked { from: from.parse().ok()?, team: team.parse().ok()?, wish: words.parse().ok()? }
        }
        _ => DueWhat::Seen,
    };
    Some(RosterDue { player, what, turn })
}
