//! Whom something is told that nobody here said: the rooms whose feeds get it. What is told to several rooms is in each of
//! them once, by the name its asker gave it, however often it is asked for. Something else is not told under that name.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use sectorbus::ids::{FeedId, PlayerId, PostKey, RoomId, SectorId, TeamId, TopicId};
use sectorbus::limits::{AUDIENCE_ROOMS_MAX, AUDIENCE_SECTORS_MAX, WARPS_AROUND_MAX};
use sectorbus::log::{Log, LogError, LogResult, OnceKey, Posted};
use sectorbus::rules::{Universe, controllers_of};
use sectorbus::said::Said;

use crate::config::read_by;
use crate::core::Core;
use crate::feeds::item;
use crate::load;
use crate::poster::{PostError, Poster};

const POSTS_AT_ONCE: usize = 16;
const ROOMS_READ_AT_ONCE: usize = 8;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

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
    /// Whoever has asked for it.
    Topic(TopicId),
    /// The players who have drones in these sectors when it is told, each in their own feed.
    Controllers(BTreeSet<SectorId>),
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
    #[error("{found} sectors: at most {AUDIENCE_SECTORS_MAX} are accepted")]
    TooManySectors { found: usize },
    #[error("nobody may read a topic {0}")]
    NoTopic(TopicId),
    #[error("{0} was told something else under this key")]
    KeyReused(RoomId),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Post(#[from] PostError),
}

impl Audience {
    /// The rooms whose feeds get it, as the log has it now.
    pub async fn rooms<L: Log>(&self, core: &Core<L>) -> Result<BTreeSet<RoomId>, TellError> {
        let named = self.named(&core.rules.universe)?;
        let rooms = match self {
            Audience::Controllers(_) => controllers(core, named).await?,
            Audience::Topic(topic) if read_by(&core.config.topics, topic).is_none() => {
                return Err(TellError::NoTopic(topic.clone()));
            }
            _ => named,
        };
        if rooms.len() > AUDIENCE_ROOMS_MAX {
            return Err(TellError::TooMany { found: rooms.len() });
        }
        Ok(rooms)
    }

    /// The rooms that it names: whose feeds get it, or where to look for whom it means.
    fn named(&self, universe: &Universe) -> Result<BTreeSet<RoomId>, TellError> {
        let known = |sector: &SectorId| {
            if universe.contains(sector) { Ok(()) } else { Err(TellError::NoSector(sector.clone())) }
        };
        Ok(match self {
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
            Audience::Topic(topic) => BTreeSet::from([RoomId::Topic(topic.clone())]),
            Audience::Controllers(sectors) => {
                if sectors.len() > AUDIENCE_SECTORS_MAX {
                    return Err(TellError::TooManySectors { found: sectors.len() });
                }
                sectors.iter().try_for_each(known)?;
                sectors.iter().cloned().map(RoomId::Sector).collect()
            }
        })
    }
}

/// The own rooms of the players who control any of these sectors.
async fn controllers<L: Log>(core: &Core<L>, sectors: BTreeSet<RoomId>) -> Result<BTreeSet<RoomId>, LogError> {
    let reading = sectors.into_iter().map(|sector| async move {
        // Without a log nobody has been there yet.
        let loaded = load::load(&*core.log, &sector, None).await?;
        Ok(loaded.map(|loaded| controllers_of(&loaded.state)).unwrap_or_default())
    });
    let read: Vec<Result<BTreeSet<PlayerId>, LogError>> =
        stream::iter(reading).buffer_unordered(ROOMS_READ_AT_ONCE).collect().await;
    let read: Vec<BTreeSet<PlayerId>> = read.into_iter().collect::<Result<_, _>>()?;
    Ok(read.into_iter().flatten().map(RoomId::Player).collect())
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
    tell_rooms(core, audience.rooms(core).await?, key, said).await
}

/// The same, to an audience whose rooms are known. Nobody is told if any of them has something else under this key; only
/// if that is told at the same time, and while the log does not answer, some may be.
pub async fn tell_rooms<L: Log>(
    core: &Arc<Core<L>>,
    rooms: BTreeSet<RoomId>,
    key: &PostKey,
    said: &Said,
) -> Result<Vec<(RoomId, FeedId)>, TellError> {
    let once = OnceKey::Backend(key.clone());
    let finding = rooms.into_iter().map(|room| async {
        let found = until_answered(|| core.log.posted(&room, &once)).await?;
        if let Some(id) = found {
            must_say(core, &room, id, said).await?;
        }
        Ok::<_, TellError>((room, found))
    });
    let found: Vec<_> = stream::iter(finding).buffer_unordered(POSTS_AT_ONCE).try_collect().await?;
    let body = said.encode();
    let posting = found.into_iter().map(|(room, found)| {
        let (once, body) = (once.clone(), &body);
        async move {
            if let Some(id) = found {
                return Ok((room, id));
            }
            match Poster::post_or_find(core, &room, once, body).await? {
                Posted::New(id) => Ok((room, id)),
                Posted::Already(id) => must_say(core, &room, id, said).await.map(|()| (room, id)),
            }
        }
    });
    let posted: Vec<_> = stream::iter(posting).buffer_unordered(POSTS_AT_ONCE).collect().await;
    posted.into_iter().collect()
}

/// The item of this id says the same; one that is not kept any more is taken for it.
async fn must_say<L: Log>(core: &Core<L>, room: &RoomId, id: FeedId, said: &Said) -> Result<(), TellError> {
    let next = FeedId { n: id.n.saturating_add(1), ..id };
    let newest = until_answered(|| core.log.feed_before(room, Some(next), 1)).await?;
    let stored = newest.into_iter().filter(|item| item.id == id).find_map(item::read);
    if stored.is_none_or(|stored| stored.said() == Some(said)) {
        return Ok(());
    }
    Err(TellError::KeyReused(room.clone()))
}

/// Whoever waits says for how long.
async fn until_answered<T, F: Future<Output = LogResult<T>>>(ask: impl Fn() -> F) -> LogResult<T> {
    loop {
        match ask().await {
            Err(LogError::NotExecuted(_) | LogError::Ambiguous(_)) => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            answer => return answer,
        }
    }
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
        let rooms = |warps| Audience::Around { sector: sector("1"), warps }.named(&universe).map(|rooms| rooms.len());
        assert_eq!(rooms(0), Ok(1));
        assert_eq!(rooms(1), Ok(1 + universe.warps(&sector("1")).len()));
        assert!(rooms(2).is_ok_and(|two| rooms(1).is_ok_and(|one| two > one)));
        assert_eq!(rooms(WARPS_AROUND_MAX + 1), Err(TellError::TooFar { found: WARPS_AROUND_MAX + 1 }));
        assert_eq!(Audience::Sector(sector("51")).named(&universe), Err(TellError::NoSector(sector("51"))));
    }

    #[test]
    fn sectors_whose_controllers_are_told_are_known_and_few() {
        let universe = Universe::new(42, 100);
        let controllers = |sectors: std::ops::Range<usize>| {
            Audience::Controllers(sectors.map(|n| sector(&n.to_string())).collect()).named(&universe)
        };
        let most = 1..AUDIENCE_SECTORS_MAX + 1;
        assert_eq!(controllers(most).map(|rooms| rooms.len()), Ok(AUDIENCE_SECTORS_MAX));
        let found = AUDIENCE_SECTORS_MAX + 1;
        assert_eq!(controllers(1..found + 1), Err(TellError::TooManySectors { found }));
        assert_eq!(controllers(100..102), Err(TellError::NoSector(sector("101"))));
    }
}
