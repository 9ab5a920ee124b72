//! Facts: told to redis-nexus by regions, learned by the others.

use futures_util::future::try_join_all;

use super::answers::{Answer, wrong};
use super::{RedisLog, outward, revocations, scripts};
use crate::ids::{EntryId, FeedId, PlayerId, RegionName, RoomId};
use crate::limits::FACTS_KEPT;
use crate::log::stored::far_record;
use crate::log::{
    AllFacts, Fact, FactKey, FactPage, Facts, Far, FarPresence, LogResult, OutwardRecord, Part, RevocationTold, Revoked,
};

/// Fields of a hash that are read at once.
const SCANNED_AT_ONCE: usize = 1_000;

impl RedisLog {
    async fn newest_fact(&self, stream: &str) -> LogResult<FeedId> {
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        let mut newest = Answer::of("facts", self.requests_of(stream).command(&newest).await?)?;
        Ok(if newest.is_empty() { FeedId::START } else { newest.list()?.parse()? })
    }
}

impl Facts for RedisLog {
    async fn tell_facts(&self, of: &RegionName, facts: &[Fact]) -> LogResult<Vec<Fact>> {
        let keys = [self.keys.hub_latest(of), self.keys.hub_facts(of)];
        let mut call = scripts::FACTS.call(&keys).arg(FACTS_KEPT);
        for Fact { key, number, body } in facts {
            let replaced = key.replaces().map(|replaced| replaced.to_string()).unwrap_or_default();
            call = call.arg(key.to_string()).arg(number).arg(body).arg(replaced);
        }
        let mut answer = Answer::of("facts", self.requests_of(&keys[0]).script(call).await?)?;
        let mut other = Vec::new();
        while !answer.is_empty() {
            let (key, number, body) = (answer.text()?, answer.text()?, answer.text()?);
            other.extend(read(&key, &number, body)?);
        }
        Ok(other)
    }

