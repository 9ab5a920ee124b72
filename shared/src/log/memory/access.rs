//! One node's access to a memory region: how an operation travels there and back, and the [`Log`] it offers.
//! An operation is executed at send or on arrival, by seed, and never after its future was dropped.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::delivery;
use super::faults::Fate;
use super::players::PlayerRecord;
use super::region::{Core, Gate, HandleId, Shared};
use crate::ids::{EntryId, FeedId, Generation, Hop, Incarnation, PlayerId, RegionName, RoomId, SectorId, SessionId};
use crate::log::{
    Append, Appended, At, Attach, Attached, Beat, Beaten, Checkpoint, Checkpointed, Claim, Claimed, FeedItem,
    Following, Heads, Leave, Log, LogEntry, LogError, LogResult, OnceKey, Opened, Parked, Posted, Push, Reclaim,
    Restore, Restored, Sent, Snapshot, Unsafe,
};

/// A node's access to a [`MemoryRegion`](super::MemoryRegion). Dropping it closes its connections.
pub struct MemoryLog {
    shared: Arc<Shared>,
    id: HandleId,
    region: RegionName,
}

/// What the region's seed decided about one operation when it was sent.
struct Trip {
    there: Duration,
    back: Duration,
    /// Executed when sent, not on arrival: what tells them apart is only a future dropped in between.
    at_send: bool,
    fate: Fate,
    late_by: Duration,
    unanswered_after: Duration,
    /// If it times out in a stall: executed when the stall ends.
    outlives_stall: bool,
    answer_timeout: Option<Duration>,
    sent_at: Instant,
    sent_in_epoch: u64,
}

impl MemoryLog {
    pub(super) fn new(shared: Arc<Shared>, id: HandleId, region: RegionName) -> Self {
        Self { shared, id, region }
    }

    /// This handle's name in the region's fault functions.
    pub fn id(&self) -> HandleId {
        self.id
    }

    fn plan(&self) -> Trip {
        let core = &mut *self.shared.core.lock();
        let rng = &mut core.rng;
        Trip {
            there: core.faults.latency.draw(rng),
            back: core.faults.latency.draw(rng),
            at_send: rng.coin(),
            fate: core.faults.ambiguity.draw(rng),
            late_by: rng.between(Duration::ZERO, core.faults.ambiguity.late_by),
            unanswered_after: core.faults.ambiguity.answered_after,
            outlives_stall: rng.coin(),
            answer_timeout: core.faults.answer_timeout,
            sent_at: Instant::now(),
            sent_in_epoch: core.connection_epoch,
        }
    }

