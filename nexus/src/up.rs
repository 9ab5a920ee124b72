//! Up: what a region's feeds have of their own goes to redis-nexus, under the ids it has there. Which feeds have news is
//! heard, and found in the region's marks if that was missed: the cost follows what is said, not how many rooms there are.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sectorbus::ids::{FeedId, RoomId};
use sectorbus::item;
use sectorbus::limits::{MARK_EVERY, MIRROR_ITEMS_MAX};
use sectorbus::log::{
    Bridge, FeedItem, Hub, HubPush, Log, MirroredUpto, Mirrors, OnceKey, Part, Push, PushedUpto, Source, Touched,
};
use sectorbus::metrics::Direction;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use crate::facts::LinkFacts;
use crate::lag::Since;
use crate::link::{Link, counting_retries, until_answered};
use crate::logs_up::{self, Ahead};
use crate::places::Places;
use crate::queue::{Carried, Carriers, Carry};
use crate::rules::{Class, What};

/// How often marks are looked at for what was not heard.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// What was marked this long before the last look may have changed after it.
const SWEEP_BACK: Duration = Duration::from_secs(4);
/// Every so often, and when the region was away, it is looked back further.
const DEEP_EVERY: Duration = Duration::from_secs(60);
pub(crate) const DEEP_BACK: Duration = Duration::from_secs(180);
const MARKS_AT_ONCE: usize = 1_000;
/// Marks may be so much later than the time that was asked for before them; what is later is of before the clock stepped back.
const MARKS_AHEAD_MS: u64 = 60_000;
/// Players are looked at no faster than they are carried.
const PLAYERS_WAITING_MAX: usize = 2_000;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

const _: () = assert!(MARK_EVERY.as_millis() < SWEEP_BACK.as_millis());
const _: () = assert!(DEEP_EVERY.as_millis() < DEEP_BACK.as_millis());

pub(crate) struct Up<'l, L> {
    link: &'l Link<L>,
    /// Earlier if the region's clock has stepped back since.
    began_ms: AtomicU64,
    /// Up to when (ms, the region's) what was marked is carried.
    carriers: Carriers<Touched, u64>,
    /// Where redis-nexus was seen last.
    places: Places<RoomId, PushedUpto>,
    facts: &'l LinkFacts<'l, L>,
    /// Redis-nexus knows nothing of this link yet.
    is_new: AtomicBool,
    logs_ahead: Ahead,
}

impl<'l, L: Log + Bridge + Hub + Mirrors> Up<'l, L> {
    pub(crate) fn new(link: &'l Link<L>, facts: &'l LinkFacts<'l, L>, began_ms: u64, swept_ms: u64) -> Self {
        let (carriers, is_new) = (Carriers::new(swept_ms), AtomicBool::new(swept_ms == 0));
        let (began_ms, places) = (AtomicU64::new(began_ms), Places::default());
        Self { link, began_ms, carriers, places, facts, is_new, logs_ahead: Ahead::default() }
    }

    pub(crate) fn begins(&self, began_ms: u64) {
        self.began_ms.store(began_ms, Ordering::Relaxed);
    }

    /// 0 until everybody was looked at who was there before there was a bridge.
    pub(crate) fn swept_ms(&self) -> u64 {
        if self.is_new.load(Ordering::Relaxed) { 0 } else { self.carriers.reached() }
    }

    /// For ever.
    pub(crate) async fn run(&self) {
        tokio::join!(self.carriers.run(self), self.watch(), self.look_at_players(), self.facts.follow_told(self));
    }

