//! The task of one owned room: gathers a batch, has it decided, appends it, and acts on what is committed.
//! Nothing is decided on, answered from or sent out of a state whose append has not been answered.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use sectorbus::ids::{EntryId, Hop, Incarnation, PlayerId, RoomId};
use sectorbus::limits::{
    BATCH_COMMANDS_MAX, CHECKPOINT_AFTER, GONE_KEPT_FOR, LINGER_ABOVE_ENTRIES_PER_S, LINGER_MAX, OWN_ENTRY_HEARD_WITHIN,
};
use sectorbus::log::{JumpFate, JumpName, Log};
use sectorbus::state::{PlayerRecord, PostName};

use crate::changes::Watcher;
use crate::command::{Command, Notice};
use crate::core::{Core, Heard};
use crate::follow::{FollowGuard, Follows};
use crate::owners::Owners;
use crate::room::chain::Chain;
use crate::room::claim::{self, NotMine, OwnedRoom};
use crate::room::commit::Dropped;
use crate::room::jumps::Jumps;
use crate::room::owner::{Input, Origin, Owner, Whereabouts};
use crate::room::posts::PostsOnTheWay;
use crate::room::seats::SeatLimits;
use crate::room::team;
use crate::room::telling::Telling;
use crate::room::transfers::Transfers;

/// What reaches a room's task.
#[derive(Debug)]
pub enum RoomEvent {
    Command {
        from: Incarnation,
        command: Command,
    },
    /// `at` was read before an arrival.
    ArrivalChecked {
        player: PlayerId,
        hop: Hop,
        record: Box<PlayerRecord>,
        from: Origin,
        at: Option<Whereabouts>,
    },
    /// `at` counts more moves of a player than the record here.
    FoundElsewhere {
        player: PlayerId,
        at: Whereabouts,
    },
    /// What is known of a jump out of here.
    JumpTold {
        name: JumpName,
        fate: JumpFate,
    },
    /// `at` names this room for the arrival.
    ArrivalKnown {
        player: PlayerId,
        hop: Hop,
    },
    /// Posts of this room were answered; `Err`: a feed that could not be posted to.
    Posted {
        answered: Vec<Result<PostName, RoomId>>,
    },
    /// Events up to this entry were told; `None`: they could not be.
    Told {
        upto: Option<EntryId>,
    },
    /// The ring changed: this room may map elsewhere now.
    RingChanged,
    IncarnationsGone(Vec<Incarnation>),
    /// Redis was away or is another one: compare heads before going on, and set `at` again.
    CheckHead,
    /// Write a snapshot now: the node leaves and nobody takes over.
    Checkpoint,
    /// A relay saw a claim of another owner.
    ForeignClaim {
        epoch: u64,
    },
}

/// At most so often is a head compared because others ask for it.
const HEAD_CHECK_EVERY: Duration = Duration::from_secs(1);
/// Before a room that cannot be read is tried again.
const UNREADABLE_AGAIN_AFTER: Duration = Duration::from_secs(5);

pub(super) struct RoomTask<L: Log> {
    pub(super) core: Arc<Core<L>>,
    pub(super) room: RoomId,
    pub(super) me: Incarnation,
    pub(super) mailbox: mpsc::WeakSender<RoomEvent>,
    pub(super) owner: Owner,
    pub(super) chain: Chain,
    pub(super) heard: Arc<Heard>,
    _follow: FollowGuard,
    started: Instant,
    // Checkpoints.
    /// The snapshot that this owner knows to be stored; `None` after a doubt.
    pub(super) snapshot: Option<EntryId>,
    pub(super) dormant_at_checkpoint: Option<u64>,
    pub(super) checkpoint_due: Option<Instant>,
    // Transfers.
    pub(super) checking: BTreeSet<PlayerId>,
    /// Arrivals of the batch in hand: they stay in `checking` until it is committed.
    pub(super) decided: Vec<PlayerId>,
    pub(super) answering: BTreeMap<PlayerId, Hop>,
    /// Where arrivals of this ownership came from, until they are answered.
    pub(super) sources: BTreeMap<PlayerId, Origin>,
    pub(super) jumps: Jumps,
    pub(super) arrive_due: Option<Instant>,
    /// The ring maps the room elsewhere: when to ask the new owner again.
    pub(super) adopt_due: Option<Instant>,
    pub(super) sent_out: BTreeMap<PlayerId, Hop>,
    pub(super) transfers: Transfers,
    /// How often `at` was set again for everybody; an older round ends.
    pub(super) reasserted: Arc<AtomicU64>,
    pub(super) posts: PostsOnTheWay,
    pub(super) telling: Telling,
    // Hearing my own entries.
    pub(super) unheard: Option<(EntryId, Instant)>,
    pub(super) head_checked: Option<Instant>,
    view_changes: Watcher,
    // Pace.
    window_started: Instant,
    window_entries: u32,
    last_append: Instant,
    pub(super) busy_at: Instant,
}

