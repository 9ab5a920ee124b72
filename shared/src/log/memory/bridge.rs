//! What a nexus does in a memory region: marks of what has changed, and another region's items in this region's feeds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::delivery::{self, Channel};
use super::trip::MemoryLog;
use crate::ids::{FeedId, RegionName, RoomId};
use crate::limits::{BRIDGE_BEGAN_BACK, BRIDGE_BEGINS_AFTER, BRIDGE_KEPT_FOR};
use crate::log::{Bridge, BridgePlace, Following, LogResult, Mirror, MirroredUpto, Push, Touched};

#[derive(Debug, Clone, Default)]
pub(super) struct BridgeStore {
    /// When a nexus was there last, ms.
    seen_ms: Option<u64>,
    began_ms: u64,
    news: FeedId,
    news_of: String,
    marks: BTreeMap<Touched, u64>,
}

impl BridgeStore {
    /// False: no nexus is there.
    pub(super) fn mark(&mut self, touched: &Touched, now_ms: u64) -> bool {
        let is_bridged = self.seen_ms.is_some_and(|seen_ms| now_ms < seen_ms.saturating_add(kept_ms()));
        if is_bridged {
            self.marks.insert(touched.clone(), now_ms);
        }
        is_bridged
    }

    fn open(&mut self, now_ms: u64, replication_id: String) -> BridgePlace {
        let begins_ms = now_ms.saturating_add(BRIDGE_BEGINS_AFTER.as_millis() as u64);
        if self.seen_ms.is_none() {
            self.began_ms = begins_ms;
        } else if begins_ms < self.began_ms {
            // The clock has stepped back, perhaps just after this was said last.
            self.began_ms = now_ms.saturating_sub(BRIDGE_BEGAN_BACK.as_millis() as u64);
        }
        self.seen_ms = Some(now_ms);
        self.marks.retain(|_, marked_ms| marked_ms.saturating_add(kept_ms()) > now_ms);
        BridgePlace { began_ms: self.began_ms, news: self.news, news_of: self.news_of.clone(), replication_id }
    }

    fn touched(&self, since_ms: u64, count: usize) -> Vec<(Touched, u64)> {
        let since = self.marks.iter().filter(|(_, marked_ms)| **marked_ms >= since_ms);
        let mut since: Vec<_> = since.map(|(touched, marked_ms)| (touched.clone(), *marked_ms)).collect();
        since.sort_by_key(|(_, marked_ms)| *marked_ms);
        since.truncate(count);
        since
    }
}

fn kept_ms() -> u64 {
    BRIDGE_KEPT_FOR.as_millis() as u64
}

impl Bridge for MemoryLog {
    async fn open_bridge(&self) -> LogResult<BridgePlace> {
        self.run(|core| {
            let (now_ms, replication_id) = (core.time_ms(), core.replication_id());
            core.db.bridge.open(now_ms, replication_id)
        })
        .await
    }

    async fn keep_news(&self, place: &BridgePlace) -> LogResult<bool> {
        let place = place.clone();
        self.run(move |core| {
            let is_the_same = core.replication_id() == place.replication_id;
            if is_the_same {
                (core.db.bridge.news, core.db.bridge.news_of) = (place.news, place.news_of);
            }
            is_the_same
        })
        .await
    }

    async fn touched(&self, since_ms: u64, count: usize) -> LogResult<Vec<(Touched, u64)>> {
        self.run(move |core| core.db.bridge.touched(since_ms, count)).await
    }

    fn follow_touched(&self) -> Following {
        delivery::follow(&self.shared, self.id, Channel::Touched)
    }

    async fn mirror(&self, mirror: Mirror) -> LogResult<MirroredUpto> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            let room = core.db.room_mut(&mirror.room);
            let as_of = room.last();
            let (upto, items) = room.feed.mirror(&mirror, as_of, now_ms);
            for item in items {
                core.publish(&mirror.room, Push::Feed(item));
            }
            upto
        })
        .await
    }

    async fn mirrored(&self, room: &RoomId, from: &RegionName) -> LogResult<MirroredUpto> {
        let (room, from) = (room.clone(), from.clone());
        self.run(move |core| core.db.rooms.get(&room).map(|room| room.feed.mirrored(&from)).unwrap_or_default()).await
    }

    async fn server(&self) -> LogResult<String> {
        let name = format!("{:p}", Arc::as_ptr(&self.shared));
        self.run(move |_| name).await
    }
}
