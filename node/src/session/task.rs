//! The task of one connection: one loop over what the client sends, what the node says, and time.
//! Frames to the client come from the relays and from here; both go through the outbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use sectorbus::action::Action;
use sectorbus::ids::{ActorId, RoomId, SectorId, Seq};
use sectorbus::limits::{DEDUPE_BITMAP_BITS, PLAYER_COMPARED_EVERY, RESYNC_EVERY};
use sectorbus::log::{Following, Log};
use sectorbus::mailbox::{self, mailbox};
use sectorbus::metrics::NoticeKind;
use sectorbus::protocol::{
    ClientFrame, CloseCode, Codec, ErrorCode, ErrorFrame, Leaving, Pong, RetryAfter, ServerFrame,
};

use crate::auth::Token;
use crate::command::{Command, Speaker};
use crate::core::{ConnId, Core};
use crate::follow::FollowEvent;
use crate::follow::replica::Known;
use crate::follow::subscriber::WelcomeOnce;
use crate::session::SessionEvent;
use crate::session::calls::OpenCalls;
use crate::session::company::Company;
use crate::session::connection::Wire;
use crate::session::edges::{End, answer_error, answer_refusal, close, finish, message_of, refuse, send_unavailable};
use crate::session::goodbye;
use crate::session::hello::{Attachment, Keys};
use crate::session::intake::{Intake, Refusal, class_of};
use crate::session::outbox::{Lane, Outbox, framed, ping_frame};
use crate::session::pass::Pass;
use crate::session::place::Place;
use crate::session::player_socket::PlayerSocket;
use crate::session::socket::{Incoming, Reading};
use crate::session::talk::Talk;

const BUSY_RETRY_AFTER_MS: u64 = 1_000;
const REATTACH_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Session<L: Log> {
    pub(super) core: Arc<Core<L>>,
    pub(super) conn: ConnId,
    pub(super) codec: Codec,
    pub(super) outbox: Arc<Outbox>,
    socket: Option<Arc<PlayerSocket>>,
    reading: Reading,
    pub(super) events_tx: mailbox::Sender<SessionEvent>,
    events_rx: mailbox::Receiver<SessionEvent>,
    /// Other sessions of this player, on any node.
    player_channel: Following,
    pub(super) keys: Arc<Keys>,
    pub(super) pass: Pass,
    /// To show, if the player is new.
    pub(super) name: Option<String>,
    pub(super) speaker: Speaker,
    pub(super) actor: ActorId,
    pub(super) first_seq: Seq,
    /// The room learns the actor with the first join; one that was known before and is not any more is not learned again.
    pub(super) actor_is_new: bool,
    /// `None` once it was sent.
    pub(super) welcome: Option<WelcomeOnce>,
    /// What the client says it knows.
    pub(super) known: Option<(SectorId, Known)>,
    /// The sector the client shows.
    pub(super) shown: Option<SectorId>,
    pub(super) place: Option<Place>,
    /// Sectors the session has turned to.
    pub(super) visits: u64,
    pub(super) company: Box<Company>,
    /// `None`: the client does not know feeds.
    pub(super) talk: Option<Talk>,
    /// See [`Subscription::lost`](crate::follow::subscriber::Subscription::lost).
    pub(super) lost: Arc<AtomicBool>,
    pub(super) attached_at: Instant,
    /// The room has refused the seat: when to attach again.
    pub(super) reattach_due: Option<Instant>,
    /// Actions without an answer.
    pending: BTreeMap<Seq, Action>,
    pub(super) calls: OpenCalls,
    intake: Intake,
    last_resync: Option<Instant>,
    heard: Instant,
    pinged: bool,
    /// When what the log has of this player was last compared, or was heard from then on.
    pub(super) compared: Instant,
}