    /// One operation, there and back. `script` is one atomic step on the region.
    async fn run<T, F>(&self, script: F) -> LogResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Core) -> T + Send + 'static,
    {
        let trip = self.plan();
        let mut script = Some(script);
        let mut answer = None;
        if trip.at_send && matches!(trip.fate, Fate::Answered | Fate::ExecutedUnanswered) {
            let core = &mut *self.shared.core.lock();
            if let Gate::Open = core.gate(self.id, trip.sent_in_epoch) {
                answer = script.take().map(|script| script(core));
            }
        }
        travel(trip.there).await;
        match trip.fate {
            Fate::Answered | Fate::ExecutedUnanswered => self.arrive(&trip, &mut script, &mut answer).await?,
            Fate::NotExecuted => {}
            Fate::Late => self.execute_at(Instant::now() + trip.unanswered_after + trip.late_by, &trip, script.take()),
        }
        if trip.fate != Fate::Answered {
            tokio::time::sleep_until(trip.sent_at + trip.unanswered_after).await;
            self.thaw().await;
            return Err(LogError::Ambiguous("no answer in time".into()));
        }
        travel(trip.back).await;
        self.thaw().await;
        let in_this_epoch = self.shared.core.lock().connection_epoch == trip.sent_in_epoch;
        answer.filter(|_| in_this_epoch).ok_or_else(connection_lost)
    }

    /// Executes the script when the region lets it, if it was not executed at send.
    async fn arrive<T, F>(&self, trip: &Trip, script: &mut Option<F>, answer: &mut Option<T>) -> LogResult<()>
    where
        T: Send + 'static,
        F: FnOnce(&mut Core) -> T + Send + 'static,
    {
        loop {
            let gate = {
                let core = &mut *self.shared.core.lock();
                let gate = core.gate(self.id, trip.sent_in_epoch);
                if let (Gate::Open, Some(script)) = (&gate, script.take_if(|_| matches!(gate, Gate::Open))) {
                    *answer = Some(script(core));
                }
                gate
            };
            match gate {
                Gate::Open => return Ok(()),
                Gate::Dead => std::future::pending().await,
                Gate::Frozen(until) => tokio::time::sleep_until(until).await,
                Gate::Disconnected => return Err(connection_lost()),
                Gate::Unavailable if answer.is_some() => return Err(connection_lost()),
                Gate::Unavailable => {
                    return Err(LogError::NotExecuted("the region is away".into()));
                }
                Gate::Paused(until) => match trip.answer_timeout.map(|timeout| trip.sent_at + timeout) {
                    Some(gives_up) if gives_up < until => {
                        tokio::time::sleep_until(gives_up).await;
                        if trip.outlives_stall {
                            self.execute_at(until, trip, script.take());
                        }
                        return Err(LogError::Ambiguous("no answer in time".into()));
                    }
                    _ => tokio::time::sleep_until(until).await,
                },
            }
        }
    }

    /// Leaves a script behind that runs after its caller gave up, unless its connection or its handle ends before.
    fn execute_at<T, F>(&self, at: Instant, trip: &Trip, script: Option<F>)
    where
        F: FnOnce(&mut Core) -> T + Send + 'static,
    {
        let (id, sent_in_epoch) = (self.id, trip.sent_in_epoch);
        let region = Arc::downgrade(&self.shared);
        tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            if let (Some(shared), Some(script)) = (region.upgrade(), script) {
                let core = &mut *shared.core.lock();
                if let Gate::Open = core.gate(id, sent_in_epoch) {
                    script(core);
                }
            }
        });
    }

    /// Holds an answer while its node is frozen, for ever if it is dead.
    async fn thaw(&self) {
        loop {
            let sent_now = self.shared.core.lock().connection_epoch;
            let gate = self.shared.core.lock().gate(self.id, sent_now);
            match gate {
                Gate::Dead => std::future::pending().await,
                Gate::Frozen(until) => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }
}

async fn travel(duration: Duration) {
    if duration.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(duration).await;
    }
}

fn connection_lost() -> LogError {
    LogError::Ambiguous("the connection was lost".into())
}

impl Drop for MemoryLog {
    fn drop(&mut self) {
        self.shared.core.lock().end_handle(self.id);
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryLog({})", self.id.0)
    }
}

impl Log for MemoryLog {
    async fn open(&self) -> LogResult<Opened> {
        let mine = self.region.clone();
        self.run(move |core| {
            let found = core.db.meta.get_or_insert_with(|| mine.clone());
            if *found == mine { Opened::Ok } else { Opened::OtherRegion { found: found.to_string() } }
        })
        .await
    }

    async fn check_safety(&self) -> LogResult<Vec<Unsafe>> {
        self.run(|_| Vec::new()).await
    }

    async fn time_ms(&self) -> LogResult<u64> {
        self.run(|core| core.time_ms()).await
    }

    async fn beat(&self, beat: Beat) -> LogResult<Beaten> {
        let id = self.id;
        self.run(move |core| {
            let (now_ms, replication_id) = (core.time_ms(), core.replication_id());
            let Core { db, handles, .. } = core;
            let subscribers = |peer: &Incarnation| Core::alive_subscribers(handles, peer);
            let beaten = db.members.beat(&beat, now_ms, &replication_id, subscribers);
            if beaten == Beaten::Gone {
                core.unfollow_alive(id, &beat.incarnation);
            }
            beaten
        })
        .await
    }

