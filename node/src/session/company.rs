//! What a session has to do with other players: the rooms it sees beside its sector, what it is shown as, and whose
//! presence it watches. Says to the team's room what its player does; the rooms' relays show it to the client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::{PlayerId, RoomId, TeamId};
use sectorbus::limits::IDLE_AFTER;
use sectorbus::log::{At, Log, LogError, Present, TeamAt};
use sectorbus::presence::Shown;
use sectorbus::protocol::{PlayerPresence, Presence, ServerFrame, Slot, SnapshotReason};

use crate::auth::Claims;
use crate::command::{Command, Speaker};
use crate::config::TeamsFrom;
use crate::core::Core;
use crate::follow::subscriber::{Greeting, Subscription};
use crate::follow::{FollowEvent, FollowGuard, Follows};
use crate::people::{teams, watches, written};
use crate::session::SessionEvent;
use crate::session::observe::Observed;
use crate::session::task::Session;

const RETRY_AFTER: Duration = Duration::from_millis(200);
/// `at` says where a player has arrived within a round trip: after this it was not heard, or went with a lost tail.
const AT_FOLLOWS_WITHIN: Duration = Duration::from_secs(1);

/// Boxed: an idle connection pays for little of it.
pub(super) struct Company {
    global: Option<FollowGuard>,
    team: Option<(TeamId, FollowGuard)>,
    /// The team's room has shown itself: it knows the player.
    is_admitted: bool,
    team_at: Option<TeamAt>,
    /// What the token says, where that counts, and when it was issued (seconds since 1970; 0: it does not tell).
    token_team: Option<TeamId>,
    token_issued_s: u64,
    /// Counts what was followed; only the last is.
    token_follows: Arc<AtomicU64>,
    /// The number under which the token's team was taken over.
    token_number: u64,
    /// The player's sessions, as last heard.
    present: Present,
    /// What the player asked this session to be shown as.
    asked: Shown,
    /// The ship is in combat.
    fights: bool,
    /// What `at` has, and whether something else is on its way there.
    said: Shown,
    is_saying: bool,
    /// A number of presence that was told and that `at` has less than: it lost a tail. 0: it has not.
    lost: u64,
    /// When to read `at`: the session sees its player elsewhere than was last heard.
    astray_due: Option<Instant>,
    /// When the client last did anything.
    active: Instant,
    pub(super) observed: Observed,
    /// Rooms beside the sector that were turned to, in whichever slot.
    visits: u64,
    watching: BTreeSet<PlayerId>,
    told: BTreeMap<PlayerId, PlayerPresence>,
}

impl Company {
    pub(super) fn new(at: &At, token: &Claims) -> Box<Self> {
        Box::new(Self {
            global: None,
            team: None,
            is_admitted: false,
            team_at: at.team.clone(),
            token_team: token.team.clone(),
            token_issued_s: token.iat.unwrap_or(0),
            token_follows: Arc::default(),
            token_number: 0,
            present: at.present(),
            asked: Shown::Online,
            fights: false,
            said: Shown::Online,
            is_saying: false,
            lost: 0,
            astray_due: None,
            active: Instant::now(),
            observed: Observed::default(),
            visits: 0,
            watching: BTreeSet::new(),
            told: BTreeMap::new(),
        })
    }

    fn team_id(&self) -> Option<&TeamId> {
        self.team_at.as_ref().and_then(|at| at.team.as_ref()).map(|(team, _)| team)
    }

    fn wanted(&self) -> Shown {
        if self.fights {
            return Shown::InCombat;
        }
        let is_idle = self.active.elapsed() >= IDLE_AFTER;
        if is_idle && matches!(self.asked, Shown::Online | Shown::Busy) { Shown::Away } else { self.asked }
    }

    /// When the session is idle, if it is not yet.
    fn idle_due(&self) -> Option<Instant> {
        (self.wanted() == self.asked && self.asked != Shown::Away).then_some(self.active + IDLE_AFTER)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        [self.idle_due(), self.astray_due].into_iter().flatten().min()
    }

    pub(super) fn is_astray(&self) -> bool {
        self.astray_due.is_some_and(|due| Instant::now() >= due)
    }

    fn rooms(&self) -> impl Iterator<Item = &FollowGuard> {
        self.global.iter().chain(self.team.as_ref().map(|(_, guard)| guard)).chain(self.observed.guards())
    }

