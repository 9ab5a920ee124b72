//! The task that follows one room: applies what it hears, shows it to sessions, and routes their commands.
//! One loop over one closed set of events. What an entry means for sessions is in `show`, for the chain in `catch_up`; rooms
//! that nobody owns are in `ownerless`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use sectorbus::ids::{EntryId, PlayerId, RoomId};
use sectorbus::limits::UNFOLLOW_AFTER;
use sectorbus::log::{Following, Log, Push};
use sectorbus::metrics::Tally;
use sectorbus::state::Delta;

use crate::command::{Command, Notice, Receipt, Speaker, decode_receipts};
use crate::core::{ConnId, Core, Heard};
use crate::follow::beside::Waiter;
use crate::follow::feed::FeedRelay;
use crate::follow::replica::Replica;
use crate::follow::route::{Due, Key, Route, What};
use crate::follow::subscriber::{Phase, Subscriber, Subscribers};
use crate::follow::{FollowEvent, Undelivered};
use crate::session::SessionEvent;

/// Between two notices that it takes longer.
const NOTICE_EVERY: Duration = Duration::from_secs(2);

/// What a follow task starts with.
pub struct Start<L: Log> {
    pub core: Arc<Core<L>>,
    pub room: RoomId,
    pub events_tx: mpsc::UnboundedSender<FollowEvent>,
    pub events_rx: mpsc::UnboundedReceiver<FollowEvent>,
    pub heard: Arc<Heard>,
    pub heard_at_ms: Arc<AtomicU64>,
    pub feed_heard_at_ms: Arc<AtomicU64>,
}

pub(super) struct Follow<L: Log> {
    pub(super) core: Arc<Core<L>>,
    pub(super) room: RoomId,
    /// Whose log shows the room: of a team that was made in another region, the copy of that region's.
    pub(super) log_of: RoomId,
    pub(super) events_tx: mpsc::UnboundedSender<FollowEvent>,
    pub(super) heard: Arc<Heard>,
    heard_at_ms: Arc<AtomicU64>,
    /// `None` until the room has a log and it is read.
    pub(super) replica: Option<Replica>,
    pub(super) subscribers: Subscribers,
    pub(super) route: Route,
    /// Changes not yet shown to the group, from the last flush on.
    pub(super) unflushed: Option<Delta>,
    pub(super) flush_due: Option<Instant>,
    pub(super) last_flush: Instant,
    pub(super) last_head_check: Option<Instant>,
    /// When those were told whose actions wait.
    noticed: Option<Instant>,
    /// What is stored could not be read, then.
    pub(super) unreadable: Option<Instant>,
    /// The log is shorter than what was heard of it, since then.
    pub(super) ahead_since: Option<Instant>,
    /// A comparison of heads found a difference.
    pub(super) must_read: bool,
    pub(super) feed: FeedRelay,
    /// Who waits for changes of membership.
    pub(super) waiters: Vec<Waiter>,
    /// Frames handed to sessions.
    pub(super) tally: Tally,
    counted_unsettled: bool,
    pub(super) counted_without_owner: bool,
    pub(super) adopt_asked: Option<Instant>,
    started: Instant,
    unused_since: Instant,
}

pub async fn run<L: Log>(start: Start<L>) {
    let Start { core, room, events_tx, mut events_rx, heard, heard_at_ms, feed_heard_at_ms } = start;
    let mut following = core.log.follow(&room);
    let now = Instant::now();
    let tally = core.metrics.tally();
    let mut follow = Follow {
        core,
        log_of: room.clone(),
        room,
        events_tx,
        heard,
        heard_at_ms,
        replica: None,
        subscribers: Subscribers::default(),
        route: Route::default(),
        unflushed: None,
        flush_due: None,
        last_flush: now,
        last_head_check: None,
        noticed: None,
        unreadable: None,
        ahead_since: None,
        must_read: false,
        feed: FeedRelay::new(feed_heard_at_ms),
        waiters: Vec::new(),
        tally,
        counted_unsettled: false,
        counted_without_owner: false,
        adopt_asked: None,
        started: now,
        unused_since: now,
    };
    let mut copy = None;
    while follow.step(&mut events_rx, &mut following, &mut copy).await {}
    if let RoomId::Team(team) = &follow.room {
        follow.core.people.rosters.forget(team);
    }
}

