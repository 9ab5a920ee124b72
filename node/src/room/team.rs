//! What a team's room decides: who is a member, and what each is shown as to the others. Pure; every change goes through
//! the draft. Membership and presence come as absolute values with numbers that only grow, so that neither a repeat nor
//! what comes late changes anything. Knows nothing of where they come from.

use sectorbus::ids::{Incarnation, PlayerId, RegionName, Role};
use sectorbus::limits::{EX_MEMBER_KEPT_FOR, EX_MEMBERS_KEPT, INT_ABS_MAX, MEMBERS_PER_TEAM_MAX, TEXT_BYTES_MAX};
use sectorbus::log::{Far, Present};
use sectorbus::presence::Shown;
use sectorbus::state::{Draft, FarMember, Fields, Membership, RoomState, SystemChange};
use sectorbus::value::{Field, Value};

use crate::command::Receipt;

/// More sessions than any player may have.
const SESSIONS_MAX: usize = 64;
/// More regions than any nexus joins.
const REGIONS_MAX: usize = 64;

/// Whether a player may read what is posted to this team's feed, and see its roster: asked of the room's state.
pub fn may_read(state: &RoomState, player: &PlayerId) -> bool {
    state.system().is_member(player)
}

/// Of a member.
pub fn role_of<'s>(state: &'s RoomState, player: &PlayerId) -> Option<&'s str> {
    let alias = state.system().members().get(player)?.alias?;
    state.public().get(alias)?.get(&Field::ROLE)?.as_text()
}

/// What a change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Joined,
    Left,
    /// The member has another role.
    Role,
}

impl Turn {
    /// As notices say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Turn::Joined => "joined",
            Turn::Left => "left",
            Turn::Role => "role",
        }
    }
}

/// Whether the team has no room for this player.
pub fn is_full_for(state: &RoomState, player: &PlayerId) -> bool {
    !state.system().is_member(player) && state.public().len() >= MEMBERS_PER_TEAM_MAX
}

/// Takes a player in, gives them another role, or takes them out. The receipt: the team is full.
pub fn change(
    draft: &mut Draft<'_>,
    player: &PlayerId,
    number: u64,
    role: Option<&Role>,
) -> Result<Option<Turn>, Receipt> {
    let known = draft.state().system().members().get(player).cloned();
    if known.as_ref().is_some_and(|known| known.number >= number) {
        return Ok(None);
    }
    let changed_ms = draft.now_ms();
    let member = known.unwrap_or_default();
    let (member, turn) = match (member.alias, role) {
        (Some(alias), Some(role)) => {
            let role = Value::from(role.as_str());
            let before = draft.state().public().get(alias).and_then(|fields| fields.get(&Field::ROLE));
            let turn = (before != Some(&role)).then_some(Turn::Role);
            draft.set(alias, Field::ROLE, Some(role));
            (Membership { number, changed_ms, ..member }, turn)
        }
        (Some(alias), None) => {
            draft.remove(alias);
            (Membership { number, changed_ms, ..Membership::default() }, Some(Turn::Left))
        }
        (None, None) => (Membership { number, changed_ms, ..Membership::default() }, None),
        (None, Some(_)) if is_full_for(draft.state(), player) => {
            return Err(Receipt::Full { player: player.clone() });
        }
        (None, Some(role)) => {
            let alias = draft.create(Fields::from([
                (Field::KIND, Value::from("member")),
                (Field::PLAYER, Value::from(player.as_str())),
                (Field::NAME, Value::from(player.as_str())),
                (Field::STATUS, Value::from(Shown::Offline.as_str())),
                (Field::ROLE, Value::from(role.as_str())),
                (Field::DEVICES, Value::Int(0)),
            ]));
            (Membership { alias: Some(alias), number, changed_ms, ..Membership::default() }, Some(Turn::Joined))
        }
    };
    draft.system(SystemChange::Member(player.clone(), Some(member)));
    forget_ex_members(draft);
    Ok(turn)
}

/// Who is no member any more is forgotten after a while, and beyond a number the earliest.
fn forget_ex_members(draft: &mut Draft<'_>) {
    let members = draft.state().system().members();
    let mut gone: Vec<(u64, PlayerId)> = members
        .iter()
        .filter(|(_, member)| member.alias.is_none())
        .map(|(player, member)| (member.changed_ms, player.clone()))
        .collect();
    gone.sort_unstable();
    let kept_ms = u64::try_from(EX_MEMBER_KEPT_FOR.as_millis()).unwrap_or(u64::MAX);
    let surplus = gone.len().saturating_sub(EX_MEMBERS_KEPT);
    let now_ms = draft.now_ms();
    for (index, (changed_ms, player)) in gone.into_iter().enumerate() {
        if index < surplus || changed_ms + kept_ms < now_ms {
            draft.system(SystemChange::Member(player, None));
        }
    }
}