    pub(super) fn tell_rooms(&self, event: impl Fn() -> FollowEvent) {
        self.rooms().for_each(|guard| guard.tell(event()));
    }
}

impl<L: Log> Session<L> {
    /// After the first state.
    pub(super) fn meet(&mut self) {
        if self.company.global.is_none() {
            let guard = self.watch_room(&RoomId::Global, Slot::GLOBAL);
            self.company.global = Some(guard);
            self.enter_team();
            self.follow_token_team();
        }
    }

    pub(super) fn watch_room(&mut self, room: &RoomId, slot: Slot) -> FollowGuard {
        self.company.visits += 1;
        let guard = Follows::pin(&self.core, room);
        guard.tell(FollowEvent::Subscribe(Box::new(Subscription {
            conn: self.conn,
            player: self.speaker.player.clone(),
            session: self.speaker.session.clone(),
            generation: self.speaker.generation,
            hop_min: Default::default(),
            told_hop: Default::default(),
            actor: self.actor,
            codec: self.codec,
            slot,
            visit: self.company.visits,
            outbox: self.outbox.clone(),
            events_tx: self.events_tx.clone(),
            greeting: Greeting::Snapshot(SnapshotReason::Join),
            lost: Arc::default(),
        })));
        guard
    }

    /// Follows the room of the team that the player is in now, and no other.
    fn enter_team(&mut self) {
        let wanted = self.company.team_id().cloned();
        if self.company.team.as_ref().map(|(team, _)| team) == wanted.as_ref() || self.company.global.is_none() {
            return;
        }
        self.company.is_admitted = false;
        if let Some((_, guard)) = self.company.team.take() {
            guard.tell(FollowEvent::Dismiss { conn: self.conn });
            self.tell_team(None);
        }
        self.company.team = wanted.map(|team| (team.clone(), self.watch_room(&RoomId::Team(team), Slot::TEAM)));
        self.look_at_watched();
    }

    /// The player is in another team, as somebody says; what is older than what is known says nothing.
    pub(super) fn team_changed(&mut self, team: TeamAt) {
        if self.company.team_at.as_ref().is_none_or(|known| known.number < team.number) {
            self.company.team_at = Some(team);
            self.enter_team();
            self.tell_team_changed();
        }
    }

    /// What `at` says: after an attach, and after the channel may have been missed.
    pub(super) fn company_at(&mut self, at: &At) {
        if let Some(team) = &at.team {
            self.team_changed(team.clone());
        }
        self.put_team_back(at.team.as_ref().map_or(0, |team| team.number));
        // It went with a lost tail. What another token said later stays.
        let number = at.team.as_ref().map_or(0, |at| at.number);
        if self.company.global.is_some() && number < self.company.token_number {
            self.follow_token_now();
        }
        self.present_changed(at.present());
        let mine = at.sessions.get(&self.speaker.session);
        if let Some(seat) = mine.filter(|seat| seat.generation == self.speaker.generation) {
            self.company.said = seat.shown;
            self.say_shown();
        }
    }

    /// What is known here went with a lost tail, if less is stored.
    fn put_team_back(&self, stored: u64) {
        let Some(known) = self.company.team_at.clone().filter(|known| known.number > stored) else { return };
        let (core, player) = (self.core.clone(), self.speaker.player.clone());
        self.core.tasks.spawn("team", async move { teams::put_back(&core, &player, known).await });
    }

    pub(super) fn present_changed(&mut self, present: Present) {
        let known = self.company.present.number;
        if present.number > known {
            self.company.present = present;
            self.look_where_at_is();
            self.report_to_team();
        } else if present.number < known {
            self.presence_is_lost(known);
        }
    }

    /// Whether what was heard of `at` is where the session sees its player.
    pub(super) fn look_where_at_is(&mut self) {
        let seen = self.place.as_ref().filter(|place| place.live).map(|place| &place.sector);
        let is_astray = seen.is_some_and(|sector| self.company.present.room.as_ref() != Some(sector));
        self.company.astray_due = is_astray.then(|| Instant::now() + AT_FOLLOWS_WITHIN);
    }

