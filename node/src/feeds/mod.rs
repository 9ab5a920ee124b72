//! Feeds as this node reads them. [`follow`] is the door: a reader gets items, gaps and rewinds through a bounded
//! channel and has a cursor of its own; one that falls behind reads on from the log when it has room again. Connections
//! read the same way, into their outboxes (`listener`), some under a permission that has to be renewed (`lease`).
//! `item` (what is in one), `cursor` and `readers` (pure judgement) are used by the room's relay (`follow::feed`).

pub mod item;

pub mod lease;
pub mod listener;

pub mod cursor;
pub mod readers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use sectorbus::ids::{FeedId, RoomId};
use sectorbus::log::{FeedItem, Log};
use sectorbus::state::RoomState;

use crate::core::Core;
use crate::follow::{FollowEvent, FollowGuard, Follows};

pub use item::Item;
pub use listener::Listener;

/// Names one reader on its node.
pub type ReaderId = u64;

/// What a reader is told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedReport {
    /// Said first: what comes after this item follows. With [`FeedFrom::Now`], what was before it is history.
    Started { after: FeedId },
    /// Each item once, in the feed's order.
    Item(Arc<Item>),
    /// The items after `after` up to `upto` are gone: past retention, or unreadable.
    Gap { after: FeedId, upto: FeedId },
    /// Redis lost the items after `to`. Those this reader had are not told again when they are posted again; what
    /// follows `to` comes next.
    Rewound { from: FeedId, to: FeedId },
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedFrom {
    Now,
    /// After the item that it had last, here or on another node; `FeedId::START`: from the oldest that is kept.
    After(FeedId),
}

/// Asked of the room's state after every entry: a reader that may not read any more gets nothing that was posted since,
/// and is ended for good. Not asked in a room without a log.
pub type Rights = Arc<dyn Fn(&RoomState) -> bool + Send + Sync>;

/// A reader as its room's relay gets it.
pub struct NewReader {
    pub id: ReaderId,
    pub from: FeedFrom,
    /// What was posted before then is not for it, even where the feed is rewound further.
    pub since_ms: u64,
    pub rights: Option<Rights>,
    pub end: ReaderEnd,
}

/// Who reads.
pub enum ReaderEnd {
    /// A task of this node.
    Channel {
        reports_tx: mpsc::Sender<FeedReport>,
        /// There is more than fitted: the reader says when it has taken everything.
        is_behind: Arc<AtomicBool>,
    },
    /// A connection: told in frames, straight into its outbox.
    Connection(Box<Listener>),
}

/// What reaches a relay about its feed.
pub enum FeedEvent {
    Subscribe(NewReader),
    Unsubscribe(ReaderId),
    /// A reader that was behind has room.
    Ready(ReaderId),
    /// Items after a reader's cursor, read while the feed had been rewound `rewinds` times.
    Page {
        id: ReaderId,
        rewinds: u64,
        items: Vec<FeedItem>,
    },
    /// For a reader whose cursor is not in the feed (any more): the item after this one is some way before it.
    Back {
        id: ReaderId,
        rewinds: u64,
        to: FeedId,
    },
}

/// What is to be read for a reader that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The items after its cursor.
    After(FeedId),
    /// A place before its cursor, which is not in the feed.
    Before(FeedId),
}

impl std::fmt::Debug for FeedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FeedEvent::Subscribe(reader) => write!(f, "Subscribe({} from {:?})", reader.id, reader.from),
            FeedEvent::Unsubscribe(id) => write!(f, "Unsubscribe({id})"),
            FeedEvent::Ready(id) => write!(f, "Ready({id})"),
            FeedEvent::Page { id, items, .. } => write!(f, "Page({id}, {} items)", items.len()),
            FeedEvent::Back { id, to, .. } => write!(f, "Back({id}, to {to})"),
        }
    }
}

/// Follows a room's feed. At most `capacity` reports wait for the reader; how far it is behind costs the node nothing.
pub fn follow<L: Log>(
    core: &Arc<Core<L>>,
    room: &RoomId,
    from: FeedFrom,
    rights: Option<Rights>,
    capacity: usize,
) -> FeedReader {
    let guard = Follows::pin(core, room);
    let (reports_tx, reports_rx) = mpsc::channel(capacity.max(1));
    let (id, is_behind) = (core.next_conn_id(), Arc::new(AtomicBool::new(false)));
    let end = ReaderEnd::Channel { reports_tx, is_behind: is_behind.clone() };
    let reader = NewReader { id, from, since_ms: 0, rights, end };
    guard.tell(FollowEvent::Feed(FeedEvent::Subscribe(reader)));
    FeedReader { id, reports_rx, is_behind, guard }
}

/// The reader's end. Dropping it ends the reading.
#[derive(Debug)]
pub struct FeedReader {
    id: ReaderId,
    reports_rx: mpsc::Receiver<FeedReport>,
    is_behind: Arc<AtomicBool>,
    guard: FollowGuard,
}

impl FeedReader {
    /// The next report. `None`: it may not read any more, the feed cannot be read, or the node has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<FeedReport> {
        if let Ok(report) = self.reports_rx.try_recv() {
            return Some(report);
        }
        if self.is_behind.swap(false, Ordering::SeqCst) {
            self.guard.tell(FollowEvent::Feed(FeedEvent::Ready(self.id)));
        }
        self.reports_rx.recv().await
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        self.guard.tell(FollowEvent::Feed(FeedEvent::Unsubscribe(self.id)));
    }
}
