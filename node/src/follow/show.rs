//! What sessions are shown: greetings, own changes and answers at once, deltas for the group at most 30 times a second.
//! Frames are encoded once per codec and shared.

use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use sectorbus::action::{Answer, RejectCode, Status};
use sectorbus::ids::{ActorId, EntryId, Hop, Incarnation, PlayerId, RoomId, SectorId, Seq};
use sectorbus::log::{Log, LogEntry};
use sectorbus::metrics::{ResumeSource, Tally};
use sectorbus::protocol::{Codec, ServerFrame, Slot, SnapshotReason, Source, Welcome};
use sectorbus::state::{Answered, OwnChange, SystemChange, Timer, TimerKind};

use crate::command::Speaker;
use crate::core::ConnId;
use crate::follow::frames;
use crate::follow::framing::{SharedDelta, critical, state, telling};
use crate::follow::replica::{self, Applied, Missed, Step};
use crate::follow::route::{Key, What};
use crate::follow::subscriber::{Greeting, Phase, Subscriber, Subscription};
use crate::follow::task::Follow;
use crate::session::SessionEvent;
use crate::session::outbox::{Framed, Handed, Lane, framed};

impl<L: Log> Follow<L> {
    fn sector(&self) -> Option<SectorId> {
        match &self.room {
            RoomId::Sector(sector) => Some(sector.clone()),
            RoomId::Team(_) | RoomId::Player(_) | RoomId::Topic(_) | RoomId::Global | RoomId::Elsewhere(_) => None,
        }
    }

    /// Hands frames to one subscriber and notes what became of them.
    pub(super) fn hand(tally: &mut Tally, subscriber: &mut Subscriber, frames: &[Framed], version: u64) -> Handed {
        tally.frames_out(frames.len(), frames.iter().map(|frame| frame.bytes.len()).sum());
        let handed = subscriber.sub.send(frames);
        match handed {
            Handed::Taken => subscriber.phase = Phase::Live { version },
            Handed::StateDropped => subscriber.phase = Phase::Behind,
            Handed::Over => subscriber.phase = Phase::Waiting,
            Handed::Closed => {}
        }
        handed
    }

    /// Repeats are idempotent: a session that asks again may not have heard yet that it was greeted.
    pub(super) fn subscribe(&mut self, sub: Subscription) {
        let conn = sub.conn;
        if self.is_beside() {
            return self.admit(sub);
        }
        if let Some(standing) = self.subscribers.get_mut(conn).filter(|standing| standing.covers(&sub)) {
            // It asks because it was told otherwise, before the greeting.
            let seat = self.replica.as_ref().and_then(|replica| replica.state().system().seat(&sub.player));
            if let (true, Some(seat)) = (standing.phase.is_greeted(), seat) {
                let fights = replica_fights(self.replica.as_ref(), &sub.player);
                let (room, hop, asked) = (self.room.clone(), seat.hop, seat.asked);
                let _ = sub.events_tx.send(SessionEvent::Live { room, hop, asked, fights });
            }
            return;
        }
        self.subscribers.insert(Subscriber { sub, phase: Phase::Waiting });
        self.greet_if_seated(conn);
    }

    /// Whoever waits and has a seat now is greeted.
    pub(super) fn greet_waiting(&mut self) {
        for conn in self.subscribers.conns() {
            self.greet_if_seated(conn);
        }
    }

    fn greet_if_seated(&mut self, conn: ConnId) {
        if self.is_beside() {
            return self.greet_if_admitted(conn);
        }
        let (Some(replica), Some(subscriber)) = (&self.replica, self.subscribers.get_mut(conn)) else { return };
        let sub = &subscriber.sub;
        let seat = replica.state().system().seat(&sub.player);
        let seated = seat.filter(|seat| seat.hop >= sub.hop_min).and_then(|seat| seat.sessions.get(&sub.session));
        if subscriber.phase == Phase::Waiting && seated.is_some_and(|seated| seated.generation >= sub.generation) {
            self.greet(conn);
        }
    }