    /// The room of this name has shown itself.
    pub(super) fn admitted(&mut self, room: &RoomId, presence: u64) {
        if presence > self.company.present.number {
            self.presence_is_lost(presence);
        }
        if self.company.team.as_ref().is_some_and(|(_, guard)| guard.room() == room) {
            self.company.is_admitted = true;
            let since_ms = self.company.team_at.as_ref().map_or(0, |at| at.since_ms);
            self.tell_team(self.company.team.as_ref().map(|(team, _)| (team.clone(), since_ms)));
            self.report_to_team();
        }
    }

    /// This number was told once, and `at` may have less: whoever heard of it listens to higher ones only.
    fn presence_is_lost(&mut self, told: u64) {
        self.company.lost = self.company.lost.max(told);
        self.say_shown();
    }

    /// The team's room does not have the player, since the change of this number (0: it never had). If it lost that, or
    /// never got it, it is told what `at` says; if it knows better, `at` follows.
    pub(super) fn not_admitted(&mut self, room: &RoomId, number: Option<u64>) {
        let Some((team, guard)) = self.company.team.as_ref().filter(|(_, guard)| guard.room() == room) else { return };
        self.company.is_admitted = false;
        let Some(number) = number else { return };
        let at = self.company.team_at.as_ref().and_then(|at| Some((at.number, at.team.as_ref()?)));
        let Some((known, (of, role))) = at.filter(|(_, (of, _))| of == team) else { return };
        let player = self.speaker.player.clone();
        if number > known {
            let core = self.core.clone();
            self.core.tasks.spawn("team", async move { teams::follow_roster(&core, &player, number).await });
            return;
        }
        tracing::debug!(%of, "a roster does not have a member yet");
        let command = Command::Member { player, number: known, role: Some(role.clone()) };
        guard.tell(FollowEvent::Route { command });
    }

    /// Absolute and numbered: what the room knows already changes nothing there.
    fn report_to_team(&self) {
        let Some((_, guard)) = self.company.team.as_ref().filter(|_| self.company.is_admitted) else { return };
        let (player, name) = (self.speaker.player.clone(), self.name.clone());
        let present = living(&self.core, &self.company.present);
        guard.tell(FollowEvent::Route { command: Command::Seen { player, name, present } });
    }

    /// What a token says counts, unless a younger one says otherwise.
    fn follow_token_team(&mut self) {
        let at = self.company.team_at.as_ref();
        let is_younger = at.is_none_or(|at| at.issued_s < self.company.token_issued_s);
        if is_younger || self.company.team_id() != self.company.token_team.as_ref() {
            self.follow_token_now();
        } else {
            self.company.token_number = at.map_or(0, |at| at.number);
        }
    }

    fn follow_token_now(&mut self) {
        if self.core.config.teams_from != TeamsFrom::Token {
            return;
        }
        let (player, team) = (self.speaker.player.clone(), self.company.token_team.clone());
        let (issued_s, follows) = (self.company.token_issued_s, self.company.token_follows.clone());
        let mine = follows.fetch_add(1, Ordering::Relaxed) + 1;
        let (core, events_tx) = (self.core.clone(), self.events_tx.clone());
        self.core.tasks.spawn("token team", async move {
            let is_last = || follows.load(Ordering::Relaxed) == mine && !events_tx.is_closed();
            if let Some(team) = teams::follow_token(&core, &player, team, issued_s, is_last).await {
                let _ = events_tx.send(SessionEvent::InTeam { team });
            }
        });
    }

    /// The token's team was taken over, or a younger token's before: whether or not the channel told of it.
    pub(super) fn token_was_followed(&mut self, team: TeamAt) {
        self.company.token_number = team.number;
        self.team_changed(team);
    }

    /// The client brought another token.
    pub(super) fn token_says(&mut self, token: &Claims) {
        self.company.token_team = token.team.clone();
        self.company.token_issued_s = token.iat.unwrap_or(0);
        self.follow_token_team();
    }

    /// The client did something: whoever was idle is not.
    pub(super) fn be_active(&mut self) {
        self.company.active = Instant::now();
        self.say_shown();
    }

    /// The sector shows the player as this, by the player's own word.
    pub(super) fn asked_to_be(&mut self, asked: Shown) {
        self.company.asked = asked;
        self.say_shown();
    }

    /// The sector shows the ship in combat, or not any more: by the rules alone.
    pub(super) fn fights(&mut self, fights: bool) {
        self.company.fights = fights;
        self.say_shown();
    }

    pub(super) fn shown_is_said(&mut self, shown: Shown) {
        self.company.is_saying = false;
        self.company.said = shown;
        self.say_shown();
    }

