//! What the tests of feeds share: a reader that remembers all it was told, posts by name, an owner of a test's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sectorbus::ids::{ActorId, EntryId, FeedId, Incarnation, Nonce, PlayerId, RingVersion, RoomId};
use sectorbus::log::{Append, Appended, Claim, Claimed, FeedItem, Log, OnceKey};
use sectorbus::state::{Draft, RoomState};
use sectorbus_node::Node;
use sectorbus_node::feeds::{self, FeedFrom, FeedReader, FeedReport, Item, Rights};
use sectorbus_node::poster::Poster;
use sectorbus_node::room::claim::to_log_parts;
use tokio::time::{Instant, timeout_at};

use crate::support::SOON;

pub(crate) fn player(name: &str) -> PlayerId {
    PlayerId::new(name).expect("a name")
}

pub(crate) fn room(text: &str) -> RoomId {
    text.parse().expect("a room")
}

pub(crate) fn name(writer: &str, seq: u64) -> OnceKey {
    OnceKey::Player { player: player(writer), actor: ActorId(1), seq }
}

/// Posts through a node; the id its answer gave.
pub(crate) async fn post<L: Log>(node: &Node<L>, room: &RoomId, writer: &str, seq: u64) -> FeedId {
    let body = format!("{writer} {seq}");
    Poster::post(node.core(), room, name(writer, seq), body.as_bytes()).await.expect("posted")
}

/// A reader and everything it was told.
pub(crate) struct Seen {
    reader: FeedReader,
    pub(crate) items: Vec<Arc<Item>>,
    /// From and to.
    pub(crate) gaps: Vec<(FeedId, FeedId)>,
    pub(crate) rewinds: Vec<(FeedId, FeedId)>,
    pub(crate) ended: bool,
}

impl Seen {
    /// Begins to read; returns when the reading has begun.
    pub(crate) async fn start<L: Log>(node: &Node<L>, room: &RoomId, from: FeedFrom, capacity: usize) -> Self {
        Self::with_rights(node, room, from, capacity, None).await
    }

    pub(crate) async fn with_rights<L: Log>(
        node: &Node<L>,
        room: &RoomId,
        from: FeedFrom,
        capacity: usize,
        rights: Option<Rights>,
    ) -> Self {
        let mut reader = feeds::follow(node.core(), room, from, rights, capacity);
        let first = tokio::time::timeout(SOON, reader.next()).await.expect("an answer in time");
        assert!(matches!(first, Some(FeedReport::Started { .. })), "{first:?} comes first");
        Self { reader, items: Vec::new(), gaps: Vec::new(), rewinds: Vec::new(), ended: false }
    }

    /// Takes what it is told until `done`.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !done(self) {
            assert!(!self.ended, "the reading ended before: {what}; {self:?}");
            let Ok(report) = timeout_at(deadline, self.reader.next()).await else {
                panic!("not in time: {what}; {self:?}");
            };
            self.take(report);
        }
    }

    pub(crate) async fn until_items(&mut self, count: usize) {
        self.until(&format!("{count} items"), |seen| seen.items.len() >= count).await;
    }

    fn take(&mut self, report: Option<FeedReport>) {
        match report {
            Some(FeedReport::Started { after }) => panic!("started a second time, after {after}"),
            Some(FeedReport::Item(item)) => self.items.push(item),
            Some(FeedReport::Gap { after, upto }) => self.gaps.push((after, upto)),
            Some(FeedReport::Rewound { from, to }) => self.rewinds.push((from, to)),
            None => self.ended = true,
        }
    }

    /// The bodies, in the order they came.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.items.iter().map(|item| String::from_utf8_lossy(&item.body).into_owned()).collect()
    }

    pub(crate) fn ids(&self) -> Vec<FeedId> {
        self.items.iter().map(|item| item.id).collect()
    }

    /// No item came twice.
    pub(crate) fn assert_once(&self) {
        let mut times: BTreeMap<&OnceKey, Vec<FeedId>> = BTreeMap::new();
        for item in &self.items {
            times.entry(&item.name).or_default().push(item.id);
        }
        times.retain(|_, ids| ids.len() > 1);
        assert!(times.is_empty(), "told more than once: {times:?}");
    }

    /// Each writer's items came in the order they were posted.
    pub(crate) fn assert_in_order_of(&self, writer: &str) {
        let mine = self.items.iter().filter_map(|item| match &item.name {
            OnceKey::Player { player, seq, .. } if player.as_str() == writer => Some(*seq),
            _ => None,
        });
        let mine: Vec<u64> = mine.collect();
        assert!(mine.is_sorted(), "{writer}'s order: {mine:?}");
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { gaps, rewinds, ended, .. } = self;
        write!(f, "{} items, gaps {gaps:?}, rewinds {rewinds:?}, ended {ended}; {:?}", self.items.len(), self.bodies())
    }
}

/// The whole feed as the log has it.
pub(crate) async fn stored(log: &impl Log, room: &RoomId) -> Vec<FeedItem> {
    let mut items: Vec<FeedItem> = Vec::new();
    loop {
        let after = items.last().map_or(FeedId::START, |item| item.id);
        let page = log.feed(room, after, 500).await.expect("the log answers");
        if page.is_empty() {
            return items;
        }
        items.extend(page);
    }
}

/// Waits for something of the log or of a node.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An owner that is no node: it writes what a test wants in a room's log, and is gone when the test says so.
pub(crate) struct TestOwner<'l, L: Log> {
    log: &'l L,
    room: RoomId,
    pub(crate) state: RoomState,
    pub(crate) last: EntryId,
}

impl<'l, L: Log> TestOwner<'l, L> {
    /// Claims a room that has no log yet.
    pub(crate) async fn claim(log: &'l L, room: &RoomId) -> Self {
        let incarnation: Incarnation = "dead#5".parse().expect("incarnation");
        let state = RoomState::new();
        let claim = Claim {
            room: room.clone(),
            incarnation: incarnation.clone(),
            ring: RingVersion(1),
            nonce: Nonce { incarnation, counter: 1 },
            jitter: 0,
            may_take: true,
            replication_id: None,
            genesis: to_log_parts(state.to_parts(), true),
        };
        match log.claim(claim).await.expect("the log answers") {
            Claimed::Granted { id, .. } => Self { log, room: room.clone(), state, last: id },
            other => panic!("{other:?}"),
        }
    }

    /// Appends one entry.
    pub(crate) async fn append(&mut self, change: impl FnOnce(&mut Draft<'_>)) -> EntryId {
        let now_ms = self.log.time_ms().await.expect("the log answers");
        let mut draft = Draft::new(&mut self.state, now_ms);
        change(&mut draft);
        let entry: Bytes = draft.finish().encode();
        let id = self.last.following();
        let append = Append { room: self.room.clone(), prev: self.last, id, entry: Some(entry), receipts: None };
        let appended = self.log.append(append).await.expect("the log answers");
        assert!(matches!(appended, Appended::Ok { .. }), "{appended:?}");
        self.last = id;
        id
    }
}
