//! What is posted straight into a region's feeds, without nodes, and the oracle of what other regions must then have: each
//! item once, in the order of its origin. An item is known by its name: its author and number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use sectorbus::ids::{ActorId, FeedId, PlayerId, RegionName, RoomId};
use sectorbus::item;
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::log::{Bridge, Hub, Log, LogError, OnceKey, Outward, Source};

use crate::waiting;

/// The one actor of an author here.
const ACTOR: ActorId = ActorId(1);
const PAGE_ITEMS: usize = 1_000;
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The feeds of one region, by a connection of the test's own.
pub struct Feeds {
    pub region: RegionName,
    log: RedisLog,
}

impl Feeds {
    pub async fn connect(url: &str, region: &str, who: &str) -> Result<Self> {
        let region = RegionName::new(region)?;
        let config = RedisConfig { node: who.to_owned(), ..RedisConfig::new(url, region.clone()) };
        let log = RedisLog::connect(config)?;
        ensure!(log.is_ready_within(READY_WITHIN).await, "Redis is not reached within {READY_WITHIN:?}");
        Ok(Self { region, log })
    }

    /// As if a nexus were there: says so, and waits until what is posted is for it.
    pub async fn bridged(&self) -> Result<()> {
        let began_ms = self.log.open_bridge().await?.began_ms;
        waiting::until_async(READY_WITHIN, "the region is bridged", async || Ok(self.log.time_ms().await? > began_ms))
            .await
    }

    /// Posts an author's item of this number; again until that is answered.
    pub async fn post(&self, room: &RoomId, author: &PlayerId, number: u64, text: &[u8]) -> Result<()> {
        let name = OnceKey::Player { player: author.clone(), actor: ACTOR, seq: number };
        self.post_as(room, &name, item::encode(&name, text)).await
    }