pub async fn run<L: Log>(
    core: Arc<Core<L>>,
    room: RoomId,
    mailbox: mpsc::WeakSender<RoomEvent>,
    mut events_rx: mpsc::Receiver<RoomEvent>,
) {
    let me = core.me();
    let claimed = claim::claim_and_load(&core, &room, &me).await;
    core.owners.claimed(&room);
    let dropped = match claimed {
        Ok(owned) => RoomTask::new(&core, &room, mailbox.clone(), owned).run(&mut events_rx).await,
        Err(NotMine::OwnedBy(by)) => Dropped::Fenced { by: Some(by) },
        Err(NotMine::Moved) => Dropped::Fenced { by: None },
        Err(NotMine::Unreadable) => Dropped::Unreadable,
        Err(NotMine::Elsewhere) => Dropped::Elsewhere,
    };
    let by = match &dropped {
        Dropped::Fenced { by } => by.clone(),
        // Claiming again at once would write a claim each time.
        Dropped::Unreadable => {
            tokio::time::sleep(UNREADABLE_AGAIN_AFTER).await;
            None
        }
        Dropped::Parked | Dropped::Elsewhere | Dropped::LifeOver => None,
    };
    // The set names what would be left behind; only what surely is not goes out of it.
    let lives_elsewhere = by.as_ref().is_some_and(|by| *by != me && core.view().members.contains(by));
    if lives_elsewhere || matches!(dropped, Dropped::Parked | Dropped::Elsewhere) {
        let _ = core.log.rooms_remove(&me, &room).await;
    }
    Owners::ended(&core, &room, &mailbox);
    events_rx.close();
    // What arrived meanwhile: for the new owner if it is known, else for a new claim if the room still maps here.
    while let Ok(event) = events_rx.try_recv() {
        let RoomEvent::Command { from, command } = event else { continue };
        if by.is_some() {
            let notice = Notice::NotOwner { by: by.clone(), ring: core.view().ring.version() };
            core.send_notice(&from, &room, notice);
        } else if matches!(dropped, Dropped::Fenced { .. } | Dropped::Parked) {
            core.take_command(&room, from, command);
        }
    }
}

impl<L: Log> RoomTask<L> {
    fn new(core: &Arc<Core<L>>, room: &RoomId, mailbox: mpsc::WeakSender<RoomEvent>, owned: OwnedRoom) -> Self {
        let now = Instant::now();
        let limits = SeatLimits {
            entities_max: core.config.entities_per_room_max,
            grace: core.config.grace,
            resume_window: core.config.resume_window,
        };
        let guard = Follows::pin(core, room);
        let claim = owned.chain.last();
        let mut task = Self {
            core: core.clone(),
            room: room.clone(),
            me: owned.me,
            mailbox,
            heard: guard.heard(),
            _follow: guard,
            owner: Owner::new(room.clone(), core.rules.clone(), limits, owned.state),
            chain: owned.chain,
            started: now,
            snapshot: Some(owned.snapshot),
            dormant_at_checkpoint: None,
            checkpoint_due: Some(now + CHECKPOINT_AFTER),
            checking: BTreeSet::new(),
            answering: BTreeMap::new(),
            sources: BTreeMap::new(),
            jumps: Jumps::default(),
            arrive_due: None,
            adopt_due: None,
            decided: Vec::new(),
            sent_out: BTreeMap::new(),
            transfers: Transfers::default(),
            reasserted: Arc::default(),
            posts: PostsOnTheWay::default(),
            telling: Telling::new(claim),
            unheard: None,
            head_checked: None,
            view_changes: core.watch_view(),
            window_started: now,
            window_entries: 0,
            last_append: now,
            busy_at: now,
        };
        task.reassert_all();
        task.make_incoming_known();
        task
    }

    /// Owns the room until it is lost, parked or the node's life ends.
    async fn run(mut self, events_rx: &mut mpsc::Receiver<RoomEvent>) -> Dropped {
        tracing::debug!(room = %self.room, claim = %self.chain.last(), "room owned");
        let dead = self.known_dead();
        // The owner before may have died with them.
        self.detach_dead(&dead, true);
        let mut flow = self.turn(vec![Input::IncarnationsGone(dead)]).await;
        let mut events = Vec::new();
        while flow.is_continue() {
            tokio::select! {
                biased;
                taken = events_rx.recv_many(&mut events, BATCH_COMMANDS_MAX) => {
                    if taken == 0 {
                        break;
                    }
                    self.linger(events_rx, &mut events).await;
                }
                () = tokio::time::sleep_until(self.next_due()) => {}
            }
            flow = self.take(std::mem::take(&mut events)).await;
        }
        match flow {
            ControlFlow::Break(dropped) => dropped,
            ControlFlow::Continue(()) => Dropped::LifeOver,
        }
    }

