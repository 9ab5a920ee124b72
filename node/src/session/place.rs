//! Which room has the player: subscribes there and asks for a seat, follows departures, and searches when nobody
//! admits to having them (room-log 8). Shows the client nothing: the room's relay does.

use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::{Hop, RoomId, SectorId};
use sectorbus::limits::LOGIN_UNCHANGED_AFTER;
use sectorbus::log::{At, Log};
use sectorbus::protocol::{CloseCode, Slot, SnapshotReason};
use sectorbus::rules;

use crate::command::Command;
use crate::follow::subscriber::{Greeting, Subscription};
use crate::follow::{FollowEvent, FollowGuard, Follows};
use crate::session::edges::End;
use crate::session::task::Session;

/// A player on the way in is there within milliseconds: the first looks come quickly.
const QUICK_LOOKS: usize = 5;
/// How long one room is asked before the next is.
const ASK_FOR: Duration = Duration::from_millis(300);
const FULL_ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A player whom the region has forgotten and nobody has claimed by then.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5);

/// Where the session stands with its room.
pub struct Place {
    pub guard: FollowGuard,
    pub sector: SectorId,
    /// The relay has greeted this connection.
    pub live: bool,
    /// Since when no room has been live.
    seeking_since: Instant,
    /// When to look again, while not live.
    look_at: Instant,
    /// Rooms asked in this search.
    asked: usize,
    /// Rooms around `at` asked in this search.
    neighbour: usize,
    /// What `at` said when the search began.
    at: SectorId,
    /// The hop of the last departure that was followed.
    followed: Hop,
    /// The player has no record yet: the arrival is announced until it is seen.
    pub is_new: bool,
    /// The room said that it has no place: that it does not have the player is no news before it is asked again.
    full: bool,
}

impl Place {
    pub(super) fn followed(&self) -> Hop {
        self.followed
    }
}

impl<L: Log> Session<L> {
    /// First room of this connection.
    pub(super) fn enter(&mut self, sector: SectorId, hop: Hop) {
        let now = Instant::now();
        self.visits += 1;
        let guard = Follows::pin(&self.core, &RoomId::Sector(sector.clone()));
        self.place = Some(Place {
            guard,
            at: sector.clone(),
            sector,
            live: false,
            seeking_since: now,
            look_at: now + ASK_FOR,
            asked: 0,
            neighbour: 0,
            followed: Hop(0),
            is_new: hop == Hop(0) && !self.may_be_beyond(),
            full: false,
        });
        self.subscribe(Hop(0));
        self.announce_new_player();
        self.join();
    }

    /// What this room begins with: a welcome until one was sent, then whatever brings the client from what it shows.
    fn greeting(&self, sector: &SectorId) -> Greeting {
        if let Some(welcome) = &self.welcome {
            let known = self.known.as_ref().filter(|(at, _)| at == sector).map(|(_, known)| *known);
            return Greeting::Welcome { welcome: welcome.clone(), known };
        }
        match &self.shown {
            Some(shown) if shown != sector => Greeting::Moved { from: shown.clone() },
            _ => Greeting::Snapshot(SnapshotReason::Gap),
        }
    }

    /// The player was seen by this session: if `at` does not know them any more, it lost them. Another region may have sent them here,
    /// and they are not made anew: who has them says so soon, or all regions are asked after the next `hello`.
    fn may_be_beyond(&self) -> bool {
        self.shown.is_some() && self.core.beyonds.is_bridged()
    }

    fn subscribe(&mut self, hop_min: Hop) {
        let Some(place) = &self.place else { return };
        let greeting = self.greeting(&place.sector);
        place.guard.tell(FollowEvent::Subscribe(Box::new(Subscription {
            conn: self.conn,
            player: self.speaker.player.clone(),
            session: self.speaker.session.clone(),
            generation: self.speaker.generation,
            hop_min,
            told_hop: place.followed,
            actor: self.actor,
            codec: self.codec,
            slot: Slot::SECTOR,
            visit: self.visits,
            outbox: self.outbox.clone(),
            events_tx: self.events_tx.clone(),
            greeting,
            lost: self.lost.clone(),
        })));
    }

