//! What one session says, asks and hears in feeds: a task of its own, so that the log is never waited for in the
//! connection's loop, and what is said is posted in the order it was said. In reading order: `say`, `mention`, `back` (history and
//! what is unread), `listening` (which feeds the session reads), `topics` (those it asked for). What is in a feed reaches
//! the client from the room's relay, not through here.

mod say;

mod mention;

mod back;

mod listening;

mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sectorbus::ids::{ActorId, FeedId, PlayerId, RoomId, SectorId, TeamId};
use sectorbus::limits::{EARS_TOLD_FOR, REQUESTS_WAITING_MAX};
use sectorbus::log::{Ears, EarsChange, EarsChanged, Log, LogError, LogResult, Revoked};
use sectorbus::mailbox::{self, mailbox};
use sectorbus::protocol::{
    Block, Blocks, ClientFrame, Codec, ErrorCode, ErrorFrame, FEEDS, History, Marked, Prefer, Preferences, Read,
    Refused, Say, ServerFrame, Topic, Unread,
};
use sectorbus::said::RefusalCode;

use crate::core::{ConnId, Core};
use crate::feeds::listener::ListenerEvent;
use crate::session::connection::Wire;
use crate::session::edges::{End, send_unavailable};
use crate::session::hello::Attachment;
use crate::session::outbox::{Lane, Outbox, framed};
use crate::session::task::Session;
use listening::Listening;
use topics::Readable;

const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How long something waits for the log before the client is told, each time.
const NOTICE_EVERY: Duration = Duration::from_secs(2);
/// When to send again what there was no room for.
const BUSY_RETRY_AFTER_MS: u64 = 1_000;

/// What a client asks for, and where it was then.
#[derive(Debug)]
enum Request {
    Say(Say),
    History(History),
    Read(Read),
    Unread(Unread),
    Block(Block),
    Topic(Topic),
    Prefer(Prefer),
}

#[derive(Debug)]
enum Order {
    Request {
        request: Request,
        here: SectorId,
    },
    /// The session sees this sector.
    Here(SectorId),
    /// The roster of this team has the player, since then (ms since 1970); `None`: of none any more.
    Team(Option<(TeamId, u64)>),
    /// The player may be in another team, which not every roster shows yet.
    TeamChanged,
    /// The socket took all that waited, and items had not fitted.
    Ready,
    Changed(EarsChange),
    /// The player's channel is followed (again): what was changed meanwhile is read.
    Compare,
}

/// The session's end of it. Dropping it ends the task.
pub(super) struct Talk {
    orders_tx: mailbox::Sender<Order>,
    /// Requests that were not taken up yet.
    waiting: Arc<AtomicUsize>,
}

impl Talk {
    fn tell(&self, order: Order) {
        let _ = self.orders_tx.send(order);
    }
}

/// What a session's talk begins with.
struct Start {
    conn: ConnId,
    codec: Codec,
    outbox: Arc<Outbox>,
    player: PlayerId,
    name: String,
    actor: ActorId,
    /// The last item that the client had of each feed.
    cursors: BTreeMap<RoomId, FeedId>,
}

impl Talk {
    /// `None`: the client does not know feeds.
    pub(super) fn start<L: Log>(
        core: &Arc<Core<L>>,
        conn: ConnId,
        wire: &Wire,
        attachment: &mut Attachment,
    ) -> Option<Self> {
        let player = attachment.speaker.player.clone();
        let start = Start {
            conn,
            codec: wire.codec,
            outbox: wire.outbox.clone(),
            name: attachment.claims.name.clone().unwrap_or_else(|| player.to_string()),
            player,
            actor: attachment.actor,
            cursors: std::mem::take(&mut attachment.feeds),
        };
        attachment.features.iter().any(|feature| feature == FEEDS).then(|| start.run(core))
    }
}

impl Start {
    fn run<L: Log>(self, core: &Arc<Core<L>>) -> Talk {
        let (orders_tx, orders_rx) = mailbox();
        let waiting = Arc::new(AtomicUsize::new(0));
        let task = Talking {
            listening: Listening::new(&self),
            core: core.clone(),
            outbox: self.outbox,
            codec: self.codec,
            player: self.player,
            name: self.name,
            actor: self.actor,
            ears: Ears::default(),
            waiting: waiting.clone(),
        };
        core.tasks.spawn("talk", task.run(orders_rx));
        Talk { orders_tx, waiting }
    }
}