impl<L: Log> Session<L> {
    pub(super) fn new(
        core: Arc<Core<L>>,
        keys: Arc<Keys>,
        wire: Wire,
        mut attachment: Attachment,
        welcome: sectorbus::protocol::Welcome,
    ) -> Self {
        let (events_tx, events_rx) = mailbox();
        let conn = core.next_conn_id();
        core.register_session(conn, attachment.speaker.player.clone(), events_tx.clone());
        core.metrics.sessions.increment(1.0);
        let pass = Pass::of(&attachment.claims, core.clock.now_ms());
        if pass.is_revoked(&attachment.speaker.player, &core.revocations) {
            // Between its check and its being told of.
            let _ = events_tx.send(SessionEvent::SomethingRevoked);
        }
        let seat = attachment.attached.at.sessions.get(&attachment.speaker.session);
        if seat.is_some_and(|seat| seat.incarnation != core.me()) {
            // The node has begun another life between the attach and its sessions being told of that.
            let _ = events_tx.send(SessionEvent::Reincarnated);
        }
        let player_channel = core.log.follow(&RoomId::Player(attachment.speaker.player.clone()));
        let talk = Talk::start(&core, conn, &wire, &mut attachment);
        let company = Company::new(&attachment.attached.at, &attachment.claims);
        let mut session = Self {
            core,
            conn,
            codec: wire.codec,
            outbox: wire.outbox,
            socket: wire.socket,
            reading: wire.reading,
            events_tx,
            events_rx,
            player_channel,
            keys,
            pass,
            name: attachment.claims.name,
            speaker: attachment.speaker,
            actor: attachment.actor,
            first_seq: attachment.first_seq,
            actor_is_new: attachment.attached.actor.is_some(),
            welcome: Some(Arc::new(Mutex::new(Some(Box::new(welcome))))),
            known: attachment.known,
            shown: None,
            place: None,
            visits: 0,
            talk,
            company,
            lost: Arc::default(),
            attached_at: Instant::now(),
            reattach_due: None,
            pending: BTreeMap::new(),
            calls: OpenCalls::default(),
            intake: wire.intake,
            last_resync: None,
            heard: Instant::now(),
            pinged: false,
            compared: Instant::now(),
        };
        session.enter(attachment.attached.at.room, attachment.attached.at.hop);
        session
    }

    pub(super) async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    /// Leaves the room, then says why.
    pub(super) async fn finish(mut self: Box<Self>, end: End) {
        // Where the player went while the end came.
        while let Ok(event) = self.events_rx.try_recv() {
            if let SessionEvent::Departed { room, to, hop } = event {
                self.follow_player(&room, to, hop);
            }
        }
        goodbye::tell(&self.core, &self.speaker, &end);
        self.leave(&end).await;
        self.core.unregister_session(self.conn);
        self.core.metrics.sessions.decrement(1.0);
        self.core.metrics.calls_open.decrement(self.calls.len() as f64);
        let (core, outbox, socket) = (self.core.clone(), self.outbox.clone(), self.socket.take());
        // What it follows and holds is let go before the peer is given time to read.
        drop(self);
        finish(&core, &outbox, socket.as_deref(), &end).await;
        core.metrics.connections.decrement(1.0);
    }

    async fn step(&mut self) -> Result<(), End> {
        if self.outbox.is_closed() {
            return Err(self.closed());
        }
        let waiting = self.outbox.has_waiting();
        let due = self.next_due();
        tokio::select! {
            biased;
            Some(event) = self.events_rx.recv() => self.take_event(event).await,
            Some(push) = self.player_channel.pushes.recv() => self.take_push(push).await,
            ready = writable(self.socket.as_deref()), if waiting => {
                ready.map_err(|_| End::Gone)?;
                self.drained();
                Ok(())
            }
            () = self.outbox.woken(), if !waiting => Ok(()),
            incoming = self.reading.next(), if !self.intake.is_paused() => self.take_incoming(incoming),
            () = tokio::time::sleep_until(due) => self.take_time().await,
        }
    }

