//! Jumps to other regions on a memory region, and their registers on a memory redis-nexus. Pure, one call one script.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::players::PlayerRecord;
use super::trip::MemoryLog;
use crate::beyond::Beyond;
use crate::ids::{Hop, PlayerId, RegionName, SectorId, SessionId};
use crate::limits::{HOME_KNOWN_FOR, HOMES_ASKED_MAX, JUMP_KEPT_FOR};
use crate::log::{
    HubJump, HubJumpState, HubJumps, JumpDue, JumpFate, JumpIn, JumpName, JumpOffer, JumpOut, JumpStands, JumpStep,
    Jumps, Landed, LogResult, Named, Redeem,
};

const KEPT_MS: u64 = JUMP_KEPT_FOR.as_millis() as u64;

/// What a region keeps of jumps, and of where others are at home.
#[derive(Debug, Clone, Default)]
pub(super) struct JumpStore {
    /// In the order in which they were offered.
    out: Vec<JumpOut>,
    /// When (ms) each was over.
    over: BTreeMap<JumpName, u64>,
    coming: Vec<JumpIn>,
    /// Dealt with, and when (ms).
    came: BTreeMap<JumpName, u64>,
    regions: Vec<(RegionName, Option<String>)>,
    /// Until when (ms) each is remembered.
    homes: BTreeMap<PlayerId, (RegionName, u64)>,
    asked: BTreeSet<PlayerId>,
    compares_asked: u64,
}

impl JumpStore {
    fn offer(&mut self, offer: JumpOffer, now_ms: u64) -> JumpFate {
        let is_old = |name: &JumpName, at_ms: &mut u64| *at_ms + KEPT_MS <= now_ms && *name != offer.name;
        let old: Vec<_> = self.over.extract_if(.., is_old).map(|(name, _)| name).collect();
        self.out.retain(|out| !old.contains(&out.offer.name));
        match self.out.iter_mut().find(|out| out.offer.name == offer.name) {
            Some(out) => {
                out.offer.wants_cancel |= offer.wants_cancel;
                out.fate
            }
            None => {
                self.out.push(JumpOut { offer, fate: JumpFate::Waiting, hub: String::new() });
                JumpFate::Waiting
            }
        }
    }

    fn list_out(&mut self, hub: &str, skip: usize, count: usize) -> Vec<JumpOut> {
        let open = self.out.iter_mut().filter(|out| !out.fate.is_over()).skip(skip).take(count);
        let marked = open.map(|out| {
            if out.hub.is_empty() {
                hub.clone_into(&mut out.hub);
            }
            out.clone()
        });
        marked.collect()
    }

    fn settle(&mut self, name: &JumpName) {
        self.out.retain(|out| out.offer.name != *name);
        self.over.remove(name);
    }

    fn tell_fate(&mut self, name: &JumpName, fate: JumpFate, now_ms: u64) -> Option<JumpFate> {
        let out = self.out.iter_mut().find(|out| out.offer.name == *name)?;
        if out.fate.may_become(fate) {
            out.fate = fate;
            if fate.is_over() {
                self.over.insert(name.clone(), now_ms);
            }
        }
        Some(out.fate)
    }

    fn bring(&mut self, jump: JumpIn) -> bool {
        if self.came.contains_key(&jump.name) {
            return true;
        }
        if self.coming.iter().all(|known| known.name != jump.name) {
            self.coming.push(jump);
        }
        false
    }

    fn take(&mut self, name: &JumpName, now_ms: u64) {
        self.coming.retain(|jump| jump.name != *name);
        self.came.retain(|_, at_ms| *at_ms + KEPT_MS > now_ms);
        self.came.insert(name.clone(), now_ms);
    }

    fn home(&mut self, player: &PlayerId, now_ms: u64) -> Option<RegionName> {
        self.homes.retain(|_, (_, until_ms)| *until_ms > now_ms);
        let known = self.homes.get(player).map(|(home, _)| home.clone());
        if known.is_none() && self.asked.len() < HOMES_ASKED_MAX {
            self.asked.insert(player.clone());
        }
        known
    }
}

