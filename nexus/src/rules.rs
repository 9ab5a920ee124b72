//! What is mirrored, between which regions, and what goes first. Pure: knows nothing of links or Redis.

use sectorbus::ids::{RegionName, RoomId};
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Normal,
    Critical,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Feeds,
    Presence,
    Revocations,
    Logs,
}
#[derive(Default)]
pub struct Rules {
    pub sectors: Vec<RoomId>,
}
impl Rules {
    /// Sectors that rules about logs name, each by itself: nothing marks their changes, they are followed.
    pub fn sectors_from(&self, _: &RegionName) -> Vec<RoomId> {
        self.sectors.clone()
    }
    pub fn class_of(&self, what: What, room: Option<&RoomId>, from: &RegionName, to: &RegionName) -> Option<Class> {
        if what == What::Logs && room.is_some_and(|room| self.sectors.contains(room)) {
            return (from != to).then_some(Class::Normal);
        }
        (from != to && room.is_none_or(|room| !matches!(room, RoomId::Sector(_)))).then_some(Class::Normal)
    }
    pub fn class_up(&self, what: What, room: Option<&RoomId>, from: &RegionName) -> Option<Class> {
        self.class_of(what, room, from, &"zzz".parse().expect("a name"))
    }
}
