//! From a decision to the log: append until answered, repair the chain when Redis has less, checkpoint, hand over, park.
//! The one place that knows what each answer of the log means for an owner.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::Instant;

use bytes::Bytes;
use sectorbus::action::Answer;
use sectorbus::ids::{EntryId, Incarnation};
use sectorbus::limits::{CHECKPOINT_AFTER, EPOCH_JITTER_EXCLUDED};
use sectorbus::log::{
    Append, Appended, Checkpoint, Checkpointed, ClaimBody, Head, Log, LogError, Parked, Reclaim, Restore, Restored,
};
use sectorbus::metrics::{AnswerKind, LostBy};
use sectorbus::state::Entry;

use crate::command::{Command, Receipt, encode_receipts};
use crate::room::chain::{Chain, Repair};
use crate::room::claim::to_log_parts;
use crate::room::owner::Decided;
use crate::room::task::RoomTask;
use crate::room::team;

/// A new owner may not know its ring yet: it is asked again until it claims.
const ADOPT_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Why the room is not this node's any more.
#[derive(Debug)]
pub enum Dropped {
    /// `by`: the owner its head names.
    Fenced {
        by: Option<Incarnation>,
    },
    Parked,
    /// This life of the node is over: the room is left behind, to be adopted.
    LifeOver,
    /// A stored record cannot be read.
    Unreadable,
    /// It was never this region's.
    Elsewhere,
}

/// What an append came to once the chain was whole.
enum Put {
    Done {
        receivers: u64,
    },
    /// The log was restored from a snapshot that already contains the batch.
    Restored,
}

impl<L: Log> RoomTask<L> {
    /// Appends one batch; afterwards the state is committed.
    pub(super) async fn commit(&mut self, decided: Decided) -> ControlFlow<Dropped> {
        let Decided { entry, receipts, .. } = decided;
        let bytes = entry.as_ref().map(Entry::encode);
        let published = (!receipts.is_empty()).then(|| encode_receipts(&receipts));
        let id = self.chain.last().following();
        let put = self.put(id, bytes.clone(), published).await?;
        self.count_answers(entry.as_ref(), &receipts);
        if let Some(entry) = &entry {
            self.telling.take(&self.room, id, entry);
        }
        match put {
            Put::Done { receivers } => {
                if let Some(bytes) = bytes {
                    self.chain.extend(id, bytes, self.uptime());
                    self.core.metrics.entries_appended.increment(1);
                    self.expect_heard(id, receivers);
                    self.checkpoint_due.get_or_insert(Instant::now() + CHECKPOINT_AFTER);
                }
            }
            Put::Restored => self.answer_after_restore(entry, receipts).await?,
        }
        self.make_incoming_known();
        ControlFlow::Continue(())
    }

    fn count_answers(&self, entry: Option<&Entry>, receipts: &[Receipt]) {
        let unlogged = receipts.iter().filter_map(|receipt| match receipt {
            Receipt::Answer(answered) => Some(answered),
            _ => None,
        });
        for answered in entry.iter().flat_map(|entry| &entry.answers).chain(unlogged) {
            let kind = if answered.answer == Answer::Ack { AnswerKind::Ack } else { AnswerKind::Reject };
            self.core.metrics.actions.count(kind);
        }
    }

    /// The batch is part of the restored snapshot; its answers are published with a chain check.
    async fn answer_after_restore(&mut self, entry: Option<Entry>, mut receipts: Vec<Receipt>) -> ControlFlow<Dropped> {
        receipts.extend(entry.into_iter().flat_map(|entry| entry.answers).map(Receipt::Answer));
        if receipts.is_empty() {
            return ControlFlow::Continue(());
        }
        let published = Some(encode_receipts(&receipts));
        let id = self.chain.last().following();
        // Restored once more while answering: the answers are in the snapshot's marks, senders ask again.
        self.put(id, None, published).await.map_continue(|_| ())
    }