    /// A hot room waits a moment for its batch to fill.
    async fn linger(&self, events_rx: &mut mpsc::Receiver<RoomEvent>, events: &mut Vec<RoomEvent>) {
        if self.window_entries < LINGER_ABOVE_ENTRIES_PER_S {
            return;
        }
        let until = self.last_append + LINGER_MAX;
        while events.len() < BATCH_COMMANDS_MAX {
            let room_left = BATCH_COMMANDS_MAX - events.len();
            match tokio::time::timeout_at(until, events_rx.recv_many(events, room_left)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn next_due(&self) -> Instant {
        let timer = self
            .owner
            .next_timer_ms()
            .map(|due_ms| Instant::now() + Duration::from_millis(due_ms.saturating_sub(self.now_ms())));
        let unheard = self.unheard.map(|(_, due)| due);
        let forget = self.transfers.next_due().map(|due| self.started + due);
        let park = self.busy_at + self.core.config.park_after;
        let posts = [self.posts.due(), self.telling.due()];
        [timer, unheard, forget, self.checkpoint_due, self.arrive_due, self.adopt_due]
            .into_iter()
            .chain(posts)
            .flatten()
            .fold(park, Instant::min)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.core.clock.now_ms().max(self.owner.state().system().now_ms())
    }

    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    async fn take(&mut self, events: Vec<RoomEvent>) -> ControlFlow<Dropped> {
        // What may change the epoch comes before what is judged by it.
        for event in &events {
            self.take_control(event).await?;
        }
        if self.adopt_due.is_some_and(|due| Instant::now() >= due) {
            self.hand_over_if_elsewhere().await?;
        }
        let mut inputs = Vec::with_capacity(events.len());
        for event in events {
            match event {
                RoomEvent::Command { from, command } => inputs.extend(self.take_command(from, command)),
                RoomEvent::ArrivalChecked { player, hop, record, from, at } => {
                    inputs.extend(self.arrival_checked(player, hop, record, from, at));
                }
                RoomEvent::ArrivalKnown { player, hop } => self.arrival_known(player, hop),
                RoomEvent::JumpTold { name, fate } => inputs.extend(self.jump_told(name, fate)),
                RoomEvent::FoundElsewhere { player, at } => {
                    // A departure's destination says itself whether it has the player.
                    let system = self.owner.state().system();
                    if system.seat(&player).is_some() || system.dormant(&player).is_some() {
                        inputs.push(Input::Elsewhere { player, at });
                    }
                }
                RoomEvent::IncarnationsGone(gone) => inputs.push(Input::IncarnationsGone(gone)),
                RoomEvent::Posted { answered } => self.take_posted(answered),
                RoomEvent::Told { upto } => self.take_told(upto),
                RoomEvent::RingChanged
                | RoomEvent::CheckHead
                | RoomEvent::Checkpoint
                | RoomEvent::ForeignClaim { .. } => {}
            }
        }
        self.turn(inputs).await
    }

    async fn take_control(&mut self, event: &RoomEvent) -> ControlFlow<Dropped> {
        match event {
            RoomEvent::RingChanged => self.hand_over_if_elsewhere().await,
            RoomEvent::CheckHead => self.check_head().await,
            RoomEvent::Checkpoint => self.checkpoint().await,
            RoomEvent::ForeignClaim { epoch } if *epoch > self.chain.epoch() => self.compare_head().await,
            // Somebody misses the owner: what they heard may have been lost.
            RoomEvent::Command { command: Command::Adopt, .. }
                if self.head_checked.is_none_or(|at| at.elapsed() >= HEAD_CHECK_EVERY) =>
            {
                self.compare_head().await
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn take_command(&mut self, from: Incarnation, command: Command) -> Option<Input> {
        match command {
            Command::Act { to_epoch, .. } if to_epoch != self.chain.epoch() => {
                let notice = Notice::WrongEpoch { epoch: self.chain.epoch() };
                self.core.send_notice(&from, &self.room, notice);
                None
            }
            Command::Arrive { player, hop, record, from } => {
                self.arrive(player, hop, record, from.map_or(Origin::Nowhere, Origin::Sector));
                None
            }
            Command::Land { player, hop, landing } => {
                self.land(player, hop, *landing);
                None
            }
            Command::Adopt => None,
            Command::Edit { request } => Some(Input::Edit { from, request }),
            Command::Arrived { player, hop, room } => self.departure_known(player, hop, room),
            command => Some(Input::Command(command)),
        }
    }

    /// One turn: decide and append, in as many entries as it takes; act on what is committed, then housekeeping.
    async fn turn(&mut self, mut inputs: Vec<Input>) -> ControlFlow<Dropped> {
        let seats_somebody = |input: &Input| {
            matches!(input, Input::TakeIn { .. } | Input::Command(Command::Join { .. } | Command::Seen { .. }))
        };
        // A full mailbox may have had no place for what changed.
        let view_changed = self.view_changes.has_changed();
        if view_changed {
            self.adopt_due = Some(Instant::now());
        }
        if view_changed || inputs.iter().any(seats_somebody) {
            inputs.push(Input::IncarnationsGone(self.known_dead()));
        }
        let gone: Vec<Incarnation> = inputs.iter().flat_map(Input::gone).cloned().collect();
        self.detach_dead(&gone, false);
        if self.transfers.next_due().is_some_and(|due| self.uptime() >= due) {
            inputs.extend(self.transfers.take_ripe(self.uptime()));
        }
        self.drop_posts_if_due(&mut inputs);
        // A restore in between changes the epoch, not what these inputs were meant for: the state goes on.
        loop {
            let now_ms = self.now_ms();
            let timers_due = self.owner.next_timer_ms().is_some_and(|due| due <= now_ms);
            if inputs.is_empty() && !timers_due {
                break;
            }
            // What is to be forgotten rides along.
            inputs.extend(self.transfers.take_ripe(self.uptime()));
            let count = inputs.len();
            let mut decided = self.owner.decide(now_ms, self.chain.last().following(), inputs);
            inputs = std::mem::take(&mut decided.left);
            self.core.metrics.batch_commands.record((count - inputs.len()) as f64);
            let edited = std::mem::take(&mut decided.edited);
            if decided.posts_dropped > 0 {
                tracing::error!(room = %self.room, count = decided.posts_dropped, "posts are dropped: too many wait already");
                self.core.metrics.posts_dropped.increment(decided.posts_dropped);
            }
            if decided.entry.is_some() || !decided.receipts.is_empty() {
                self.last_append = Instant::now();
                self.busy_at = self.last_append;
                self.count_entry();
                self.commit(decided).await?;
            }
            for (to, key, edited) in edited {
                self.core.send_notice(&to, &self.room, Notice::Edited { key, edited });
            }
        }
        for player in self.decided.drain(..) {
            self.checking.remove(&player);
        }
        self.send_arrivals();
        self.send_posts();
        self.tell_events();
        self.check_heard();
        self.checkpoint_if_due().await?;
        self.park_if_idle().await
    }

    fn count_entry(&mut self) {
        if self.window_started.elapsed() >= Duration::from_secs(1) {
            self.window_started = Instant::now();
            self.window_entries /= 2;
        }
        self.window_entries += 1;
    }

    /// Dead incarnations that may still have sessions here.
    fn known_dead(&self) -> Vec<Incarnation> {
        let view = self.core.view();
        let forgotten_ms = self.core.clock.now_ms().saturating_sub(GONE_KEPT_FOR.as_millis() as u64);
        let seated: BTreeSet<&Incarnation> = self
            .owner
            .state()
            .system()
            .seats()
            .values()
            .flat_map(|seat| seat.sessions.values().map(|session| &session.incarnation))
            .chain(team::incarnations(self.owner.state()))
            .collect();
        let dead = |incarnation: &&&Incarnation| {
            view.gone.contains_key(**incarnation)
                || (!view.members.contains(**incarnation) && incarnation.joined_ms() < forgotten_ms)
        };
        let mut dead: BTreeSet<Incarnation> = seated.iter().filter(dead).map(|i| (**i).clone()).collect();
        // Records on their way in are not seated yet.
        dead.extend(view.gone.keys().cloned());
        dead.into_iter().collect()
    }

    /// An owner that does not hear its own entry has a broken pub/sub connection.
    fn check_heard(&mut self) {
        if let Some((id, due)) = self.unheard {
            if self.heard.get() >= id {
                self.unheard = None;
            } else if Instant::now() >= due {
                tracing::debug!(room = %self.room, %id, "own entry not heard");
                self.core.log.suspect(&self.room, id);
                self.unheard = None;
            }
        }
    }

    pub(super) fn expect_heard(&mut self, id: EntryId, receivers: u64) {
        if self.heard.get() < self.chain.claim().0 {
            // The relay still reads the room: it will find the entry there.
        } else if receivers == 0 {
            self.core.log.suspect(&self.room, id);
        } else {
            self.unheard.get_or_insert((id, Instant::now() + OWN_ENTRY_HEARD_WITHIN));
        }
    }
}
