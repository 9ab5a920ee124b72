//! Which feeds a session reads: global, its own, its team's, and that of the sector it is in. Players are put into their rooms here
//! and cannot ask for others; what they ask for is in `topics`.

use std::collections::BTreeMap;
use std::sync::Arc;

use sectorbus::ids::{FeedId, PlayerId, RoomId, SectorId, TeamId, TopicId};
use sectorbus::limits::HISTORY_ITEMS;
use sectorbus::log::Log;
use sectorbus::mailbox::{self, mailbox};
use sectorbus::protocol::Codec;

use super::{Start, Talking};
use crate::core::ConnId;
use crate::feeds::lease::Lease;
use crate::feeds::listener::{Blocked, Ended, ListenerEvent};
use crate::feeds::{FeedEvent, FeedFrom, Item, Listener, NewReader, ReaderEnd, Rights};
use crate::follow::{FollowEvent, FollowGuard, Follows};
use crate::people::teams;
use crate::session::outbox::Outbox;

/// Who says that a session may read a feed.
pub(super) enum MayRead {
    Always,
    AsStateSays(Rights),
    /// The player's team, which the log is asked for.
    AsMember,
}

pub(super) struct Listening {
    conn: ConnId,
    codec: Codec,
    outbox: Arc<Outbox>,
    pub(super) blocked: Arc<Blocked>,
    /// Where the client had got to, of feeds that are not read at the moment.
    pub(super) cursors: BTreeMap<RoomId, FeedId>,
    guards: Vec<FollowGuard>,
    /// For the topics that only members of the player's team may read.
    pub(super) membership: Arc<Lease>,
    events_tx: mailbox::Sender<ListenerEvent>,
    pub(super) events_rx: mailbox::Receiver<ListenerEvent>,
}

impl Listening {
    pub(super) fn new(start: &Start) -> Self {
        let (events_tx, events_rx) = mailbox();
        Self {
            conn: start.conn,
            codec: start.codec,
            outbox: start.outbox.clone(),
            blocked: Arc::default(),
            cursors: start.cursors.clone(),
            guards: Vec::new(),
            membership: Arc::default(),
            events_tx,
            events_rx,
        }
    }

    /// Whose feed is read.
    pub(super) fn team(&self) -> Option<&TeamId> {
        self.guards.iter().find_map(|guard| match guard.room() {
            RoomId::Team(team) => Some(team),
            _ => None,
        })
    }

    /// In no order.
    pub(super) fn topics(&self) -> impl Iterator<Item = &TopicId> {
        self.guards.iter().filter_map(|guard| match guard.room() {
            RoomId::Topic(name) => Some(name),
            _ => None,
        })
    }

    pub(super) fn listens_to(&self, room: &RoomId) -> bool {
        self.guards.iter().any(|guard| guard.room() == room)
    }

    fn listen(&mut self, guard: FollowGuard, from: FeedFrom, since_ms: u64, may_read: MayRead) {
        let (rights, lease) = match may_read {
            MayRead::Always => (None, None),
            MayRead::AsStateSays(rights) => (Some(rights), None),
            MayRead::AsMember => (None, Some(self.membership.clone())),
        };
        let listener = Listener {
            of: guard.room().clone(),
            codec: self.codec,
            outbox: self.outbox.clone(),
            blocked: self.blocked.clone(),
            lease,
            events_tx: self.events_tx.clone(),
        };
        let end = ReaderEnd::Connection(Box::new(listener));
        guard.tell(FollowEvent::Feed(FeedEvent::Subscribe(NewReader { id: self.conn, from, since_ms, rights, end })));
        self.guards.push(guard);
    }

    pub(super) fn leave(&mut self, rooms: impl Fn(&RoomId) -> bool) {
        for guard in self.guards.extract_if(.., |guard| rooms(guard.room())) {
            guard.tell(FollowEvent::Feed(FeedEvent::Unsubscribe(self.conn)));
        }
    }

