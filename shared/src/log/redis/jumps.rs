//! A region's records of jumps to other regions, and of who is at home where.

use redis::Value;

use super::answers::{Answer, wrong};
use super::{RedisLog, scripts};
use crate::beyond::Beyond;
use crate::ids::{Hop, PlayerId, RegionName, RoomId, SessionId};
use crate::limits::{HOME_KNOWN_FOR, HOMES_ASKED_MAX, JUMP_KEPT_FOR, JUMP_TICKET_FOR};
use crate::log::{JumpFate, JumpIn, JumpName, JumpOffer, JumpOut, Jumps, Landed, LogResult, Part, Redeem};

pub(super) const KEPT_MS: u128 = JUMP_KEPT_FOR.as_millis();

impl Jumps for RedisLog {
    async fn offer_jump(&self, offer: JumpOffer) -> LogResult<JumpFate> {
        let keys = [self.keys.jumps_out(), self.keys.jumps_open(), self.keys.jumps_over()];
        let call = scripts::JUMP_OFFER.call(&keys).arg(offer.name.to_string()).arg(offer.to.to_string());
        let call = call.arg(&offer.body[..]).arg(u8::from(offer.wants_cancel)).arg(KEPT_MS.to_string());
        let mut answer = Answer::of("jump_offer", self.requests_of(&keys[0]).script(call).await?)?;
        read_fate(&answer.text()?)
    }

    async fn settle_jump(&self, name: &JumpName) -> LogResult<()> {
        let keys = [self.keys.jumps_out(), self.keys.jumps_open(), self.keys.jumps_over()];
        done(self, &keys[0], scripts::JUMP_SETTLE.call(&keys).arg(name.to_string()), "jump_settle").await
    }

    async fn jumps_out(&self, hub: &str, skip: usize, count: usize) -> LogResult<Vec<JumpOut>> {
        let keys = [self.keys.jumps_out(), self.keys.jumps_open()];
        let call = scripts::JUMPS_OUT.call(&keys).arg(hub).arg(skip).arg(last(skip, count));
        let mut answer = Answer::of("jumps_out", self.requests_of(&keys[0]).script(call).await?)?;
        let mut found = Vec::new();
        while !answer.is_empty() {
            let (name, to, body) = (answer.parse()?, answer.parse()?, answer.bytes()?);
            let wants_cancel = !answer.text()?.is_empty();
            let fate = read_fate(&answer.text()?)?;
            found.push(JumpOut { offer: JumpOffer { name, to, body, wants_cancel }, fate, hub: answer.text()? });
        }
        Ok(found)
    }

    async fn tell_fate(&self, name: &JumpName, fate: JumpFate) -> LogResult<Option<JumpFate>> {
        let keys = [self.keys.jumps_out(), self.keys.jumps_open(), self.keys.jumps_over()];
        let call = scripts::JUMP_FATE.call(&keys).arg(name.to_string()).arg(fate.as_str());
        let text = Answer::of("jump_fate", self.requests_of(&keys[0]).script(call).await?)?.text()?;
        if text.is_empty() { Ok(None) } else { read_fate(&text).map(Some) }
    }

    async fn bring_jump(&self, jump: JumpIn) -> LogResult<bool> {
        let keys = [self.keys.jumps_in(), self.keys.jumps_coming(), self.keys.jumps_came()];
        let call = scripts::JUMP_BRING.call(&keys).arg(jump.name.to_string()).arg(jump.from.as_str());
        let mut answer = Answer::of("jump_bring", self.requests_of(&keys[0]).script(call.arg(&jump.body[..])).await?)?;
        match answer.text()?.as_str() {
            "DONE" => Ok(true),
            "WAITS" => Ok(false),
            other => answer.unknown(other),
        }
    }

    async fn has_come(&self, name: &JumpName) -> LogResult<bool> {
        let key = self.keys.jumps_came();
        let mut cmd = redis::cmd("ZSCORE");
        cmd.arg(&key).arg(name.to_string());
        Ok(self.requests_of(&key).command(&cmd).await? != Value::Nil)
    }

    async fn jumps_in(&self, skip: usize, count: usize) -> LogResult<Vec<JumpIn>> {
        let keys = [self.keys.jumps_in(), self.keys.jumps_coming()];
        let call = scripts::JUMPS_IN.call(&keys).arg(skip).arg(last(skip, count));
        let mut answer = Answer::of("jumps_in", self.requests_of(&keys[0]).script(call).await?)?;
        let mut found = Vec::new();
        while !answer.is_empty() {
            found.push(JumpIn { name: answer.parse()?, from: answer.parse()?, body: answer.bytes()? });
        }
        Ok(found)
    }

    async fn take_jump(&self, name: &JumpName, region_is: &str) -> LogResult<bool> {
        let keys = [self.keys.jumps_in(), self.keys.jumps_coming(), self.keys.jumps_came()];
        let call = scripts::JUMP_TAKE.call(&keys).arg(name.to_string()).arg(KEPT_MS.to_string()).arg(region_is);
        Answer::of("jump_take", self.requests_of(&keys[0]).script(call).await?)?.is_word("DONE", "OTHER")
    }