    /// Sends the first frames of a subscriber; from here on it is live.
    pub(super) fn greet(&mut self, conn: ConnId) {
        if self.is_beside() {
            return self.greet_beside(conn);
        }
        let (Some(sector), Some(replica), Some(subscriber)) =
            (self.sector(), &self.replica, self.subscribers.get_mut(conn))
        else {
            return;
        };
        let (room, head) = (self.room.clone(), replica.cursor());
        if !subscriber.begin() {
            return;
        }
        let Subscriber { sub, .. } = subscriber;
        let seat = replica.state().system().seat(&sub.player);
        let (hop, asked) = seat.map_or((Hop(0), Status::Online), |seat| (seat.hop, seat.asked));
        let fights = replica_fights(self.replica.as_ref(), &sub.player);
        if hop < sub.told_hop {
            sub.set_lost(true);
        }
        let snapshot = |reason| frames::snapshot(replica, &sector, &sub.player, sub.actor, reason);
        let greeting = std::mem::replace(&mut sub.greeting, Greeting::Snapshot(SnapshotReason::Gap));
        let welcome = greeting.welcome();
        let mut unsaid = welcome.as_ref().map(|welcome| welcome.lock());
        let taken = unsaid.as_mut().and_then(|unsaid| unsaid.take());
        let frames = match (greeting, taken) {
            (Greeting::Moved { from }, _) => {
                let frame = telling(sub, |lost| frames::moved(&from, snapshot(lost.unwrap_or(SnapshotReason::Moved))));
                // Kept until it is surely not dropped: what replaces it must say the same.
                sub.greeting = Greeting::Moved { from };
                vec![frame]
            }
            (Greeting::Snapshot(reason), _) => {
                vec![telling(sub, |lost| ServerFrame::Snapshot(Box::new(snapshot(lost.unwrap_or(reason)))))]
            }
            // Another room said it.
            (Greeting::Welcome { .. }, None) => {
                vec![state(sub, &ServerFrame::Snapshot(Box::new(snapshot(SnapshotReason::Gap))))]
            }
            (Greeting::Welcome { known: None, .. }, Some(welcome)) => {
                welcome_frames(sub, *welcome, false, snapshot(SnapshotReason::Join))
            }
            (Greeting::Welcome { welcome: once, known: Some(known) }, Some(welcome)) => {
                let entries_max = self.core.config.log_window_entries + self.core.config.checkpoint_entries;
                let (cursor, is_kept) = (known.cursor, replica.has(&known));
                let entries = replica.since(cursor).filter(|_| is_kept);
                let missed = entries.map(|entries| replica::missed(cursor, head, &entries, &sub.player));
                if let Some(Some(missed)) = missed {
                    self.core.metrics.resumes.count(ResumeSource::Replica);
                    resume_frames(sub, *welcome, Source::Replica, &missed, replica)
                } else {
                    if let Some(unsaid) = &mut unsaid {
                        **unsaid = Some(welcome);
                    }
                    sub.greeting = Greeting::Welcome { welcome: once, known: Some(known) };
                    subscriber.phase = Phase::Fetching { known };
                    drop(unsaid);
                    // What is not on the chain, or further back than logs are kept, is not read.
                    let behind = head.version.saturating_sub(cursor.version);
                    if missed.is_none() && is_kept && behind <= entries_max {
                        self.fetch_backlog(conn, cursor);
                    } else {
                        self.take_backlog(conn, None);
                    }
                    return;
                }
            }
        };
        let _ = subscriber.sub.events_tx.send(SessionEvent::Live { room, hop, asked, fights });
        Self::hand(&mut self.tally, subscriber, &frames, head.version);
        if subscriber.phase != Phase::Behind {
            subscriber.sub.greeting = Greeting::Snapshot(SnapshotReason::Gap);
        }
    }