/// Sets where a player is, and tells it.
pub(super) async fn arrived(
    log: &MemoryLog,
    player: &PlayerId,
    room: &SectorId,
    region: Option<&RegionName>,
    hop: Hop,
) -> LogResult<Named> {
    let (room, region) = (room.clone(), region.cloned());
    set_at(log, player, room.clone(), move |record, _| record.arrived(&room, region.as_ref(), hop))
        .await
        .map(|(named, _)| named)
}

/// Answers what is stored afterwards, and the replication id.
async fn set_at(
    log: &MemoryLog,
    player: &PlayerId,
    room: SectorId,
    set: impl FnOnce(&mut PlayerRecord, u64) -> Named + Send + 'static,
) -> LogResult<(Named, String)> {
    let player = player.clone();
    log.run(move |core| {
        let now_ms = core.time_ms();
        let record = core.db.players.entry(player.clone());
        let record = record.or_insert_with(|| PlayerRecord::new(room, Hop(0)));
        let (before, named) = (record.at().hop, set(record, now_ms));
        if named.hop > before {
            let present = record.tell_presence(now_ms, false);
            core.tell_presence(&player, present);
        }
        (named, core.replication_id())
    })
    .await
}

impl Jumps for MemoryLog {
    async fn offer_jump(&self, offer: JumpOffer) -> LogResult<JumpFate> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.jumps.offer(offer, now_ms)
        })
        .await
    }

    async fn settle_jump(&self, name: &JumpName) -> LogResult<()> {
        let name = name.clone();
        self.run(move |core| core.db.jumps.settle(&name)).await
    }

    async fn jumps_out(&self, hub: &str, skip: usize, count: usize) -> LogResult<Vec<JumpOut>> {
        let hub = hub.to_owned();
        self.run(move |core| core.db.jumps.list_out(&hub, skip, count)).await
    }

    async fn tell_fate(&self, name: &JumpName, fate: JumpFate) -> LogResult<Option<JumpFate>> {
        let name = name.clone();
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.jumps.tell_fate(&name, fate, now_ms)
        })
        .await
    }

    async fn bring_jump(&self, jump: JumpIn) -> LogResult<bool> {
        self.run(move |core| core.db.jumps.bring(jump)).await
    }

    async fn has_come(&self, name: &JumpName) -> LogResult<bool> {
        let name = name.clone();
        self.run(move |core| core.db.jumps.came.contains_key(&name)).await
    }

    async fn jumps_in(&self, skip: usize, count: usize) -> LogResult<Vec<JumpIn>> {
        self.run(move |core| core.db.jumps.coming.iter().skip(skip).take(count).cloned().collect()).await
    }

    async fn take_jump(&self, name: &JumpName, region_is: &str) -> LogResult<bool> {
        let (name, region_is) = (name.clone(), region_is.to_owned());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let is_the_same = core.replication_id() == region_is;
            if is_the_same {
                core.db.jumps.take(&name, now_ms);
            }
            is_the_same
        })
        .await
    }

    async fn ask_to_compare(&self) -> LogResult<()> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            let asked = &mut core.db.jumps.compares_asked;
            *asked = (*asked + 1).max(now_ms);
        })
        .await
    }

    async fn compares_asked(&self) -> LogResult<u64> {
        self.run(move |core| core.db.jumps.compares_asked).await
    }

    async fn landed(&self, landed: Landed) -> LogResult<(Hop, String)> {
        let (player, room) = (landed.name.player.clone(), landed.room.clone());
        set_at(self, &player, room, move |record, now_ms| record.landed(&landed, now_ms))
            .await
            .map(|(named, region_is)| (named.hop, region_is))
    }

    async fn left_for(&self, player: &PlayerId, to: &Beyond, hop: Hop) -> LogResult<Hop> {
        arrived(self, player, &to.sector, Some(&to.region), hop).await.map(|named| named.hop)
    }

    async fn redeem(&self, redeem: Redeem) -> LogResult<Option<SessionId>> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.players.get_mut(&redeem.player).and_then(|record| record.redeem(&redeem, now_ms))
        })
        .await
    }

    async fn regions(&self) -> LogResult<Vec<(RegionName, Option<String>)>> {
        self.run(|core| core.db.jumps.regions.clone()).await
    }

    async fn set_regions(&self, regions: &[(RegionName, Option<String>)]) -> LogResult<()> {
        let regions = regions.to_vec();
        self.run(move |core| core.db.jumps.regions = regions).await
    }

    async fn home(&self, player: &PlayerId) -> LogResult<Option<RegionName>> {
        let player = player.clone();
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.jumps.home(&player, now_ms)
        })
        .await
    }

    async fn homes_asked(&self, count: usize) -> LogResult<Vec<PlayerId>> {
        self.run(move |core| core.db.jumps.asked.iter().take(count).cloned().collect()).await
    }

    async fn tell_home(&self, player: &PlayerId, home: &RegionName) -> LogResult<()> {
        let (player, home) = (player.clone(), home.clone());
        self.run(move |core| {
            let until_ms = core.time_ms() + HOME_KNOWN_FOR.as_millis() as u64;
            core.db.jumps.asked.remove(&player);
            core.db.jumps.homes.insert(player, (home, until_ms));
        })
        .await
    }
}

