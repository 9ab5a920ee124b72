//! Whom something is told that nobody here said: the rooms whose feeds get it. What is told to several rooms is in each of
//! them once, by the name its asker gave it, however often it is asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use sectorbus::ids::{FeedId, PlayerId, PostKey, RoomId, SectorId, TeamId};
use sectorbus::limits::{AUDIENCE_ROOMS_MAX, WARPS_AROUND_MAX};
use sectorbus::log::{Log, OnceKey};
use sectorbus::rules::Universe;
use sectorbus::said::Said;

use crate::core::Core;
use crate::poster::{PostError, Poster};

const POSTS_AT_ONCE: usize = 16;

/// Who hears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    Everyone,
    Sector(SectorId),
    /// A sector, and every sector that is at most so many warps away.
    Around {
        sector: SectorId,
        warps: u32,
    },
    Team(TeamId),
    /// Each in their own feed, there or away.
    Players(BTreeSet<PlayerId>),
}

/// Why nothing, or not everything, was told. The same call again does the rest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    #[error("there is no sector {0}")]
    NoSector(SectorId),
    #[error("{found} warps: at most {WARPS_AROUND_MAX} are accepted")]
    TooFar { found: u32 },
    #[error("{found} rooms: at most {AUDIENCE_ROOMS_MAX} are accepted")]
    TooMany { found: usize },
    #[error(transparent)]
    Post(#[from] PostError),
}

impl Audience {
    /// The rooms whose feeds get it.
    pub fn rooms(&self, universe: &Universe) -> Result<BTreeSet<RoomId>, TellError> {
        let known = |sector: &SectorId| {
            if universe.contains(sector) { Ok(()) } else { Err(TellError::NoSector(sector.clone())) }
        };
        let rooms: BTreeSet<RoomId> = match self {
            Audience::Everyone => BTreeSet::from([RoomId::Global]),
            Audience::Sector(sector) => {
                known(sector)?;
                BTreeSet::from([RoomId::Sector(sector.clone())])
            }
            Audience::Around { sector, warps } => {
                known(sector)?;
                if *warps > WARPS_AROUND_MAX {
                    return Err(TellError::TooFar { found: *warps });
                }
                around(universe, sector, *warps).into_iter().map(RoomId::Sector).collect()
            }
            Audience::Team(team) => BTreeSet::from([RoomId::Team(team.clone())]),
            Audience::Players(players) => players.iter().cloned().map(RoomId::Player).collect(),
        };
        if rooms.len() > AUDIENCE_ROOMS_MAX {
            return Err(TellError::TooMany { found: rooms.len() });
        }
        Ok(rooms)
    }
}

fn around(universe: &Universe, sector: &SectorId, warps: u32) -> BTreeSet<SectorId> {
    let mut reached = BTreeSet::from([sector.clone()]);
    let mut rim = vec![sector.clone()];
    for _ in 0..warps {
        let next = rim.iter().flat_map(|sector| universe.warps(sector));
        rim = next.filter(|sector| reached.insert(sector.clone())).collect();
    }
    reached
}

/// Tells it, and waits until every feed has it; answers the items.
pub async fn tell<L: Log>(
    core: &Arc<Core<L>>,
    audience: &Audience,
    key: &PostKey,
    said: &Said,
) -> Result<Vec<(RoomId, FeedId)>, TellError> {
    let (rooms, body) = (audience.rooms(&core.rules.universe)?, said.encode());
    let posting = rooms.into_iter().map(|room| {
        let (once, body) = (OnceKey::Backend(key.clone()), &body);
        async move {
            let posted = Poster::post(core, &room, once, body).await;
            posted.map(|id| (room, id)).map_err(TellError::Post)
        }
    });
    let posted: Vec<_> = stream::iter(posting).buffer_unordered(POSTS_AT_ONCE).collect().await;
    posted.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(id: &str) -> SectorId {
        id.parse().expect("a name")
    }

    #[test]
    fn around_a_sector_is_what_so_many_warps_reach() {
        let universe = Universe::new(42, 50);
        let rooms = |warps| Audience::Around { sector: sector("1"), warps }.rooms(&universe).map(|rooms| rooms.len());
        assert_eq!(rooms(0), Ok(1));
        assert_eq!(rooms(1), Ok(1 + universe.warps(&sector("1")).len()));
        assert!(rooms(2).is_ok_and(|two| rooms(1).is_ok_and(|one| two > one)));
        assert_eq!(rooms(WARPS_AROUND_MAX + 1), Err(TellError::TooFar { found: WARPS_AROUND_MAX + 1 }));
        assert_eq!(Audience::Sector(sector("51")).rooms(&universe), Err(TellError::NoSector(sector("51"))));
    }

    #[test]
    fn an_audience_is_bounded() {
        let universe = Universe::new(42, 50);
        let players =
            |count: usize| Audience::Players((0..count).map(|n| format!("p{n}").parse().expect("a name")).collect());
        assert_eq!(players(AUDIENCE_ROOMS_MAX).rooms(&universe).map(|rooms| rooms.len()), Ok(AUDIENCE_ROOMS_MAX));
        let found = AUDIENCE_ROOMS_MAX + 1;
        assert_eq!(players(found).rooms(&universe), Err(TellError::TooMany { found }));
    }
}
