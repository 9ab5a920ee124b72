//! Down: what other regions have in redis-nexus goes into this region's feeds, each item once.

use std::time::Duration;

use sectorbus::ids::FeedId;
use sectorbus::item;
use sectorbus::limits::MIRROR_ITEMS_MAX;
use sectorbus::log::{Bridge, Hub, HubPush, Log, Mirror, MirrorItem, Source};

use crate::link::{Link, until_answered};

const NEWS_AT_ONCE: usize = 1_000;
/// How long news are waited for before all sources are looked through: redis-nexus may have lost some.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// For ever.
pub(crate) async fn run<L: Log + Bridge + Hub>(link: &Link<L>) {
    let mut after = look_through(link).await;
    loop {
        let news = until_answered(|| link.hub.news(after, NEWS_AT_ONCE, LOOK_EVERY)).await;
        if news.is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let news = news.unwrap_or_default();
        let Some(last) = news.last().map(|news| news.at) else {
            after = look_through(link).await;
            continue;
        };
        let mut sources: Vec<Source> = news.into_iter().map(|news| news.source).collect();
        sources.sort_unstable();
        sources.dedup();
        for source in &sources {
            carry(link, source).await;
        }
        after = last;
    }
}

/// Everything there is; answers which news that includes.
async fn look_through<L: Log + Bridge + Hub>(link: &Link<L>) -> FeedId {
    let Some((upto, sources)) = until_answered(|| link.hub.sources()).await else { return FeedId::START };
    for source in &sources {
        carry(link, source).await;
    }
    upto
}

/// One source, until there is nothing more. `None`: it cannot be read.
async fn carry<L: Log + Bridge + Hub>(link: &Link<L>, source: &Source) -> Option<()> {
    let Source { region: from, room } = source;
    if *from == link.region || !link.rooms.contains(room) {
        return Some(());
    }
    let mut place = until_answered(|| link.log.mirrored(room, from)).await?;
    loop {
        let pulled = until_answered(|| link.hub.pull(source, place, MIRROR_ITEMS_MAX)).await?;
        if pulled.rewinds < place.rewinds {
            // Redis-nexus lost that it was rewound; whoever pushes counts on from here.
            let at = until_answered(|| link.hub.pushed(source)).await?.id;
            let (source, rewinds) = (source.clone(), place.rewinds);
            let push = HubPush { source, rewinds, after: at, upto: at, items: Vec::new() };
            until_answered(|| link.hub.push(push.clone())).await?;
            continue;
        }
        if pulled.items.is_empty() && pulled.rewinds == place.rewinds {
            return Some(());
        }
        let last = pulled.items.last().map_or(pulled.after, |(id, _)| *id);
        let items = pulled.items.into_iter().filter_map(|(id, stored)| {
            let read = item::from_region(from, &stored);
            if read.is_none() {
                tracing::error!(%source, %id, "an item is unreadable: it is left out");
            }
            read.map(|(name, body)| MirrorItem { id, name, body })
        });
        let (rewinds, after) = (pulled.rewinds, pulled.after);
        let (room, items) = (room.clone(), items.collect());
        let mirror = Mirror { room, from: from.clone(), rewinds, after, upto: last, items };
        place = until_answered(|| link.log.mirror(mirror.clone())).await?;
    }
}