    /// The log's entries after a resuming session's cursor are read: they, or a snapshot.
    pub(super) fn take_backlog(&mut self, conn: ConnId, entries: Option<&[LogEntry]>) {
        let (Some(sector), Some(subscriber)) = (self.sector(), self.subscribers.get_mut(conn)) else { return };
        let Phase::Fetching { known } = subscriber.phase else { return };
        let Some(replica) = &self.replica else {
            // The room is read again: it is greeted then.
            subscriber.phase = Phase::Waiting;
            return;
        };
        let (room, head, cursor) = (self.room.clone(), replica.cursor(), known.cursor);
        if !subscriber.begin() {
            return;
        }
        let Subscriber { sub, .. } = subscriber;
        let seat = replica.state().system().seat(&sub.player);
        let (hop, asked) = seat.map_or((Hop(0), Status::Online), |seat| (seat.hop, seat.asked));
        let fights = replica_fights(self.replica.as_ref(), &sub.player);
        let greeting = std::mem::replace(&mut sub.greeting, Greeting::Snapshot(SnapshotReason::Gap));
        let welcome = greeting.welcome();
        let mut unsaid = welcome.as_ref().map(|welcome| welcome.lock());
        let taken = unsaid.as_mut().and_then(|unsaid| unsaid.take());
        let is_kept = replica.has(&known);
        // Entries that came since the reading are in the replica's memory.
        let from_log = entries.filter(|_| is_kept).and_then(|entries| {
            let read_upto = entries.last().map_or(cursor, |entry| entry.id).min(head);
            let mut missed = replica::missed(cursor, read_upto, entries, &sub.player)?;
            missed.append(replica::missed(read_upto, head, &replica.since(read_upto)?, &sub.player)?);
            Some(missed)
        });
        let frames = match (taken, from_log) {
            // Another room said it.
            (None, _) => {
                let snapshot = frames::snapshot(replica, &sector, &sub.player, sub.actor, SnapshotReason::Gap);
                vec![state(sub, &ServerFrame::Snapshot(Box::new(snapshot)))]
            }
            (Some(welcome), Some(missed)) => {
                self.core.metrics.resumes.count(ResumeSource::Log);
                resume_frames(sub, *welcome, Source::Log, &missed, replica)
            }
            (Some(welcome), None) => {
                self.core.metrics.resumes.count(ResumeSource::Snapshot);
                let reason = if is_kept { SnapshotReason::Gap } else { SnapshotReason::Lost };
                let snapshot = frames::snapshot(replica, &sector, &sub.player, sub.actor, reason);
                welcome_frames(sub, *welcome, is_kept, snapshot)
            }
        };
        let _ = subscriber.sub.events_tx.send(SessionEvent::Live { room, hop, asked, fights });
        Self::hand(&mut self.tally, subscriber, &frames, head.version);
    }

    /// A client that differs, or a connection that caught up after frames were dropped, gets a snapshot in place.
    pub(super) fn resync(&mut self, conn: ConnId) {
        let live = self.subscribers.get_mut(conn).is_some_and(|s| matches!(s.phase, Phase::Live { .. }));
        if live {
            if !self.is_beside() {
                self.core.metrics.drift_repairs.increment(1);
            }
            self.snapshot_in_place(conn, SnapshotReason::Resync);
        }
    }

    pub(super) fn ready(&mut self, conn: ConnId) {
        let Some(subscriber) = self.subscribers.get_mut(conn).filter(|s| s.phase == Phase::Behind) else { return };
        if matches!(subscriber.sub.greeting, Greeting::Moved { .. }) {
            self.greet(conn);
        } else {
            self.core.metrics.slow_snapshots.increment(1);
            self.snapshot_in_place(conn, SnapshotReason::Slow);
        }
    }

    fn snapshot_in_place(&mut self, conn: ConnId, reason: SnapshotReason) {
        if let Some(subscriber) = self.subscribers.get_mut(conn) {
            subscriber.sub.greeting = Greeting::Snapshot(reason);
            self.greet(conn);
        }
    }

    /// One applied entry, for everybody it concerns.
    pub(super) fn show(&mut self, applied: Applied) {
        let Applied { id, entry, claimed_by, delta } = applied;
        if let Some(owner) = claimed_by {
            // The owner frame raises the version itself: a delta up to it would show, for a moment, a version of the
            // new epoch under the old one, which is a cursor on no chain.
            self.flush();
            return self.show_owner(id, &owner);
        }
        match &mut self.unflushed {
            None => self.unflushed = Some(delta),
            Some(unflushed) => unflushed.merge_in(&delta),
        }
        // Of a room of another region the public part is shown, and nothing else.
        if let Some(entry) = entry.filter(|_| !self.room.is_elsewhere()) {
            self.show_own(id.version, &entry.own, &entry.answers, &entry.sums);
            self.show_comings_and_goings(&entry.system);
        }
        let every = match self.core.config.realtime_frames_per_s {
            0 => Duration::ZERO,
            per_s => Duration::from_secs(1) / per_s,
        };
        if self.unflushed.is_some() {
            self.flush_due.get_or_insert(self.last_flush + every);
        }
    }

