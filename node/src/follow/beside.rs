//! Rooms that sessions see beside their sector: their team's, `global`. No seat is needed, and nothing in them is a
//! player's own: whoever the room's state admits is shown all of it, and is told when that is over.
//! Also tells those who wait for a change of membership that it is in the log.

use tokio::sync::oneshot;

use sectorbus::ids::{PlayerId, RegionName, RoomId};
use sectorbus::log::Log;
use sectorbus::protocol::{Slot, SnapshotReason};

use crate::core::ConnId;
use crate::follow::frames;
use crate::follow::framing::critical;
use crate::follow::subscriber::{Greeting, Phase, Subscriber, Subscription};
use crate::follow::task::Follow;
use crate::people::rosters::Roster;
use crate::room::team;
use crate::session::SessionEvent;
use crate::session::outbox::{Lane, framed};

/// Why a change of membership is not in the room's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// The team has as many members as it may have.
    Full,
    /// The log has a later one, of this number, and it is the opposite.
    Overtaken { by: u64 },
}

/// What somebody waits for.
#[derive(Debug)]
pub enum Awaited {
    /// This change of membership, or a later one. `inside`: a member afterwards, or not.
    Member { number: u64, inside: bool },
    /// What these regions say, under these numbers or later ones, of who is a member since this change; or who is none after it.
    Far { number: u64, far: Vec<(RegionName, u64)> },
}

/// Somebody waits until the room's log has something of a player.
#[derive(Debug)]
pub struct Waiter {
    pub player: PlayerId,
    pub awaits: Awaited,
    pub done_tx: oneshot::Sender<Result<(), NotTaken>>,
}

impl<L: Log> Follow<L> {
    /// No seat is needed to see it.
    pub(super) fn is_beside(&self) -> bool {
        frames::slot_of(&self.room) != Slot::SECTOR
    }

    /// Only asked of rooms beside the sector.
    fn admits(&self, player: &PlayerId) -> bool {
        let Some(replica) = &self.replica else { return false };
        match &self.room {
            RoomId::Global => true,
            // What everybody in it sees; a team's roster is for its members.
            RoomId::Elsewhere(elsewhere) => !matches!(elsewhere.room(), RoomId::Team(_)),
            _ => team::may_read(replica.state(), player),
        }
    }

    /// A session that asks again was greeted, or waits.
    pub(super) fn admit(&mut self, sub: Subscription) {
        let conn = sub.conn;
        if self.subscribers.get_mut(conn).is_none() {
            self.subscribers.insert(Subscriber { sub, phase: Phase::Waiting });
        }
        self.greet_if_admitted(conn);
    }

    pub(super) fn greet_if_admitted(&mut self, conn: ConnId) {
        let Some(Subscriber { sub, phase: Phase::Waiting }) = self.subscribers.get_mut(conn) else { return };
        let player = sub.player.clone();
        if !self.admits(&player) {
            if self.replica.is_some() {
                self.tell(conn, self.not_admitted(&player));
            }
            return;
        }
        self.greet_beside(conn);
    }

    /// The whole room; from here on the session is live. What tells of a loss is never dropped.
    pub(super) fn greet_beside(&mut self, conn: ConnId) {
        let (Some(replica), Some(subscriber)) = (&self.replica, self.subscribers.get_mut(conn)) else { return };
        if !subscriber.begin() {
            return;
        }
        let Subscriber { sub, .. } = subscriber;
        let reason = match (sub.is_lost(), &sub.greeting) {
            (true, _) => SnapshotReason::Lost,
            (false, Greeting::Snapshot(reason)) => *reason,
            (false, Greeting::Welcome { .. } | Greeting::Moved { .. }) => SnapshotReason::Join,
        };
        let lane = if sub.is_lost() { Lane::Critical } else { Lane::State(sub.slot) };
        sub.set_lost(false);
        sub.greeting = Greeting::Snapshot(SnapshotReason::Gap);
        let frame = framed(lane, sub.codec, &frames::room(replica, sub.slot, &self.room, reason).encode(sub.codec));
        let version = replica.cursor().version;
        // Numbers of another region say nothing here.
        let member = replica.state().system().members().get(&sub.player).filter(|_| !self.log_of.is_elsewhere());
        let presence = member.map_or(0, |member| member.presence);
        Self::hand(&mut self.tally, subscriber, &[frame], version);
        // Each time: what the room lost of the player is told again.
        self.tell(conn, SessionEvent::Admitted { room: self.room.clone(), presence });
    }