impl<L: Log> Session<L> {
    /// A frame about feeds, after the first state.
    pub(super) fn ask_talk(&mut self, frame: ClientFrame) -> Result<(), End> {
        let n = frame.request_no();
        let Some(talk) = &self.talk else {
            let error = ErrorFrame::new(ErrorCode::UnknownFrame, "hello did not name the feature feeds");
            return self.error(ErrorFrame { n, ..error });
        };
        let Some(here) = self.place.as_ref().filter(|place| place.live).map(|place| place.sector.clone()) else {
            let error = ErrorFrame::new(ErrorCode::NotInSector, "after the first state");
            return self.error(ErrorFrame { n, ..error });
        };
        let request = match frame {
            ClientFrame::Say(say) => Request::Say(say),
            ClientFrame::History(history) => Request::History(history),
            ClientFrame::Read(read) => Request::Read(read),
            ClientFrame::Unread(unread) => Request::Unread(unread),
            ClientFrame::Block(block) => Request::Block(block),
            ClientFrame::Topic(topic) => Request::Topic(topic),
            ClientFrame::Prefer(prefer) => Request::Prefer(prefer),
            _ => return Ok(()),
        };
        if talk.waiting.load(Ordering::Relaxed) >= REQUESTS_WAITING_MAX {
            let error = ErrorFrame::new(ErrorCode::RateLimited, "too many requests wait for their answers");
            self.send(&ServerFrame::Error(ErrorFrame { n, retry_after_ms: Some(BUSY_RETRY_AFTER_MS), ..error }));
            return Ok(());
        }
        talk.waiting.fetch_add(1, Ordering::Relaxed);
        talk.tell(Order::Request { request, here });
        Ok(())
    }

    pub(super) fn tell_here(&self) {
        if let (Some(talk), Some(sector)) = (&self.talk, &self.shown) {
            talk.tell(Order::Here(sector.clone()));
        }
    }

    pub(super) fn tell_team(&self, team: Option<(TeamId, u64)>) {
        if let Some(talk) = &self.talk {
            talk.tell(Order::Team(team));
        }
    }

    pub(super) fn tell_team_changed(&self) {
        if let Some(talk) = &self.talk {
            talk.tell(Order::TeamChanged);
        }
    }

    pub(super) fn tell_feeds_ready(&self) {
        if let Some(talk) = &self.talk {
            talk.tell(Order::Ready);
        }
    }

    pub(super) fn tell_ears(&self, change: EarsChange) {
        if let Some(talk) = &self.talk {
            talk.tell(Order::Changed(change));
        }
    }

    pub(super) fn compare_ears(&self) {
        if let Some(talk) = &self.talk {
            talk.tell(Order::Compare);
        }
    }
}

/// The task.
struct Talking<L: Log> {
    core: Arc<Core<L>>,
    listening: Listening,
    outbox: Arc<Outbox>,
    codec: Codec,
    player: PlayerId,
    name: String,
    actor: ActorId,
    ears: Ears,
    waiting: Arc<AtomicUsize>,
}

impl<L: Log> Talking<L> {
    async fn run(mut self, mut orders_rx: mailbox::Receiver<Order>) {
        // Whatever is asked for before the player's channel is followed waits: from then on every change is heard.
        let mut early = Vec::new();
        loop {
            match orders_rx.recv().await {
                None => return,
                Some(Order::Compare) => break,
                Some(order) => early.push(order),
            }
        }
        self.read_ears().await;
        self.listen_to_all().await;
        for order in early {
            self.take(order).await;
        }
        loop {
            tokio::select! {
                biased;
                event = self.listening.events_rx.recv() => match event {
                    Some(ListenerEvent::Ended(ended)) => self.feed_has_ended(ended).await,
                    Some(ListenerEvent::LeaseOver) => self.renew_lease().await,
                    None => {}
                },
                order = orders_rx.recv() => match order {
                    Some(order) => self.take(order).await,
                    None => break,
                },
            }
        }
        self.listening.end();
    }

