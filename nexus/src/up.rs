//! Up: what a region's feeds have of their own goes to redis-nexus, under the ids it has there.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use sectorbus::ids::{FeedId, RoomId};
use sectorbus::item;
use sectorbus::limits::MIRROR_ITEMS_MAX;
use sectorbus::log::{Bridge, FeedItem, Hub, HubPush, Log, MirroredUpto, OnceKey, Push, Source};

use crate::link::{Link, until_answered};

/// A publish may be lost: heads are compared this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Before a feed that cannot be read is read again.
const UNREADABLE_AGAIN_AFTER: Duration = Duration::from_secs(5);

pub(crate) async fn run<L: Log + Bridge + Hub>(link: &Link<L>) {
    join_all(link.rooms.iter().map(|room| follow(link, room))).await;
}

/// One room, for ever.
async fn follow<L: Log + Bridge + Hub>(link: &Link<L>, room: &RoomId) {
    let source = Source { region: link.region.clone(), room: room.clone() };
    let mut following = link.log.follow(room);
    loop {
        if carry(link, &source).await.is_none() {
            tokio::time::sleep(UNREADABLE_AGAIN_AFTER).await;
        }
        let look = Instant::now() + LOOK_EVERY;
        loop {
            match tokio::time::timeout_at(look, following.pushes.recv()).await {
                Ok(Some(Push::Feed(_) | Push::Following | Push::Lost)) | Err(_) => break,
                Ok(Some(_)) => {}
                Ok(None) => {
                    following = link.log.follow(room);
                    break;
                }
            }
        }
    }
}

/// Until there is nothing more. `None`: it cannot be read.
async fn carry<L: Log + Bridge + Hub>(link: &Link<L>, source: &Source) -> Option<()> {
    let (log, hub, room) = (&link.log, &link.hub, &source.room);
    let mut place = until_answered(|| hub.pushed(source)).await?;
    loop {
        let page = until_answered(|| log.feed(room, place.id, MIRROR_ITEMS_MAX)).await?;
        let heads = until_answered(|| log.heads(std::slice::from_ref(room))).await?;
        let newest = heads.first().and_then(|heads| heads.feed).unwrap_or_default();
        let prev = page.first().map(|first| first.prev);
        if newest < place.id || prev.is_some_and(|prev| prev < place.id) {
            place = rewind(link, source, place).await?;
            continue;
        }
        if let Some(prev) = prev.filter(|prev| *prev > place.id) {
            tracing::error!(%source, after = %place.id, upto = %prev, "items of a feed were gone before they were mirrored");
        }
        let Some(last) = page.last() else { return Some(()) };
        let (upto, is_last) = (last.id, page.len() < MIRROR_ITEMS_MAX);
        let items: Vec<_> = page.into_iter().filter(is_its_own).map(|item| (item.id, item.body)).collect();
        let push = HubPush { source: source.clone(), rewinds: place.rewinds, after: place.id, upto, items };
        let reached = until_answered(|| hub.push(push.clone())).await?;
        // Somebody else is further: what they read may be another branch.
        let is_overtaken = (reached.rewinds, reached.id) != (push.rewinds, upto);
        place = reached;
        if is_last && !is_overtaken {
            return Some(());
        }
    }
}

/// Only a region's own items go up: no loops.
fn is_its_own(item: &FeedItem) -> bool {
    !matches!(item::decode(&item.body), Some((OnceKey::From { .. }, _)))
}

/// The region has less than was read of it, or something else: goes on after the youngest item that both still have.
async fn rewind<L: Log + Bridge + Hub>(link: &Link<L>, source: &Source, place: MirroredUpto) -> Option<MirroredUpto> {
    let after = youngest_in_both(link, source).await?;
    tracing::warn!(%source, from = %place.id, to = %after, "the region has less of a feed than was mirrored");
    let (rewinds, items) = (place.rewinds + 1, Vec::new());
    let push = HubPush { source: source.clone(), rewinds, after, upto: after, items };
    until_answered(|| link.hub.push(push.clone())).await
}

async fn youngest_in_both<L: Log + Bridge + Hub>(link: &Link<L>, source: &Source) -> Option<FeedId> {
    let (mut here, mut youngest) = (MirroredUpto::default(), FeedId::START);
    here.rewinds = until_answered(|| link.hub.pushed(source)).await?.rewinds;
    loop {
        let pushed = until_answered(|| link.hub.pull(source, here, MIRROR_ITEMS_MAX)).await?;
        let Some((last, _)) = pushed.items.last() else { return Some(youngest) };
        here.id = *last;
        for (id, body) in &pushed.items {
            let before = FeedId { ms: id.ms, n: id.n.saturating_add(1) };
            let there = until_answered(|| link.log.feed_before(&source.room, Some(before), 1)).await?;
            if there.first().is_some_and(|item| item.id == *id && item.body == *body) {
                youngest = *id;
            }
        }
    }
}
