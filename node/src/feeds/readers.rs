//! The readers of one feed on this node: what each is told, and what of it fits. Pure but for their channels.
//! A reader is live (told what the relay takes, as it takes it) or behind (its cursor is its own, the log is read for
//! it). Reading and when are the relay's business.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use sectorbus::ids::{EntryId, FeedId};
use sectorbus::limits::FEED_PAGE_ITEMS;
use sectorbus::state::RoomState;

use super::cursor::{Follows, Lost, PagedItem, follows};
use super::{FeedFrom, FeedReport, Item, NewReader, ReaderEnd, ReaderId, Wanted};
use crate::session::outbox::Offered;

/// Rewinds whose losses a reader remembers: as many as may happen while posts are kept.
const REWINDS_REMEMBERED: usize = 8;

/// Items of its pages that a reader remembers: more than may be lost and posted again.
const PAGED_KEPT: usize = 2 * FEED_PAGE_ITEMS;

/// Where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The relay's cursor is not known yet.
    Starting(FeedFrom),
    Live,
    /// `reading`: a page is being read for it; else it is full, or waits for the relay.
    Behind {
        reading: bool,
    },
}

struct Reader {
    new: NewReader,
    standing: Standing,
    /// The last item it was told, or passed over.
    at: FeedId,
    /// What has to be said before anything else, at most one of each kind.
    unsaid: VecDeque<FeedReport>,
    /// What it was told from its last pages, until it is as far as the relay.
    paged: VecDeque<PagedItem>,
    /// A page had nothing for it although the feed goes on.
    page_was_empty: bool,
    /// Redis lost the item at its cursor, and nobody here knows from where on it read what is gone.
    is_astray: bool,
    /// What it was told and Redis lost: items up to this id, of that rewind.
    lost: VecDeque<(Arc<Lost>, FeedId)>,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Yes,
    Full,
    Gone,
}

impl Reader {
    fn new(new: NewReader) -> Self {
        let standing = Standing::Starting(new.from);
        Self {
            new,
            standing,
            at: FeedId::START,
            unsaid: VecDeque::new(),
            paged: VecDeque::new(),
            page_was_empty: false,
            is_astray: false,
            lost: VecDeque::new(),
        }
    }

    fn send(&self, report: FeedReport) -> Told {
        match &self.new.end {
            ReaderEnd::Channel { reports_tx, is_behind } => send_over(reports_tx, is_behind, report),
            ReaderEnd::Connection(listener) => told(listener.offer(&report)),
        }
    }

    /// If there is none, the reader will say when it has taken everything.
    fn has_room(&self) -> bool {
        match &self.new.end {
            ReaderEnd::Channel { reports_tx, is_behind } => {
                if reports_tx.capacity() == 0 {
                    is_behind.store(true, Ordering::SeqCst);
                }
                reports_tx.capacity() > 0
            }
            ReaderEnd::Connection(listener) => listener.has_room(),
        }
    }

    /// It may not read any more.
    fn end(&self) {
        if let ReaderEnd::Connection(listener) = &self.new.end {
            let at = match self.standing {
                Standing::Starting(FeedFrom::Now) => None,
                Standing::Starting(FeedFrom::After(at)) => Some(at),
                Standing::Live | Standing::Behind { .. } => Some(self.at),
            };
            listener.end(at);
        }
    }

    /// Says what was not said yet.
    fn catch_up(&mut self) -> Told {
        while let Some(report) = self.unsaid.front() {
            match self.send(report.clone()) {
                Told::Yes => drop(self.unsaid.pop_front()),
                other => return other,
            }
        }
        Told::Yes
    }

    /// Says something that must not be left out.
    fn say(&mut self, report: FeedReport) -> Told {
        match (self.unsaid.back_mut(), &report) {
            (Some(FeedReport::Rewound { to: earlier, .. }), FeedReport::Rewound { to, .. }) => {
                *earlier = (*earlier).min(*to);
            }
            (Some(FeedReport::Gap { upto: earlier, .. }), FeedReport::Gap { upto, .. }) => *earlier = *upto,
            _ => self.unsaid.push_back(report),
        }
        self.catch_up()
    }

    fn has_had(&self, item: &Item) -> bool {
        self.lost.iter().any(|(lost, upto)| lost.id_of(&item.name).is_some_and(|id| id <= *upto))
    }

    fn tell(&mut self, item: &Arc<Item>) -> Told {
        let told = match self.catch_up() {
            Told::Yes if self.has_had(item) || item.id.ms < self.new.since_ms => self.pass_over(item.id),
            Told::Yes => self.send(FeedReport::Item(item.clone())),
            other => other,
        };
        if told == Told::Yes {
            self.at = item.id;
        }
        told
    }

    /// An item it had before it was lost and posted again.
    fn pass_over(&self, id: FeedId) -> Told {
        match &self.new.end {
            ReaderEnd::Channel { .. } => Told::Yes,
            // Its cursor is the client's own, and may come back by another node, which knows nothing of the loss.
            ReaderEnd::Connection(listener) => told(listener.offer_passed(id)),
        }
    }