    async fn take(&mut self, order: Order) {
        match order {
            Order::Request { request, here } => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                self.answer(request, here).await;
            }
            Order::Here(sector) => self.listen_here(sector),
            Order::Team(team) => self.listen_to_team(team),
            Order::TeamChanged => self.check_topics().await,
            Order::Ready => self.listening.is_ready(),
            Order::Changed(change) => self.take_change(change),
            Order::Compare => self.read_ears().await,
        }
    }

    async fn answer(&mut self, request: Request, here: SectorId) {
        match request {
            Request::Say(say) => self.say(say, &here).await,
            Request::History(history) => self.history(history, &here).await,
            Request::Read(read) => self.read(read, &here).await,
            Request::Unread(unread) => self.unread(unread, &here).await,
            Request::Block(block) => self.block(block).await,
            Request::Topic(topic) => self.topic(topic).await,
            Request::Prefer(prefer) => self.prefer(prefer).await,
        }
    }

    /// As stored now; whatever differs from before is told.
    async fn read_ears(&mut self) {
        let (core, player) = (self.core.clone(), self.player.clone());
        let Some(ears) = self.until_answered(|| core.log.ears(&player)).await else { return };
        let marks = ears.marks.clone().into_iter().filter(|(of, upto)| self.ears.marks.get(of) != Some(upto));
        let marked: Vec<_> = marks.collect();
        let blocks_differ = ears.blocks != self.ears.blocks;
        let preferences_differ = ears.unwanted != self.ears.unwanted;
        self.ears = ears;
        self.listening.blocked.set(&self.ears);
        for (of, upto) in marked {
            self.send(&ServerFrame::Marked(Marked { of, upto }));
        }
        if blocks_differ {
            self.send_blocks(None);
        }
        if preferences_differ {
            self.send_preferences(None);
        }
    }

    fn take_change(&mut self, change: EarsChange) {
        if !self.ears.take(change.clone()) {
            return;
        }
        match change {
            EarsChange::Mark { of, upto } => self.send(&ServerFrame::Marked(Marked { of, upto })),
            EarsChange::Block { .. } => {
                self.listening.blocked.set(&self.ears);
                self.send_blocks(None);
            }
            EarsChange::Prefer { .. } => {
                self.listening.blocked.set(&self.ears);
                self.send_preferences(None);
            }
            EarsChange::Mute { .. } => {}
        }
    }

    async fn block(&mut self, block: Block) {
        let Block { n, player: peer, blocked } = block;
        let (core, player) = (self.core.clone(), self.player.clone());
        let change = EarsChange::Block { peer, blocked };
        match self.until_answered(|| core.log.change_ears(&player, &change)).await {
            Some(EarsChanged::Full) => self.refuse(n, RefusalCode::TooMany),
            Some(EarsChanged::Changed | EarsChanged::Unchanged) => {
                // A publish may be lost, or its node not hear: all look for these. Again with a repeat, whose first may not have.
                let told = Revoked::Ears(self.player.clone());
                let until_ms = core.clock.now_ms() + EARS_TOLD_FOR.as_millis() as u64;
                self.until_answered(|| core.log.revoke(&told, until_ms)).await;
                self.ears.take(change);
                self.listening.blocked.set(&self.ears);
                self.send_blocks(Some(n));
            }
            None => {}
        }
    }

    async fn prefer(&mut self, prefer: Prefer) {
        let Prefer { n, kind, wanted } = prefer;
        let (core, player) = (self.core.clone(), self.player.clone());
        let change = EarsChange::Prefer { kind, wanted };
        if self.until_answered(|| core.log.change_ears(&player, &change)).await.is_some() {
            self.ears.take(change);
            self.listening.blocked.set(&self.ears);
            self.send_preferences(Some(n));
        }
    }

    async fn read(&mut self, read: Read, here: &SectorId) {
        let Read { of, upto } = read;
        // Of what cannot be read nothing is kept: a hostile client could fill the store.
        if self.may_read(&of, here).await != Some(true) {
            return;
        }
        let (core, player) = (self.core.clone(), self.player.clone());
        let change = EarsChange::Mark { of, upto };
        self.until_answered(|| core.log.change_ears(&player, &change)).await;
    }

    /// The session's own rooms, its topics, and what was said with any player. Of the team the log is asked each time: who was removed
    /// may not have been told yet. `None`: the log cannot be read.
    async fn may_read(&self, of: &RoomId, here: &SectorId) -> Option<bool> {
        match of {
            RoomId::Global | RoomId::Player(_) => Some(true),
            RoomId::Sector(sector) => Some(sector == here),
            RoomId::Team(team) => {
                let (core, player) = (&self.core, &self.player);
                let at = self.until_answered(|| core.log.at(player)).await?;
                let is_in = at.and_then(|at| at.team?.team).is_some_and(|(now, _)| now == *team);
                Some(is_in && self.listening.team() == Some(team))
            }
            RoomId::Topic(name) if self.listening.listens_to(of) => {
                Some(self.may_read_topic(name).await? != Readable::No)
            }
            RoomId::Topic(_) | RoomId::Elsewhere(_) => Some(false),
        }
    }

    fn send_blocks(&self, n: Option<u64>) {
        let players = self.ears.blocks.iter().cloned().collect();
        self.send(&ServerFrame::Blocks(Blocks { n, players }));
    }

    fn send_preferences(&self, n: Option<u64>) {
        let unwanted = self.ears.unwanted.iter().copied().collect();
        self.send(&ServerFrame::Preferences(Preferences { n, unwanted }));
    }

    fn send(&self, frame: &ServerFrame) {
        self.outbox.send(&[framed(Lane::Critical, self.codec, &frame.encode(self.codec))]);
    }

    fn refuse(&self, n: u64, code: RefusalCode) {
        self.send(&ServerFrame::Refused(Refused { n, code, facts: Default::default() }));
    }

    /// Asks the log until it answers, and tells the client when that takes long. `None`: there is something unreadable.
    async fn until_answered<T, F: Future<Output = LogResult<T>>>(&self, mut ask: impl FnMut() -> F) -> Option<T> {
        self.patiently(async {
            loop {
                match ask().await {
                    Ok(answer) => return Some(answer),
                    Err(LogError::Corrupt(what)) => {
                        tracing::error!(player = %self.player, %what, "what a session asks for cannot be read");
                        return None;
                    }
                    Err(_) => tokio::time::sleep(RETRY_AFTER).await,
                }
            }
        })
        .await
    }

    async fn patiently<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(NOTICE_EVERY) => {
                    send_unavailable(&self.core, &self.outbox, self.codec, NOTICE_EVERY.as_millis() as u64);
                }
            }
        }
    }
}
