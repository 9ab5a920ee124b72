//! Rooms this node follows: for its sessions, and for the rooms it owns.
//! In reading order: `replica` (state and recent deltas), `route` (commands waiting for answers), `subscriber`
//! (sessions shown the room), `frames` (state to protocol), `framing` (to an outbox), `task` (the one loop), `catch_up` (staying on the chain), `ownerless` (rooms without an owner),
//! `feed` (the room's other stream), `show` (what sessions see), `beside` (rooms that need no seat), `heads` (silent rooms compared).

pub mod replica;
pub mod route;
pub mod subscriber;

pub mod frames;
pub mod framing;

pub mod task;

pub mod catch_up;
pub mod feed;
pub mod ownerless;
pub mod show;

pub mod beside;

pub mod heads;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use sectorbus::ids::{Incarnation, RoomId};
use sectorbus::log::{Heads, Log, LogEntry};
use sectorbus::metrics::Metrics;

use crate::command::{Command, Notice};
use crate::core::{ConnId, Core, Heard};
use crate::feeds::FeedEvent;
use crate::follow::subscriber::Subscription;

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What reaches the task that follows a room.
#[derive(Debug)]
pub enum FollowEvent {
    Subscribe(Box<Subscription>),
    Unsubscribe {
        conn: ConnId,
    },
    /// The same for a session that goes on and turns to another team's room: its client is told.
    Dismiss {
        conn: ConnId,
    },
    /// Tell when the log has a change of membership.
    Wait(beside::Waiter),
    /// Send this to the owner and keep it until it is answered.
    Route {
        command: Command,
    },
    /// The client asked for a snapshot.
    Resync {
        conn: ConnId,
    },
    /// The socket took all that waited, and state frames had been dropped: time for a snapshot.
    Ready {
        conn: ConnId,
    },
    Notice(Notice),
    Undelivered(Undelivered),
    /// The room was silent; this is what its heads say.
    Heads(Heads),
    /// Members or ring changed.
    ViewChanged,
    /// Entries after a resuming session's cursor, read from the log; `None`: they are not all there.
    Backlog {
        conn: ConnId,
        entries: Option<Vec<LogEntry>>,
    },
    Feed(FeedEvent),
}

/// Mail that did not reach an inbox.
#[derive(Debug, Clone)]
pub enum Undelivered {
    Busy,
    Gone(Incarnation),
}

struct Followed {
    events_tx: mpsc::UnboundedSender<FollowEvent>,
    heard: Arc<Heard>,
    users: usize,
    /// Milliseconds of the node's life when the room was last heard or compared.
    heard_at_ms: Arc<AtomicU64>,
    /// The same of its feed, if somebody reads that.
    feed_heard_at_ms: Arc<AtomicU64>,
}

/// The rooms followed now.
#[derive(Default)]
pub struct Follows {
    rooms: Mutex<BTreeMap<RoomId, Followed>>,
    /// Rooms with commands that wait for an answer.
    unsettled: AtomicUsize,
}

impl Follows {
    /// Follows a room for as long as the guard lives.
    pub fn pin<L: Log>(core: &Arc<Core<L>>, room: &RoomId) -> FollowGuard {
        let mut rooms = core.follows.rooms.lock();
        let followed = rooms.entry(room.clone()).or_insert_with(|| {
            let (events_tx, events_rx) = mpsc::unbounded_channel();
            let (heard, heard_at_ms) = (Arc::new(Heard::default()), Arc::new(AtomicU64::new(core.uptime_ms())));
            let feed_heard_at_ms = Arc::new(AtomicU64::new(feed::UNREAD));
            let start = task::Start {
                core: core.clone(),
                room: room.clone(),
                events_tx: events_tx.clone(),
                events_rx,
                heard: heard.clone(),
                heard_at_ms: heard_at_ms.clone(),
                feed_heard_at_ms: feed_heard_at_ms.clone(),
            };
            core.tasks.spawn("follow", task::run(start));
            Followed { events_tx, heard, users: 0, heard_at_ms, feed_heard_at_ms }
        });
        followed.users += 1;
        let guard = FollowGuard {
            room: room.clone(),
            events_tx: followed.events_tx.clone(),
            heard: followed.heard.clone(),
            unpin: Some(Box::new({
                let core = Arc::downgrade(core);
                let room = room.clone();
                move || {
                    if let Some(core) = core.upgrade() {
                        core.follows.unpin(&room);
                    }
                }
            })),
        };
        core.metrics.rooms_followed.set(rooms.len() as f64);
        guard
    }

    fn unpin(&self, room: &RoomId) {
        if let Some(followed) = self.rooms.lock().get_mut(room) {
            followed.users -= 1;
        }
    }

    /// Ends the following of a room that nobody uses: true if it was removed. Whoever used it has told it all by then:
    /// `is_quiet` is asked when nobody can come back in between.
    fn remove_if_unused(&self, room: &RoomId, is_quiet: impl Fn() -> bool, metrics: &Metrics) -> bool {
        let mut rooms = self.rooms.lock();
        let unused = rooms.get(room).is_some_and(|followed| followed.users == 0) && is_quiet();
        if unused {
            rooms.remove(room);
            metrics.rooms_followed.set(rooms.len() as f64);
        }
        unused
    }

    /// Tells a followed room; nothing happens if it is not followed.
    pub fn tell(&self, room: &RoomId, event: FollowEvent) {
        if let Some(followed) = self.rooms.lock().get(room) {
            let _ = followed.events_tx.send(event);
        }
    }

    pub fn tell_all(&self, event: impl Fn() -> FollowEvent) {
        for followed in self.rooms.lock().values() {
            let _ = followed.events_tx.send(event());
        }
    }

    pub fn is_followed(&self, room: &RoomId) -> bool {
        self.rooms.lock().contains_key(room)
    }

    /// Waits until no command waits for an answer, or the deadline.
    pub async fn settled_before(&self, deadline: Instant) {
        while self.unsettled.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Rooms of which log or feed was not heard since `before_ms` of the node's life.
    fn silent_since(&self, before_ms: u64) -> Vec<RoomId> {
        let rooms = self.rooms.lock();
        let is_silent = |heard_at_ms: &AtomicU64| heard_at_ms.load(Ordering::Relaxed) <= before_ms;
        let silent = rooms.iter().filter(|(_, f)| is_silent(&f.heard_at_ms) || is_silent(&f.feed_heard_at_ms));
        silent.map(|(room, _)| room.clone()).collect()
    }
}

/// Keeps a room followed.
pub struct FollowGuard {
    room: RoomId,
    events_tx: mpsc::UnboundedSender<FollowEvent>,
    heard: Arc<Heard>,
    unpin: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl FollowGuard {
    pub fn room(&self) -> &RoomId {
        &self.room
    }
    pub fn heard(&self) -> Arc<Heard> {
        self.heard.clone()
    }
    pub fn tell(&self, event: FollowEvent) {
        let _ = self.events_tx.send(event);
    }
}

impl Drop for FollowGuard {
    fn drop(&mut self) {
        if let Some(unpin) = self.unpin.take() {
            unpin();
        }
    }
}

impl std::fmt::Debug for FollowGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FollowGuard({})", self.room)
    }
}