impl<L: Log> Follow<L> {
    /// Handles one event. False: nobody uses the room any more.
    async fn step(
        &mut self,
        events_rx: &mut mpsc::UnboundedReceiver<FollowEvent>,
        following: &mut Following,
        copy: &mut Option<Following>,
    ) -> bool {
        if self.log_of != self.room && copy.is_none() {
            *copy = Some(self.core.log.follow(&self.log_of));
        }
        let due = self.next_due();
        tokio::select! {
            biased;
            Some(push) = following.pushes.recv() => self.take_push(push).await,
            Some(push) = next_of(copy) => self.take_push(push).await,
            Some(event) = events_rx.recv() => self.take_event(event),
            () = tokio::time::sleep_until(due) => {}
        }
        if std::mem::take(&mut self.must_read) {
            self.catch_up_both().await;
        }
        if self.feed.must_read {
            self.catch_up_feed().await;
        }
        self.tell_waiters();
        self.flush_if_due();
        self.send_due();
        self.notice_waiting();
        self.count_unsettled();
        self.count_without_owner();
        !self.is_over(events_rx)
    }

    fn next_due(&self) -> Instant {
        // Without anybody to send to, the next change of the ring is waited for.
        let can_send = self.core.target(&self.room).is_some();
        let route = self.route.next_due().filter(|_| can_send).map(|due| self.started + due);
        let adopt = self.adopt_asked.filter(|_| can_send && self.needs_owner()).map(|at| at + Duration::from_secs(1));
        let idle = Instant::now() + UNFOLLOW_AFTER;
        [route, self.flush_due, adopt].into_iter().flatten().fold(idle, Instant::min)
    }

    /// Nobody uses the room and nothing waits for an answer.
    fn is_over(&mut self, events_rx: &mpsc::UnboundedReceiver<FollowEvent>) -> bool {
        if !self.subscribers.is_empty() || !self.route.is_empty() {
            self.unused_since = Instant::now();
            return false;
        }
        if self.unused_since.elapsed() < UNFOLLOW_AFTER {
            return false;
        }
        self.unused_since = Instant::now();
        self.core.follows.remove_if_unused(&self.room, || events_rx.is_empty(), &self.core.metrics)
    }

    async fn take_push(&mut self, push: Push) {
        match push {
            Push::Following => self.catch_up_both().await,
            // What was missed is read after the next `Following`.
            Push::Lost
            | Push::Attached { .. }
            | Push::Kicked { .. }
            | Push::Ears(_)
            | Push::Present(_)
            | Push::Team(_)
            | Push::Far(_)
            | Push::Touched(_)
            | Push::Replied { .. } => {}
            Push::Entry(entry) => self.take_entry(entry).await,
            Push::Receipts { at, body } => self.take_receipts(at, &body).await,
            Push::Feed(item) => self.take_feed_item(item).await,
        }
    }

    fn take_event(&mut self, event: FollowEvent) {
        match event {
            FollowEvent::Subscribe(sub) => self.subscribe(*sub),
            FollowEvent::Unsubscribe { conn } => self.unsubscribe(conn),
            FollowEvent::Dismiss { conn } => self.dismiss(conn),
            FollowEvent::Wait(waiter) => self.wait_for(waiter),
            FollowEvent::Route { command } => self.keep(command),
            FollowEvent::Resync { conn } => self.resync(conn),
            FollowEvent::Ready { conn } => self.ready(conn),
            FollowEvent::Notice(notice) => self.take_notice(&notice),
            FollowEvent::Undelivered(undelivered) => self.take_undelivered(&undelivered),
            FollowEvent::Heads(heads) => {
                self.compare_feed(&heads);
                // These are of the room's own keys.
                if self.log_of == self.room { self.compare(heads) } else { self.must_read = true }
            }
            FollowEvent::ViewChanged => self.view_changed(),
            FollowEvent::Backlog { conn, entries } => self.take_backlog(conn, entries.as_deref()),
            FollowEvent::Feed(event) => self.take_feed_event(event),
        }
    }