/// Redis-nexus's registers.
#[derive(Debug, Clone, Default)]
pub(super) struct HubJumpStore {
    registers: BTreeMap<JumpName, Register>,
    /// Not closed by that region's link, in the order in which they were offered.
    open: BTreeMap<RegionName, Vec<JumpName>>,
    /// Of each player the last that arrived, and when (ms) that region's link closed it, in that order.
    closed: BTreeMap<RegionName, Vec<(HubJump, u64)>>,
    sure_with: BTreeMap<RegionName, String>,
    homes: BTreeMap<PlayerId, RegionName>,
}

#[derive(Debug, Clone)]
struct Register {
    jump: HubJump,
    state: HubJumpState,
    /// What redis-nexus called itself then.
    hub: String,
    /// Both have closed it, and until when (ms) it is remembered.
    until_ms: Option<u64>,
}

impl Register {
    fn stands(&self, hub: &str) -> JumpStands {
        JumpStands { state: self.state, is_sure: self.hub == hub }
    }
}

impl HubJumpStore {
    fn offer(&mut self, jump: HubJump, offered_to: &str, hub: &str, now_ms: u64) -> (Beyond, JumpStands) {
        self.registers.retain(|_, register| register.until_ms.is_none_or(|until_ms| until_ms > now_ms));
        let name = jump.name.clone();
        if !self.registers.contains_key(&name) {
            for region in [&jump.from, &jump.to.region] {
                self.open.entry(region.clone()).or_default().push(name.clone());
            }
        }
        let (state, hub_then) = (HubJumpState::Offered, offered_to.to_owned());
        let new = || Register { jump, state, hub: hub_then, until_ms: None };
        let register = self.registers.entry(name).or_insert_with(new);
        (register.jump.to.clone(), register.stands(hub))
    }

    fn step(&mut self, name: &JumpName, step: JumpStep, hub: &str) -> Option<JumpStands> {
        let register = self.registers.get_mut(name)?;
        if let Some(state) = step.from(register.stands(hub)) {
            register.state = state;
        }
        Some(register.stands(hub))
    }

    fn of(&self, region: &RegionName, hub: &str, skip: usize, count: usize) -> Vec<JumpDue> {
        let names = self.open.get(region).into_iter().flatten().skip(skip).take(count);
        let due = names.filter_map(|name| self.registers.get(name)).map(|register| {
            let is_wanted = register.jump.to.region == *region && register.state != HubJumpState::Cancelled;
            let body = if is_wanted { register.jump.body.clone() } else { Bytes::new() };
            JumpDue { jump: HubJump { body, ..register.jump.clone() }, stands: register.stands(hub) }
        });
        due.collect()
    }