    fn next_due(&self) -> Instant {
        let heartbeat = self.core.config.heartbeat;
        let silent = self.heard + if self.pinged { heartbeat * 2 } else { heartbeat };
        [self.look_due(), self.reattach_due, self.intake.paused_until(), Some(self.pass.due()), self.calls.due()]
            .into_iter()
            .chain([self.company.due(), Some(self.compared + PLAYER_COMPARED_EVERY)])
            .flatten()
            .fold(silent, Instant::min)
    }

    async fn take_time(&mut self) -> Result<(), End> {
        if self.look_due().is_some_and(|due| Instant::now() >= due) {
            Box::pin(self.look_again()).await?;
        }
        if self.reattach_due.is_some_and(|due| Instant::now() >= due) {
            Box::pin(self.reattach()).await?;
        }
        if Instant::now() >= self.compared + PLAYER_COMPARED_EVERY {
            self.compare_all().await?;
        } else if self.company.is_astray() {
            self.look_where_at_is();
            Box::pin(self.compare_at()).await?;
        }
        if Instant::now() >= self.pass.due() {
            self.judge_pass()?;
        }
        self.say_shown();
        self.time_out_calls();
        let silent = self.heard.elapsed();
        if silent >= self.core.config.heartbeat * 2 {
            return Err(close(CloseCode::Silent));
        }
        if silent >= self.core.config.heartbeat && !self.pinged {
            self.pinged = true;
            self.outbox.send_raw(ping_frame());
        }
        Ok(())
    }

    fn drained(&mut self) {
        let drained = self.outbox.drain();
        if drained.feeds_wait {
            self.tell_feeds_ready();
        }
        if drained.state_dropped {
            let ready = || FollowEvent::Ready { conn: self.conn };
            self.company.tell_rooms(ready);
            self.place.iter().for_each(|place| place.guard.tell(ready()));
        }
    }

    fn take_incoming(&mut self, incoming: Incoming) -> Result<(), End> {
        self.heard = Instant::now();
        self.pinged = false;
        let taken = self.intake.take(&self.core.edge, &incoming);
        let Some(payload) = message_of(incoming, self.codec)? else { return self.take_sign(taken) };
        self.core.metrics.frames_in.increment(1);
        self.core.metrics.bytes_in.increment(payload.len() as u64);
        let frame = match ClientFrame::decode(self.codec, &payload) {
            Ok(frame) => frame,
            Err(bad) => return refuse(&self.core, &self.outbox, self.codec, &bad, &mut self.intake),
        };
        match taken.and_then(|()| self.take_class(&frame)) {
            Err(refusal) if !matches!(frame, ClientFrame::Bye {} | ClientFrame::Logout {}) => {
                answer_refusal(&self.core, &self.outbox, self.codec, refusal, Some(&frame))
            }
            _ => self.take_frame(frame),
        }
    }

    /// A ping or pong: nothing to answer, but it counts.
    fn take_sign(&self, taken: Result<(), Refusal>) -> Result<(), End> {
        let Err(refusal) = taken else { return Ok(()) };
        self.core.metrics.rate_limited.count(refusal.by);
        if refusal.flooding { Err(close(CloseCode::Flooding)) } else { Ok(()) }
    }

    fn take_class(&mut self, frame: &ClientFrame) -> Result<(), Refusal> {
        let Some((class, units)) = class_of(frame) else { return Ok(()) };
        self.intake.take_action(&self.core.edge, class, units)
    }