    /// Own changes and answers of one version, at once, each session's in one write with the delta up to it.
    fn show_own(
        &mut self,
        version: u64,
        own: &sectorbus::state::OwnChanges,
        answers: &[Answered],
        sums: &sectorbus::state::Sums,
    ) {
        for answered in answers {
            self.settle_answer(answered);
        }
        if self.subscribers.is_empty() {
            return;
        }
        let mut players: Vec<&PlayerId> = own.keys().chain(answers.iter().map(|a| &a.player)).collect();
        players.sort_unstable();
        players.dedup();
        let unflushed = self.unflushed.take();
        let mut shared = unflushed.as_ref().map(SharedDelta::new);
        for player in players {
            for conn in self.subscribers.conns_of(player) {
                let Some(subscriber) = self.subscribers.get_mut(conn) else { continue };
                let Subscriber { sub, phase } = subscriber;
                if matches!(sub.greeting, Greeting::Welcome { .. }) {
                    // Not welcomed yet: the marks in the welcome will say it.
                    continue;
                }
                let mut frames = Vec::with_capacity(3);
                let live = matches!(phase, Phase::Live { .. });
                let removed = own.get(player) == Some(&OwnChange::Removed);
                if let (true, Some(OwnChange::Set(set))) = (live, own.get(player)) {
                    let sum = sums.own.get(player).copied().unwrap_or_default();
                    frames.push(state(sub, &frames::own(version, sum, set)));
                }
                let actor = sub.actor;
                let mine = || answers.iter().filter(|a| &a.player == player && a.actor == actor);
                frames.extend(mine().map(|a| critical(sub, &frames::answer(a.seq, &a.answer, version))));
                // Who leaves with this entry sees the departure only with the arrival.
                let keeps_up = live && !removed;
                match (&mut shared, keeps_up) {
                    (Some(shared), true) => frames.push(shared.for_sub(sub)),
                    _ if frames.is_empty() => continue,
                    _ => {}
                }
                let handed = if keeps_up {
                    Self::hand(&mut self.tally, subscriber, &frames, version)
                } else {
                    subscriber.sub.send(&frames)
                };
                // What was not taken is asked again where the session is.
                if handed != Handed::Over {
                    let events_tx = &subscriber.sub.events_tx;
                    mine().for_each(|a| drop(events_tx.send(SessionEvent::Answered { seq: a.seq })));
                }
            }
        }
        drop(shared);
        self.unflushed = unflushed;
    }

    /// Players that left with this entry, and players that have a seat since it.
    fn show_comings_and_goings(&mut self, changes: &[SystemChange]) {
        // A departure takes the seat away too: who is told that they left is not told that they lost it.
        for change in changes {
            if let SystemChange::Outgoing(player, Some(out)) = change {
                if out.jump.is_some() {
                    // Not in this region any more, or back soon: `at` says which.
                    self.player_is_not_here(player, |room| SessionEvent::Unknown { room });
                    continue;
                }
                let (to, hop) = (out.to.clone(), out.hop);
                self.forward_losses(player, &to);
                self.player_is_not_here(player, |room| SessionEvent::Departed { room, to: to.clone(), hop });
            }
        }
        for change in changes {
            if let SystemChange::Member(player, _) = change {
                self.member_changed(player);
            }
            if let SystemChange::Timer(Timer { kind: TimerKind::Combat(player), .. }, _) = change {
                let fights = replica_fights(self.replica.as_ref(), player);
                for conn in self.subscribers.conns_of(player) {
                    let Some(Subscriber { sub, .. }) = self.subscribers.get_mut(conn) else { continue };
                    let _ = sub.events_tx.send(SessionEvent::Combat { room: self.room.clone(), fights });
                }
            }
            if let SystemChange::Seat(player, seat) = change {
                if let Some(replica) = &self.replica {
                    self.route.settle_seat(player, replica.state());
                }
                for conn in self.subscribers.conns_of(player) {
                    match seat {
                        Some(_) => {
                            self.check_seat(conn);
                            self.greet_if_seated(conn);
                        }
                        None => self.check_seat(conn),
                    }
                }
            }
        }
    }

    /// An answer that came without an entry.
    pub(super) fn show_receipt(&mut self, answered: &Answered, version: u64) {
        self.settle_answer(answered);
        for conn in self.subscribers.conns_of(&answered.player) {
            let Some(Subscriber { sub, phase }) = self.subscribers.get_mut(conn) else { continue };
            if sub.actor != answered.actor || matches!(sub.greeting, Greeting::Welcome { .. }) {
                continue;
            }
            let mut frames = Vec::with_capacity(2);
            let behind = matches!(phase, Phase::Live { version: shown } if *shown < version);
            if let (true, Answer::Ack, Some(delta)) = (behind, &answered.answer, &self.unflushed) {
                frames.push(SharedDelta::new(delta).for_sub(sub));
            }
            frames.insert(0, critical(sub, &frames::answer(answered.seq, &answered.answer, version)));
            match sub.send(&frames) {
                // Asked again where the session is.
                Handed::Over => continue,
                Handed::Taken => {}
                Handed::StateDropped if matches!(phase, Phase::Live { .. }) => *phase = Phase::Behind,
                Handed::StateDropped | Handed::Closed => {}
            }
            let _ = sub.events_tx.send(SessionEvent::Answered { seq: answered.seq });
        }
    }