    /// The connection is over or elsewhere: nobody here waits for its answers any more, its client asks again.
    fn unsubscribe(&mut self, conn: ConnId) {
        let Some(Subscriber { sub, .. }) = self.subscribers.remove(conn) else { return };
        let others = self.subscribers.conns_of(&sub.player);
        let replaced = others
            .into_iter()
            .any(|other| self.subscribers.get_mut(other).is_some_and(|other| other.sub.session == sub.session));
        if !replaced {
            self.route.forget_session(&sub.player, &sub.session, sub.generation, sub.actor);
        }
    }

    /// Keeps a command until its answer, unless the state shows it done already.
    fn keep(&mut self, command: Command) {
        if self.log_of.is_elsewhere() {
            tracing::debug!(room = %self.room, home = %self.log_of, "commands go to where a room's home is, not here");
            return;
        }
        let player = Key::of(&command).map(|key| key.player);
        self.route.keep(command, self.started.elapsed());
        if let (Some(player), Some(replica)) = (player, &self.replica) {
            self.route.settle_seat(&player, replica.state());
        }
    }

    /// The room was heard: it is not silent.
    pub(super) fn hear(&self) {
        self.heard_at_ms.store(self.core.uptime_ms(), Ordering::Relaxed);
    }

    fn take_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::NotOwner { by: Some(by), .. } => {
                // The hint changes the target; what was sent elsewhere goes out again.
                tracing::trace!(room = %self.room, %by, "another node owns the room");
            }
            Notice::NotOwner { by: None, .. } => {}
            Notice::Busy => self.take_undelivered(&Undelivered::Busy),
            Notice::Edited { .. } => {}
            // The copy with the newer epoch goes out once the relay has processed that claim; if its publish was lost,
            // it is read.
            Notice::WrongEpoch { epoch } => {
                self.must_read |= self.replica.as_ref().is_none_or(|replica| replica.cursor().epoch < *epoch);
            }
        }
    }

    fn take_undelivered(&mut self, undelivered: &Undelivered) {
        match undelivered {
            Undelivered::Busy => {
                let players: Vec<PlayerId> = self.route.waiting_players().cloned().collect();
                for player in players {
                    for conn in self.subscribers.conns_of(&player) {
                        self.tell(conn, SessionEvent::Busy);
                    }
                }
            }
            // Goes out again when the ring or a hint names another target, or after a second.
            Undelivered::Gone(_) => {}
        }
    }

    /// Sends what is due to the owner; asks for an owner where there is no log yet.
    fn send_due(&mut self) {
        if self.needs_owner() {
            self.ask_to_adopt();
        }
        let Some(target) = self.core.target(&self.room) else { return };
        if self.route.is_empty() {
            return;
        }
        let epoch = self.replica.as_ref().map(|replica| replica.cursor().epoch);
        let due = self.route.due(self.started.elapsed(), epoch, &target);
        self.core.metrics.resends.increment(due.iter().filter(|due| due.again).count() as u64);
        for Due { command, .. } in due {
            self.core.deliver_to(&target, &self.room, command);
        }
    }

    fn count_unsettled(&mut self) {
        let unsettled = !self.route.is_empty();
        if unsettled != self.counted_unsettled {
            self.counted_unsettled = unsettled;
            if unsettled {
                self.core.follows.unsettled.fetch_add(1, Ordering::Relaxed);
            } else {
                self.core.follows.unsettled.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Whose actions wait for long is told so, whatever the reason: nobody owns the room yet, or its owner cannot append.
    fn notice_waiting(&mut self) {
        if self.route.is_empty() || self.noticed.is_some_and(|at| at.elapsed() < NOTICE_EVERY) {
            return;
        }
        for player in self.route.overdue_players(self.started.elapsed()) {
            self.noticed = Some(Instant::now());
            let retry_after_ms = NOTICE_EVERY.as_millis() as u64;
            self.tell_player(&player, &SessionEvent::Unavailable { retry_after_ms });
        }
    }

    pub(super) fn tell(&mut self, conn: ConnId, event: SessionEvent) {
        if let Some(subscriber) = self.subscribers.get_mut(conn) {
            let _ = subscriber.sub.events_tx.send(event);
        }
    }

    /// Answers without an entry. Those of entries not heard yet wait until they are.
    async fn take_receipts(&mut self, at: EntryId, body: &[u8]) {
        self.hear();
        if self.replica.as_ref().is_none_or(|replica| replica.cursor() < at) {
            self.catch_up().await;
        }
        let receipts = match decode_receipts(body) {
            Ok(receipts) => receipts,
            Err(error) => {
                tracing::error!(room = %self.room, %error, "unreadable receipts");
                return;
            }
        };
        for receipt in receipts {
            if self.is_outdated(&receipt, at) {
                continue;
            }
            match receipt {
                Receipt::Answer(answered) => self.show_receipt(&answered, at.version),
                Receipt::Stale { speaker, actor, seq } => self.show_stale(&speaker, actor, seq, at.version),
                Receipt::Unseated { speaker } => self.tell_unseated(&speaker),
                Receipt::StaleSeat { speaker } => self.tell_stale_seat(&speaker),
                Receipt::LossTaken { speaker } => {
                    let (session, generation) = (speaker.session, speaker.generation);
                    self.route.settle(&Key { player: speaker.player, what: What::Lost { session, generation } });
                }
                Receipt::Gone { player, to, hop } => {
                    self.forward_losses(&player, &to);
                    self.player_is_not_here(&player, |room| SessionEvent::Departed { room, to: to.clone(), hop });
                }
                Receipt::Unknown { player } => {
                    self.route.drop_but_losses(&player, self.started.elapsed());
                    self.send_losses_after(&player);
                    self.tell_player(&player, &SessionEvent::Unknown { room: self.room.clone() });
                }
                Receipt::Full { player } => {
                    self.team_is_full_for(&player);
                    self.route.drop_but_losses(&player, self.started.elapsed());
                    self.tell_player(&player, &SessionEvent::Full { room: self.room.clone() });
                }
            }
        }
    }

    /// The state says otherwise and is newer: what the receipt speaks of was over when it came.
    fn is_outdated(&self, receipt: &Receipt, at: EntryId) -> bool {
        let Some(replica) = self.replica.as_ref().filter(|replica| replica.cursor() > at) else { return false };
        let seat = |player| replica.state().system().seat(player);
        match receipt {
            Receipt::Gone { player, hop, .. } => seat(player).is_some_and(|seat| seat.hop > *hop),
            Receipt::Unknown { player } => seat(player).is_some(),
            Receipt::Unseated { speaker } => seat(&speaker.player)
                .and_then(|seat| seat.sessions.get(&speaker.session))
                .is_some_and(|seated| seated.generation >= speaker.generation),
            _ => false,
        }
    }

    /// A loss of a player who is not here: it is needed wherever the player is.
    fn send_losses_after(&self, player: &PlayerId) {
        let losses = self.route.losses_of(player);
        if losses.is_empty() {
            return;
        }
        let (core, here, player) = (self.core.clone(), self.room.clone(), player.clone());
        self.core.tasks.spawn("losses", async move {
            let Ok(Some(at)) = core.log.at(&player).await else { return };
            let room = at.room_here().map_or_else(|| here.clone(), |room| RoomId::Sector(room.clone()));
            if room == here {
                return;
            }
            let guard = super::Follows::pin(&core, &room);
            for command in losses {
                guard.tell(FollowEvent::Route { command });
            }
        });
    }

    /// Losses of sessions follow the player; everything else is asked again by the session.
    pub(super) fn forward_losses(&mut self, player: &PlayerId, to: &sectorbus::ids::SectorId) {
        let losses = self.route.take_player(player).into_iter().filter(|c| matches!(c, Command::Lost { .. }));
        let to = RoomId::Sector(to.clone());
        for command in losses {
            let guard = super::Follows::pin(&self.core, &to);
            guard.tell(FollowEvent::Route { command });
        }
    }

    fn tell_player(&mut self, player: &PlayerId, event: &SessionEvent) {
        for conn in self.subscribers.conns_of(player) {
            self.tell(conn, event.clone());
        }
    }

    /// The player left: their subscriptions end here, each session goes on where they are.
    pub(super) fn player_is_not_here(&mut self, player: &PlayerId, event: impl Fn(RoomId) -> SessionEvent) {
        for conn in self.subscribers.conns_of(player) {
            self.tell(conn, event(self.room.clone()));
            self.subscribers.remove(conn);
        }
    }

    /// The owner does not know this session: it asks for a seat again.
    fn tell_unseated(&mut self, speaker: &Speaker) {
        for conn in self.subscribers.conns_of(&speaker.player) {
            let Some(subscriber) = self.subscribers.get_mut(conn) else { continue };
            let Subscriber { sub, phase } = subscriber;
            if sub.session == speaker.session && sub.generation == speaker.generation && *phase != Phase::Waiting {
                *phase = Phase::Waiting;
                let _ = sub.events_tx.send(SessionEvent::SeatLost { room: self.room.clone() });
            }
        }
    }

    /// The room has a newer seat of this session, or has it as lost: it attaches again, or ends if it goes on elsewhere.
    fn tell_stale_seat(&mut self, speaker: &Speaker) {
        let (session, generation) = (speaker.session.clone(), speaker.generation);
        self.route.settle(&Key { player: speaker.player.clone(), what: What::Join { session, generation } });
        for conn in self.subscribers.conns_of(&speaker.player) {
            let Some(Subscriber { sub, .. }) = self.subscribers.get_mut(conn) else { continue };
            if sub.session == speaker.session && sub.generation <= speaker.generation {
                let _ = sub.events_tx.send(SessionEvent::SeatStale { generation: sub.generation });
            }
        }
    }

    pub(super) fn settle_answer(&mut self, answered: &sectorbus::state::Answered) {
        let what = What::Act { actor: answered.actor, seq: answered.seq };
        let key = Key { player: answered.player.clone(), what };
        self.route.settle(&key);
    }

    /// Sessions that lost their seat with the tail of a log ask for one again.
    pub(super) fn check_seats(&mut self) {
        for conn in self.subscribers.conns() {
            self.check_seat(conn);
        }
    }

    pub(super) fn check_seat(&mut self, conn: ConnId) {
        if self.is_beside() {
            return self.check_admitted(conn);
        }
        let (Some(replica), Some(subscriber)) = (&self.replica, self.subscribers.get_mut(conn)) else { return };
        let Subscriber { sub, phase } = subscriber;
        let seat = replica.state().system().seat(&sub.player);
        let seated = seat.and_then(|seat| seat.sessions.get(&sub.session));
        if *phase != Phase::Waiting && seated.is_none_or(|seated| seated.generation < sub.generation) {
            *phase = Phase::Waiting;
            let _ = sub.events_tx.send(SessionEvent::SeatLost { room: self.room.clone() });
        } else if seated.is_some_and(|seated| seated.generation == sub.generation && seated.lost_ms.is_some()) {
            // Taken for dead with its node, which lives.
            let _ = sub.events_tx.send(SessionEvent::SeatStale { generation: sub.generation });
        }
    }
}

/// Never of no copy.
async fn next_of(copy: &mut Option<Following>) -> Option<Push> {
    match copy {
        Some(copy) => copy.pushes.recv().await,
        None => std::future::pending().await,
    }
}
