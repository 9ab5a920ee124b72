//! The relay's reading of its room's feed: takes items in the order of the channel, fills what is missing from the
//! log's side, and hands each on only when the room's own log was read up to its `as_of` (room-log 6 and 10).
//! How an item follows is judged in `feeds::cursor`, what a reader is told in `feeds::readers`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sectorbus::ids::{EntryId, FeedId};
use sectorbus::limits::FEED_PAGE_ITEMS;
use sectorbus::log::{FeedItem, Heads, Log, LogError, LogResult};

use crate::feeds::cursor::{FeedCursor, Follows, Place, is_reached};
use crate::feeds::readers::Readers;
use crate::feeds::{FeedEvent, Item, ReaderId, Wanted, item};
use crate::follow::FollowEvent;
use crate::follow::task::Follow;

const RETRY_AFTER: Duration = Duration::from_millis(50);
/// When a feed that nobody reads was heard: it is never silent.
pub(super) const UNREAD: u64 = u64::MAX;

/// A room's feed while somebody on this node reads it.
pub(super) struct FeedRelay {
    readers: Readers,
    /// `None` until it is known where the feed ends, and while nobody reads.
    cursor: Option<FeedCursor>,
    /// Items of a page that are not taken yet, oldest first.
    waiting: VecDeque<Stored>,
    /// Nothing came after that page when it was read.
    page_was_last: bool,
    /// The log is being read on: items are taken in between, each at its `as_of`.
    merging: bool,
    rewinds: u64,
    pub(super) must_read: bool,
    /// As `Follow::heard_at_ms`: entries that are heard do not tell whether an item's publish was lost.
    heard_at_ms: Arc<AtomicU64>,
}

/// An item as the log has it, decoded once; `None`: unreadable.
struct Stored {
    id: FeedId,
    prev: FeedId,
    as_of: Option<EntryId>,
    item: Option<Arc<Item>>,
}

impl Stored {
    fn new(item: FeedItem) -> Self {
        Self { id: item.id, prev: item.prev, as_of: item.as_of, item: item::read(item) }
    }

    fn judged_by(&self, cursor: &FeedCursor, log: Option<EntryId>) -> Follows {
        let name = self.item.as_ref().map(|item| &item.name);
        cursor.judge(&Place { id: self.id, prev: self.prev, as_of: self.as_of, name }, log)
    }
}

/// How far the waiting items were taken.
enum Took {
    All,
    /// The first of them comes after an entry that was not read.
    UpToEntry,
    /// The page is of another branch: read again.
    Rewound,
}

impl FeedRelay {
    pub(super) fn new(heard_at_ms: Arc<AtomicU64>) -> Self {
        Self {
            readers: Readers::default(),
            cursor: None,
            waiting: VecDeque::new(),
            page_was_last: false,
            merging: false,
            rewinds: 0,
            must_read: false,
            heard_at_ms,
        }
    }

    fn at(&self) -> Option<FeedId> {
        self.cursor.as_ref().map(FeedCursor::at)
    }

    /// No page is in hand: the next one is read.
    fn read_anew(&mut self) {
        self.waiting.clear();
        self.page_was_last = false;
    }
}

impl<L: Log> Follow<L> {
    /// Something was published in the feed.
    pub(super) async fn take_feed_item(&mut self, item: FeedItem) {
        self.hear();
        if self.replica.is_some() && !is_reached(item.as_of, self.log_read_upto()) {
            // The publish of an entry was lost: the channel has the order in which Redis did things.
            self.core.metrics.relay_gaps.increment(1);
            return self.catch_up_both().await;
        }
        let Some(cursor) = &self.feed.cursor else { return };
        let item = Stored::new(item);
        match item.judged_by(cursor, self.log_read_upto()) {
            Follows::Next => {
                self.hear_feed();
                self.deliver(item);
                self.tend_readers();
            }
            Follows::Duplicate => self.hear_feed(),
            Follows::WaitFor(_) | Follows::Rewound { .. } => self.catch_up_feed().await,
            Follows::Gap => {
                self.core.metrics.relay_gaps.increment(1);
                self.catch_up_feed().await;
            }
        }
    }