/// What a member is shown as, as a node reports it.
pub fn see(draft: &mut Draft<'_>, player: &PlayerId, name: Option<&str>, present: Present) {
    let Some(mut member) = draft.state().system().members().get(player).cloned() else { return };
    let Some(alias) = member.alias else { return };
    if let Some(name) = name.filter(|name| (1..=TEXT_BYTES_MAX).contains(&name.len())) {
        draft.set(alias, Field::NAME, Some(Value::from(name)));
    }
    if present.number <= member.presence {
        return;
    }
    // Who is only elsewhere is shown where they are.
    let is_only_far = present.sessions.is_empty() && best_far(&member).is_some();
    if let Some(sector) = present.room.filter(|_| !is_only_far) {
        draft.set(alias, Field::SECTOR, Some(Value::from(sector.as_str())));
    }
    member.presence = present.number;
    member.sessions = present.sessions;
    member.sessions.truncate(SESSIONS_MAX);
    show(draft, player, member, Some(present.last_seen_ms).filter(|ms| *ms > 0));
}

/// What a member is shown as in other regions, as these say.
pub fn see_far(draft: &mut Draft<'_>, player: &PlayerId, far: Vec<Far>) {
    let Some(mut member) = draft.state().system().members().get(player).cloned() else { return };
    if member.alias.is_none() {
        return;
    }
    let before = member.far.clone();
    let last_seen_ms = far.iter().map(|far| far.presence.last_seen_ms).max();
    for Far { region, number, presence } in far {
        if member.far.iter().any(|known| known.region == region && known.number >= number) {
            continue;
        }
        member.far.retain(|known| known.region != region);
        let (shown, devices, sector) = (presence.shown, presence.devices, presence.sector);
        member.far.push(FarMember { region, number, shown, devices, sector });
    }
    member.far.sort_by(|a, b| a.region.cmp(&b.region));
    member.far.truncate(REGIONS_MAX);
    if member.far != before {
        show(draft, player, member, last_seen_ms.filter(|ms| *ms > 0));
    }
}

/// Whether what is known of a member is not older than this; of nobody's interest where they are none.
pub fn has_heard(member: &Membership, numbers: &[(RegionName, u64)]) -> bool {
    let is_known =
        |region: &RegionName, number| member.far.iter().any(|known| known.region == *region && known.number >= number);
    member.alias.is_none() || numbers.iter().all(|(region, number)| is_known(region, *number))
}

/// Where a member is present who is in another region.
fn best_far(member: &Membership) -> Option<&FarMember> {
    let best = Shown::best(member.far.iter().map(|far| far.shown));
    member.far.iter().find(|far| far.devices > 0 && far.shown == best)
}

/// These nodes are gone, and their sessions with them. False: not all are written yet, this entry is large enough.
pub fn lose_incarnations(draft: &mut Draft<'_>, gone: &[Incarnation]) -> bool {
    let is_gone = |sessions: &[(Incarnation, Shown)]| sessions.iter().any(|(of, _)| gone.contains(of));
    let members = draft.state().system().members();
    let hit: Vec<PlayerId> =
        members.iter().filter(|(_, member)| is_gone(&member.sessions)).map(|(player, _)| player.clone()).collect();
    for player in hit {
        if draft.is_full() {
            return false;
        }
        let Some(mut member) = draft.state().system().members().get(&player).cloned() else { continue };
        member.sessions.retain(|(of, _)| !gone.contains(of));
        let now_ms = draft.now_ms();
        show(draft, &player, member, Some(now_ms));
    }
    true
}

/// The nodes that members' sessions are on.
pub fn incarnations(state: &RoomState) -> impl Iterator<Item = &Incarnation> {
    state.system().members().values().flat_map(|member| member.sessions.iter().map(|(of, _)| of))
}

/// Nobody of the team is present: the room may be closed.
pub fn is_quiet(state: &RoomState) -> bool {
    state.system().members().values().all(|member| member.sessions.is_empty())
}

/// Writes what follows from a member's sessions.
fn show(draft: &mut Draft<'_>, player: &PlayerId, member: Membership, last_seen_ms: Option<u64>) {
    let Some(alias) = member.alias else { return };
    let far = member.far.iter().map(|far| (far.shown, far.devices));
    let shown = Shown::best(member.sessions.iter().map(|(_, shown)| *shown).chain(far.clone().map(|(shown, _)| shown)));
    let devices = far.fold(member.sessions.len() as u64, |sum, (_, devices)| sum.saturating_add(devices.into()));
    if member.sessions.is_empty()
        && let Some(FarMember { region, sector: Some(sector), .. }) = best_far(&member)
    {
        draft.set(alias, Field::SECTOR, Some(Value::from(format!("{sector}@{region}").as_str())));
    }
    draft.set(alias, Field::STATUS, Some(Value::from(shown.as_str())));
    draft.set(alias, Field::DEVICES, Some(Value::Int(i64::try_from(devices).unwrap_or(INT_ABS_MAX).min(INT_ABS_MAX))));
    if devices > 0 {
        draft.set(alias, Field::LAST_SEEN, None);
    } else if let Some(ms) = last_seen_ms {
        let ms = i64::try_from(ms).unwrap_or(INT_ABS_MAX).min(INT_ABS_MAX);
        draft.set(alias, Field::LAST_SEEN, Some(Value::Int(ms)));
    }
    draft.system(SystemChange::Member(player.clone(), Some(member)));
}

#[cfg(test)]
#[path = "team_tests.rs"]
mod tests;
