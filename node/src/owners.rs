//! The rooms this node owns: a mailbox each. Starts the task of a room that is needed and maps to this node.
//! Decides nothing inside a room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use sectorbus::ids::{Incarnation, RoomId};
use sectorbus::limits::INBOX_ITEMS_MAX;
use sectorbus::log::Log;

use crate::command::{Command, Notice};
use crate::core::Core;
use crate::room::task::{self, RoomEvent};

/// Places in a mailbox that commands do not take: what the node itself has to say always fits.
const KEPT_FOR_CONTROL: usize = 64;

/// Mailboxes of owned rooms (and of rooms being claimed).
#[derive(Default)]
pub struct Owners {
    rooms: Mutex<BTreeMap<RoomId, mpsc::Sender<RoomEvent>>>,
    /// Of these, the ones whose claim has no outcome yet.
    claiming: Mutex<BTreeSet<RoomId>>,
}

/// What became of a command for a room.
enum Told {
    Taken,
    Busy,
    /// The room does not run here.
    NotHere(RoomEvent),
}

impl Owners {
    /// Hands a command to the room's task, starting it if the ring maps the room here; else says who to ask.
    pub fn deliver<L: Log>(core: &Arc<Core<L>>, room: &RoomId, from: Incarnation, command: Command) {
        let event = RoomEvent::Command { from: from.clone(), command };
        let event = match core.owners.tell(room, event) {
            Told::Taken => return,
            Told::Busy => return core.send_notice(&from, room, Notice::Busy),
            Told::NotHere(event) => event,
        };
        if room.is_feed_only() || room.is_elsewhere() {
            tracing::warn!(%room, "a command for a room that nobody here may own");
            return;
        }
        if core.maps_to_me(room) {
            Self::start(core, room, Some(event));
        } else {
            let view = core.view();
            let by = view.ring.owner(room).cloned();
            core.send_notice(&from, room, Notice::NotOwner { by, ring: view.ring.version() });
        }
    }

    /// Starts the task of a room that maps to this node, if it does not run.
    pub fn start<L: Log>(core: &Arc<Core<L>>, room: &RoomId, first: Option<RoomEvent>) {
        core.clear_hint(room);
        let mut rooms = core.owners.rooms.lock();
        if let Some(events_tx) = rooms.get(room).filter(|tx| !tx.is_closed()) {
            if let Some(first) = first {
                let _ = events_tx.try_send(first);
            }
            return;
        }
        let (events_tx, events_rx) = mpsc::channel(INBOX_ITEMS_MAX);
        if let Some(first) = first {
            let _ = events_tx.try_send(first);
        }
        rooms.insert(room.clone(), events_tx.clone());
        core.owners.claiming.lock().insert(room.clone());
        core.metrics.rooms_owned.set(rooms.len() as f64);
        core.tasks.spawn("room", task::run(core.clone(), room.clone(), events_tx.downgrade(), events_rx));
    }

    fn tell(&self, room: &RoomId, event: RoomEvent) -> Told {
        let rooms = self.rooms.lock();
        let Some(events_tx) = rooms.get(room) else { return Told::NotHere(event) };
        if events_tx.capacity() <= KEPT_FOR_CONTROL && !events_tx.is_closed() {
            return Told::Busy;
        }
        match events_tx.try_send(event) {
            Ok(()) => Told::Taken,
            Err(mpsc::error::TrySendError::Closed(event)) => Told::NotHere(event),
            Err(mpsc::error::TrySendError::Full(_)) => Told::Busy,
        }
    }

    /// Tells every owned room.
    pub fn tell_all(&self, event: impl Fn() -> RoomEvent) {
        for events_tx in self.rooms.lock().values() {
            let _ = events_tx.try_send(event());
        }
    }

    /// Tells one owned room, if it is.
    pub fn tell_one(&self, room: &RoomId, event: RoomEvent) {
        if let Some(events_tx) = self.rooms.lock().get(room) {
            let _ = events_tx.try_send(event);
        }
    }

    /// The claim has an outcome: the room is owned, or is not to be had.
    pub fn claimed(&self, room: &RoomId) {
        self.claiming.lock().remove(room);
    }

    pub fn is_claiming(&self, room: &RoomId) -> bool {
        self.claiming.lock().contains(room)
    }

    /// Claimed and running.
    pub fn is_owned(&self, room: &RoomId) -> bool {
        self.is_running(room) && !self.is_claiming(room)
    }

    pub fn is_running(&self, room: &RoomId) -> bool {
        self.rooms.lock().get(room).is_some_and(|events_tx| !events_tx.is_closed())
    }

    pub fn owned(&self) -> Vec<RoomId> {
        self.rooms.lock().keys().cloned().collect()
    }

    /// The room's task ends: its mailbox goes, unless another task has taken the place.
    pub fn ended<L: Log>(core: &Core<L>, room: &RoomId, mailbox: &mpsc::WeakSender<RoomEvent>) {
        let mut rooms = core.owners.rooms.lock();
        let mine = mailbox.upgrade();
        if let (Some(current), Some(mine)) = (rooms.get(room), mine)
            && current.same_channel(&mine)
        {
            rooms.remove(room);
        }
        core.metrics.rooms_owned.set(rooms.len() as f64);
    }

    /// Forgets all rooms: this life is over. Their tasks end when their mailboxes close.
    pub fn drop_all(&self) {
        self.rooms.lock().clear();
    }
}
