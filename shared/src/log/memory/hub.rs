//! redis-nexus on a memory region.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::feed::next_id;
use super::trip::MemoryLog;
use crate::ids::FeedId;
use crate::limits::{FEED_ITEMS_KEPT, MIRROR_ITEMS_MAX, NEWS_KEPT};
use crate::log::{Hub, HubPush, LinkPlace, LogResult, MirroredUpto, News, Pulled, PushedUpto, Source};

/// Rewinds of one source that are remembered.
const REWINDS_KEPT: u64 = 16;

#[derive(Debug, Clone, Default)]
pub(super) struct HubStore {
    sources: BTreeMap<Source, Pushed>,
    /// Had an item, ever.
    known: BTreeSet<Source>,
    news: VecDeque<News>,
    last_news: FeedId,
    /// By link: who leads it, until when (ms).
    leaders: BTreeMap<String, (String, u64)>,
    /// By link: up to when it was swept (ms).
    swept: BTreeMap<String, u64>,
    paused: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
struct Pushed {
    upto: MirroredUpto,
    seal: u64,
    /// Each with the id of the one that was pushed before it.
    items: VecDeque<(FeedId, FeedId, Bytes)>,
    last: FeedId,
    /// When there was something new last.
    pushed_ms: u64,
    /// Where each rewind went back to.
    rewound_to: BTreeMap<u64, FeedId>,
}

impl Pushed {
    fn place(&self) -> PushedUpto {
        PushedUpto { upto: self.upto, seal: self.seal }
    }

    fn expire(&mut self, of: &Source, now_ms: u64) {
        if of.kept_for().is_some_and(|kept| now_ms >= self.pushed_ms.saturating_add(kept.as_millis() as u64)) {
            self.items.clear();
        }
    }
}

impl HubStore {
    fn push(&mut self, push: HubPush, time_ms: u64) -> PushedUpto {
        let HubPush { source, known, rewinds, after, upto, seal, items } = push;
        let pushed = self.sources.entry(source.clone()).or_default();
        let is_rewound = rewinds > pushed.upto.rewinds;
        let goes_on = rewinds == pushed.upto.rewinds && after <= pushed.upto.id;
        let removes_nothing = is_rewound && after > pushed.upto.id && items.is_empty();
        if !(goes_on || removes_nothing || is_rewound && known == pushed.upto) {
            return pushed.place();
        }
        let after = after.min(pushed.upto.id);
        pushed.expire(&source, time_ms);
        if is_rewound {
            pushed.items.retain(|(id, ..)| *id <= after);
            if pushed.last > after {
                pushed.last = pushed.items.back().map_or(FeedId::START, |(id, ..)| *id);
            }
            pushed.upto = MirroredUpto { rewinds, id: after };
            pushed.rewound_to.insert(rewinds, after);
            pushed.rewound_to.retain(|rewind, _| *rewind + REWINDS_KEPT > rewinds);
        }
        let before = pushed.items.len();
        let known = pushed.upto.id;
        for (id, body) in items.into_iter().filter(|(id, _)| *id > known) {
            pushed.upto.id = id;
            let prev = std::mem::replace(&mut pushed.last, id);
            pushed.items.push_back((id, prev, body));
        }
        let has_news = is_rewound || pushed.items.len() > before;
        pushed.items.drain(..pushed.items.len().saturating_sub(FEED_ITEMS_KEPT));
        if let Some(kept) = source.kept_for().filter(|_| has_news) {
            let since_ms = pushed.last.ms.saturating_sub(kept.as_millis() as u64);
            pushed.items.retain(|(id, ..)| id.ms >= since_ms);
            pushed.pushed_ms = time_ms;
        }
        if upto >= pushed.upto.id {
            (pushed.upto.id, pushed.seal) = (upto, seal);
        }
        let place = pushed.place();
        if has_news {
            self.known.insert(source.clone());
            let prev = self.last_news;
            self.last_news = next_id(prev, format_args!("{source} {place:?}"), time_ms);
            self.news.push_back(News { at: self.last_news, prev, source });
            self.news.drain(..self.news.len().saturating_sub(NEWS_KEPT));
        }
        place
    }