    async fn put(&mut self, id: EntryId, entry: Option<Bytes>, receipts: Option<Bytes>) -> ControlFlow<Dropped, Put> {
        let append = Append { room: self.room.clone(), prev: self.chain.last(), id, entry, receipts };
        let started = Instant::now();
        loop {
            match self.core.log.append(append.clone()).await {
                Ok(Appended::Ok { receivers, time_ms }) => {
                    self.core.clock.observe(time_ms);
                    self.core.metrics.append_seconds.record(started.elapsed());
                    return ControlFlow::Continue(Put::Done { receivers });
                }
                Ok(Appended::Already { time_ms }) => {
                    self.core.clock.observe(time_ms);
                    return ControlFlow::Continue(Put::Done { receivers: 1 });
                }
                Ok(Appended::Fenced { last }) => return self.fenced(last).await,
                Ok(Appended::Lost { last }) => {
                    let uncommitted = append.entry.is_some().then_some(id);
                    if self.repair(last, uncommitted).await? {
                        return ControlFlow::Continue(Put::Restored);
                    }
                }
                Err(error) => self.pause(&error).await?,
            }
        }
    }

    /// Waits before the identical call is repeated; a record that cannot be read ends the ownership.
    async fn pause(&mut self, error: &LogError) -> ControlFlow<Dropped> {
        self.core.metrics.append_retries.increment(1);
        if let LogError::Corrupt(what) = error {
            tracing::error!(room = %self.room, %what, "the room is let go");
            return ControlFlow::Break(Dropped::Unreadable);
        }
        if self.mailbox.strong_count() == 0 {
            // What is unanswered here is asked again of the new owner.
            return ControlFlow::Break(Dropped::LifeOver);
        }
        tokio::time::sleep(super::RETRY_AFTER).await;
        ControlFlow::Continue(())
    }

    async fn head(&mut self) -> ControlFlow<Dropped, Option<Head>> {
        loop {
            match self.core.log.heads(std::slice::from_ref(&self.room)).await {
                Ok(heads) => return ControlFlow::Continue(heads.into_iter().next().and_then(|heads| heads.log)),
                Err(error) => self.pause(&error).await?,
            }
        }
    }

    /// A higher epoch owns the log. What of mine is not on its chain is lost, and said so.
    async fn fenced<T>(&mut self, last: EntryId) -> ControlFlow<Dropped, T> {
        tracing::info!(room = %self.room, mine = %self.chain.last(), %last, "fenced");
        self.core.metrics.fenced.increment(1);
        let head = self.head().await?;
        if let Some(head) = &head {
            let mine = self.chain.last();
            let kept = head.lineage.0.iter().find(|known| known.epoch == mine.epoch).map(|known| known.version);
            let lost = mine.version.saturating_sub(kept.unwrap_or(self.chain.claim().0.version));
            if lost > 0 {
                tracing::error!(room = %self.room, lost, mine = %mine, "a new owner does not have entries that were acked");
                self.core.metrics.acked_lost.add(LostBy::Owner, lost);
            }
        }
        ControlFlow::Break(Dropped::Fenced { by: head.and_then(|head| head.owner) })
    }

    /// Brings the log back to my chain. True: it was restored from my state, `uncommitted` included.
    pub(super) async fn repair(
        &mut self,
        mut last: Option<EntryId>,
        uncommitted: Option<EntryId>,
    ) -> ControlFlow<Dropped, bool> {
        tracing::warn!(room = %self.room, mine = %self.chain.last(), ?last, "Redis lost a tail");
        self.core.metrics.lost_tail.increment(1);
        self.doubt_transfers();
        self.doubt_snapshot();
        self.telling.doubt();
        loop {
            match self.chain.repair(last) {
                Repair::Drop => return self.fenced(last.unwrap_or_default()).await,
                Repair::Restore => match self.restore(last, uncommitted).await? {
                    None => return ControlFlow::Continue(true),
                    Some(other) => last = other,
                },
                Repair::Reappend { reclaim, entries } => match self.reappend(reclaim, entries).await? {
                    None => return ControlFlow::Continue(false),
                    Some(other) => last = other,
                },
            }
        }
    }

    /// Appends the suffix again. Some(last): the log changed under it.
    async fn reappend(
        &mut self,
        reclaim: bool,
        entries: Vec<(EntryId, EntryId, Bytes)>,
    ) -> ControlFlow<Dropped, Option<Option<EntryId>>> {
        if reclaim {
            let (id, claim) = self.chain.claim();
            let reclaim =
                Reclaim { room: self.room.clone(), id, claim: claim.clone(), lineage: self.chain.lineage().clone() };
            let log = self.core.log.clone();
            if let Some(other) = self.until_whole(|| log.reclaim(reclaim.clone())).await? {
                return ControlFlow::Continue(Some(other));
            }
        }
        for (prev, id, bytes) in entries {
            let append = Append { room: self.room.clone(), prev, id, entry: Some(bytes), receipts: None };
            let log = self.core.log.clone();
            if let Some(other) = self.until_whole(|| log.append(append.clone())).await? {
                return ControlFlow::Continue(Some(other));
            }
        }
        ControlFlow::Continue(None)
    }

