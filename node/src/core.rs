//! What the tasks of one node share: the log, the ring as last read, the rooms owned and followed, and the way to
//! send a command to whoever owns a room. Decides nothing about rooms or sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use sectorbus::ids::{EntryId, Incarnation, Nonce, PlayerId, RingVersion, RoomId};
use sectorbus::limits::GONE_KEPT_FOR;
use sectorbus::log::Log;
use sectorbus::mailbox;
use sectorbus::metrics::Metrics;
use sectorbus::ring::Ring;
use sectorbus::rules::Rules;

use crate::changes::{Changes, Watcher};
use crate::clock::{Dice, RegionClock};
use crate::command::{Command, Mail, Notice};
use crate::config::NodeConfig;
use crate::courier::Couriers;
use crate::door::Desk;
use crate::edge::Edge;
use crate::follow::{FollowEvent, Follows};
use crate::jumps::Beyonds;
use crate::owners::Owners;
use crate::people::People;
use crate::poster::Poster;
use crate::revocations::Revocations;
use crate::session::SessionEvent;
use crate::tasks::Tasks;

/// The members and the ring, as the last beat read them. Swapped in whole.
#[derive(Debug, Clone)]
pub struct View {
    pub ring: Arc<Ring>,
    /// All living members, draining ones included.
    pub members: BTreeSet<Incarnation>,
    pub gone: BTreeMap<Incarnation, u64>,
    /// Until then nobody takes rooms from another: Redis was away or is another one.
    pub calm_until: Option<Instant>,
    pub replication_id: String,
}

impl View {
    pub fn is_calm(&self) -> bool {
        self.calm_until.is_some_and(|until| Instant::now() < until)
    }
}

/// One connection of one session on this node, while it lives.
pub type ConnId = u64;

pub struct Core<L: Log> {
    pub config: NodeConfig,
    pub log: Arc<L>,
    pub metrics: Metrics,
    pub rules: Arc<Rules>,
    pub clock: RegionClock,
    pub dice: Dice,
    pub tasks: Tasks,
    pub owners: Owners,
    pub follows: Follows,
    pub couriers: Couriers,
    pub poster: Poster,
    pub people: People,
    pub revocations: Revocations,
    pub beyonds: Beyonds,
    pub edge: Edge,
    pub desk: Desk,
    incarnation: ArcSwap<Incarnation>,
    view: ArcSwap<View>,
    view_changes: Changes,
    /// Who a room's owner is, where it differs from the ring: from `not_owner`, until a newer claim or until they leave.
    hints: Mutex<BTreeMap<RoomId, Incarnation>>,
    sessions: Mutex<BTreeMap<ConnId, (PlayerId, mailbox::Sender<SessionEvent>)>>,
    /// The next beat is due at once.
    pub beat_now: Notify,
    /// Lives of this node that were joined.
    pub lives: AtomicU64,
    draining: AtomicBool,
    started: Instant,
    ring_above: AtomicU64,
    nonces: AtomicU64,
    conn_ids: AtomicU64,
}

/// What a node starts with.
pub struct Parts<L: Log> {
    pub config: NodeConfig,
    pub log: Arc<L>,
    pub metrics: Metrics,
    pub rules: Arc<Rules>,
    pub incarnation: Incarnation,
    pub time_ms: u64,
    pub seed: u64,
    pub tasks: Tasks,
}

impl<L: Log> Core<L> {
    pub fn new(parts: Parts<L>) -> Arc<Self> {
        let view = View {
            ring: Arc::new(Ring::empty()),
            members: BTreeSet::new(),
            gone: BTreeMap::new(),
            calm_until: None,
            replication_id: String::new(),
        };
        Arc::new(Self {
            edge: Edge::new(&parts.config, &parts.metrics),
            desk: Desk::new(&parts.config),
            config: parts.config,
            log: parts.log,
            metrics: parts.metrics,
            rules: parts.rules,
            clock: RegionClock::new(parts.time_ms),
            dice: Dice::new(parts.seed),
            tasks: parts.tasks,
            owners: Owners::default(),
            follows: Follows::default(),
            couriers: Couriers::default(),
            poster: Poster::default(),
            people: People::default(),
            revocations: Revocations::default(),
            beyonds: Beyonds::default(),
            incarnation: ArcSwap::from_pointee(parts.incarnation),
            view: ArcSwap::from_pointee(view),
            view_changes: Changes::default(),
            hints: Mutex::default(),
            sessions: Mutex::default(),
            beat_now: Notify::new(),
            lives: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            started: Instant::now(),
            ring_above: AtomicU64::new(0),
            nonces: AtomicU64::new(0),
            conn_ids: AtomicU64::new(0),
        })
    }

    /// Since the node started, by its own monotonic clock.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn uptime_ms(&self) -> u64 {
        u64::try_from(self.uptime().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Out of the ring with the next beat, which is due at once.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.beat_now.notify_one();
    }

    pub fn me(&self) -> Incarnation {
        self.incarnation.load().as_ref().clone()
    }

    pub fn set_incarnation(&self, incarnation: Incarnation) {
        self.incarnation.store(Arc::new(incarnation));
    }

    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Swaps the view in and tells whoever waits for a change.
    pub fn set_view(&self, view: View) {
        let members = view.members.clone();
        self.hints.lock().retain(|_, owner| members.contains(owner));
        self.view.store(Arc::new(view));
        self.view_changes.happened();
    }

    /// Changes whenever the view does.
    pub fn watch_view(&self) -> Watcher {
        self.view_changes.watcher()
    }