    /// Posts anything under any name; again until that is answered.
    pub async fn post_as(&self, room: &RoomId, name: &OnceKey, stored: Bytes) -> Result<()> {
        loop {
            match self.log.post(room, name, stored.clone()).await {
                Ok(_) => return Ok(()),
                Err(LogError::Corrupt(what)) => anyhow::bail!("{room}: {what}"),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    /// The names of all items of a room's feed that can be read, oldest first.
    pub async fn names(&self, room: &RoomId) -> Result<Vec<OnceKey>> {
        let (mut after, mut names) = (FeedId::START, Vec::new());
        loop {
            let page = self.log.feed(room, after, PAGE_ITEMS).await?;
            let Some(last) = page.last() else { return Ok(names) };
            after = last.id;
            names.extend(page.iter().filter_map(|item| Some(item::decode(&item.body)?.0)));
        }
    }

    /// The id of the newest item of a room's feed.
    pub async fn newest(&self, room: &RoomId) -> Result<FeedId> {
        let heads = self.log.heads(std::slice::from_ref(room)).await?;
        Ok(heads.first().and_then(|heads| heads.feed).unwrap_or_default())
    }

    /// Up to where a room's feed of a region is in this Redis, which is redis-nexus.
    pub async fn pushed(&self, region: &RegionName, room: &RoomId) -> Result<FeedId> {
        let source = Source { region: region.clone(), room: room.clone() };
        Ok(self.log.pushed(&source).await?.upto.id)
    }

    /// The newest events that the region tells whoever watches it, newest first: fields by name.
    pub async fn events(&self) -> Result<Vec<BTreeMap<String, String>>> {
        let items = self.log.noted(Outward::Events, None, PAGE_ITEMS).await?;
        Ok(items.into_iter().map(|item| item.record.into_iter().collect()).collect())
    }
}

/// What was posted and answered: up to which number, of each author in each room of each region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Posted(BTreeMap<(RegionName, RoomId, PlayerId), u64>);

impl Posted {
    /// An author's items up to this number were answered, in their order.
    pub fn upto(&mut self, region: &RegionName, room: &RoomId, author: &PlayerId, number: u64) {
        self.0.insert((region.clone(), room.clone(), author.clone()), number);
    }

    /// Of these regions alone.
    pub fn only(&self, regions: &BTreeSet<RegionName>) -> Self {
        let of_them = self.0.iter().filter(|((region, ..), _)| regions.contains(region));
        Self(of_them.map(|(key, count)| (key.clone(), *count)).collect())
    }

    pub fn rooms(&self) -> BTreeSet<&RoomId> {
        self.0.keys().map(|(_, room, _)| room).collect()
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Holds one region's feeds against all that was posted in any.
    pub async fn judge(&self, feeds: &Feeds) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        for room in self.rooms() {
            let names = feeds.names(room).await?;
            verdict.add(self.judge_room(&feeds.region, room, &names));
        }
        Ok(verdict)
    }

    fn judge_room(&self, region: &RegionName, room: &RoomId, names: &[OnceKey]) -> Verdict {
        let mut found: BTreeMap<(&RegionName, &PlayerId), Vec<u64>> = BTreeMap::new();
        let mut verdict = Verdict::default();
        for name in names {
            let (origin, name) = match name {
                OnceKey::From { region, name } => (region, &**name),
                own => (region, own),
            };
            match name {
                OnceKey::Player { player, actor: ACTOR, seq } => found.entry((origin, player)).or_default().push(*seq),
                _ => verdict.strange += 1,
            }
        }
        let expected = self.0.iter().filter(|((_, of, _), _)| of == room);
        for ((origin, _, author), count) in expected {
            let numbers = found.remove(&(origin, author)).unwrap_or_default();
            let distinct: BTreeSet<u64> =
                numbers.iter().copied().filter(|number| (1..=*count).contains(number)).collect();
            verdict.lost += count - distinct.len() as u64;
            verdict.duplicated += (numbers.len() - distinct.len()) as u64;
            verdict.disordered += numbers.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
        }
        verdict.strange += found.values().map(|numbers| numbers.len() as u64).sum::<u64>();
        verdict
    }
}

/// What is wrong with the feeds of a region; nothing: all zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Posted, and not there.
    pub lost: u64,
    /// There more than once.
    pub duplicated: u64,
    /// There after a later one of its author.
    pub disordered: u64,
    /// There, and posted by nobody.
    pub strange: u64,
}

impl Verdict {
    pub fn add(&mut self, other: Verdict) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.disordered += other.disordered;
        self.strange += other.strange;
    }

    pub fn is_clean(&self) -> bool {
        *self == Verdict::default()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, duplicated, disordered, strange } = self;
        write!(f, "{lost} lost, {duplicated} duplicated, {disordered} out of order, {strange} posted by nobody")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_twice_out_of_order_or_strange_is_found() {
        let (eu, us) = (RegionName::new("eu").expect("a name"), RegionName::new("us").expect("a name"));
        let (room, ann) = ("team:red".parse().expect("a room"), PlayerId::new("ann").expect("a name"));
        let mut posted = Posted::default();
        posted.upto(&eu, &room, &ann, 3);
        let own = |seq| OnceKey::Player { player: ann.clone(), actor: ACTOR, seq };
        let from = |region: &RegionName, seq| OnceKey::From { region: region.clone(), name: Box::new(own(seq)) };
        let verdict = |region: &RegionName, names: &[OnceKey]| posted.judge_room(region, &room, names);
        assert!(verdict(&eu, &[own(1), own(2), own(3)]).is_clean());
        assert!(verdict(&us, &[from(&eu, 1), from(&eu, 2), from(&eu, 3)]).is_clean());
        let missing = verdict(&us, &[from(&eu, 3), from(&eu, 1), from(&eu, 1)]);
        assert_eq!(missing, Verdict { lost: 1, duplicated: 1, disordered: 1, strange: 0 });
        let looped = verdict(&eu, &[own(1), own(2), own(3), from(&eu, 1)]);
        assert_eq!(looped.duplicated, 1);
        let strange = verdict(&us, &[from(&eu, 1), from(&eu, 2), from(&eu, 3), own(1)]);
        assert_eq!(strange, Verdict { strange: 1, ..Verdict::default() });
    }
}
