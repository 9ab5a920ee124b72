//! The [`Log`] that a [`MemoryLog`] offers: each operation as one atomic step on the region. What the step does is
//! in `room`, `feed`, `players`, `inbox` and `membership`; how it gets there is in `trip`.

use std::time::Duration;

use bytes::Bytes;

use super::delivery::{self, Channel};
use super::ears::PlayerEars;
use super::feed::kept_for;
use super::jumps;
use super::players::PlayerRecord;
use super::region::Core;
use super::revocations::Here;
use super::trip::MemoryLog;
use crate::ids::{EntryId, FeedId, Generation, Hop, Incarnation, NodeName, PlayerId, RoomId, SectorId, SessionId};
use crate::log::{
    Append, Appended, At, Attach, Attached, Beat, Beaten, CallAnswered, CallEnd, CallName, CallOpened, CallWork,
    Checkpoint, Checkpointed, Claim, Claimed, Ears, EarsChange, EarsChanged, FeedItem, Following, Heads, Leave, Log,
    LogEntry, LogResult, Named, OnceKey, OpenCall, Opened, Outward, OutwardItem, OutwardRecord, Parked, Part, Posted,
    Push, Queued, Reclaim, Reply, ReplyId, Restore, Restored, Revocation, Revoked, Sent, SetTeam, Snapshot, TakesFrom,
    TeamAt, Tell, Unsafe, WrittenReply,
};
use crate::presence::Shown;

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
        let id = self.id;
        self.run(move |core| {
            let (now_ms, replication_id) = (core.time_ms(), core.replication_id());
            let (claimed, entry) = core.db.room_mut(&claim.room).claim(&claim, &replication_id, now_ms);
            if let Some(entry) = entry {
                core.publish_entry(id, &claim.room, entry);
            }
            claimed
        })
        .await
    }

    async fn append(&self, append: Append) -> LogResult<Appended> {
        let id = self.id;
        self.run(move |core| {
            let now_ms = core.time_ms();
            let (appended, entry) = core.db.room_mut(&append.room).append(&append, now_ms);
            let Appended::Ok { time_ms, .. } = appended else {
                return appended;
            };
            let at = if entry.is_some() { append.id } else { append.prev };
            let mut receivers = entry.map_or(0, |entry| core.publish_entry(id, &append.room, entry));
            if let Some(body) = append.receipts.clone() {
                receivers = core.publish(&append.room, Push::Receipts { at, body });
            }
            Appended::Ok { receivers, time_ms }
        })
        .await
    }

    async fn reclaim(&self, reclaim: Reclaim) -> LogResult<Appended> {
        let id = self.id;
        self.run(move |core| {
            let now_ms = core.time_ms();
            let (appended, entry) = core.db.room_mut(&reclaim.room).reclaim(&reclaim, now_ms);
            match (appended, entry) {
                (Appended::Ok { time_ms, .. }, Some(entry)) => {
                    let receivers = core.publish_entry(id, &reclaim.room, entry);
                    Appended::Ok { receivers, time_ms }
                }
                (appended, _) => appended,
            }
        })
        .await
    }

    async fn restore(&self, restore: Restore) -> LogResult<Restored> {
        let id = self.id;
        self.run(move |core| {
            let now_ms = core.time_ms();
            let (restored, entry) = core.db.room_mut(&restore.room).restore(&restore, now_ms);
            if let Some(entry) = entry {
                core.publish_restored(id, &restore.room, entry);
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
        self.take_from_inbox(incarnation, after, wait).await
    }

    async fn attach(&self, attach: Attach) -> LogResult<Option<Attached>> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            let record = core.db.players.entry(attach.player.clone());
            let record = record.or_insert_with(|| PlayerRecord::new(attach.start.clone(), Hop(0)));
            let (mut attached, written) = record.attach(&attach, now_ms);
            if let Some(Attached { generation, floor, at, .. }) = attached.as_mut().filter(|_| written) {
                let present = record.tell_presence(now_ms, false);
                at.presence = present.number;
                let (session, generation, floor) = (attach.session.clone(), *generation, *floor);
                let channel = RoomId::Player(attach.player.clone());
                core.publish(&channel, Push::Attached { session, generation, floor });
                core.tell_presence(&attach.player, present);
            }
            if let Some(attached) = &mut attached {
                attached.at.team = core.db.teams.get(&attach.player).cloned();
            }
            attached
        })
        .await
    }

    async fn detach(&self, player: &PlayerId, session: &SessionId, generation: Generation) -> LogResult<bool> {
        let (player, session) = (player.clone(), session.clone());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let Some(record) = core.db.players.get_mut(&player) else { return false };
            let done = record.detach(&session, generation);
            if done {
                let present = record.tell_presence(now_ms, true);
                core.tell_presence(&player, present);
            }
            done
        })
        .await
    }

    async fn show(
        &self,
        player: &PlayerId,
        session: &SessionId,
        generation: Generation,
        shown: Shown,
        known: u64,
    ) -> LogResult<bool> {
        let (player, session) = (player.clone(), session.clone());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let record = core.db.players.get_mut(&player).filter(|record| record.has(&session, generation));
            let Some(record) = record else { return false };
            if let Some(present) = record.show(&session, shown, known, now_ms) {
                core.tell_presence(&player, present);
            }
            true
        })
        .await
    }

    async fn set_team(&self, player: &PlayerId, change: &SetTeam) -> LogResult<TeamAt> {
        let (player, change) = (player.clone(), change.clone());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let (team, changed) = core.db.set_team(&player, &change, now_ms);
            if changed {
                core.publish(&RoomId::Player(player), Push::Team(team.clone()));
            }
            team
        })
        .await
    }

    async fn team_settled(&self, player: &PlayerId, number: u64) -> LogResult<()> {
        let player = player.clone();
        self.run(move |core| core.db.team_settled(&player, number)).await
    }

    async fn log_out(&self, player: &PlayerId, session: &SessionId) -> LogResult<()> {
        let (player, session) = (player.clone(), session.clone());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let Some(record) = core.db.players.get_mut(&player) else { return };
            if let Some((generation, floor)) = record.log_out(&session, now_ms) {
                let (channel, present) = (RoomId::Player(player.clone()), record.tell_presence(now_ms, true));
                core.publish(&channel, Push::Attached { session, generation, floor });
                core.tell_presence(&player, present);
            }
        })
        .await
    }

    async fn revoke(&self, what: &Revoked, until_ms: u64) -> LogResult<Option<u64>> {
        let what = what.clone();
        self.run(move |core| {
            let (region, replication_id, time_ms) = (core.name(), core.replication_id(), core.time_ms());
            core.db.revocations.revoke(
                &what,
                until_ms,
                Here { region: &region, replication_id: &replication_id, time_ms },
            )
        })
        .await
    }

    async fn revocations(&self, after_ms: u64, count: usize) -> LogResult<Vec<Revocation>> {
        self.run(move |core| core.db.revocations.after(after_ms, count)).await
    }

    async fn arrived(&self, player: &PlayerId, room: &SectorId, hop: Hop) -> LogResult<Named> {
        jumps::arrived(self, player, room, None, hop).await
    }

    async fn at(&self, player: &PlayerId) -> LogResult<Option<At>> {
        let player = player.clone();
        self.run(move |core| core.db.at(&player)).await
    }

    async fn ats(&self, players: &[PlayerId]) -> LogResult<Vec<Option<At>>> {
        let players = players.to_vec();
        self.run(move |core| players.iter().map(|player| core.db.at(player)).collect()).await
    }

    async fn post(&self, room: &RoomId, once: &OnceKey, body: Bytes) -> LogResult<Posted> {
        let (room, once) = (room.clone(), once.clone());
        self.run(move |core| {
            let now_ms = core.time_ms();
            let stored = core.db.room_mut(&room);
            let as_of = stored.last();
            let (posted, item) = stored.feed.post(&once, &body, as_of, kept_for(&room), now_ms);
            if let Some(item) = item {
                core.touch(Part::Feed, &room);
                core.publish(&room, Push::Feed(item));
            }
            posted
        })
        .await
    }

    async fn feed(&self, room: &RoomId, after: FeedId, count: usize) -> LogResult<Vec<FeedItem>> {
        let room = room.clone();
        self.run(move |core| core.db.rooms.get(&room).map(|r| r.feed.items(after, count)).unwrap_or_default()).await
    }

    async fn feed_before(&self, room: &RoomId, before: Option<FeedId>, count: usize) -> LogResult<Vec<FeedItem>> {
        let room = room.clone();
        self.run(move |core| core.db.rooms.get(&room).map(|r| r.feed.items_before(before, count)).unwrap_or_default())
            .await
    }

    async fn posted(&self, room: &RoomId, once: &OnceKey) -> LogResult<Option<FeedId>> {
        let (room, once) = (room.clone(), once.clone());
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.rooms.get(&room).and_then(|r| r.feed.posted(&once, now_ms))
        })
        .await
    }

    async fn ears(&self, player: &PlayerId) -> LogResult<Ears> {
        let player = player.clone();
        self.run(move |core| core.db.ears.get(&player).map(PlayerEars::read).unwrap_or_default()).await
    }

    async fn change_ears(&self, player: &PlayerId, change: &EarsChange) -> LogResult<EarsChanged> {
        let (player, change) = (player.clone(), change.clone());
        self.run(move |core| {
            let changed = core.db.ears.entry(player.clone()).or_default().change(change.clone());
            if changed == EarsChanged::Changed {
                core.publish(&RoomId::Player(player), Push::Ears(change));
            }
            changed
        })
        .await
    }

    async fn muted_until_ms(&self, player: &PlayerId) -> LogResult<Option<u64>> {
        Ok(self.ears(player).await?.muted_until_ms)
    }

    async fn takes_from(&self, player: &PlayerId, author: &PlayerId) -> LogResult<TakesFrom> {
        let (player, author) = (player.clone(), author.clone());
        self.run(move |core| match core.db.ears.get(&player) {
            _ if !core.db.knows(&player) => TakesFrom::Unknown,
            Some(ears) if ears.read().blocks.contains(&author) => TakesFrom::Blocked,
            _ => TakesFrom::Yes,
        })
        .await
    }

    async fn kick(&self, player: &PlayerId, session: Option<&SessionId>) -> LogResult<()> {
        let (player, session) = (player.clone(), session.cloned());
        self.run(move |core| {
            core.publish(&RoomId::Player(player), Push::Kicked { session });
        })
        .await
    }

    async fn note(&self, stream: Outward, record: OutwardRecord) -> LogResult<FeedId> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.outward.note(stream, record, now_ms)
        })
        .await
    }

    async fn noted(&self, stream: Outward, before: Option<FeedId>, count: usize) -> LogResult<Vec<OutwardItem>> {
        self.run(move |core| core.db.outward.noted(stream, before, count)).await
    }

    async fn tell(&self, tell: Tell) -> LogResult<()> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.outward.tell(tell, now_ms);
        })
        .await
    }

    async fn told(&self, room: &RoomId) -> LogResult<Option<EntryId>> {
        let room = room.clone();
        self.run(move |core| core.db.outward.told(&room)).await
    }

    async fn open_call(&self, call: OpenCall) -> LogResult<CallOpened> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            core.db.calls.open(&call, now_ms)
        })
        .await
    }

    async fn queue_call(&self, work: CallWork) -> LogResult<Queued> {
        self.run(move |core| {
            let now_ms = core.time_ms();
            let queued = core.db.calls.queue(work, now_ms);
            core.calls_bell.notify_waiters();
            queued
        })
        .await
    }

    async fn end_call(&self, call: &CallName, end: CallEnd) -> LogResult<Option<Reply>> {
        let call = call.clone();
        self.run(move |core| core.db.calls.end(&call, end)).await
    }

    async fn answer_call(&self, reply: &ReplyId, body: Bytes) -> LogResult<CallAnswered> {
        self.answer(reply.clone(), body).await
    }

    async fn take_replies(&self, _reader: &NodeName, wait: Duration) -> LogResult<Vec<WrittenReply>> {
        self.take_in_turn(wait, |calls, now_ms| calls.take_replies(now_ms)).await
    }

    async fn drop_replies(&self, taken: &[FeedId]) -> LogResult<()> {
        let taken = taken.to_vec();
        self.run(move |core| core.db.calls.drop_replies(&taken)).await
    }

    fn follow(&self, room: &RoomId) -> Following {
        delivery::follow(&self.shared, self.id, Channel::Room(room.clone()))
    }

    fn suspect(&self, _room: &RoomId, _missed: EntryId) {
        self.shared.core.lock().disconnect(self.id, Duration::ZERO);
    }
}
