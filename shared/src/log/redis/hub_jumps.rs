//! Redis-nexus's registers of jumps and homes.

use super::answers::{Answer, wrong};
use super::jumps::{KEPT_MS, done, last};
use super::{RedisLog, scripts};
use crate::ids::{PlayerId, RegionName};
use crate::log::{HubJump, HubJumpState, HubJumps, JumpDue, JumpName, JumpStands, JumpStep, LogResult};

impl HubJumps for RedisLog {
    async fn hub_name(&self) -> LogResult<String> {
        let key = self.keys.hub_sources();
        let call = scripts::HUB_NAME.call(std::slice::from_ref(&key));
        Answer::of("hub_name", self.requests_of(&key).script(call).await?)?.text()
    }

    async fn offer(&self, jump: HubJump, hub: &str) -> LogResult<JumpStands> {
        let HubJump { name, from, to, body } = jump;
        let keys = [self.keys.hub_jump(&name), self.keys.hub_jumps(&from), self.keys.hub_jumps(&to)];
        let call = scripts::HUB_OFFER.call(&keys).arg(name.to_string()).arg(from.as_str()).arg(to.as_str());
        let call = call.arg(&body[..]).arg(hub);
        read_stands(&mut Answer::of("hub_offer", self.requests_of(&self.keys.hub_sources()).script(call).await?)?)
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
            let (name, from, to, body) = (answer.parse()?, answer.parse()?, answer.parse()?, answer.bytes()?);
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
        let keys = [register, mine, self.keys.hub_jumps(&other)];
        let call = scripts::HUB_CLOSE.call(&keys).arg(name.to_string()).arg(KEPT_MS.to_string());
        done(self, &lane, call, "hub_close").await
    }

    async fn home_of(&self, player: &PlayerId, region: &RegionName) -> LogResult<RegionName> {
        let key = self.keys.hub_home(player);
        let call = scripts::HUB_HOME.call(std::slice::from_ref(&key)).arg(region.as_str());
        Answer::of("hub_home", self.requests_of(&self.keys.hub_sources()).script(call).await?)?.parse()
    }
}

fn read_stands(answer: &mut Answer) -> LogResult<JumpStands> {
    let state = HubJumpState::read(&answer.text()?).ok_or_else(|| wrong("hub_offer"))?;
    Ok(JumpStands { state, is_sure: answer.text()? == "1" })
}