    async fn leave(&self, leave: Leave) -> LogResult<()> {
        let id = self.id;
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.members.leave(&leave.incarnation, now_ms);
            core.unfollow_alive(id, &leave.incarnation);
        })
        .await
    }

    async fn forget(&self, gone: &Incarnation) -> LogResult<()> {
        let gone = gone.clone();
        self.run(move |core| {
            let rooms = core.db.rooms_of.get(&gone);
            if core.db.members.is_gone(&gone) && rooms.is_none_or(|rooms| rooms.is_empty()) {
                core.db.rooms_of.remove(&gone);
                core.db.inboxes.remove(&gone);
                core.forget_inbox_bell(&gone);
            }
        })
        .await
    }

    async fn rooms_of(&self, incarnation: &Incarnation) -> LogResult<Vec<RoomId>> {
        let of = incarnation.clone();
        self.run(move |core| core.db.rooms_of.get(&of).into_iter().flatten().cloned().collect()).await
    }

    async fn rooms_add(&self, incarnation: &Incarnation, rooms: &[RoomId]) -> LogResult<()> {
        let (of, rooms) = (incarnation.clone(), rooms.to_vec());
        self.run(move |core| {
            if !rooms.is_empty() {
                core.db.rooms_of.entry(of).or_default().extend(rooms);
            }
        })
        .await
    }

    async fn rooms_remove(&self, incarnation: &Incarnation, room: &RoomId) -> LogResult<()> {
        let (of, room) = (incarnation.clone(), room.clone());
        self.run(move |core| {
            if let Some(rooms) = core.db.rooms_of.get_mut(&of) {
                rooms.remove(&room);
            }
        })
        .await
    }

    async fn claim(&self, claim: Claim) -> LogResult<Claimed> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            let (claimed, entry) = core.db.room_mut(&claim.room).claim(&claim, now_ms);
            if let Some(entry) = entry {
                core.publish_entry(&claim.room, entry);
            }
            claimed
        })
        .await
    }

    async fn append(&self, append: Append) -> LogResult<Appended> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            let (appended, entry) = core.db.room_mut(&append.room).append(&append, now_ms);
            let Appended::Ok { time_ms, .. } = appended else {
                return appended;
            };
            let at = if entry.is_some() { append.id } else { append.prev };
            let mut receivers = entry.map_or(0, |entry| core.publish_entry(&append.room, entry));
            if let Some(body) = append.receipts.clone() {
                receivers = core.publish(&append.room, Push::Receipts { at, body });
            }
            Appended::Ok { receivers, time_ms }
        })
        .await
    }

    async fn reclaim(&self, reclaim: Reclaim) -> LogResult<Appended> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            let (appended, entry) = core.db.room_mut(&reclaim.room).reclaim(&reclaim, now_ms);
            match (appended, entry) {
                (Appended::Ok { time_ms, .. }, Some(entry)) => {
                    let receivers = core.publish_entry(&reclaim.room, entry);
                    Appended::Ok { receivers, time_ms }
                }
                (appended, _) => appended,
            }
        })
        .await
    }

    async fn restore(&self, restore: Restore) -> LogResult<Restored> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            let (restored, entry) = core.db.room_mut(&restore.room).restore(&restore, now_ms);
            if let Some(entry) = entry {
                core.publish_entry(&restore.room, entry);
            }
            restored
        })
        .await
    }

    async fn checkpoint(&self, checkpoint: Checkpoint) -> LogResult<Checkpointed> {
        self.run(move |core| core.db.room_mut(&checkpoint.room).checkpoint(&checkpoint)).await
    }

    async fn park(&self, room: &RoomId, prev: EntryId, incarnation: &Incarnation) -> LogResult<Parked> {
        let (room, incarnation) = (room.clone(), incarnation.clone());
        self.run(move |core| core.db.room_mut(&room).park(prev, &incarnation)).await
    }

    async fn heads(&self, rooms: &[RoomId]) -> LogResult<Vec<Heads>> {
        let rooms = rooms.to_vec();
        self.run(move |core| {
            let heads = |room| core.db.rooms.get(room).map(|stored| stored.heads()).unwrap_or_default();
            rooms.iter().map(heads).collect()
        })
        .await
    }

    async fn snapshot(&self, room: &RoomId) -> LogResult<Option<Snapshot>> {
        let room = room.clone();
        self.run(move |core| core.db.rooms.get(&room).and_then(|stored| stored.snapshot().cloned())).await
    }

    async fn entries(&self, room: &RoomId, after: EntryId, count: usize) -> LogResult<Vec<LogEntry>> {
        let room = room.clone();
        self.run(move |core| core.db.rooms.get(&room).map(|r| r.entries(after, count)).unwrap_or_default()).await
    }

    /// Also names this handle: from now on it follows `alive:<incarnation>`.
    async fn create_inbox(&self, incarnation: &Incarnation) -> LogResult<()> {
        let (id, of) = (self.id, incarnation.clone());
        self.run(move |core| {
            if let Some(handle) = core.handles.get_mut(&id) {
                handle.alive = Some(of.clone());
            }
            core.db.inboxes.entry(of).or_default();
        })
        .await
    }

    async fn send(&self, to: &Incarnation, commands: &[Bytes]) -> LogResult<Sent> {
        let (to, commands) = (to.clone(), commands.to_vec());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let Some(inbox) = core.db.inboxes.get_mut(&to) else {
                return Sent::Gone;
            };
            let sent = inbox.send(&commands, now_ms);
            core.ring_inbox(&to);
            sent
        })
        .await
    }

    async fn take_inbox(
        &self,
        incarnation: &Incarnation,
        after: FeedId,
        wait: Duration,
    ) -> LogResult<Vec<(FeedId, Bytes)>> {
        let deadline = Instant::now() + wait;
        let (bell, sent_in_epoch) = {
            let mut core = self.shared.core.lock();
            (core.inbox_bell(incarnation), core.connection_epoch)
        };
        let mut after = after;
        loop {
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            let of = incarnation.clone();
            let taken = self.run(move |core| core.db.inboxes.get_mut(&of).map(|inbox| inbox.take(after))).await?;
            match taken {
                Some(items) if !items.is_empty() || Instant::now() >= deadline => return Ok(items),
                Some(_) => {}
                None => {
                    self.create_inbox(incarnation).await?;
                    after = FeedId::START;
                }
            }
            let _ = tokio::time::timeout_at(deadline, rung).await;
            if self.shared.core.lock().connection_epoch != sent_in_epoch {
                self.thaw().await;
                return Err(connection_lost());
            }
        }
    }

    async fn attach(&self, attach: Attach) -> LogResult<Attached> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            let record = core.db.players.entry(attach.player.clone());
            let record = record.or_insert_with(|| PlayerRecord::new(attach.start.clone(), Hop(0)));
            let attached = record.attach(&attach, now_ms);
            let push = Push::Attached {
                session: attach.session.clone(),
                generation: attached.generation,
                floor: attached.floor,
            };
            core.publish(&RoomId::Player(attach.player), push);
            attached
        })
        .await
    }

    async fn detach(&self, player: &PlayerId, session: &SessionId, generation: Generation) -> LogResult<bool> {
        let (player, session) = (player.clone(), session.clone());
        self.run(move |core| core.db.players.get_mut(&player).is_some_and(|r| r.detach(&session, generation))).await
    }

    async fn arrived(&self, player: &PlayerId, room: &SectorId, hop: Hop) -> LogResult<Hop> {
        let (player, room) = (player.clone(), room.clone());
        self.run(move |core| {
            let record = core.db.players.entry(player);
            record.or_insert_with(|| PlayerRecord::new(room.clone(), hop)).arrived(&room, hop)
        })
        .await
    }

    async fn at(&self, player: &PlayerId) -> LogResult<Option<At>> {
        let player = player.clone();
        self.run(move |core| core.db.players.get(&player).map(|record| record.at())).await
    }

    async fn post(&self, room: &RoomId, once: &OnceKey, body: Bytes) -> LogResult<Posted> {
        let (room, once) = (room.clone(), once.clone());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let (posted, item) = core.db.room_mut(&room).post(&once, &body, now_ms);
            if let Some(item) = item {
                core.publish(&room, Push::Feed(item));
            }
            posted
        })
        .await
    }

    async fn feed(&self, room: &RoomId, after: FeedId, count: usize) -> LogResult<Vec<FeedItem>> {
        let room = room.clone();
        self.run(move |core| core.db.rooms.get(&room).map(|r| r.feed(after, count)).unwrap_or_default()).await
    }

    fn follow(&self, room: &RoomId) -> Following {
        delivery::follow(&self.shared, self.id, room)
    }

    fn suspect(&self, _room: &RoomId) {
        self.shared.core.lock().disconnect(self.id, Duration::ZERO);
    }
}
