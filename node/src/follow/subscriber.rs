//! Sessions that are shown a room by its relay. Knows where each stands; frames are made in `frames`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use sectorbus::ids::{ActorId, Generation, Hop, PlayerId, SectorId, SessionId};
use sectorbus::mailbox;
use sectorbus::protocol::{Codec, Slot, SnapshotReason, Welcome};

use crate::core::ConnId;
use crate::follow::replica::Known;
use crate::session::SessionEvent;
use crate::session::outbox::{Framed, Handed, Outbox};

/// A session that wants to be shown a room once it has a seat there.
pub struct Subscription {
    pub conn: ConnId,
    pub player: PlayerId,
    pub session: SessionId,
    pub generation: Generation,
    /// Seats of earlier hops do not count.
    pub hop_min: Hop,
    /// The client's player was seen leaving with this hop: a seat of an earlier one means that this was lost.
    pub told_hop: Hop,
    pub actor: ActorId,
    pub codec: Codec,
    /// In which the client is shown the room.
    pub slot: Slot,
    /// Which of the rooms shown in this slot, counted by the session: a later one ends what this one may send.
    pub visit: u64,
    pub outbox: Arc<Outbox>,
    pub events_tx: mailbox::Sender<SessionEvent>,
    pub greeting: Greeting,
    /// The client saw entries that are gone and was not told yet. One flag for the connection, whichever room tells it.
    pub lost: Arc<AtomicBool>,
}

impl Subscription {
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
    pub fn set_lost(&self, lost: bool) {
        self.lost.store(lost, Ordering::Relaxed);
    }
    /// Hands frames of this visit over; a session whose outbox is closed is told so.
    pub fn send(&self, frames: &[Framed]) -> Handed {
        let handed = self.outbox.send_in(self.slot, self.visit, frames);
        if handed == Handed::Closed {
            let _ = self.events_tx.send(SessionEvent::OutboxClosed);
        }
        handed
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subscription({} conn {})", self.player, self.conn)
    }
}

/// A connection's welcome; taken by the room that says it. A player who moves during the login may be greeted by two
/// rooms: the lock is held until the frames are in the outbox, so that one of them is first.
pub type WelcomeOnce = Arc<Mutex<Option<Box<Welcome>>>>;

/// What the session is sent first.
#[derive(Debug, Clone)]
pub enum Greeting {
    /// `welcome`, then what was missed since the cursor, or a snapshot; a snapshot alone if another room said it.
    Welcome { welcome: WelcomeOnce, known: Option<Known> },
    /// One `moved` frame with the snapshot.
    Moved { from: SectorId },
    /// A snapshot in place: the connection knows the room already.
    Snapshot(SnapshotReason),
}

impl Greeting {
    pub fn welcome(&self) -> Option<WelcomeOnce> {
        match self {
            Greeting::Welcome { welcome, .. } => Some(welcome.clone()),
            Greeting::Moved { .. } | Greeting::Snapshot(_) => None,
        }
    }
}

/// Where a subscriber stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// No seat yet.
    Waiting,
    /// What it missed is being read from the log.
    Fetching { known: Known },
    /// Shown everything up to this version.
    Live { version: u64 },
    /// Too slow: gets acks, and a snapshot when its socket is ready.
    Behind,
}

impl Phase {
    /// The first frames were sent.
    pub fn is_greeted(&self) -> bool {
        matches!(self, Phase::Live { .. } | Phase::Behind)
    }
}

pub struct Subscriber {
    pub sub: Subscription,
    pub phase: Phase,
}

impl Subscriber {
    /// What is sent from here on is of this visit; false: the client is shown a later one.
    pub fn begin(&mut self) -> bool {
        let has_begun = self.sub.outbox.begin_visit(self.sub.slot, self.sub.visit);
        if !has_begun {
            self.phase = Phase::Waiting;
        }
        has_begun
    }

    /// It has a seat that serves `asked` too: greeting it again would say everything twice.
    pub fn covers(&self, asked: &Subscription) -> bool {
        self.phase != Phase::Waiting
            && self.sub.visit == asked.visit
            && self.sub.generation >= asked.generation
            && self.sub.hop_min >= asked.hop_min
    }
}

/// A room's subscribers by connection, and which connections a player has.
#[derive(Default)]
pub struct Subscribers {
    by_conn: BTreeMap<ConnId, Subscriber>,
    by_player: BTreeMap<PlayerId, Vec<ConnId>>,
}

impl Subscribers {
    pub fn is_empty(&self) -> bool {
        self.by_conn.is_empty()
    }
    pub fn len(&self) -> usize {
        self.by_conn.len()
    }
    pub fn insert(&mut self, subscriber: Subscriber) {
        let conn = subscriber.sub.conn;
        self.remove(conn);
        self.by_player.entry(subscriber.sub.player.clone()).or_default().push(conn);
        self.by_conn.insert(conn, subscriber);
    }
    pub fn remove(&mut self, conn: ConnId) -> Option<Subscriber> {
        let gone = self.by_conn.remove(&conn)?;
        if let Some(conns) = self.by_player.get_mut(&gone.sub.player) {
            conns.retain(|other| *other != conn);
            if conns.is_empty() {
                self.by_player.remove(&gone.sub.player);
            }
        }
        Some(gone)
    }
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Subscriber> {
        self.by_conn.get_mut(&conn)
    }
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subscriber> {
        self.by_conn.values_mut()
    }
    pub fn conns(&self) -> Vec<ConnId> {
        self.by_conn.keys().copied().collect()
    }
    pub fn conns_of(&self, player: &PlayerId) -> Vec<ConnId> {
        self.by_player.get(player).cloned().unwrap_or_default()
    }
}