    /// A connection that was replaced is told that its action did not run, and closed. No other connection is: the same
    /// action may have come again under a newer generation.
    pub(super) fn show_stale(&mut self, speaker: &Speaker, actor: ActorId, seq: Seq, version: u64) {
        let key = Key { player: speaker.player.clone(), what: What::Act { actor, seq } };
        self.route.settle_stale(&key, speaker.generation);
        for conn in self.subscribers.conns_of(&speaker.player) {
            let Some(Subscriber { sub, .. }) = self.subscribers.get_mut(conn) else { continue };
            if sub.session == speaker.session && sub.generation <= speaker.generation {
                let answer = Answer::reject(RejectCode::StaleSession);
                sub.outbox.send(&[critical(sub, &frames::answer(seq, &answer, version))]);
                let _ = sub.events_tx.send(SessionEvent::Superseded);
            }
        }
    }

    fn show_owner(&mut self, id: EntryId, owner: &Incarnation) {
        // Most rooms are shown in one slot.
        let mut shared: SmallVec<[(Slot, Codec, Framed); 2]> = SmallVec::new();
        for subscriber in self.subscribers.iter_mut() {
            if matches!(subscriber.phase, Phase::Live { .. }) {
                let (slot, codec) = (subscriber.sub.slot, subscriber.sub.codec);
                let known = shared.iter().find(|(of, with, _)| (*of, *with) == (slot, codec));
                let frame = known.map(|(.., frame)| frame.clone()).unwrap_or_else(|| {
                    let frame = framed(Lane::Critical, codec, &frames::owner(slot, id, owner).encode(codec));
                    shared.push((slot, codec, frame.clone()));
                    frame
                });
                Self::hand(&mut self.tally, subscriber, &[frame], id.version);
            }
        }
    }

    pub(super) fn flush_if_due(&mut self) {
        if self.flush_due.is_some_and(|due| Instant::now() >= due) {
            self.flush();
        }
    }

    /// Shows the group everything since the last flush.
    fn flush(&mut self) {
        self.flush_due = None;
        self.last_flush = Instant::now();
        let Some(delta) = self.unflushed.take() else { return };
        let mut shared = SharedDelta::new(&delta);
        let mut delivered = 0;
        for subscriber in self.subscribers.iter_mut() {
            let Phase::Live { version } = subscriber.phase else { continue };
            if version < delta.to {
                let frame = shared.for_sub(&subscriber.sub);
                Self::hand(&mut self.tally, subscriber, std::slice::from_ref(&frame), delta.to);
                delivered += 1;
            }
        }
        self.tally.delivered(delivered);
        self.tally.flush();
    }
}

fn replica_fights(replica: Option<&replica::Replica>, player: &PlayerId) -> bool {
    replica.is_some_and(|replica| replica.state().system().in_combat_until(player).is_some())
}

/// `welcome`, then what was missed: own changes, then deltas and changes of owner in the order of the log.
fn resume_frames(
    sub: &Subscription,
    mut welcome: Welcome,
    source: Source,
    missed: &Missed,
    replica: &crate::follow::replica::Replica,
) -> Vec<Framed> {
    let state_of_room = replica.state();
    welcome.recovered = true;
    welcome.source = source;
    welcome.pending = frames::marks(state_of_room, &sub.player, sub.actor);
    welcome.head = Some(replica.cursor());
    let mut out = vec![critical(sub, &ServerFrame::Welcome(Box::new(welcome)))];
    if !missed.own.is_empty() {
        let sum = state_of_room.own_sum(&sub.player).unwrap_or_default();
        out.push(state(sub, &frames::own(replica.cursor().version, sum, &missed.own)));
    }
    out.extend(missed.steps.iter().map(|step| match step {
        Step::Delta(delta) => SharedDelta::new(delta).for_sub(sub),
        Step::Claim(id, owner) => critical(sub, &frames::owner(Slot::SECTOR, *id, owner)),
    }));
    out
}

fn welcome_frames(
    sub: &Subscription,
    mut welcome: Welcome,
    recovered: bool,
    snapshot: sectorbus::protocol::Snapshot,
) -> Vec<Framed> {
    welcome.recovered = recovered;
    welcome.source = Source::Snapshot;
    let welcome = critical(sub, &ServerFrame::Welcome(Box::new(welcome)));
    vec![welcome, state(sub, &ServerFrame::Snapshot(Box::new(snapshot)))]
}