    /// A link of which nothing is known: who was present before is not marked. From when the bridge begins, all changes are.
    async fn look_at_players(&self) {
        if !self.is_new.load(Ordering::Relaxed) {
            return;
        }
        let log = &self.link.log;
        let began_ms = || self.began_ms.load(Ordering::Relaxed);
        while until_answered(|| log.time_ms()).await.is_some_and(|now_ms| now_ms < began_ms()) {
            tokio::time::sleep(SWEEP_EVERY).await;
        }
        let mut cursor = 0;
        while let Some((next, players)) = until_answered(|| log.players(cursor)).await {
            for player in players {
                self.add(Touched { part: Part::Presence, room: RoomId::Player(player) });
            }
            // Others have their turn.
            while self.carriers.len() > PLAYERS_WAITING_MAX {
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        // All of them, and not what others say meanwhile.
        let added = self.carriers.added();
        while !self.carriers.are_carried(added) {
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
        self.is_new.store(false, Ordering::Relaxed);
    }

    async fn watch(&self) {
        let mut following = self.link.log.follow_touched();
        let mut newest_ms = self.sweep(self.swept_ms(), SWEEP_BACK, true).await;
        let (mut sweep, mut deep) = (Instant::now() + SWEEP_EVERY, Instant::now() + DEEP_EVERY);
        loop {
            match tokio::time::timeout_at(sweep, following.pushes.recv()).await {
                Ok(Some(Push::Touched(touched))) => self.add(touched),
                // What was missed is looked for after the next `Following`.
                Ok(Some(Push::Following)) => newest_ms = self.sweep(newest_ms, DEEP_BACK, false).await,
                Ok(Some(_)) => {}
                Ok(None) => following = self.link.log.follow_touched(),
                Err(_) => {
                    let is_deep = Instant::now() >= deep;
                    newest_ms = self.sweep(newest_ms, if is_deep { DEEP_BACK } else { SWEEP_BACK }, false).await;
                    sweep = Instant::now() + SWEEP_EVERY;
                    if is_deep {
                        deep = Instant::now() + DEEP_EVERY;
                    }
                }
            }
        }
    }

    /// Everything that was marked since; answers when the newest was. If the region's clock has stepped back, all is looked at that
    /// was marked since the time that it is again, and then what is marked by that clock. `is_first` of a leader: what was marked by a clock
    /// that stepped back before it came was perhaps never looked at.
    async fn sweep(&self, newest_ms: u64, back: Duration, is_first: bool) -> u64 {
        let Some(now_ms) = until_answered(|| self.link.log.time_ms()).await else { return newest_ms };
        let is_ahead = |ms: u64| ms > now_ms.saturating_add(MARKS_AHEAD_MS);
        let (known_ms, was_ahead) = (newest_ms.min(now_ms), is_first || is_ahead(newest_ms));
        let mut since_ms = known_ms.saturating_sub(u64::try_from(back.as_millis()).unwrap_or(u64::MAX));
        let (mut newest_ms, mut count) = (known_ms, MARKS_AT_ONCE);
        loop {
            let Some(marks) = until_answered(|| self.link.log.touched(since_ms, count)).await else { return newest_ms };
            let last_ms = marks.last().map_or(since_ms, |(_, marked_ms)| *marked_ms);
            let is_last = marks.len() < count || is_ahead(last_ms) && !was_ahead;
            for (touched, marked_ms) in marks {
                if !is_ahead(marked_ms) {
                    newest_ms = newest_ms.max(marked_ms);
                } else if !was_ahead {
                    continue;
                }
                self.add(touched);
            }
            if is_last {
                self.carriers.passes(newest_ms);
                return newest_ms;
            }
            // Of one millisecond there may be more than are asked for at once.
            count = if last_ms == since_ms { count.saturating_mul(2) } else { MARKS_AT_ONCE };
            since_ms = last_ms;
        }
    }

    pub(crate) fn add(&self, touched: Touched) {
        if let Some(class) = self.class_of(&touched) {
            self.carriers.add(touched, class);
        }
    }

    /// `None`: it stays here.
    fn class_of(&self, touched: &Touched) -> Option<Class> {
        match touched.part {
            Part::Feed => self.link.rules.class_up(What::Feeds, Some(&touched.room), &self.link.region),
            Part::Roster => self.link.rules.takes_rosters().then_some(Class::Critical),
            Part::Presence => self.link.rules.class_up(What::Presence, None, &self.link.region),
            Part::Log => self.link.rules.class_up_log(&touched.room, &self.link.region),
        }
    }

    async fn of<T>(&self, what: What, carries: impl Future<Output = T>) -> T {
        counting_retries(self.link.meters.clone(), what, carries).await
    }

    /// A page of a feed. `None`: it cannot be read.
    async fn carry_feed(&self, room: &RoomId) -> Option<Carried> {
        let (log, hub) = (&self.link.log, &self.link.hub);
        let source = Source { region: self.link.region.clone(), room: room.clone() };
        let (place, is_remembered) = match self.places.get(room) {
            Some(place) => (place, true),
            None => (until_answered(|| hub.pushed(&source)).await?, false),
        };
        // What was posted before there was a bridge stays where it is.
        let begins_at = place.upto.id.max(FeedId { ms: self.began_ms.load(Ordering::Relaxed), n: 0 });
        let mut page = until_answered(|| log.feed(room, before(begins_at), MIRROR_ITEMS_MAX + 1)).await?;
        match self.judge(&page, room, place).await? {
            Read::Goes { past } => page.drain(..past),
            Read::Rewound => return self.rewind(&source, place.upto).await,
        };
        page.truncate(MIRROR_ITEMS_MAX);
        let Some((first, last)) = page.first().zip(page.last()) else { return Some(Carried::All) };
        if first.prev > place.upto.id && place.upto.id > FeedId::START {
            if is_remembered {
                // Another leader may have been further meanwhile.
                self.places.forget(room);
                return Some(Carried::Part);
            }
            self.link.report_gap(Direction::Up, &source.to_string(), place.upto.id, first.prev).await;
        }
        let (upto, seal, is_last) = (last.id, seal(&last.body), page.len() < MIRROR_ITEMS_MAX);
        let items: Vec<_> = page.into_iter().filter(is_its_own).map(|item| (item.id, item.body)).collect();
        let MirroredUpto { rewinds, id: after } = place.upto;
        let push = HubPush { source, known: place.upto, rewinds, after, upto, seal, items };
        let (items, oldest_ms) = (push.items.len(), push.items.first().map_or(upto.ms, |(id, _)| id.ms));
        let lag = self.link.sight.lag.waits(Direction::Up, What::Feeds, &push.source, items, Since::Told(oldest_ms));
        let reached = until_answered(|| hub.push(push.clone())).await?;
        drop(lag);
        let bytes = push.items.iter().map(|(_, body)| body.len()).sum();
        self.link.meters.mirrored(Direction::Up, What::Feeds, items, bytes);
        self.places.set(room.clone(), reached);
        // Somebody else is further: what they read may be another branch.
        let is_overtaken = reached.upto != MirroredUpto { rewinds, id: upto };
        Some(if is_last && !is_overtaken { Carried::All } else { Carried::Part })
    }

    /// Whether a page goes on from a place; it was read from the item there.
    async fn judge(&self, page: &[FeedItem], room: &RoomId, place: PushedUpto) -> Option<Read> {
        let at = place.upto.id;
        if at == FeedId::START {
            return Some(Read::Goes { past: 0 });
        }
        Some(match page.first() {
            Some(first) if first.id == at && seal(&first.body) == place.seal => Read::Goes { past: 1 },
            Some(first) if first.id > at && first.prev >= at => Read::Goes { past: 0 },
            Some(_) => Read::Rewound,
            None => {
                // The item at the place may be older than items are kept.
                let heads = until_answered(|| self.link.log.heads(std::slice::from_ref(room))).await?;
                let newest = heads.first().and_then(|heads| heads.feed).unwrap_or_default();
                if newest < at { Read::Rewound } else { Read::Goes { past: 0 } }
            }
        })
    }

    /// The region has less than was read of it, or something else: goes on after the youngest item that both still have.
    async fn rewind(&self, source: &Source, place: MirroredUpto) -> Option<Carried> {
        let (after, seal) = self.youngest_in_both(source).await?;
        tracing::warn!(%source, from = %place.id, to = %after, "the region has less of a feed than was mirrored");
        let (rewinds, items) = (place.rewinds + 1, Vec::new());
        let push = HubPush { source: source.clone(), known: place, rewinds, after, upto: after, seal, items };
        let reached = until_answered(|| self.link.hub.push(push.clone())).await?;
        self.places.set(source.room.clone(), reached);
        Some(Carried::Part)
    }

    /// With its seal.
    async fn youngest_in_both(&self, source: &Source) -> Option<(FeedId, u64)> {
        let (log, hub) = (&self.link.log, &self.link.hub);
        let (mut here, mut youngest) = (MirroredUpto::default(), (FeedId::START, 0));
        here.rewinds = until_answered(|| hub.pushed(source)).await?.upto.rewinds;
        loop {
            let pushed = until_answered(|| hub.pull(source, here, MIRROR_ITEMS_MAX)).await?;
            // What redis-nexus keeps no longer was in both if the last of it was.
            if let Some(prev) = pushed.prev.filter(|prev| here.id == FeedId::START && *prev > here.id) {
                let there = until_answered(|| log.feed(&source.room, before(prev), 1)).await?;
                if let Some(item) = there.first().filter(|item| item.id == prev) {
                    youngest = (item.id, seal(&item.body));
                }
            }
            let Some((last, _)) = pushed.items.last() else { return Some(youngest) };
            let (mut read, upto) = (pushed.items.first().map_or(here.id, |(id, _)| before(*id)), *last);
            here.id = upto;
            while read < upto {
                let there = until_answered(|| log.feed(&source.room, read, MIRROR_ITEMS_MAX)).await?;
                read = there.last().filter(|_| there.len() == MIRROR_ITEMS_MAX).map_or(upto, |item| item.id);
                let is_in_both = |item: &&FeedItem| {
                    let pushed = pushed.items.binary_search_by_key(&item.id, |(id, _)| *id).map(|n| &pushed.items[n].1);
                    pushed.is_ok_and(|body| *body == item.body)
                };
                if let Some(item) = there.iter().rev().find(is_in_both) {
                    youngest = (item.id, seal(&item.body));
                }
            }
        }
    }
}

/// What a page says about the place that it was read from.
enum Read {
    /// Its first items are known.
    Goes {
        past: usize,
    },
    Rewound,
}

/// The largest id below.
fn before(id: FeedId) -> FeedId {
    match id.n.checked_sub(1) {
        Some(n) => FeedId { ms: id.ms, n },
        None => FeedId { ms: id.ms.saturating_sub(1), n: u64::MAX },
    }
}

/// See [`HubPush::seal`]. Items have names, so two of them never have the same bytes.
fn seal(body: &[u8]) -> u64 {
    xxh3_64(body)
}

impl<L: Log + Bridge + Hub + Mirrors> Carry<Touched> for Up<'_, L> {
    async fn carry(&self, what: &Touched) -> Carried {
        let carried = match (what.part, &what.room) {
            (Part::Feed, room) => self.carry_feed(room).await,
            (Part::Presence, RoomId::Player(player)) => self.of(What::Presence, self.facts.tell_presence(player)).await,
            (Part::Log, room) => self.of(What::Logs, logs_up::carry(self.link, room, &self.logs_ahead)).await,
            (Part::Roster, RoomId::Player(player)) => self.of(What::Logs, self.facts.tell_roster(player)).await,
            (Part::Presence | Part::Roster, _) => None,
        };
        // What cannot be read is left until it changes.
        carried.unwrap_or(Carried::All)
    }
}

/// Only a region's own items go up: no loops.
pub(crate) fn is_its_own(item: &FeedItem) -> bool {
    !matches!(item::decode(&item.body), Some((OnceKey::From { .. }, _)))
}
