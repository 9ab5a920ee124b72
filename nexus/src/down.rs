//! Down: what other regions have in redis-nexus goes into this region's feeds, each item once.

use std::time::Duration;

use sectorbus::ids::{FeedId, RoomId};
use sectorbus::item;
use sectorbus::limits::{FEED_ITEMS_KEPT, MIRROR_ITEMS_MAX};
use sectorbus::log::{
    Bridge, Hub, HubPush, Log, Mirror, MirrorItem, MirroredUpto, Mirrors, Part, PushedUpto, Source, Touched,
};
use sectorbus::metrics::Direction;
use xxhash_rust::xxh3::xxh3_64;

use crate::lag::Since;
use crate::link::{Link, until_answered};
use crate::places::Places;
use crate::queue::{Carried, Carriers, Carry};
use crate::rules::What;
use crate::up::Up;

const NEWS_AT_ONCE: usize = 1_000;
/// How long news are waited for at once.
const WAIT: Duration = Duration::from_secs(1);

pub(crate) struct Down<'l, L> {
    link: &'l Link<L>,
    up: &'l Up<'l, L>,
    /// Up to where what the news named is carried.
    carriers: Carriers<Source, FeedId>,
    /// Where the region was seen last.
    places: Places<Source, MirroredUpto>,
    /// Another redis-nexus, or one that lost a tail, has other news than those that were heard.
    is_of_this_hub: bool,
}

impl<'l, L: Log + Bridge + Hub + Mirrors> Down<'l, L> {
    pub(crate) fn new(link: &'l Link<L>, up: &'l Up<'l, L>, news: FeedId, is_of_this_hub: bool) -> Self {
        // What is kept before all sources were looked through must not say that they were.
        let reached = if is_of_this_hub { news } else { FeedId::START };
        Self { link, up, carriers: Carriers::new(reached), places: Places::default(), is_of_this_hub }
    }

    pub(crate) fn news(&self) -> FeedId {
        self.carriers.reached()
    }

    /// For ever.
    pub(crate) async fn run(&self) {
        tokio::join!(self.carriers.run(self), self.watch());
    }

    async fn watch(&self) {
        let mut after = self.news();
        if !self.is_of_this_hub {
            after = self.look_through().await.unwrap_or(after);
        }
        loop {
            let Some(news) = until_answered(|| self.link.hub.news(after, NEWS_AT_ONCE, WAIT)).await else {
                // Unreadable news name sources that are found all the same.
                tokio::time::sleep(WAIT).await;
                after = self.look_through().await.unwrap_or(after);
                continue;
            };
            let Some((first, last)) = news.first().zip(news.last()) else {
                continue;
            };
            if first.prev != after {
                after = self.look_through().await.unwrap_or(after);
                continue;
            }
            after = last.at;
            news.into_iter().for_each(|news| self.add(news.source));
            self.carriers.passes(after);
        }
    }

    /// Everything there is; answers which news that includes.
    async fn look_through(&self) -> Option<FeedId> {
        tracing::info!(link = %self.link.region, "news of redis-nexus were missed: all sources are looked through");
        let (upto, sources) = until_answered(|| self.link.hub.sources()).await?;
        sources.into_iter().for_each(|source| self.add(source));
        self.carriers.passes(upto);
        Some(upto)
    }

    fn add(&self, source: Source) {
        let (rules, region) = (&self.link.rules, &self.link.region);
        if let Some(class) = rules.class_of(What::Feeds, Some(&source.room), &source.region, region) {
            self.carriers.add(source, class);
        }
    }

    /// A page. `None`: it cannot be read.
    async fn carry_feed(&self, source: &Source) -> Option<Carried> {
        let (log, hub) = (&self.link.log, &self.link.hub);
        let Source { region: from, room } = source;
        let (place, is_remembered) = match self.places.get(source) {
            Some(place) => (place, true),
            None => (until_answered(|| log.mirrored(room, from)).await?, false),
        };
        let pulled = until_answered(|| hub.pull(source, place, MIRROR_ITEMS_MAX)).await?;
        if pulled.rewinds < place.rewinds {
            // Redis-nexus lost that it was rewound; whoever pushes counts on from here.
            let PushedUpto { upto: known, seal } = until_answered(|| hub.pushed(source)).await?;
            let (source, rewinds, after) = (source.clone(), place.rewinds, FeedId::LAST);
            let push = HubPush { source, known, rewinds, after, upto: known.id, seal, items: Vec::new() };
            until_answered(|| hub.push(push.clone())).await?;
            return Some(Carried::Part);
        }
        if pulled.items.is_empty() && pulled.prev.is_none() && pulled.rewinds == place.rewinds {
            return Some(Carried::All);
        }
        // A region that has nothing of it yet misses nothing: what is kept is what it joins with.
        if let Some(prev) = pulled.prev.filter(|prev| *prev > pulled.after && pulled.after > FeedId::START) {
            if is_remembered {
                // Another leader may have been further meanwhile.
                self.places.forget(source);
                return Some(Carried::Part);
            }
            self.link.report_gap(Direction::Down, &source.to_string(), pulled.after, prev).await;
        }
        let (count, bytes) = (pulled.items.len(), pulled.items.iter().map(|(_, body)| body.len()).sum());
        let oldest_ms = pulled.items.first().map_or(pulled.after.ms, |(id, _)| id.ms);
        let lag = self.link.sight.lag.waits(Direction::Down, What::Feeds, source, count, Since::Told(oldest_ms));
        let is_last = count < MIRROR_ITEMS_MAX;
        let last = pulled.items.last().map(|(id, _)| *id).or(pulled.prev).unwrap_or(pulled.after);
        let items = pulled.items.into_iter().filter_map(|(id, stored)| {
            let read = item::from_region(from, &stored);
            if read.is_none() {
                tracing::error!(%source, %id, "an item is unreadable: it is left out");
            }
            read.map(|(name, body)| MirrorItem { id, name, body })
        });
        let (rewinds, after) = (pulled.rewinds, pulled.after);
        let (room, items) = (room.clone(), items.collect());
        let mirror = Mirror { room, from: from.clone(), known: place, rewinds, after, upto: last, items };
        let reached = until_answered(|| log.mirror(mirror.clone())).await?;
        drop(lag);
        self.link.meters.mirrored(Direction::Down, What::Feeds, count, bytes);
        // Players' feeds are trimmed by age: any item may be the last one that is kept with this region's place.
        let is_by_age = matches!(mirror.room, RoomId::Player(_)) && !mirror.items.is_empty();
        if is_by_age || mirror.items.iter().any(is_milestone) {
            // Items from elsewhere are no news of this region's own, but its place must not fall behind what is kept of the feed.
            self.up.add(Touched { part: Part::Feed, room: mirror.room.clone() });
        }
        let is_overtaken = (reached.rewinds, reached.id) != (rewinds, last);
        self.places.set(source.clone(), reached);
        Some(if is_last && !is_overtaken { Carried::All } else { Carried::Part })
    }
}

/// About one item of so many, whoever brings it.
const MILESTONE_EVERY: u64 = 256;
const _: () = assert!(MILESTONE_EVERY * 30 < FEED_ITEMS_KEPT as u64);

fn is_milestone(item: &MirrorItem) -> bool {
    xxh3_64(&item.body).is_multiple_of(MILESTONE_EVERY)
}

impl<L: Log + Bridge + Hub + Mirrors> Carry<Source> for Down<'_, L> {
    async fn carry(&self, what: &Source) -> Carried {
        // What cannot be read is left until it changes.
        self.carry_feed(what).await.unwrap_or(Carried::All)
    }
}