    /// Its right to read is gone. A sector that the session is shown again begins again where it was: the seat went with a
    /// lost tail. Who comes back into a team hears nothing that was said meanwhile.
    pub(super) fn has_ended(&mut self, ended: Ended) {
        if let Some(at) = ended.at.filter(|_| ended.of.sector().is_some()) {
            self.cursors.insert(ended.of.clone(), at);
        }
        self.guards.retain(|guard| *guard.room() != ended.of);
    }

    pub(super) fn is_ready(&self) {
        for guard in &self.guards {
            guard.tell(FollowEvent::Feed(FeedEvent::Ready(self.conn)));
        }
    }

    pub(super) fn end(&mut self) {
        self.leave(|_| true);
    }
}

impl<L: Log> Talking<L> {
    pub(super) async fn listen_to_all(&mut self) {
        self.listen(RoomId::Global, MayRead::Always);
        let own = RoomId::Player(self.player.clone());
        if !self.listening.cursors.contains_key(&own) {
            let from = self.unread_from(&own).await;
            self.listening.cursors.insert(own.clone(), from);
        }
        self.listen(own, MayRead::Always);
    }

    /// The session sees a sector: its feed is read while the player has a seat there.
    pub(super) fn listen_here(&mut self, sector: SectorId) {
        let room = RoomId::Sector(sector);
        if self.listening.listens_to(&room) {
            return;
        }
        self.listening.leave(|other| matches!(other, RoomId::Sector(_)));
        self.listen(room.clone(), MayRead::AsStateSays(while_seated(self.player.clone())));
        // Where it was in other sectors is the past: who comes back hears what is said from then on.
        self.listening.cursors.retain(|other, _| !matches!(other, RoomId::Sector(_)));
    }

    /// While the roster has the player. A cursor from before the player came in is of no use: what was said meanwhile was
    /// for others.
    pub(super) fn listen_to_team(&mut self, team: Option<(TeamId, u64)>) {
        let since_ms = team.as_ref().map_or(0, |(_, since_ms)| *since_ms);
        let room = team.map(|(team, _)| {
            let room = RoomId::Team(team);
            self.listening.cursors.retain(|of, cursor| *of != room || cursor.ms >= since_ms);
            room
        });
        if let Some(room) = &room
            && self.listening.listens_to(room)
        {
            return;
        }
        self.listening.leave(|other| matches!(other, RoomId::Team(_)));
        if let Some(room) = room {
            let player = self.player.clone();
            let may_read = MayRead::AsStateSays(Arc::new(move |state| teams::may_read(state, &player)));
            self.listen_since(room, since_ms, may_read);
        }
    }

    pub(super) fn listen(&mut self, room: RoomId, may_read: MayRead) {
        self.listen_since(room, 0, may_read);
    }

    fn listen_since(&mut self, room: RoomId, since_ms: u64, may_read: MayRead) {
        let from = self.listening.cursors.remove(&room).map_or(FeedFrom::Now, FeedFrom::After);
        let guard = Follows::pin(&self.core, &room);
        self.listening.listen(guard, from, since_ms, may_read);
    }

    /// A device that never read this player's feed begins before the oldest item that is above the mark of its own channel,
    /// as far as history goes back; after everything, if all is read.
    async fn unread_from(&self, own: &RoomId) -> FeedId {
        let items = self.items_before(own, None, HISTORY_ITEMS).await.unwrap_or_default();
        let oldest_ms = self.oldest_own_ms();
        let kept = items.iter().filter(|item| item.id.ms >= oldest_ms);
        let is_unread = |item: &Item| {
            let Some(said) = item.said().filter(|said| said.author() != Some(&self.player)) else { return false };
            let channel = RoomId::Player(self.peer_of(said));
            let is_wanted = !self.listening.blocked.hides(said) && self.wants_to_know_of(&channel);
            is_wanted && self.ears.marks.get(&channel).is_none_or(|upto| item.id > *upto)
        };
        let oldest_unread = kept.rev().find(|item| is_unread(item));
        let newest = items.first().map(|newest| newest.id).unwrap_or_default();
        oldest_unread.map_or(newest, |oldest| oldest.prev)
    }
}

fn while_seated(player: PlayerId) -> Rights {
    Arc::new(move |state| state.system().seat(&player).is_some())
}