    pub(super) fn join(&self) {
        let Some(place) = &self.place else { return };
        let command = Command::Join {
            speaker: self.speaker.clone(),
            incarnation: self.core.me(),
            actor: self.actor,
            first_seq: self.first_seq,
            learn: self.actor_is_new,
        };
        place.guard.tell(FollowEvent::Route { command });
    }

    /// A player without a record arrives at the start sector, from nowhere.
    fn announce_new_player(&mut self) {
        let Some(place) = self.place.as_mut().filter(|place| place.is_new) else { return };
        let name = self.name.clone().unwrap_or_else(|| self.speaker.player.to_string());
        let record = rules::new_record(&self.speaker.player, &name);
        let command =
            Command::Arrive { player: self.speaker.player.clone(), hop: Hop(1), record: Box::new(record), from: None };
        self.core.deliver(place.guard.room(), command);
    }

    /// The player is in another room: be shown that one. A client that saw the old room gets one `moved` frame.
    pub(super) fn follow_player(&mut self, from: &RoomId, to: SectorId, hop: Hop) {
        let Some(place) = self.place.as_mut().filter(|place| place.guard.room() == from) else { return };
        let (was_live, now) = (std::mem::replace(&mut place.live, false), Instant::now());
        place.full = false;
        if !was_live && hop <= place.followed {
            // From there the player has gone on already: whoever is on the way in is here soon.
            place.look_at = now + ASK_FOR / 10;
            return;
        }
        place.followed = hop;
        if was_live {
            place.seeking_since = now;
        }
        place.sector = to.clone();
        place.guard.tell(FollowEvent::Unsubscribe { conn: self.conn });
        self.visits += 1;
        place.guard = Follows::pin(&self.core, &RoomId::Sector(to));
        place.look_at = now + LOGIN_UNCHANGED_AFTER;
        self.subscribe(hop);
        if !was_live {
            self.join();
        }
    }

    pub(super) fn now_live(&mut self, room: &RoomId, hop: Hop) {
        let Some(place) = self.place.as_mut().filter(|place| place.guard.room() == room) else {
            // It was left while it greeted: what it said was said.
            self.shown = room.sector().cloned();
            self.welcome = None;
            return;
        };
        if place.live {
            return;
        }
        place.live = true;
        place.followed = hop;
        place.is_new = false;
        place.asked = 0;
        place.neighbour = 0;
        self.shown = Some(place.sector.clone());
        self.welcome = None;
        self.actor_is_new = false;
        if place.at != place.sector {
            self.set_at(hop);
        }
        self.look_where_at_is();
        self.route_pending();
    }

    /// Found elsewhere than `at` said: who has the player sets it. A larger hop only, so that this is never wrong.
    fn set_at(&mut self, hop: Hop) {
        let Some(place) = &mut self.place else { return };
        place.at = place.sector.clone();
        let (core, player, sector) = (self.core.clone(), self.speaker.player.clone(), place.sector.clone());
        self.core.tasks.spawn("set at", async move {
            while core.log.arrived(&player, &sector, hop).await.is_err() {
                tokio::time::sleep(ASK_FOR).await;
            }
        });
    }

    /// `at` as stored, which may say that the player is in another region. One that is behind is told again; a room that
    /// has the player all the same has lost their departure: it looks what became of them.
    pub(super) fn look_beyond(&mut self, at: &At) -> Result<(), End> {
        let seen = self.place.as_ref().filter(|place| place.live).map(|place| (place.sector.clone(), place.followed));
        match seen.filter(|_| at.region.is_some()) {
            Some((_, followed)) if at.hop < followed => self.set_at(followed),
            Some((sector, followed)) if at.hop > followed => {
                let (player, hop) = (self.speaker.player.clone(), at.hop);
                self.core.deliver(&RoomId::Sector(sector), Command::Arrived { player, hop, room: None });
            }
            _ => {}
        }
        self.unless_elsewhere(at)
    }