    /// Repeats one call until it is in the log. Some(last): the log says something else.
    async fn until_whole<F>(&mut self, call: impl Fn() -> F) -> ControlFlow<Dropped, Option<Option<EntryId>>>
    where
        F: Future<Output = Result<Appended, LogError>>,
    {
        loop {
            match call().await {
                Ok(Appended::Ok { .. } | Appended::Already { .. }) => return ControlFlow::Continue(None),
                Ok(Appended::Fenced { last }) => return self.fenced(last).await,
                Ok(Appended::Lost { last }) => return ControlFlow::Continue(Some(last)),
                Err(error) => self.pause(&error).await?,
            }
        }
    }

    /// Writes my state as a snapshot under a new epoch. Some(last): the head changed meanwhile.
    ///
    /// A batch that was decided and not yet appended is part of that state: it becomes part of the snapshot, at the id
    /// it would have had, and is answered after the restore.
    async fn restore(
        &mut self,
        expects: Option<EntryId>,
        uncommitted: Option<EntryId>,
    ) -> ControlFlow<Dropped, Option<Option<EntryId>>> {
        let my_last = uncommitted.unwrap_or(self.chain.last());
        let nonce = self.core.next_nonce();
        // That of the claim: with a newer one, nodes whose ring maps the room elsewhere by now could not take it over.
        let ring = self.chain.claim().1.ring;
        let restore = Restore {
            room: self.room.clone(),
            expects,
            incarnation: self.me.clone(),
            ring,
            nonce: nonce.clone(),
            jitter: self.core.dice.below(EPOCH_JITTER_EXCLUDED),
            my_last,
            lineage: self.chain.lineage().clone(),
            parts: to_log_parts(self.owner.state().to_parts(), true),
        };
        loop {
            match self.core.log.restore(restore.clone()).await {
                Ok(Restored::Done { id, lineage, time_ms }) => {
                    tracing::warn!(room = %self.room, %id, "log restored from the owner's state");
                    self.core.clock.observe(time_ms);
                    self.core.metrics.restored.increment(1);
                    let claim = ClaimBody { prev: my_last, owner: self.me.clone(), ring, nonce };
                    self.chain = Chain::new(id, claim, lineage);
                    (self.snapshot, self.dormant_at_checkpoint) = (Some(my_last), None);
                    return ControlFlow::Continue(None);
                }
                Ok(Restored::Refused { last: Some(last) }) if last.epoch > self.chain.epoch() => {
                    return self.fenced(last).await;
                }
                Ok(Restored::Refused { last }) => return ControlFlow::Continue(Some(last)),
                Err(error) => self.pause(&error).await?,
            }
        }
    }

    /// Compares the head with my chain, without a batch.
    pub(super) async fn compare_head(&mut self) -> ControlFlow<Dropped> {
        let head = self.head().await?;
        self.head_checked = Some(Instant::now());
        let last = head.map(|head| head.last);
        if last == Some(self.chain.last()) {
            return ControlFlow::Continue(());
        }
        match last {
            Some(last) if last.epoch > self.chain.epoch() => self.fenced(last).await,
            last => {
                self.repair(last, None).await?;
                self.make_incoming_known();
                ControlFlow::Continue(())
            }
        }
    }

    /// Redis was away or is another one: the head, this node's set of rooms and where the players are, all again.
    pub(super) async fn check_head(&mut self) -> ControlFlow<Dropped> {
        self.compare_head().await?;
        while self.core.log.rooms_add(&self.me, std::slice::from_ref(&self.room)).await.is_err() {
            tokio::time::sleep(super::RETRY_AFTER).await;
            if self.mailbox.strong_count() == 0 {
                return ControlFlow::Break(Dropped::LifeOver);
            }
        }
        self.doubt_transfers();
        self.make_incoming_known();
        self.doubt_snapshot();
        self.telling.doubt();
        self.reassert_all();
        ControlFlow::Continue(())
    }