    /// A player's membership, or what they are shown as, changed with this entry: before anything that comes after it.
    pub(super) fn member_changed(&mut self, player: &PlayerId) {
        if let Some(replica) = &self.replica {
            self.route.settle_seat(player, replica.state());
        }
        for conn in self.subscribers.conns_of(player) {
            self.check_admitted(conn);
            self.greet_if_admitted(conn);
        }
    }

    /// Who is not admitted any more gets nothing further.
    pub(super) fn check_admitted(&mut self, conn: ConnId) {
        let Some(Subscriber { sub, .. }) = self.subscribers.get_mut(conn) else { return };
        let player = sub.player.clone();
        if self.replica.is_some() && !self.admits(&player) {
            self.say_left(conn);
        }
    }

    /// The session turns to another team.
    pub(super) fn dismiss(&mut self, conn: ConnId) {
        self.say_left(conn);
        self.subscribers.remove(conn);
    }

    fn say_left(&mut self, conn: ConnId) {
        let Some(Subscriber { sub, phase }) = self.subscribers.get_mut(conn) else { return };
        if std::mem::replace(phase, Phase::Waiting) != Phase::Waiting {
            sub.greeting = Greeting::Snapshot(SnapshotReason::Join);
            sub.outbox.send(&[critical(sub, &frames::left(sub.slot, &self.room))]);
            let (player, events_tx) = (sub.player.clone(), sub.events_tx.clone());
            let _ = events_tx.send(self.not_admitted(&player));
        }
    }

    fn not_admitted(&self, player: &PlayerId) -> SessionEvent {
        let members = self.replica.as_ref().map(|replica| replica.state().system().members());
        let number = members.and_then(|members| members.get(player)).map_or(0, |member| member.number);
        let number = (!self.log_of.is_elsewhere()).then_some(number);
        SessionEvent::NotAdmitted { room: self.room.clone(), number }
    }

    pub(super) fn wait_for(&mut self, waiter: Waiter) {
        self.waiters.push(waiter);
        self.tell_waiters();
    }

    pub(super) fn tell_waiters(&mut self) {
        let Some(replica) = self.replica.as_ref().filter(|_| !self.waiters.is_empty()) else { return };
        let members = replica.state().system().members();
        let is_over = |waiter: &mut Waiter| {
            let member = members.get(&waiter.player);
            let is_so = match &waiter.awaits {
                Awaited::Member { number, .. } => member.is_some_and(|member| member.number >= *number),
                // A relay may be behind the change.
                Awaited::Far { number, far } => {
                    member.is_some_and(|member| member.number >= *number && team::has_heard(member, far))
                }
            };
            is_so || waiter.done_tx.is_closed()
        };
        for waiter in self.waiters.extract_if(.., is_over) {
            let opposite = members.get(&waiter.player).filter(|member| match waiter.awaits {
                Awaited::Member { number, inside } => member.number > number && member.alias.is_some() != inside,
                Awaited::Far { .. } => false,
            });
            let _ =
                waiter.done_tx.send(opposite.map_or(Ok(()), |member| Err(NotTaken::Overtaken { by: member.number })));
        }
    }

    pub(super) fn team_is_full_for(&mut self, player: &PlayerId) {
        for waiter in self.waiters.extract_if(.., |waiter| waiter.player == *player) {
            let _ = waiter.done_tx.send(Err(NotTaken::Full));
        }
    }

    /// Other parts of the node ask who is in the team and where.
    pub(super) fn publish_roster(&self) {
        let (RoomId::Team(team), Some(replica)) = (&self.room, &self.replica) else { return };
        let moved =
            self.core.people.rosters.set(team, Roster::of(replica.state(), &self.log_of, &self.core.config.region));
        for player in moved {
            self.core.people.watches.poke(&player);
        }
    }
}
