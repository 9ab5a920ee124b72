//! Everything the region stores, as one value that can be marked and put back.
//! Rules live in `room`, `players`, `inbox` and `membership`; this file only finds the right one of them.

use std::collections::{BTreeMap, BTreeSet};

use super::bridge::BridgeStore;
use super::calls::Calls;
use super::ears::PlayerEars;
use super::facts::{FactStore, Fars};
use super::hub::HubStore;
use super::inbox::Inbox;
use super::jumps::{HubJumpStore, JumpStore};
use super::mirrors::HubLogs;
use super::outward::OutwardStreams;
use super::players::{self, PlayerRecord};
use super::revocations::Revocations;
use super::room::Room;
use super::rosters::RosterStore;
use crate::ids::{Incarnation, PlayerId, RegionName, RoomId};
use crate::log::{At, SetTeam, TeamAt};
use crate::membership::Table;

#[derive(Debug, Clone, Default)]
pub(super) struct Database {
    pub(super) meta: Option<RegionName>,
    pub(super) members: Table,
    pub(super) rooms_of: BTreeMap<Incarnation, BTreeSet<RoomId>>,
    pub(super) inboxes: BTreeMap<Incarnation, Inbox>,
    pub(super) rooms: BTreeMap<RoomId, Room>,
    pub(super) players: BTreeMap<PlayerId, PlayerRecord>,
    pub(super) ears: BTreeMap<PlayerId, PlayerEars>,
    /// Of players who need not have been seen yet.
    pub(super) teams: BTreeMap<PlayerId, TeamAt>,
    pub(super) revocations: Revocations,
    pub(super) outward: OutwardStreams,
    pub(super) calls: Calls,
    pub(super) bridge: BridgeStore,
    pub(super) fars: BTreeMap<PlayerId, Fars>,
    pub(super) facts: FactStore,
    pub(super) hub: HubStore,
    pub(super) hub_logs: HubLogs,
    pub(super) rosters: RosterStore,
    pub(super) jumps: JumpStore,
    pub(super) hub_jumps: HubJumpStore,
}

impl Database {
    /// The player was seen, here or elsewhere.
    pub(super) fn knows(&self, player: &PlayerId) -> bool {
        self.players.contains_key(player) || self.fars.contains_key(player)
    }

    pub(super) fn at(&self, player: &PlayerId) -> Option<At> {
        let at = self.players.get(player)?.at();
        Some(At { team: self.teams.get(player).cloned(), ..at })
    }

    /// True: the change changed something that is to be told.
    pub(super) fn set_team(&mut self, player: &PlayerId, change: &SetTeam, now_ms: u64) -> (TeamAt, bool) {
        let (team, changed) = players::set_team(self.teams.get(player), change, now_ms);
        if team.number > 0 {
            self.teams.insert(player.clone(), team.clone());
        }
        (team, changed)
    }

    pub(super) fn team_settled(&mut self, player: &PlayerId, number: u64) {
        if let Some(team) = self.teams.get_mut(player).filter(|team| team.number == number) {
            team.before.clear();
        }
    }

    pub(super) fn room_mut(&mut self, room: &RoomId) -> &mut Room {
        self.rooms.entry(room.clone()).or_default()
    }
}