    fn close(&mut self, name: &JumpName, region: &RegionName, now_ms: u64) {
        if !self.registers.get(name).is_some_and(|register| register.state.is_over()) {
            return;
        }
        if let Some(open) = self.open.get_mut(region) {
            open.retain(|open| open != name);
        }
        let is_open = self.open.values().flatten().any(|open| open == name);
        let Some(register) = self.registers.get_mut(name) else { return };
        let is_back = register.state == HubJumpState::Cancelled && register.jump.from == *region;
        if !is_open || is_back {
            register.until_ms = Some(now_ms + KEPT_MS);
        }
        let closed = self.closed.entry(region.clone()).or_default();
        closed.retain(|(_, at_ms)| *at_ms + KEPT_MS > now_ms);
        let is_later = |known: &HubJump| known.name.player == name.player && known.name.hop > name.hop;
        if register.state == HubJumpState::Arrived && !closed.iter().any(|(known, _)| is_later(known)) {
            closed.retain(|(known, _)| known.name.player != name.player);
            closed.push((HubJump { body: Bytes::new(), ..register.jump.clone() }, now_ms));
        }
    }

    fn reopen(&mut self, name: &JumpName, region: &RegionName) {
        let Some(register) = self.registers.get_mut(name) else { return };
        register.until_ms = None;
        let open = self.open.entry(region.clone()).or_default();
        if !open.contains(name) {
            open.push(name.clone());
        }
    }
}

impl HubJumps for MemoryLog {
    async fn hub_name(&self) -> LogResult<String> {
        self.run(|core| core.replication_id()).await
    }

    async fn offer(&self, jump: HubJump, hub: &str) -> LogResult<(Beyond, JumpStands)> {
        let offered_to = hub.to_owned();
        self.run(move |core| {
            let (now_ms, hub) = (core.time_ms(), core.replication_id());
            core.db.hub_jumps.offer(jump, &offered_to, &hub, now_ms)
        })
        .await
    }

    async fn step(&self, name: &JumpName, step: JumpStep) -> LogResult<Option<JumpStands>> {
        let name = name.clone();
        self.run(move |core| {
            let hub = core.replication_id();
            core.db.hub_jumps.step(&name, step, &hub)
        })
        .await
    }

    async fn jumps_of(&self, region: &RegionName, skip: usize, count: usize) -> LogResult<Vec<JumpDue>> {
        let region = region.clone();
        self.run(move |core| core.db.hub_jumps.of(&region, &core.replication_id(), skip, count)).await
    }

    async fn close_jump(&self, name: &JumpName, region: &RegionName) -> LogResult<()> {
        let (name, region) = (name.clone(), region.clone());
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.hub_jumps.close(&name, &region, now_ms);
        })
        .await
    }

    async fn jumps_closed(&self, region: &RegionName, skip: usize, count: usize) -> LogResult<Vec<HubJump>> {
        let region = region.clone();
        self.run(move |core| {
            let closed = core.db.hub_jumps.closed.get(&region).into_iter().flatten().rev();
            closed.skip(skip).take(count).map(|(jump, _)| jump.clone()).collect()
        })
        .await
    }

    async fn reopen_jump(&self, name: &JumpName, region: &RegionName) -> LogResult<()> {
        let (name, region) = (name.clone(), region.clone());
        self.run(move |core| core.db.hub_jumps.reopen(&name, &region)).await
    }

    async fn jumps_sure_with(&self, region: &RegionName) -> LogResult<String> {
        let region = region.clone();
        self.run(move |core| core.db.hub_jumps.sure_with.get(&region).cloned().unwrap_or_default()).await
    }

    async fn keep_jumps_sure(&self, region: &RegionName, replication_id: &str) -> LogResult<()> {
        let (region, replication_id) = (region.clone(), replication_id.to_owned());
        self.run(move |core| drop(core.db.hub_jumps.sure_with.insert(region, replication_id))).await
    }

    async fn home_of(&self, player: &PlayerId, asking: Option<&RegionName>) -> LogResult<Option<RegionName>> {
        let (player, asking) = (player.clone(), asking.cloned());
        self.run(move |core| match asking {
            Some(asking) => Some(core.db.hub_jumps.homes.entry(player).or_insert(asking).clone()),
            None => core.db.hub_jumps.homes.get(&player).cloned(),
        })
        .await
    }
}
