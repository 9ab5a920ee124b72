//! Names of rooms whose home is another region, as this region has them: read-only mirrors of their logs.

use std::fmt;
use std::sync::Arc;

use super::{BadId, RegionName, RoomId};

/// `<room>@<region>`, of a sector, a team or `global`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Elsewhere {
    room: RoomId,
    region: RegionName,
}

impl Elsewhere {
    pub fn room(&self) -> &RoomId {
        &self.room
    }
    pub fn region(&self) -> &RegionName {
        &self.region
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.room, self.region)
    }
}

impl RoomId {
    /// This room of another region. Only what has a log of its own is mirrored like this.
    pub fn at(self, region: RegionName) -> Result<RoomId, BadId> {
        match self {
            RoomId::Sector(_) | RoomId::Team(_) | RoomId::Global => {
                Ok(RoomId::Elsewhere(Arc::new(Elsewhere { room: self, region })))
            }
            RoomId::Player(_) | RoomId::Topic(_) | RoomId::Elsewhere(_) => Err(BadId::Room),
        }
    }

    /// Nobody in this region owns it or sends it commands.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self, RoomId::Elsewhere(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_of_other_regions_survive_text_and_are_never_nested() {
        for text in ["sector:12@us", "team:red@us", "global@us"] {
            let room: RoomId = text.parse().expect("a room");
            assert!(room.is_elsewhere());
            assert_eq!(room.to_string(), text);
            assert_eq!(room.at("eu".parse().expect("a name")), Err(BadId::Room));
        }
        for text in ["player:ann@us", "topic:ore@us", "sector:12@us@eu", "sector:12@", "@us", "sector:12@a b"] {
            assert!(text.parse::<RoomId>().is_err(), "{text}");
        }
    }
}