    pub(super) fn take_feed_event(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Subscribe(reader) => {
                self.feed.readers.insert(reader);
                self.hear_feed();
                self.feed.must_read = true;
            }
            FeedEvent::Unsubscribe(id) => self.feed.readers.remove(id),
            FeedEvent::Ready(id) => self.feed.readers.ready(id),
            FeedEvent::Page { id, rewinds, items } => self.take_page(id, rewinds, items),
            FeedEvent::Back { id, rewinds, to } if rewinds == self.feed.rewinds => self.feed.readers.take_back(id, to),
            FeedEvent::Back { id, .. } => self.feed.readers.want_again(id),
        }
        self.tend_readers();
    }

    /// After a place in the channel was lost, or heads that differ: entries and items that were missed, each item at its
    /// `as_of`.
    pub(super) async fn catch_up_both(&mut self) {
        self.feed.merging = self.feed.cursor.is_some() && !self.feed.readers.is_empty();
        self.feed.read_anew();
        self.catch_up().await;
        self.feed.merging = false;
        self.catch_up_feed().await;
    }

    /// Before the next missed entry is applied: the items that were posted before it.
    pub(super) async fn feed_before_entry(&mut self) -> LogResult<()> {
        while self.feed.merging {
            match self.take_waiting() {
                Took::UpToEntry => return Ok(()),
                Took::All if self.feed.page_was_last => return Ok(()),
                Took::All | Took::Rewound => match self.fetch_page().await {
                    Ok(()) => {}
                    // Of the feed, not of the log that is being read: said when the feed's turn comes.
                    Err(LogError::Corrupt(_)) => self.feed.merging = false,
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// An entry was applied: who may not read any more gets nothing that was posted after it.
    pub(super) fn ask_feed_rights(&mut self) {
        if let Some(replica) = &self.replica {
            self.feed.readers.ask_rights(replica.cursor(), replica.state());
        }
    }

    /// The room's heads, read because log or feed was silent.
    pub(super) fn compare_feed(&mut self, heads: &Heads) {
        let Some(at) = self.feed.at() else {
            if self.room.is_feed_only() {
                // It has no log that could be compared.
                self.hear();
            }
            return;
        };
        if heads.log.is_none() {
            self.hear();
        }
        if heads.feed.unwrap_or_default() == at {
            self.hear_feed();
        } else {
            self.core.metrics.relay_gaps.increment(1);
            self.feed.must_read = true;
        }
    }

    /// Reads what is missing of the feed, until an answer comes.
    pub(super) async fn catch_up_feed(&mut self) {
        self.feed.must_read = false;
        while !self.feed.readers.is_empty() {
            match self.read_feed().await {
                Ok(()) => break,
                Err(LogError::Corrupt(what)) => {
                    tracing::error!(room = %self.room, %what, "the feed cannot be read");
                    self.feed.readers.end_all();
                }
                Err(error) => {
                    tracing::trace!(room = %self.room, %error, "feed not read");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
        self.tend_readers();
    }

    async fn read_feed(&mut self) -> LogResult<()> {
        let heads = self.core.log.heads(std::slice::from_ref(&self.room)).await?;
        let Heads { log, feed, .. } = heads.into_iter().next().unwrap_or_default();
        let has_log = log.is_some() || self.log_of.is_elsewhere();
        if has_log && self.replica.is_none() {
            // Rights are asked of its state.
            self.catch_up().await;
        }
        let tail = feed.unwrap_or_default();
        let cursor = self.feed.cursor.get_or_insert_with(|| FeedCursor::new(tail));
        if tail < cursor.at() {
            let to = cursor.still_there(tail);
            self.rewind_feed(to);
        }
        self.feed.read_anew();
        if !self.read_feed_on(has_log).await? {
            return Ok(());
        }
        self.hear_feed();
        self.ask_feed_rights();
        self.feed.readers.start(self.feed.at().unwrap_or_default());
        Ok(())
    }

    /// Page by page. False: an item has to wait for a log that cannot be read.
    async fn read_feed_on(&mut self, has_log: bool) -> LogResult<bool> {
        loop {
            match self.take_waiting() {
                Took::All if self.feed.page_was_last => return Ok(true),
                Took::All | Took::Rewound => self.fetch_page().await?,
                Took::UpToEntry => {
                    self.catch_up().await;
                    if has_log && self.replica.is_none() {
                        return Ok(false);
                    }
                    // What is not reached now is off the chain, or there is no chain any more.
                    let next = self.feed.waiting.pop_front();
                    next.into_iter().for_each(|item| self.deliver(item));
                }
            }
        }
    }

    /// From the last item taken, itself included: whether it is still that item is seen too.
    async fn fetch_page(&mut self) -> LogResult<()> {
        let after = self.feed.cursor.as_ref().map(FeedCursor::before).unwrap_or_default();
        let page = self.core.log.feed(&self.room, after, FEED_PAGE_ITEMS).await?;
        self.feed.page_was_last = page.len() < FEED_PAGE_ITEMS;
        self.feed.waiting = page.into_iter().map(Stored::new).collect();
        Ok(())
    }

    /// Takes the items of the page in hand, which reaches back to the cursor.
    fn take_waiting(&mut self) -> Took {
        let log = self.log_read_upto();
        while let Some(item) = self.feed.waiting.pop_front() {
            let Some(cursor) = &mut self.feed.cursor else { break };
            match item.judged_by(cursor, log) {
                Follows::Next => self.deliver(item),
                Follows::Duplicate => cursor.find_again(item.id),
                Follows::WaitFor(_) => {
                    self.feed.waiting.push_front(item);
                    return Took::UpToEntry;
                }
                Follows::Gap => {
                    let after = cursor.at();
                    cursor.skip_to(item.prev);
                    tracing::warn!(room = %self.room, %after, upto = %item.prev, "items of a feed are gone");
                    self.core.metrics.feed_gaps.increment(1);
                    self.feed.readers.gap(after, item.prev);
                    self.feed.waiting.push_front(item);
                }
                Follows::Rewound { to } => {
                    self.rewind_feed(to);
                    return Took::Rewound;
                }
            }
        }
        Took::All
    }

    fn deliver(&mut self, stored: Stored) {
        self.ask_feed_rights();
        let Stored { id, prev, item, .. } = stored;
        if let Some(cursor) = &mut self.feed.cursor {
            cursor.take(id, prev, item.as_ref().map(|item| item.name.clone()));
        }
        match item {
            Some(item) => self.feed.readers.tell(&item),
            None => {
                tracing::error!(room = %self.room, %id, "an item of the feed is unreadable");
                self.core.metrics.feed_gaps.increment(1);
                self.feed.readers.gap(prev, id);
            }
        }
    }

    fn rewind_feed(&mut self, to: FeedId) {
        let Some(cursor) = &mut self.feed.cursor else { return };
        tracing::warn!(room = %self.room, from = %cursor.at(), %to, "Redis has less of the feed than was read");
        self.core.metrics.feed_rewinds.increment(1);
        let lost = Arc::new(cursor.rewind(to));
        self.feed.rewinds += 1;
        self.feed.read_anew();
        self.feed.readers.rewind(to, &lost);
        self.core.poster.suspect_loss();
    }

    /// A page that was read for one reader.
    fn take_page(&mut self, id: ReaderId, rewinds: u64, items: Vec<FeedItem>) {
        self.ask_feed_rights();
        let cursor = self.feed.cursor.as_ref().filter(|_| rewinds == self.feed.rewinds);
        let Some(cursor) = cursor else { return self.feed.readers.want_again(id) };
        let tail = cursor.at();
        let items: Vec<_> = items.into_iter().map(|item| (item.id, item.prev, item::read(item))).collect();
        // Read before Redis lost them, and never heard here: the relay was not rewound, and is on another branch.
        let is_known = |(id, _, item): &(FeedId, FeedId, Option<Arc<Item>>)| {
            *id > tail || cursor.may_have_seen(*id, item.as_ref().map(|item| &item.name))
        };
        if !items.iter().all(is_known) {
            self.feed.must_read = true;
            return self.feed.readers.want_again(id);
        }
        if !self.feed.readers.take_page(id, tail, items) {
            self.feed.must_read = true;
        }
        let paged = self.feed.readers.take_paged(id, tail);
        if let Some(cursor) = &mut self.feed.cursor {
            cursor.learn(&paged);
        }
    }

    /// Pages for those who are behind and have room; nothing is kept for a feed that nobody reads.
    fn tend_readers(&mut self) {
        self.core.metrics.feed_items.increment(self.feed.readers.take_told());
        if self.feed.readers.is_empty() {
            self.feed.cursor = None;
            self.feed.waiting.clear();
            self.feed.heard_at_ms.store(UNREAD, Ordering::Relaxed);
        }
        let Some(tail) = self.feed.at().filter(|_| !self.feed.must_read) else { return };
        for (id, wanted) in self.feed.readers.take_wanting(tail) {
            self.fetch_for(id, wanted);
        }
    }

    /// Off the loop.
    fn fetch_for(&self, id: ReaderId, wanted: Wanted) {
        let (core, room, events_tx) = (self.core.clone(), self.room.clone(), self.events_tx.clone());
        let rewinds = self.feed.rewinds;
        self.core.tasks.spawn("feed page", async move {
            let items = loop {
                let read = match wanted {
                    Wanted::After(after) => core.log.feed(&room, after, FEED_PAGE_ITEMS).await,
                    Wanted::Before(before) => core.log.feed_before(&room, Some(before), FEED_PAGE_ITEMS).await,
                };
                match read {
                    Ok(items) => break items,
                    // The relay finds the same and says it.
                    Err(LogError::Corrupt(_)) => break Vec::new(),
                    Err(_) if events_tx.is_closed() => return,
                    Err(_) => tokio::time::sleep(RETRY_AFTER).await,
                }
            };
            let oldest = items.last().map(|oldest| oldest.prev);
            let _ = events_tx.send(FollowEvent::Feed(match wanted {
                Wanted::After(_) => FeedEvent::Page { id, rewinds, items },
                Wanted::Before(_) => FeedEvent::Back { id, rewinds, to: oldest.unwrap_or_default() },
            }));
        });
    }

    fn log_read_upto(&self) -> Option<EntryId> {
        self.replica.as_ref().map(|replica| replica.cursor())
    }

    fn hear_feed(&self) {
        self.feed.heard_at_ms.store(self.core.uptime_ms(), Ordering::Relaxed);
    }
}