    /// One word at a time, so that the last one stays.
    pub(super) fn say_shown(&mut self) {
        let wanted = self.company.wanted();
        if self.company.is_saying || (wanted == self.company.said && self.company.lost == 0) {
            return;
        }
        self.company.is_saying = true;
        let lost = std::mem::take(&mut self.company.lost);
        let (core, events_tx) = (self.core.clone(), self.events_tx.clone());
        let Speaker { player, session, generation, .. } = self.speaker.clone();
        self.core.tasks.spawn("shown", async move {
            // Refused: another connection has the session, and says so itself.
            loop {
                match core.log.show(&player, &session, generation, wanted, lost).await {
                    Ok(_) => break,
                    Err(LogError::Corrupt(what)) => return tracing::error!(%player, what, "a session cannot be shown"),
                    Err(_) => tokio::time::sleep(RETRY_AFTER).await,
                }
            }
            let _ = events_tx.send(SessionEvent::ShownAs { shown: wanted });
        });
    }

    pub(super) fn watch(&mut self, players: Vec<PlayerId>) {
        self.company.watching = players.into_iter().collect();
        self.company.told.clear();
        watches::watch(&self.core, self.conn, &self.events_tx, &self.company.watching);
        self.look_at_watched();
    }

    fn look_at_watched(&mut self) {
        let watching = self.company.watching.clone();
        self.tell_presence(watching.iter());
    }

    pub(super) fn watched_changed(&mut self, player: &PlayerId) {
        self.tell_presence(std::iter::once(player));
    }

    /// One frame with those of them that the client was not told so yet.
    fn tell_presence<'p>(&mut self, of: impl Iterator<Item = &'p PlayerId>) {
        let mut players = Vec::new();
        for player in of.filter(|player| self.company.watching.contains(*player)) {
            let Some(now) = self.presence_of(player) else { continue };
            if self.company.told.get(player) != Some(&now) {
                self.company.told.insert(player.clone(), now.clone());
                players.push(now);
            }
        }
        if !players.is_empty() {
            self.send(&ServerFrame::Presence(Presence { players }));
        }
    }

    fn presence_of(&self, player: &PlayerId) -> Option<PlayerPresence> {
        let known = self.core.people.watches.told(player)?;
        let team = self.company.team.as_ref().map(|(team, _)| team);
        let rosters = &self.core.people.rosters;
        let sector = team.and_then(|team| rosters.sector_for(team, &self.speaker.player, player));
        Some(PlayerPresence {
            player: player.clone(),
            status: known.shown,
            devices: known.devices,
            last_seen_ms: (known.shown == Shown::Offline && known.last_seen_ms > 0).then_some(known.last_seen_ms),
            sector: sector.filter(|_| known.shown != Shown::Offline),
        })
    }

    /// The connection is over. Answers the team that is to hear of it.
    pub(super) fn part(&mut self) -> Option<TeamId> {
        let conn = self.conn;
        self.company.tell_rooms(|| FollowEvent::Unsubscribe { conn });
        self.company.global = None;
        self.company.observed = Observed::default();
        if !std::mem::take(&mut self.company.watching).is_empty() {
            watches::watch(&self.core, conn, &self.events_tx, &BTreeSet::new());
        }
        self.company.team.take().map(|(team, _)| team)
    }
}

/// Without those on nodes that are gone.
fn living<L: Log>(core: &Core<L>, present: &Present) -> Present {
    let mut present = present.clone();
    present.sessions.retain(|(of, _)| !core.is_dead(of));
    present
}

/// After the end of a connection: it is detached until that is stored, and after the grace the team hears who is present
/// then. A player who came back meanwhile is.
pub(super) async fn farewell<L: Log>(core: Arc<Core<L>>, speaker: Speaker, team: Option<TeamId>) {
    let Speaker { player, session, generation, .. } = &speaker;
    written::detach(&core, player, session, *generation).await;
    let Some(team) = team else { return };
    tokio::time::sleep(core.config.grace).await;
    let Some(Some(at)) = written::until_answered(player, || core.log.at(player)).await else { return };
    let guard = Follows::pin(&core, &RoomId::Team(team));
    let command = Command::Seen { player: player.clone(), name: None, present: living(&core, &at.present()) };
    guard.tell(FollowEvent::Route { command });
}