    async fn ask_to_compare(&self) -> LogResult<()> {
        let key = self.keys.compares();
        done(self, &key, scripts::COMPARE_ASK.call(std::slice::from_ref(&key)), "compare_ask").await
    }

    async fn compares_asked(&self) -> LogResult<u64> {
        let key = self.keys.compares();
        let mut cmd = redis::cmd("GET");
        cmd.arg(&key);
        match self.requests_of(&key).command(&cmd).await? {
            Value::Nil => Ok(0),
            Value::BulkString(text) => {
                std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| wrong("compares"))
            }
            _ => Err(wrong("compares")),
        }
    }

    async fn landed(&self, landed: Landed) -> LogResult<(Hop, String)> {
        let Landed { name, room, actor_min, tickets } = landed;
        let channel = self.keys.channel(&RoomId::Player(name.player.clone()));
        let call = scripts::LANDED.call(&[self.keys.at(&name.player)]).arg(room.as_str()).arg(name.hop.0);
        let mut call = call.arg(&channel).arg(actor_min.0).arg(JUMP_TICKET_FOR.as_millis().to_string());
        for (session, hash) in &tickets {
            call = call.arg(session.as_str()).arg(hash.hex());
        }
        let landed = async {
            let mut answer = Answer::of("landed", self.requests_of(&channel).script(call).await?)?;
            Ok((Hop(answer.parse()?), answer.text()?))
        };
        self.touching(Part::Presence, &RoomId::Player(name.player), landed).await
    }

    async fn left_for(&self, player: &PlayerId, to: &Beyond, hop: Hop) -> LogResult<Hop> {
        let arrives = super::seats::arrived(self, player, &to.sector, to.region.as_str(), hop);
        self.touching(Part::Presence, &RoomId::Player(player.clone()), arrives).await.map(|named| named.hop)
    }

    async fn redeem(&self, redeem: Redeem) -> LogResult<Option<SessionId>> {
        let Redeem { player, ticket, incarnation, counter } = redeem;
        let channel = self.keys.channel(&RoomId::Player(player.clone()));
        let call = scripts::REDEEM.call(&[self.keys.at(&player)]).arg(ticket.hex());
        let call = call.arg(format!("{incarnation}/{counter}"));
        Answer::of("redeem", self.requests_of(&channel).script(call).await?)?.parse_unless_empty()
    }

    async fn regions(&self) -> LogResult<Vec<(RegionName, Option<String>)>> {
        let key = self.keys.regions();
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(&key);
        let mut fields = Answer::of("regions", self.requests_of(&key).command(&cmd).await?)?;
        let mut found = Vec::new();
        while !fields.is_empty() {
            let (name, value) = (fields.text()?, fields.text()?);
            if let Some(region) = name.strip_prefix("r:") {
                let region = RegionName::new(region).map_err(|_| wrong("regions"))?;
                found.push((region, Some(value).filter(|address| !address.is_empty())));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    async fn set_regions(&self, regions: &[(RegionName, Option<String>)]) -> LogResult<()> {
        let key = self.keys.regions();
        let mut call = scripts::REGIONS_SET.call(std::slice::from_ref(&key));
        for (region, address) in regions {
            call = call.arg(region.as_str()).arg(address.as_deref().unwrap_or_default());
        }
        done(self, &key, call, "regions_set").await
    }

    async fn home(&self, player: &PlayerId) -> LogResult<Option<RegionName>> {
        let keys = [self.keys.home(player), self.keys.homes_asked()];
        let call = scripts::HOME_ASK.call(&keys).arg(player.as_str()).arg(HOMES_ASKED_MAX);
        Answer::of("home_ask", self.requests_of(&keys[1]).script(call).await?)?.parse_unless_empty()
    }

    async fn homes_asked(&self, count: usize) -> LogResult<Vec<PlayerId>> {
        let key = self.keys.homes_asked();
        let call = scripts::HOMES_ASKED.call(std::slice::from_ref(&key)).arg(count);
        let mut answer = Answer::of("homes_asked", self.requests_of(&key).script(call).await?)?;
        let mut found = Vec::new();
        while !answer.is_empty() {
            found.push(answer.parse()?);
        }
        Ok(found)
    }

    async fn tell_home(&self, player: &PlayerId, home: &RegionName) -> LogResult<()> {
        let keys = [self.keys.home(player), self.keys.homes_asked()];
        let call = scripts::HOME_TELL.call(&keys).arg(player.as_str()).arg(home.as_str());
        done(self, &keys[1], call.arg(HOME_KNOWN_FOR.as_millis().to_string()), "home_tell").await
    }
}

/// The index of the last, as ZRANGE counts.
pub(super) fn last(skip: usize, count: usize) -> usize {
    (skip + count).saturating_sub(1)
}

/// A call that has one answer.
pub(super) async fn done(log: &RedisLog, key: &str, call: scripts::ScriptCall, name: &'static str) -> LogResult<()> {
    let mut answer = Answer::of(name, log.requests_of(key).script(call).await?)?;
    match answer.text()?.as_str() {
        "DONE" => Ok(()),
        other => answer.unknown(other),
    }
}

fn read_fate(text: &str) -> LogResult<JumpFate> {
    JumpFate::read(text).ok_or_else(|| wrong("jump"))
}