    fn take_frame(&mut self, frame: ClientFrame) -> Result<(), End> {
        if !matches!(frame, ClientFrame::Ping(_)) {
            self.be_active();
        }
        match frame {
            ClientFrame::Act(act) => self.act(act.seq, act.action),
            ClientFrame::Call(call) => self.call(call),
            ClientFrame::Resync {} => self.resync(),
            ClientFrame::Ping(ping) => {
                let now_ms = self.core.clock.now_ms();
                self.send(&ServerFrame::Pong(Pong { t: ping.t, now_ms }));
                Ok(())
            }
            ClientFrame::Watch(_) if !self.has_state() => {
                self.error(ErrorFrame::new(ErrorCode::NotInSector, "watch after the first state"))
            }
            ClientFrame::Watch(watch) => {
                self.watch(watch.players);
                Ok(())
            }
            ClientFrame::Observe(observe) => self.observe(observe),
            ClientFrame::Bye {} => Err(End::Bye),
            ClientFrame::Logout {} => Err(End::LoggedOut),
            ClientFrame::Refresh(refresh) => {
                // Keys may have to be fetched: not here.
                let _ = self.events_tx.send(SessionEvent::Refresh { token: refresh.token });
                Ok(())
            }
            ClientFrame::Say(_)
            | ClientFrame::History(_)
            | ClientFrame::Read(_)
            | ClientFrame::Unread(_)
            | ClientFrame::Block(_)
            | ClientFrame::Topic(_)
            | ClientFrame::Prefer(_) => self.ask_talk(frame),
            ClientFrame::Hello(_) => self.error(ErrorFrame::new(ErrorCode::HelloAgain, "hello was answered already")),
        }
    }

    pub(super) fn send(&self, frame: &ServerFrame) {
        self.outbox.send(&[framed(Lane::Critical, self.codec, &frame.encode(self.codec))]);
    }

    pub(super) fn error(&mut self, error: ErrorFrame) -> Result<(), End> {
        answer_error(&self.core, &self.outbox, self.codec, error, &mut self.intake)
    }

    /// The client has seen a first state.
    pub(super) fn has_state(&self) -> bool {
        self.welcome.is_none()
    }

    fn act(&mut self, seq: Seq, action: Action) -> Result<(), End> {
        if !self.has_state() {
            let error = ErrorFrame::new(ErrorCode::NotInSector, "act after the first state");
            return self.error(ErrorFrame { seq: Some(seq), ..error });
        }
        if self.pending.len() as u64 >= 2 * DEDUPE_BITMAP_BITS && !self.pending.contains_key(&seq) {
            let detail = format!("seq: at most {DEDUPE_BITMAP_BITS} above the lowest unanswered one");
            return self.error(ErrorFrame { seq: Some(seq), ..ErrorFrame::new(ErrorCode::InvalidField, detail) });
        }
        self.pending.insert(seq, action.clone());
        self.route(seq, action);
        Ok(())
    }

    fn route(&self, seq: Seq, action: Action) {
        if let Some(place) = self.place.as_ref().filter(|place| place.live) {
            let speaker = self.speaker.clone();
            let command = Command::Act { speaker, actor: self.actor, seq, action, to_epoch: 0 };
            place.guard.tell(FollowEvent::Route { command });
        }
    }

    /// After a move or a new seat: everything without an answer goes to the room that has the player now.
    pub(super) fn route_pending(&self) {
        for (seq, action) in &self.pending {
            self.route(*seq, action.clone());
        }
    }

    fn resync(&mut self) -> Result<(), End> {
        let Some(place) = self.place.as_ref().filter(|place| place.live) else {
            return self.error(ErrorFrame::new(ErrorCode::NotInSector, "resync after the first state"));
        };
        if self.last_resync.is_some_and(|at| at.elapsed() < RESYNC_EVERY) {
            let detail = format!("at most once in {} ms", RESYNC_EVERY.as_millis());
            return self.error(ErrorFrame::new(ErrorCode::ResyncTooOften, detail));
        }
        place.guard.tell(FollowEvent::Resync { conn: self.conn });
        self.company.tell_rooms(|| FollowEvent::Resync { conn: self.conn });
        self.last_resync = Some(Instant::now());
        Ok(())
    }

