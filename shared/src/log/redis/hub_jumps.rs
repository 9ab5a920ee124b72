//! Redis-nexus's registers of jumps and homes.

use bytes::Bytes;

use super::answers::{Answer, wrong};
use super::jumps::{KEPT_MS, done, last};
use super::{RedisLog, scripts};
use crate::beyond::Beyond;
use crate::ids::{Hop, PlayerId, RegionName};
use crate::log::{HubJump, HubJumpState, HubJumps, JumpDue, JumpName, JumpStands, JumpStep, LogResult};

impl HubJumps for RedisLog {
    async fn hub_name(&self) -> LogResult<String> {
        let key = self.keys.hub_sources();
        let call = scripts::HUB_NAME.call(std::slice::from_ref(&key));
        Answer::of("hub_name", self.requests_of(&key).script(call).await?)?.text()
    }

    async fn offer(&self, jump: HubJump, hub: &str) -> LogResult<(Beyond, JumpStands)> {
        let HubJump { name, from, to, body } = jump;
        let keys = [self.keys.hub_jump(&name), self.keys.hub_jumps(&from), self.keys.hub_jumps(&to.region)];
        let call = scripts::HUB_OFFER.call(&keys).arg(name.to_string()).arg(from.as_str());
        let call = call.arg(to.region.as_str()).arg(to.sector.as_str()).arg(&body[..]).arg(hub);
        let mut answer = Answer::of("hub_offer", self.requests_of(&self.keys.hub_sources()).script(call).await?)?;
        let to = Beyond { region: answer.parse()?, sector: answer.parse()? };
        Ok((to, read_stands(&mut answer)?))
    }

    async fn step(&self, name: &JumpName, step: JumpStep) -> LogResult<Option<JumpStands>> {
        let key = self.keys.hub_jump(name);
        let call = scripts::HUB_STEP.call(std::slice::from_ref(&key)).arg(step.as_str());
        let mut answer = Answer::of("hub_step", self.requests_of(&self.keys.hub_sources()).script(call).await?)?;
        let text = answer.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        let state = HubJumpState::read(&text).ok_or_else(|| wrong("hub_step"))?;
        Ok(Some(JumpStands { state, is_sure: answer.text()? == "1" }))
    }

    async fn jumps_of(&self, region: &RegionName, skip: usize, count: usize) -> LogResult<Vec<JumpDue>> {
        let key = self.keys.hub_jumps(region);
        let call = scripts::HUB_JUMPS.call(std::slice::from_ref(&key)).arg(region.as_str()).arg(skip);
        let call = call.arg(last(skip, count)).arg(self.keys.hub_jump_prefix());
        let mut answer = Answer::of("hub_jumps", self.requests_of(&self.keys.hub_sources()).script(call).await?)?;
        let mut found = Vec::new();
        while !answer.is_empty() {
            let (name, from) = (answer.parse()?, answer.parse()?);
            let to = Beyond { region: answer.parse()?, sector: answer.parse()? };
            let body = answer.bytes()?;
            let stands = read_stands(&mut answer)?;
            found.push(JumpDue { jump: HubJump { name, from, to, body }, stands });
        }
        Ok(found)
    }

    async fn close_jump(&self, name: &JumpName, region: &RegionName) -> LogResult<()> {
        let (register, mine) = (self.keys.hub_jump(name), self.keys.hub_jumps(region));
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(&register).arg("from").arg("to");
        let lane = self.keys.hub_sources();
        let mut ends = Answer::of("hub_close", self.requests_of(&lane).command(&cmd).await?)?;
        let ends = [ends.optional_text()?, ends.optional_text()?];
        let other = ends.into_iter().flatten().find(|end| end != region.as_str());
        let Some(other) = other.and_then(|other| RegionName::new(&other).ok()) else { return Ok(()) };
        let [closed, by_player] = self.keys.hub_closed(region);
        let keys = [register, mine, self.keys.hub_jumps(&other), closed, by_player];
        let call = scripts::HUB_CLOSE.call(&keys).arg(name.to_string()).arg(name.player.as_str()).arg(name.hop.0);
        done(self, &lane, call.arg(region.as_str()).arg(KEPT_MS.to_string()), "hub_close").await
    }

    async fn jumps_closed(&self, region: &RegionName, skip: usize, count: usize) -> LogResult<Vec<HubJump>> {
        let keys = self.keys.hub_closed(region);
        let call = scripts::HUB_CLOSED.call(&keys).arg(skip).arg(last(skip, count));
        let mut answer = Answer::of("hub_closed", self.requests_of(&self.keys.hub_sources()).script(call).await?)?;
        let mut found = Vec::new();
        while !answer.is_empty() {
            let (player, led) = (answer.parse()?, answer.text()?);
            let [hop, from, to, sector] = led.split(' ').collect::<Vec<_>>()[..] else {
                return Err(wrong("hub_closed"));
            };
            let hop = hop.parse().map(Hop).map_err(|_| wrong("hub_closed"))?;
            let from = RegionName::new(from).map_err(|_| wrong("hub_closed"))?;
            let to = format!("{to}:{sector}").parse().map_err(|_| wrong("hub_closed"))?;
            found.push(HubJump { name: JumpName { player, hop }, from, to, body: Bytes::new() });
        }
        Ok(found)
    }

    async fn reopen_jump(&self, name: &JumpName, region: &RegionName) -> LogResult<()> {
        let keys = [self.keys.hub_jump(name), self.keys.hub_jumps(region)];
        let call = scripts::HUB_REOPEN.call(&keys).arg(name.to_string());
        done(self, &self.keys.hub_sources(), call, "hub_reopen").await
    }

    async fn jumps_sure_with(&self, region: &RegionName) -> LogResult<String> {
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(self.keys.hub_link(region.as_str())).arg("jumps");
        let mut answer = Answer::of("jumps", self.requests_of(&self.keys.hub_sources()).command(&cmd).await?)?;
        Ok(answer.optional_text()?.unwrap_or_default())
    }

    async fn keep_jumps_sure(&self, region: &RegionName, replication_id: &str) -> LogResult<()> {
        let mut cmd = redis::cmd("HSET");
        cmd.arg(self.keys.hub_link(region.as_str())).arg("format").arg("1").arg("jumps").arg(replication_id);
        self.requests_of(&self.keys.hub_sources()).command(&cmd).await.map(drop)
    }

    async fn home_of(&self, player: &PlayerId, asking: Option<&RegionName>) -> LogResult<Option<RegionName>> {
        let key = self.keys.hub_home(player);
        let call = scripts::HUB_HOME.call(std::slice::from_ref(&key)).arg(asking.map_or("", RegionName::as_str));
        let home = self.requests_of(&self.keys.hub_sources()).script(call).await?;
        Answer::of("hub_home", home)?.parse_unless_empty()
    }
}

fn read_stands(answer: &mut Answer) -> LogResult<JumpStands> {
    let state = HubJumpState::read(&answer.text()?).ok_or_else(|| wrong("hub_offer"))?;
    Ok(JumpStands { state, is_sure: answer.text()? == "1" })
}