    fn fall_behind(&mut self) {
        self.standing = Standing::Behind { reading: false };
    }

    fn start(&mut self, tail: FeedId) -> Told {
        let Standing::Starting(from) = self.standing else { return Told::Yes };
        self.at = match from {
            FeedFrom::Now => tail,
            FeedFrom::After(at) => at,
        };
        self.standing = if self.at == tail { Standing::Live } else { Standing::Behind { reading: false } };
        // If ahead, it comes from a node that saw more than Redis has now.
        self.is_astray = self.at > tail;
        self.say(FeedReport::Started { after: self.at })
    }

    fn rewind(&mut self, to: FeedId, lost: Option<&Arc<Lost>>) -> Told {
        if self.at <= to {
            return Told::Yes;
        }
        if let Some(lost) = lost {
            self.lost.push_back((lost.clone(), self.at));
            self.lost.drain(..self.lost.len().saturating_sub(REWINDS_REMEMBERED));
        }
        self.page_was_empty = false;
        let from = std::mem::replace(&mut self.at, to);
        self.say(FeedReport::Rewound { from, to })
    }
}

fn told(offered: Offered) -> Told {
    match offered {
        Offered::Taken => Told::Yes,
        Offered::Full => Told::Full,
        Offered::Closed => Told::Gone,
    }
}

fn send_over(reports_tx: &mpsc::Sender<FeedReport>, is_behind: &AtomicBool, report: FeedReport) -> Told {
    let report = match reports_tx.try_send(report) {
        Ok(()) => return Told::Yes,
        Err(TrySendError::Closed(_)) => return Told::Gone,
        Err(TrySendError::Full(report)) => report,
    };
    // Marked before the second try: a reader that takes everything in between finds the mark, or there is room.
    is_behind.store(true, Ordering::SeqCst);
    match reports_tx.try_send(report) {
        Ok(()) => Told::Yes,
        Err(TrySendError::Closed(_)) => Told::Gone,
        Err(TrySendError::Full(_)) => Told::Full,
    }
}

/// All readers of a feed here. One whose channel is closed, or that may not read any more, is dropped at once.
#[derive(Default)]
pub struct Readers {
    by_id: BTreeMap<ReaderId, Reader>,
    /// The entry after which rights were asked last.
    asked_at: Option<EntryId>,
    /// Items told, not counted yet.
    told: u64,
}

impl Readers {
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn insert(&mut self, reader: NewReader) {
        // A reader that may not read is found out before it is told anything.
        self.asked_at = None;
        self.by_id.insert(reader.id, Reader::new(reader));
    }

    pub fn remove(&mut self, id: ReaderId) {
        if let Some(Reader { new: NewReader { end: ReaderEnd::Connection(listener), .. }, at, standing, .. }) =
            self.by_id.remove(&id)
            && !matches!(standing, Standing::Starting(_))
        {
            listener.say_ended(at);
        }
    }

    /// The feed cannot be read.
    pub fn end_all(&mut self) {
        std::mem::take(&mut self.by_id).values().for_each(Reader::end);
    }

    /// Items told since this was asked last.
    pub fn take_told(&mut self) -> u64 {
        std::mem::take(&mut self.told)
    }

    /// Drops who may not read any more, as of this entry.
    pub fn ask_rights(&mut self, at: EntryId, state: &RoomState) {
        if self.asked_at == Some(at) {
            return;
        }
        self.asked_at = Some(at);
        self.by_id.retain(|_, reader| {
            let may_read = reader.new.rights.as_ref().is_none_or(|may_read| may_read(state));
            if !may_read {
                reader.end();
            }
            may_read
        });
    }

    /// Readers that have waited for the relay's cursor begin.
    pub fn start(&mut self, tail: FeedId) {
        self.each(|reader, _| reader.start(tail));
    }

    /// The next item of the feed, for those who are live.
    pub fn tell(&mut self, item: &Arc<Item>) {
        self.each_live(|reader, told| {
            let outcome = reader.tell(item);
            *told += u64::from(outcome == Told::Yes);
            outcome
        });
    }

    /// Items are gone. Who is behind finds it out by reading.
    pub fn gap(&mut self, after: FeedId, upto: FeedId) {
        self.each_live(|reader, _| {
            reader.at = upto;
            reader.say(FeedReport::Gap { after, upto })
        });
    }

    pub fn rewind(&mut self, to: FeedId, lost: &Arc<Lost>) {
        self.each(|reader, _| reader.rewind(to, Some(lost)));
    }

    /// A reader has room again.
    pub fn ready(&mut self, id: ReaderId) {
        if let Some(reader) = self.by_id.get_mut(&id) {
            match reader.catch_up() {
                Told::Gone => self.remove(id),
                Told::Yes | Told::Full => {}
            }
        }
    }