    fn pull(&mut self, source: &Source, after: MirroredUpto, count: usize, time_ms: u64) -> Pulled {
        let Some(pushed) = self.sources.get_mut(source) else {
            return Pulled { rewinds: 0, after: after.id, prev: None, items: Vec::new() };
        };
        pushed.expire(source, time_ms);
        let rewinds = pushed.upto.rewinds;
        let went_to = |rewind| pushed.rewound_to.get(&rewind).copied().unwrap_or_default();
        let after = (after.rewinds + 1..=rewinds).map(went_to).fold(after.id, FeedId::min);
        let found = || pushed.items.iter().filter(|(id, ..)| *id > after);
        let items = found().take(count).map(|(id, _, body)| (*id, body.clone())).collect();
        let prev = found().next().map(|(_, prev, _)| *prev).or((pushed.last > after).then_some(pushed.last));
        Pulled { rewinds, after, prev, items }
    }

    fn lead(&mut self, link: &str, nexus: &str, until_ms: u64, now_ms: u64) -> bool {
        let leader = self.leaders.get(link).filter(|(_, until_ms)| *until_ms > now_ms);
        let may = leader.is_none_or(|(leader, _)| leader == nexus);
        if may {
            self.leaders.insert(link.to_owned(), (nexus.to_owned(), until_ms));
        }
        may
    }
}

impl Hub for MemoryLog {
    async fn push(&self, push: HubPush) -> LogResult<PushedUpto> {
        assert!(push.items.len() <= MIRROR_ITEMS_MAX, "{} items at once", push.items.len());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let place = core.db.hub.push(push, now_ms);
            core.calls_bell.notify_waiters();
            place
        })
        .await
    }

    async fn pushed(&self, source: &Source) -> LogResult<PushedUpto> {
        let source = source.clone();
        self.run(move |core| core.db.hub.sources.get(&source).map(Pushed::place).unwrap_or_default()).await
    }

    async fn pull(&self, source: &Source, after: MirroredUpto, count: usize) -> LogResult<Pulled> {
        let source = source.clone();
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.hub.pull(&source, after, count, now_ms)
        })
        .await
    }

    async fn news(&self, after: FeedId, count: usize, wait: Duration) -> LogResult<Vec<News>> {
        let deadline = Instant::now() + wait;
        let bell = self.shared.core.lock().calls_bell.clone();
        loop {
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            let news =
                move |hub: &HubStore| hub.news.iter().filter(|news| news.at > after).take(count).cloned().collect();
            let found: Vec<News> = self.run(move |core| news(&core.db.hub)).await?;
            if !found.is_empty() || tokio::time::timeout_at(deadline, rung).await.is_err() {
                return Ok(found);
            }
        }
    }

    async fn sources(&self) -> LogResult<(FeedId, Vec<Source>)> {
        self.run(|core| (core.db.hub.last_news, core.db.hub.known.iter().cloned().collect())).await
    }

    async fn lead(&self, link: &str, nexus: &str, ttl: Duration) -> LogResult<bool> {
        let (link, nexus) = (link.to_owned(), nexus.to_owned());
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.hub.lead(&link, &nexus, now_ms.saturating_add(ttl_ms), now_ms)
        })
        .await
    }

    async fn link_place(&self, link: &str) -> LogResult<LinkPlace> {
        let link = link.to_owned();
        self.run(move |core| {
            let swept_ms = core.db.hub.swept.get(&link).copied().unwrap_or(0);
            LinkPlace { swept_ms, replication_id: core.replication_id() }
        })
        .await
    }

    async fn keep_swept(&self, link: &str, place: &LinkPlace) -> LogResult<bool> {
        let (link, place) = (link.to_owned(), place.clone());
        self.run(move |core| {
            let is_the_same = core.replication_id() == place.replication_id;
            if is_the_same {
                core.db.hub.swept.insert(link, place.swept_ms);
            }
            is_the_same
        })
        .await
    }

    async fn resign(&self, link: &str, nexus: &str) -> LogResult<()> {
        self.lead(link, nexus, Duration::ZERO).await.map(drop)
    }

    async fn leader(&self, link: &str) -> LogResult<Option<String>> {
        let link = link.to_owned();
        self.run(move |core| {
            let now_ms = core.time_ms();
            let leader = core.db.hub.leaders.get(&link).filter(|(_, until_ms)| *until_ms > now_ms);
            leader.map(|(leader, _)| leader.clone())
        })
        .await
    }

    async fn pause(&self, link: &str, paused: bool) -> LogResult<()> {
        let link = link.to_owned();
        self.run(move |core| {
            if paused {
                core.db.hub.paused.insert(link);
            } else {
                core.db.hub.paused.remove(&link);
            }
        })
        .await
    }

    async fn paused(&self) -> LogResult<Vec<String>> {
        self.run(|core| core.db.hub.paused.iter().cloned().collect()).await
    }
}