    /// `at` as stored. One that lost where the player went is told again by whoever sees them; a room that has a player
    /// who has gone on, because their departure was lost, is told where `at` says they are.
    pub(super) fn compare_place(&mut self, at: &At) {
        if let Some(place) = self.place.as_ref().filter(|place| place.live && at.room != place.sector)
            && at.hop > place.followed
        {
            let (player, hop, room) = (self.speaker.player.clone(), at.hop, Some(at.room.clone()));
            self.core.deliver(&RoomId::Sector(place.sector.clone()), Command::Arrived { player, hop, room });
        }
        let is_behind = |place: &Place| place.live && at.room != place.sector && at.hop < place.followed;
        if let Some(hop) = self.place.as_ref().filter(|place| is_behind(place)).map(|place| place.followed) {
            self.set_at(hop);
        }
        self.look_where_at_is();
    }

    /// The room does not have the player (any more): look again soon.
    pub(super) fn not_here(&mut self, room: &RoomId) {
        let Some(place) = self.place.as_mut().filter(|place| place.guard.room() == room && !place.full) else { return };
        place.look_at = Instant::now() + if place.asked < QUICK_LOOKS { ASK_FOR / 10 } else { ASK_FOR };
        place.asked += 1;
        if std::mem::replace(&mut place.live, false) {
            place.seeking_since = Instant::now();
        }
    }

    pub(super) fn full(&mut self, room: &RoomId) {
        self.not_here(room);
        if let Some(place) = self.place.as_mut().filter(|place| place.guard.room() == room) {
            place.full = true;
            place.look_at = Instant::now() + FULL_ASK_AGAIN_AFTER;
        }
    }

    /// The seat went with a lost tail: the subscription stands, a seat is asked for again.
    pub(super) fn seat_lost(&mut self, room: &RoomId) {
        let Some(place) = self.place.as_mut().filter(|place| place.guard.room() == room) else { return };
        place.live = false;
        place.seeking_since = Instant::now();
        place.look_at = Instant::now() + ASK_FOR;
        self.join();
    }

    /// When to look again for the player; far away while live.
    pub(super) fn look_due(&self) -> Option<Instant> {
        self.place.as_ref().filter(|place| !place.live).map(|place| place.look_at)
    }

    /// Not live for a while: announce again, read `at` again, and in the end ask the neighbours.
    pub(super) async fn look_again(&mut self) -> Result<(), End> {
        let may_be_beyond = self.may_be_beyond();
        let Some(place) = self.place.as_mut() else { return Ok(()) };
        place.look_at = Instant::now() + ASK_FOR;
        place.full = false;
        let Ok(at) = self.core.log.at(&self.speaker.player).await else { return Ok(()) };
        let Some(at) = at else {
            // `at` was lost: the seat, if there is one, is where it was; `attach` makes the record again.
            return self.reattach().await;
        };
        self.unless_elsewhere(&at)?;
        let Some(place) = self.place.as_mut() else { return Ok(()) };
        // `at` may have been lost, and whoever has the player have set it again since.
        place.is_new = at.hop == Hop(0) && !may_be_beyond;
        if at.hop == Hop(0) && may_be_beyond && place.seeking_since.elapsed() >= FORGOTTEN_AFTER {
            let detail = Some("your place in this region was lost: connect again".to_owned());
            return Err(End::Close { code: CloseCode::Internal, detail });
        }
        if place.is_new && at.room == place.sector {
            self.announce_new_player();
            self.join();
            return Ok(());
        }
        let changed = at.room != place.at;
        place.at = at.room.clone();
        if changed {
            place.asked = 0;
            place.seeking_since = Instant::now();
        }
        let next = if place.seeking_since.elapsed() < LOGIN_UNCHANGED_AFTER {
            at.room
        } else {
            // Unchanged for too long: whoever has the player will set `at`.
            let mut around = vec![at.room.clone()];
            around.extend(self.core.rules.universe.warps(&at.room));
            place.neighbour += 1;
            around[place.neighbour % around.len()].clone()
        };
        self.ask(next);
        Ok(())
    }

    /// Asks a room for a seat, leaving the one asked before.
    fn ask(&mut self, sector: SectorId) {
        let Some(place) = &mut self.place else { return };
        let room = RoomId::Sector(sector.clone());
        if *place.guard.room() != room {
            place.guard.tell(FollowEvent::Unsubscribe { conn: self.conn });
            place.guard = Follows::pin(&self.core, &room);
            place.sector = sector;
            self.visits += 1;
        }
        self.subscribe(Hop(0));
        self.join();
    }
}