    async fn take_event(&mut self, event: SessionEvent) -> Result<(), End> {
        match event {
            SessionEvent::Live { room, hop, asked, fights } => {
                // Held until the welcome is in the outbox: nothing of another room comes before it.
                drop(self.welcome.as_ref().map(|welcome| welcome.lock()));
                self.now_live(&room, hop);
                self.tell_here();
                self.fights(fights);
                self.asked_to_be(asked.into());
                self.meet();
            }
            SessionEvent::Combat { room, fights } => {
                if self.place.as_ref().is_some_and(|place| *place.guard.room() == room) {
                    self.fights(fights);
                }
            }
            SessionEvent::Admitted { room, presence } => self.admitted(&room, presence),
            SessionEvent::CompareAt => return Box::pin(self.compare_at()).await,
            SessionEvent::CompareEars => self.compare_ears(),
            SessionEvent::InTeam { team } => self.token_was_followed(team),
            SessionEvent::NotAdmitted { room, number } => self.not_admitted(&room, number),
            SessionEvent::Observable { n, room, is_there } => self.observable(n, room, is_there),
            SessionEvent::ShownAs { shown } => self.shown_is_said(shown),
            SessionEvent::Watched { player } => self.watched_changed(&player),
            SessionEvent::Answered { seq } => {
                if let Some(Action::Status { status }) = self.pending.remove(&seq) {
                    self.asked_to_be(status.into());
                }
            }
            SessionEvent::Departed { room, to, hop } => self.follow_player(&room, to, hop),
            SessionEvent::Unknown { room } => self.not_here(&room),
            SessionEvent::Full { room } => {
                self.full(&room);
                self.notice_busy(5 * BUSY_RETRY_AFTER_MS);
            }
            SessionEvent::SeatLost { room } => self.seat_lost(&room),
            // Not at once each time: a node that is taken for dead is refused until it knows, with its next beat.
            SessionEvent::SeatStale { generation } if generation == self.speaker.generation => {
                let due = self.attached_at + REATTACH_EVERY;
                self.reattach_due.get_or_insert(due.max(Instant::now()));
            }
            SessionEvent::SeatStale { .. } => {}
            SessionEvent::Superseded => return self.superseded(),
            SessionEvent::SomethingRevoked => {
                if self.pass.is_revoked(&self.speaker.player, &self.core.revocations) {
                    return Err(close(CloseCode::Revoked));
                }
            }
            SessionEvent::Refresh { token } => return Box::pin(self.refresh(&Token::new(token.reveal()))).await,
            SessionEvent::Busy => self.notice_busy(BUSY_RETRY_AFTER_MS),
            SessionEvent::Unavailable { retry_after_ms } => {
                send_unavailable(&self.core, &self.outbox, self.codec, retry_after_ms);
            }
            SessionEvent::Leaving { reconnect_after_ms } => {
                self.send(&ServerFrame::Leaving(Leaving { reconnect_after_ms }));
                return Err(close(CloseCode::Draining));
            }
            SessionEvent::Reincarnated => return Box::pin(self.reattach()).await,
            SessionEvent::Call { n, step } => self.call_went_on(n, step),
            SessionEvent::OutboxClosed => return Err(self.closed()),
        }
        Ok(())
    }

    /// The outbox takes nothing more: too much waits for this connection, or its socket broke.
    fn closed(&self) -> End {
        if self.outbox.is_too_slow() {
            self.core.metrics.too_slow.increment(1);
            close(CloseCode::TooSlow)
        } else {
            End::Gone
        }
    }

    fn notice_busy(&self, ms: u64) {
        self.core.metrics.notices.count(NoticeKind::RetryAfter);
        self.send(&ServerFrame::RetryAfter(RetryAfter { ms }));
    }
}

/// Resolves when the socket takes more; never without a socket.
async fn writable(socket: Option<&PlayerSocket>) -> std::io::Result<()> {
    match socket {
        Some(socket) => socket.writable().await,
        None => std::future::pending().await,
    }
}