    pub fn next_nonce(&self) -> Nonce {
        Nonce { incarnation: self.me(), counter: self.nonces.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    pub fn next_conn_id(&self) -> ConnId {
        self.conn_ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A head named a ring version above ours: the next beat raises the ring above it.
    pub fn raise_ring_above(&self, ring: RingVersion) {
        self.ring_above.fetch_max(ring.0, Ordering::Relaxed);
        self.beat_now.notify_one();
    }

    pub fn ring_above(&self) -> Option<RingVersion> {
        let above = self.ring_above.load(Ordering::Relaxed);
        let mine = self.view.load().ring.version();
        (above > 0 && above >= mine.0).then_some(RingVersion(above))
    }

    /// Where commands for a room go now; `None` while the ring is empty, and for rooms of other regions.
    pub fn target(&self, room: &RoomId) -> Option<Incarnation> {
        if room.is_elsewhere() {
            return None;
        }
        if self.owners.is_running(room) {
            return Some(self.me());
        }
        if let Some(hint) = self.hints.lock().get(room) {
            return Some(hint.clone());
        }
        let owner = self.view.load().ring.owner(room).cloned();
        // The last node of a ring that drains still serves what it owns.
        owner.or_else(|| self.owners.is_running(room).then(|| self.me()))
    }

    /// The ring maps the room to this life of this node.
    pub fn maps_to_me(&self, room: &RoomId) -> bool {
        let me = self.incarnation.load();
        !room.is_elsewhere() && self.view.load().ring.owner(room) == Some(me.as_ref())
    }

    pub fn set_hint(&self, room: &RoomId, owner: Incarnation) {
        if self.view.load().members.contains(&owner) {
            self.hints.lock().insert(room.clone(), owner);
        }
    }

    pub fn clear_hint(&self, room: &RoomId) {
        self.hints.lock().remove(room);
    }

    /// Sends a command towards the owner: the local mailbox or the owner's inbox. Whoever needs an answer sends
    /// again; nothing is kept here. False when there is nobody to send to.
    pub fn deliver(self: &Arc<Self>, room: &RoomId, command: Command) -> bool {
        let Some(target) = self.target(room) else { return false };
        self.deliver_to(&target, room, command);
        true
    }

    pub fn deliver_to(self: &Arc<Self>, target: &Incarnation, room: &RoomId, command: Command) {
        let me = self.me();
        if *target == me {
            self.take_command(room, me, command);
        } else {
            let mail = Mail::Command { room: room.clone(), from: me, command };
            self.couriers.send(self, target, room.clone(), mail.encode());
        }
    }

    /// A command for a room this node should own.
    pub fn take_command(self: &Arc<Self>, room: &RoomId, from: Incarnation, command: Command) {
        Owners::deliver(self, room, from, command);
    }

    pub fn send_notice(self: &Arc<Self>, to: &Incarnation, room: &RoomId, notice: Notice) {
        if *to == self.me() {
            self.take_notice(room, notice);
        } else {
            let mail = Mail::Notice { room: room.clone(), notice };
            self.couriers.send(self, to, room.clone(), mail.encode());
        }
    }

    pub fn take_notice(&self, room: &RoomId, notice: Notice) {
        self.desk.take_notice(room, &notice);
        match &notice {
            Notice::NotOwner { by: Some(by), .. } if *by != self.me() => self.set_hint(room, by.clone()),
            // Whoever a hint named does not own it: the ring says whom to ask.
            Notice::NotOwner { .. } => self.clear_hint(room),
            Notice::WrongEpoch { .. } | Notice::Busy => {}
            Notice::Edited { .. } => return,
        }
        self.follows.tell(room, FollowEvent::Notice(notice));
    }

    pub fn register_session(&self, conn: ConnId, player: PlayerId, events: mailbox::Sender<SessionEvent>) {
        self.sessions.lock().insert(conn, (player, events));
    }

    pub fn unregister_session(&self, conn: ConnId) {
        self.sessions.lock().remove(&conn);
    }

    pub fn sessions(&self) -> Vec<mailbox::Sender<SessionEvent>> {
        self.sessions.lock().values().map(|(_, events)| events.clone()).collect()
    }

    /// On this node.
    pub fn sessions_of(&self, player: &PlayerId) -> Vec<mailbox::Sender<SessionEvent>> {
        let sessions = self.sessions.lock();
        sessions.values().filter(|(of, _)| of == player).map(|(_, events)| events.clone()).collect()
    }

    pub fn session_count(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Players with a session on this node, each once.
    pub fn player_count(&self) -> u64 {
        let sessions = self.sessions.lock();
        sessions.values().map(|(player, _)| player).collect::<BTreeSet<_>>().len() as u64
    }

    /// What this node knows: the incarnation is gone, or was so long ago that nobody remembers.
    pub fn is_dead(&self, incarnation: &Incarnation) -> bool {
        let view = self.view.load();
        let forgotten_ms = self.clock.now_ms().saturating_sub(GONE_KEPT_FOR.as_millis() as u64);
        view.gone.contains_key(incarnation)
            || (!view.members.contains(incarnation) && incarnation.joined_ms() < forgotten_ms)
    }
}

/// Last entry a follower of the room has heard, for the owner that waits for its own.
#[derive(Debug, Default)]
pub struct Heard(Mutex<EntryId>);

impl Heard {
    pub fn set(&self, id: EntryId) {
        *self.0.lock() = id;
    }
    pub fn get(&self) -> EntryId {
        *self.0.lock()
    }
}