    /// Who wants something now: behind, with room, and nothing is being read for it.
    pub fn take_wanting(&mut self, tail: FeedId) -> Vec<(ReaderId, Wanted)> {
        let mut wanting = Vec::new();
        for (id, reader) in &mut self.by_id {
            let waits = reader.standing == Standing::Behind { reading: false };
            if !waits || !reader.unsaid.is_empty() || !reader.has_room() {
                continue;
            }
            if reader.is_astray {
                reader.standing = Standing::Behind { reading: true };
                wanting.push((*id, Wanted::Before(reader.at)));
            } else if reader.at == tail {
                (reader.standing, reader.page_was_empty) = (Standing::Live, false);
            } else if reader.at < tail {
                reader.standing = Standing::Behind { reading: true };
                wanting.push((*id, Wanted::After(reader.at)));
            }
        }
        wanting
    }

    /// A page read for a reader, taken only up to the relay's own cursor: what is after it may have to wait for its
    /// entry. False: the page has nothing for it although the relay is further, so the relay had better look.
    pub fn take_page(&mut self, id: ReaderId, tail: FeedId, items: Vec<(FeedId, FeedId, Option<Arc<Item>>)>) -> bool {
        let Self { by_id, told, .. } = self;
        let Some(reader) = by_id.get_mut(&id) else { return true };
        let begun_at = reader.at;
        let mut outcome = Told::Yes;
        for (item_id, prev, item) in items.into_iter().filter(|(id, ..)| *id <= tail) {
            match follows(reader.at, item_id, prev) {
                Follows::Next | Follows::WaitFor(_) => {}
                Follows::Duplicate => continue,
                Follows::Gap => {
                    let after = std::mem::replace(&mut reader.at, prev);
                    outcome = reader.say(FeedReport::Gap { after, upto: prev });
                }
                // `prev` is in the feed, and so may be items before it that this reader never had.
                Follows::Rewound { .. } => {
                    reader.is_astray = true;
                    break;
                }
            }
            outcome = match (outcome, item) {
                (Told::Yes, Some(item)) => {
                    let outcome = reader.tell(&item);
                    if outcome == Told::Yes {
                        *told += 1;
                        reader.paged.push_back(PagedItem { id: item_id, prev, name: Some(item.name.clone()) });
                    }
                    outcome
                }
                (Told::Yes, None) => {
                    reader.at = item_id;
                    reader.say(FeedReport::Gap { after: prev, upto: item_id })
                }
                (other, _) => other,
            };
            if outcome != Told::Yes {
                break;
            }
        }
        reader.fall_behind();
        reader.paged.drain(..reader.paged.len().saturating_sub(PAGED_KEPT));
        let advanced = reader.at != begun_at || outcome != Told::Yes || reader.is_astray;
        if advanced {
            reader.page_was_empty = false;
        } else if std::mem::replace(&mut reader.page_was_empty, true) {
            // The relay has looked since, and has the tail: what is before it was deleted.
            let after = std::mem::replace(&mut reader.at, tail);
            outcome = reader.say(FeedReport::Gap { after, upto: tail });
        }
        if outcome == Told::Gone {
            self.remove(id);
        }
        advanced
    }

    /// A reader that is astray goes on after `to`.
    pub fn take_back(&mut self, id: ReaderId, to: FeedId) {
        let Some(reader) = self.by_id.get_mut(&id) else { return };
        reader.fall_behind();
        if std::mem::take(&mut reader.is_astray) && reader.rewind(to, None) == Told::Gone {
            self.remove(id);
        }
    }

    /// What this reader was told from its pages, once it is as far as the relay.
    pub fn take_paged(&mut self, id: ReaderId, tail: FeedId) -> Vec<PagedItem> {
        let reader = self.by_id.get_mut(&id).filter(|reader| reader.at == tail);
        reader.map(|reader| std::mem::take(&mut reader.paged).into()).unwrap_or_default()
    }

    /// The page is stale, or cannot be had: another one is wanted.
    pub fn want_again(&mut self, id: ReaderId) {
        if let Some(reader) = self.by_id.get_mut(&id) {
            reader.fall_behind();
        }
    }

    fn each(&mut self, mut tell: impl FnMut(&mut Reader, &mut u64) -> Told) {
        let Self { by_id, told, .. } = self;
        by_id.retain(|_, reader| match tell(reader, told) {
            Told::Yes => true,
            Told::Gone => false,
            Told::Full => {
                if reader.standing == Standing::Live {
                    reader.fall_behind();
                }
                true
            }
        });
    }

    fn each_live(&mut self, mut tell: impl FnMut(&mut Reader, &mut u64) -> Told) {
        self.each(|reader, told| match reader.standing {
            Standing::Live => tell(reader, told),
            Standing::Starting(_) | Standing::Behind { .. } => Told::Yes,
        });
    }
}

#[cfg(test)]
mod tests;
