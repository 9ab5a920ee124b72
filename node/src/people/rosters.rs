//! The teams whose rooms this node follows: who is a member, and in which sector. Written by the rooms' relays.
//! Asked before a sector is shown to somebody.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use sectorbus::ids::{PlayerId, RegionName, RoomId, SectorId, TeamId};
use sectorbus::state::RoomState;
use sectorbus::value::{Field, Value};

/// Members of one team, with the sector of this region that each was last seen in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster(BTreeMap<PlayerId, Option<SectorId>>);

impl Roster {
    /// `log_of`: the room whose log has it; a sector without a region is of that one's.
    pub fn of(state: &RoomState, log_of: &RoomId, here: &RegionName) -> Self {
        let is_here = |region: &str| region == here.as_str();
        let members = state.system().members().iter().filter_map(|(player, member)| {
            let fields = state.public().get(member.alias?)?;
            let sector = fields.get(&Field::SECTOR).and_then(Value::as_text);
            let sector = sector.and_then(|text| match text.split_once('@') {
                Some((sector, region)) => Some(sector).filter(|_| is_here(region)),
                None => Some(text).filter(|_| !log_of.is_elsewhere()),
            });
            Some((player.clone(), sector.and_then(|sector| sector.parse().ok())))
        });
        Self(members.collect())
    }
}

#[derive(Default)]
pub struct Rosters(Mutex<BTreeMap<TeamId, Arc<Roster>>>);

impl Rosters {
    /// Answers whose membership or sector changed.
    pub fn set(&self, team: &TeamId, roster: Roster) -> Vec<PlayerId> {
        let before = self.0.lock().insert(team.clone(), Arc::new(roster.clone())).unwrap_or_default();
        let players = before.0.keys().chain(roster.0.keys());
        let mut changed: Vec<PlayerId> =
            players.filter(|player| before.0.get(*player) != roster.0.get(*player)).cloned().collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// The room is not followed any more.
    pub fn forget(&self, team: &TeamId) {
        self.0.lock().remove(team);
    }

    /// The sector of `player`, if both are members of `team`.
    pub fn sector_for(&self, team: &TeamId, asking: &PlayerId, player: &PlayerId) -> Option<SectorId> {
        let roster = self.0.lock().get(team).cloned()?;
        roster.0.get(asking)?;
        roster.0.get(player)?.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_is_of_this_region_or_none() {
        use sectorbus::ids::Alias;
        use sectorbus::state::{Draft, Fields, Membership, SystemChange};
        let here: RegionName = "us".parse().expect("a name");
        let (own, copy): (RoomId, RoomId) =
            ("team:red".parse().expect("a room"), "team:red@eu".parse().expect("a room"));
        for (shown, from, expected) in
            [("7", &own, Some("7")), ("7@us", &copy, Some("7")), ("7", &copy, None), ("7@eu", &own, None)]
        {
            let mut state = RoomState::new();
            let mut draft = Draft::new(&mut state, 1);
            let alias: Alias = draft.create(Fields::from([(Field::SECTOR, Value::from(shown))]));
            let ann = PlayerId::new("ann").expect("a name");
            let member = Membership { alias: Some(alias), ..Membership::default() };
            draft.system(SystemChange::Member(ann.clone(), Some(member)));
            draft.finish();
            let roster = Roster::of(&state, from, &here);
            let sector = roster.0[&ann].as_ref().map(SectorId::as_str);
            assert_eq!(sector, expected, "{shown} in {from}");
        }
    }

    #[test]
    fn a_sector_is_for_team_mates_only() {
        let player = |name: &str| PlayerId::new(name).expect("a name");
        let (red, seven) = (TeamId::new("red").expect("a name"), SectorId::new("7").expect("a name"));
        let rosters = Rosters::default();
        let roster = Roster(BTreeMap::from([(player("ann"), Some(seven.clone())), (player("bob"), None)]));
        assert_eq!(rosters.set(&red, roster.clone()), [player("ann"), player("bob")]);
        assert_eq!(rosters.set(&red, roster), []);
        assert_eq!(rosters.sector_for(&red, &player("bob"), &player("ann")), Some(seven));
        assert_eq!(rosters.sector_for(&red, &player("bob"), &player("bob")), None);
        assert_eq!(rosters.sector_for(&red, &player("eve"), &player("ann")), None);
        rosters.forget(&red);
        assert_eq!(rosters.sector_for(&red, &player("bob"), &player("ann")), None);
    }
}