    async fn fact_numbers(&self, of: &RegionName, keys: &[FactKey]) -> LogResult<Vec<Option<u64>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let latest = self.keys.hub_latest(of);
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(&latest);
        for key in keys {
            cmd.arg(key.to_string());
        }
        let mut answer = Answer::of("facts", self.requests_of(&latest).command(&cmd).await?)?;
        let mut number = || -> LogResult<Option<u64>> {
            let Some(value) = answer.optional_text()? else { return Ok(None) };
            let (number, _) = value.split_once(' ').ok_or_else(|| wrong("facts"))?;
            number.parse().map(Some).map_err(|_| wrong("facts"))
        };
        keys.iter().map(|_| number()).collect()
    }

    async fn facts(&self, of: &RegionName, after: FeedId, count: usize) -> LogResult<FactPage> {
        let key = self.keys.hub_facts(of);
        let (mut prev_of_first, mut facts, mut upto) = (None, Vec::new(), after);
        loop {
            let mut cmd = redis::cmd("XRANGE");
            cmd.arg(&key).arg(format!("({upto}")).arg("+").arg("COUNT").arg(count);
            let mut items = Answer::of("facts", self.requests_of(&key).command(&cmd).await?)?;
            let is_last = items.is_empty();
            while !items.is_empty() {
                let mut item = items.list()?;
                let (id, mut fields) = (item.parse()?, item.list()?);
                let mut value = || fields.bytes().and_then(|_| fields.text());
                let (name, number, body, prev) = (value()?, value()?, value()?, value()?);
                let prev = prev.parse().map_err(|_| wrong("facts"))?;
                prev_of_first.get_or_insert(prev);
                facts.extend(read(&name, &number, body)?.map(|fact| (id, fact)));
                upto = id;
            }
            // A page that nobody can read is not the end.
            if is_last || !facts.is_empty() {
                break;
            }
        }
        let prev = match prev_of_first {
            Some(prev) => prev,
            None => self.newest_fact(&key).await?,
        };
        Ok(FactPage { prev, facts })
    }

    async fn all_facts(&self, of: &RegionName, cursor: u64) -> LogResult<AllFacts> {
        let (stream, latest) = (self.keys.hub_facts(of), self.keys.hub_latest(of));
        let connection = self.requests_of(&latest);
        let upto = self.newest_fact(&stream).await?;
        let mut scan = redis::cmd("HSCAN");
        scan.arg(&latest).arg(cursor).arg("COUNT").arg(SCANNED_AT_ONCE);
        let mut answer = Answer::of("facts", connection.command(&scan).await?)?;
        let (cursor, mut fields, mut facts) = (answer.parse()?, answer.list()?, Vec::new());
        while !fields.is_empty() {
            let (name, value) = (fields.text()?, fields.text()?);
            let (number, body) = value.split_once(' ').ok_or_else(|| wrong("facts"))?;
            facts.extend(read(&name, number, body.to_owned())?);
        }
        Ok(AllFacts { upto, cursor, facts })
    }

    async fn learn_presence(
        &self,
        player: &PlayerId,
        from: &RegionName,
        number: u64,
        presence: FarPresence,
    ) -> LogResult<Option<Far>> {
        let channel = self.keys.channel(&RoomId::Player(player.clone()));
        let call = scripts::FAR.call(&[self.keys.far(player)]).arg(from.as_str()).arg(number);
        let call = call.arg(presence.to_string()).arg(&channel).arg(far_record(from));
        let mut known = Answer::of("far", self.requests_of(&channel).script(call).await?)?;
        if known.is_empty() {
            return Ok(None);
        }
        let (number, presence) = (known.parse()?, known.text()?.parse().map_err(|_| wrong("far"))?);
        Ok(Some(Far { region: from.clone(), number, presence }))
    }

    async fn learn_revoked(&self, told: &RevocationTold, from: &RegionName) -> LogResult<()> {
        revocations::learn(self, told, from).await
    }

    async fn revoke_again(&self, what: &Revoked, heard: u64) -> LogResult<()> {
        revocations::revoke_again(self, what, heard).await
    }

    async fn own_revocations(&self, after_ms: u64, count: usize) -> LogResult<Vec<RevocationTold>> {
        revocations::own(self, after_ms, count).await
    }

    async fn learn_flag(
        &self,
        player: &PlayerId,
        from: &RegionName,
        number: u64,
        record: OutwardRecord,
    ) -> LogResult<()> {
        let told_as = format!("{}@{from}", RoomId::Player(player.clone()));
        let upto = EntryId::new(number, 0);
        outward::tell(self, &told_as, upto, &[(upto, record)]).await
    }

    async fn raise_presence(&self, player: &PlayerId, heard: u64) -> LogResult<()> {
        let room = RoomId::Player(player.clone());
        let channel = self.keys.channel(&room);
        let call = scripts::RAISE.call(&[self.keys.at(player)]).arg(heard).arg(&channel);
        let raise = self.requests_of(&channel).script(call);
        self.touching(Part::Presence, &room, raise).await.map(drop)
    }

    async fn players(&self, cursor: u64) -> LogResult<(u64, Vec<PlayerId>)> {
        let (before, after) = self.keys.around_player_at();
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{before}*{after}")).arg("COUNT").arg(SCANNED_AT_ONCE);
        let mut answer = Answer::of("players", self.pool.command(&scan).await?)?;
        let (next, mut keys, mut players) = (answer.parse()?, answer.list()?, Vec::new());
        while !keys.is_empty() {
            let key = keys.text()?;
            let name = key.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&after));
            players.extend(name.and_then(|name| PlayerId::new(name).ok()));
        }
        Ok((next, players))
    }

    async fn fars(&self, players: &[PlayerId]) -> LogResult<Vec<Vec<Far>>> {
        try_join_all(players.iter().map(|player| self.far(player))).await
    }

    async fn facts_learned(&self, from: &RegionName) -> LogResult<(FeedId, String)> {
        let call = scripts::KEEP.call(&[self.keys.bridge()]).arg(format!("facts:{from}")).arg("").arg("");
        let mut answer = Answer::of("keep", self.pool.script(call).await?)?;
        answer.text()?;
        let replication_id = answer.text()?;
        Ok((answer.parse_unless_empty()?.unwrap_or_default(), replication_id))
    }

    async fn keep_facts_learned(&self, from: &RegionName, upto: FeedId, replication_id: &str) -> LogResult<bool> {
        let call = scripts::KEEP.call(&[self.keys.bridge()]).arg(format!("facts:{from}")).arg(upto.to_string());
        Answer::of("keep", self.pool.script(call.arg(replication_id)).await?)?.is_word("KEPT", "OTHER")
    }
}

impl RedisLog {
    async fn far(&self, player: &PlayerId) -> LogResult<Vec<Far>> {
        let key = self.keys.far(player);
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(&key);
        let mut fields = Answer::of("far", self.requests_of(&key).command(&cmd).await?)?;
        let mut found = Vec::new();
        while !fields.is_empty() {
            let (region, value) = (fields.parse()?, fields.text()?);
            let read =
                value.split_once(' ').and_then(|(number, body)| Some((number.parse().ok()?, body.parse().ok()?)));
            let (number, presence) = read.ok_or_else(|| wrong("far"))?;
            found.push(Far { region, number, presence });
        }
        found.sort_by(|a, b| a.region.cmp(&b.region));
        Ok(found)
    }
}

/// `None`: of a newer release.
fn read(key: &str, number: &str, body: String) -> LogResult<Option<Fact>> {
    let number = number.parse().map_err(|_| wrong("facts"))?;
    let key = key.parse().inspect_err(|why| tracing::warn!(key, %why, "a fact is passed over"));
    Ok(key.ok().map(|key| Fact { key, number, body }))
}
