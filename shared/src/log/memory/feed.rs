//! One room's feed and its once keys: many writers, one chain of items, each post once. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::records;
use crate::ids::{EntryId, FeedId, RegionName, RoomId};
use crate::limits::{FEED_ITEMS_KEPT, MIRROR_ITEMS_MAX, ONCE_KEPT_FOR, PLAYER_FEED_KEPT_FOR};
use crate::log::{FeedItem, Mirror, MirroredUpto, OnceKey, Posted};

#[derive(Debug, Clone, Default)]
pub(super) struct Feed {
    items: VecDeque<(FeedId, Bytes)>,
    last: Option<FeedId>,
    once: BTreeMap<OnceKey, FeedId>,
    /// When each once key expires (ms since 1970), oldest first.
    once_expiries: VecDeque<(u64, OnceKey)>,
    /// Up to where feeds of other regions are in this one.
    from: BTreeMap<RegionName, MirroredUpto>,
}

/// How long items of a room are kept; `None`: for ever.
pub(super) fn kept_for(room: &RoomId) -> Option<Duration> {
    matches!(room, RoomId::Player(_)).then_some(PLAYER_FEED_KEPT_FOR)
}

impl Feed {
    pub(super) fn last(&self) -> Option<FeedId> {
        self.last
    }

    /// Answers, and the item to publish if it is new. `as_of` is the head of the room's log.
    pub(super) fn post(
        &mut self,
        once: &OnceKey,
        body: &Bytes,
        as_of: Option<EntryId>,
        kept_for: Option<Duration>,
        time_ms: u64,
    ) -> (Posted, Option<FeedItem>) {
        self.expire_once_keys(time_ms);
        if let Some(id) = self.once.get(once) {
            return (Posted::Already(*id), None);
        }
        let prev = self.last.unwrap_or(FeedId::START);
        let id = next_id(prev, once, time_ms);
        let item = FeedItem { id, prev, as_of, body: body.clone() };
        self.items.push_back((id, records::feed_record(&item)));
        if self.items.len() > FEED_ITEMS_KEPT {
            self.items.pop_front();
        }
        let kept_since_ms = kept_for.map_or(0, |kept| id.ms.saturating_sub(kept.as_millis() as u64));
        while self.items.front().is_some_and(|(oldest, _)| oldest.ms < kept_since_ms) {
            self.items.pop_front();
        }
        self.last = Some(id);
        let kept_ms = u64::try_from(ONCE_KEPT_FOR.as_millis()).unwrap_or(u64::MAX);
        self.once_expiries.push_back((time_ms.saturating_add(kept_ms), once.clone()));
        self.once.insert(once.clone(), id);
        (Posted::New(id), Some(item))
    }

    /// Up to where it is mirrored now, and the items to publish.
    pub(super) fn mirror(
        &mut self,
        mirror: &Mirror,
        as_of: Option<EntryId>,
        time_ms: u64,
    ) -> (MirroredUpto, Vec<FeedItem>) {
        assert!(mirror.items.len() <= MIRROR_ITEMS_MAX, "{} items at once", mirror.items.len());
        let (mut upto, mut posted) = (self.mirrored(&mirror.from), Vec::new());
        let begins = MirroredUpto { rewinds: mirror.rewinds, id: mirror.after };
        let is_rewound = mirror.rewinds > upto.rewinds;
        let goes_on = mirror.rewinds == upto.rewinds && begins <= upto;
        if !(goes_on || is_rewound && mirror.known == upto) {
            return (upto, posted);
        }
        if is_rewound {
            upto = begins;
        }
        for item in &mirror.items {
            let at = MirroredUpto { rewinds: mirror.rewinds, id: item.id };
            if at > upto {
                upto = at;
                posted.extend(self.post(&item.name, &item.body, as_of, None, time_ms).1);
            }
        }
        upto.id = upto.id.max(mirror.upto);
        self.from.insert(mirror.from.clone(), upto);
        (upto, posted)
    }

    pub(super) fn mirrored(&self, from: &RegionName) -> MirroredUpto {
        self.from.get(from).copied().unwrap_or_default()
    }

    fn expire_once_keys(&mut self, time_ms: u64) {
        while self.once_expiries.front().is_some_and(|(expires_ms, _)| *expires_ms <= time_ms) {
            if let Some((_, name)) = self.once_expiries.pop_front() {
                self.once.remove(&name);
            }
        }
    }

    pub(super) fn posted(&self, once: &OnceKey, time_ms: u64) -> Option<FeedId> {
        let is_over = self.once_expiries.iter().any(|(expires_ms, name)| name == once && *expires_ms <= time_ms);
        self.once.get(once).copied().filter(|_| !is_over)
    }

    pub(super) fn items_before(&self, before: Option<FeedId>, count: usize) -> Vec<FeedItem> {
        let wanted = self.items.iter().rev().filter(|(id, _)| before.is_none_or(|before| *id < before)).take(count);
        wanted.map(|(id, record)| records::read_feed_item(*id, record)).collect()
    }

    pub(super) fn items(&self, after: FeedId, count: usize) -> Vec<FeedItem> {
        let from = self.items.partition_point(|(id, _)| *id <= after);
        let wanted = self.items.iter().skip(from).take(count);
        wanted.map(|(id, record)| records::read_feed_item(*id, record)).collect()
    }
}

/// The id of what comes after `last`: later, and given to nothing else. A Redis that lost a tail may have the same time and
/// place again; what else comes there after `last`, or the same after something else, gets another number.
pub(super) fn next_id(last: FeedId, what: impl std::fmt::Display, time_ms: u64) -> FeedId {
    let mark = xxh3_64(format!("{last} {what}").as_bytes()) & 0xff_ffff;
    if time_ms > last.ms { FeedId { ms: time_ms, n: mark } } else { FeedId { ms: last.ms, n: last.n + 1 + mark } }
}

/// As XADD with `*`: the time, or the last id's next if the clock has not moved past it.
pub(super) fn next_stream_id(last: FeedId, time_ms: u64) -> FeedId {
    if time_ms > last.ms { FeedId { ms: time_ms, n: 0 } } else { FeedId { ms: last.ms, n: last.n + 1 } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_later_and_of_what_follows_what_alone() {
        let last = FeedId { ms: 7, n: 5 };
        let ids =
            [next_id(last, "ann:1:1", 9), next_id(last, "ann:1:2", 9), next_id(FeedId { ms: 7, n: 6 }, "ann:1:1", 9)];
        assert!(ids.iter().all(|id| id.ms == 9));
        assert!(ids[0].n != ids[1].n && ids[0].n != ids[2].n, "{ids:?}");
        assert_eq!(ids[0], next_id(last, "ann:1:1", 9));
        // A clock that stands still or is behind.
        for now in [7, 3] {
            let id = next_id(last, "ann:1:1", now);
            assert!(id.ms == 7 && id > last, "{id}");
            assert!(id != next_id(last, "ann:1:2", now));
        }
    }
}