    pub(super) async fn checkpoint_if_due(&mut self) -> ControlFlow<Dropped> {
        // In doubt the time alone decides: else every room would write its whole state when Redis comes back.
        let last = self.chain.last().version;
        let behind = self.snapshot.map_or(0, |snapshot| last - snapshot.version);
        let due = self.checkpoint_due.is_some_and(|due| Instant::now() >= due);
        if behind >= self.core.config.checkpoint_entries || due {
            self.checkpoint().await?;
        }
        ControlFlow::Continue(())
    }

    pub(super) async fn checkpoint(&mut self) -> ControlFlow<Dropped> {
        let id = self.chain.last();
        self.checkpoint_due = None;
        if self.snapshot.is_some_and(|snapshot| snapshot.version == id.version) {
            return ControlFlow::Continue(());
        }
        let dormant = self.owner.state().dormant_generation();
        loop {
            let unchanged = self.snapshot.filter(|_| self.dormant_at_checkpoint == Some(dormant));
            let checkpoint = Checkpoint {
                room: self.room.clone(),
                id,
                lineage: self.chain.lineage().clone(),
                parts: to_log_parts(self.owner.state().to_parts(), unchanged.is_none()),
                since: unchanged.unwrap_or_default(),
                window: self.core.config.log_window_entries,
            };
            match self.core.log.checkpoint(checkpoint).await {
                Ok(Checkpointed::Done | Checkpointed::NotNewer) => {
                    self.core.metrics.checkpoints.increment(1);
                    self.snapshot = Some(id);
                    self.dormant_at_checkpoint = Some(dormant);
                    return ControlFlow::Continue(());
                }
                Ok(Checkpointed::DormantNeeded) => self.doubt_snapshot(),
                // Fenced or a lost tail: the next append finds out and repairs.
                Ok(Checkpointed::Refused { .. }) => return self.compare_head().await,
                Err(error) => self.pause(&error).await?,
            }
        }
    }

    /// What was stored as a snapshot may have been lost: the next one is whole.
    fn doubt_snapshot(&mut self) {
        self.snapshot = None;
        self.dormant_at_checkpoint = None;
        let within_ms = u64::try_from(CHECKPOINT_AFTER.as_millis()).unwrap_or(u64::MAX);
        self.checkpoint_due = Some(Instant::now() + Duration::from_millis(self.core.dice.below(within_ms)));
    }

    /// The ring maps the room elsewhere: the new owner is asked to claim it; until then this one serves.
    pub(super) async fn hand_over_if_elsewhere(&mut self) -> ControlFlow<Dropped> {
        let view = self.core.view();
        self.adopt_due = None;
        let Some(new_owner) = view.ring.owner(&self.room).cloned() else { return ControlFlow::Continue(()) };
        if new_owner == self.me {
            return ControlFlow::Continue(());
        }
        self.checkpoint().await?;
        self.adopt_due = Some(Instant::now() + ADOPT_AGAIN_AFTER);
        self.core.clear_hint(&self.room);
        self.core.deliver_to(&new_owner, &self.room, Command::Adopt);
        ControlFlow::Continue(())
    }

    pub(super) async fn park_if_idle(&mut self) -> ControlFlow<Dropped> {
        let system = self.owner.state().system();
        let idle = self.busy_at.elapsed() >= self.core.config.park_after;
        let empty = system.seats().is_empty()
            && system.timers().is_empty()
            && system.outgoing().is_empty()
            && system.incoming().is_empty()
            && !self.has_posts()
            && team::is_quiet(self.owner.state())
            && self.owner.counts_nobody()
            && self.telling.is_done();
        if !idle {
            return ControlFlow::Continue(());
        }
        self.busy_at = Instant::now();
        if !empty {
            return ControlFlow::Continue(());
        }
        self.checkpoint().await?;
        // Until answered: a room that was parked without an answer would have no owner that anybody looks for.
        loop {
            match self.core.log.park(&self.room, self.chain.last(), &self.me).await {
                Ok(Parked::Done) => {
                    tracing::debug!(room = %self.room, "parked");
                    self.core.metrics.parked.increment(1);
                    return ControlFlow::Break(Dropped::Parked);
                }
                Ok(Parked::Refused) => return self.compare_head().await,
                Err(error) => self.pause(&error).await?,
            }
        }
    }
}
