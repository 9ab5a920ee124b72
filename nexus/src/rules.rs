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
}
#[derive(Default)]
pub struct Rules;
impl Rules {
    pub fn class_of(&self, _: What, room: Option<&RoomId>, from: &RegionName, to: &RegionName) -> Option<Class> {
        (from != to && room.is_none_or(|room| !matches!(room, RoomId::Sector(_)))).then_some(Class::Normal)
    }
    pub fn class_up(&self, what: What, room: Option<&RoomId>, from: &RegionName) -> Option<Class> {
        self.class_of(what, room, from, &"zzz".parse().expect("a name"))
    }
}
