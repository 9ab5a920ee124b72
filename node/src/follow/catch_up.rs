//! Keeping the replica on the chain: judge each entry heard, fill gaps from the log, and start anew when the chain
//! is another one. Says to sessions what they have to know of it.

use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::{EntryId, RoomId};
use sectorbus::limits::LOAD_PAGE_ENTRIES;
use sectorbus::log::{Head, Heads, Log, LogBody, LogEntry, LogError, LogResult, OnChain};
use sectorbus::metrics::LostBy;
use sectorbus::protocol::SnapshotReason;

use crate::follow::FollowEvent;
use crate::follow::replica::Replica;
use crate::follow::route::Route;
use crate::follow::subscriber::{Greeting, Phase, Subscriber};
use crate::follow::task::Follow;
use crate::load::{self, Follows};
use crate::people::teams;
use crate::room::task::RoomEvent;

const RETRY_AFTER: Duration = Duration::from_millis(50);
const HEAD_CHECK_EVERY: Duration = Duration::from_secs(1);
const UNREADABLE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long a log may be shorter than what was heard of it, while it is read: a living owner has noticed by then, a dead
/// one has been expired and its rooms adopted.
const AHEAD_GIVEN_UP_AFTER: Duration = Duration::from_secs(10);

/// What a room's head says about this replica.
enum Standing {
    UpToDate,
    /// Entries are to be read.
    Behind,
    /// The log is shorter than what was heard: its owner, if it lives, appends again.
    Ahead,
    /// Another chain.
    Fork,
}

fn standing(cursor: EntryId, head: &Head) -> Standing {
    if head.last == cursor {
        return Standing::UpToDate;
    }
    match head.on_chain(cursor) {
        OnChain::Yes => Standing::Behind,
        OnChain::Unknown => Standing::Fork,
        OnChain::No if head.last.epoch <= cursor.epoch => Standing::Ahead,
        OnChain::No => Standing::Fork,
    }
}

/// The last version that the head's chain shares with the chain of a cursor that is not on it.
fn kept_upto(cursor: EntryId, head: &Head) -> u64 {
    let shared = head.lineage.0.iter().rev().find(|known| known.epoch <= cursor.epoch);
    let of_head = (head.last.epoch <= cursor.epoch).then_some(head.last.version);
    of_head.or(shared.map(|known| known.version)).unwrap_or(0)
}

impl<L: Log> Follow<L> {
    pub(super) async fn take_entry(&mut self, entry: LogEntry) {
        let Some(replica) = &self.replica else {
            // The first entry of a room that had no log.
            return self.catch_up().await;
        };
        match load::judge(replica.cursor(), &entry) {
            Follows::Next => {
                self.hear();
                if let Err(error) = self.apply(&entry) {
                    self.start_anew(&error).await;
                }
            }
            Follows::Duplicate => {
                if entry.id == replica.cursor() {
                    self.ahead_since = None;
                }
                self.hear();
            }
            Follows::Stale => {
                self.core.metrics.dropped_stale_entries.increment(1);
                if self.last_head_check.is_none_or(|at| at.elapsed() >= HEAD_CHECK_EVERY) {
                    self.last_head_check = Some(Instant::now());
                    self.catch_up().await;
                }
            }
            Follows::Gap => {
                self.core.metrics.relay_gaps.increment(1);
                self.catch_up_both().await;
            }
            Follows::Fork => self.catch_up().await,
        }
    }

    /// Reads what is missing, until an answer comes.
    pub(super) async fn catch_up(&mut self) {
        if self.unreadable.is_some_and(|at| at.elapsed() < UNREADABLE_AGAIN_AFTER) {
            return;
        }
        loop {
            let outcome = match &self.replica {
                None => self.reload(SnapshotReason::Gap).await,
                Some(replica) => {
                    let cursor = replica.cursor();
                    self.read_on(cursor).await
                }
            };
            match outcome {
                Ok(()) => return,
                Err(LogError::Corrupt(what)) => return self.give_up(&what),
                Err(error) => {
                    tracing::trace!(room = %self.room, %error, "room not read");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// What is stored cannot be read: nothing is shown until it can.
    fn give_up(&mut self, what: &str) {
        tracing::error!(room = %self.room, %what, "the room cannot be followed");
        self.core.metrics.checksum_mismatches.increment(1);
        self.replica = None;
        self.unreadable = Some(Instant::now());
    }

    /// Reads entries after the cursor, page by page, and compares the head when they do not connect.
    async fn read_on(&mut self, cursor: EntryId) -> LogResult<()> {
        let heads = self.core.log.heads(std::slice::from_ref(&self.log_of)).await?;
        let head = heads.into_iter().next().and_then(|heads| heads.log);
        let Some(head) = head else { return self.wait_for_owner(cursor, None).await };
        match standing(cursor, &head) {
            Standing::UpToDate => {
                self.hear();
                self.ahead_since = None;
                if let Some(replica) = &mut self.replica {
                    replica.see_head(&head);
                }
                return Ok(());
            }
            Standing::Ahead => return self.wait_for_owner(cursor, Some(&head)).await,
            Standing::Fork => return self.fork(cursor, Some(&head)).await,
            Standing::Behind => self.ahead_since = None,
        }
        loop {
            let cursor = self.replica.as_ref().map_or(EntryId::GENESIS, Replica::cursor);
            let page = self.core.log.entries(&self.log_of, cursor, LOAD_PAGE_ENTRIES).await?;
            let last_page = page.len() < LOAD_PAGE_ENTRIES;
            for entry in page {
                let cursor = self.replica.as_ref().map_or(EntryId::GENESIS, Replica::cursor);
                match load::judge(cursor, &entry) {
                    Follows::Next => {
                        self.feed_before_entry().await?;
                        self.apply(&entry)?;
                    }
                    Follows::Duplicate => {}
                    Follows::Gap => return self.reload(SnapshotReason::Gap).await,
                    // The head that was read is not this log's any more: the next one says what became of the cursor.
                    Follows::Stale | Follows::Fork => {
                        return Err(LogError::NotExecuted("the chain changed while it was read".into()));
                    }
                }
            }
            if last_page {
                break;
            }
        }
        self.hear();
        let cursor = self.replica.as_ref().map_or(EntryId::GENESIS, Replica::cursor);
        if cursor < head.last { self.reload(SnapshotReason::Gap).await } else { Ok(()) }
    }

    /// The log is shorter than what was heard, or gone. A living owner puts it back at once; where nobody lives to do
    /// so, somebody is made to own the room, and in the end what was heard is given up.
    async fn wait_for_owner(&mut self, cursor: EntryId, head: Option<&Head>) -> LogResult<()> {
        let since = *self.ahead_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= AHEAD_GIVEN_UP_AFTER {
            return self.fork(cursor, head).await;
        }
        self.core.owners.tell_one(&self.room, RoomEvent::CheckHead);
        self.ask_to_adopt();
        Ok(())
    }

    /// The chain is another one: what was heard and is not on it is lost, and every session is told.
    async fn fork(&mut self, cursor: EntryId, head: Option<&Head>) -> LogResult<()> {
        self.ahead_since = None;
        if head.is_none_or(|head| head.on_chain(cursor) != OnChain::Unknown) {
            let lost = cursor.version.saturating_sub(head.map_or(0, |head| kept_upto(cursor, head)));
            tracing::error!(
                room = %self.room, %cursor, head = ?head.map(|head| head.last), lost, "entries that were delivered are gone"
            );
            // Of another region's log, that region counts it.
            if !self.log_of.is_elsewhere() {
                self.core.metrics.acked_lost.add(LostBy::Relay, lost);
            }
        }
        if head.is_none() {
            // Nothing to show until somebody owns the room: it begins anew then.
            self.replica = None;
        }
        self.reload(SnapshotReason::Lost).await
    }

    /// A replica that contradicts its entry is thrown away and read again.
    async fn start_anew(&mut self, error: &LogError) {
        tracing::error!(room = %self.room, %error, "replica thrown away");
        self.core.metrics.checksum_mismatches.increment(1);
        loop {
            match self.reload(SnapshotReason::Gap).await {
                Ok(()) => return,
                Err(LogError::Corrupt(what)) => return self.give_up(&what),
                Err(_) => tokio::time::sleep(RETRY_AFTER).await,
            }
        }
    }

    async fn reload(&mut self, reason: SnapshotReason) -> LogResult<()> {
        let mut loaded = load::load(&*self.core.log, &self.log_of, None).await?;
        if let (None, RoomId::Team(team), false) = (&loaded, &self.room, self.log_of.is_elsewhere()) {
            self.log_of = teams::log_of(&*self.core.log, team).await?;
            if self.log_of.is_elsewhere() {
                // Followed from the next turn on, and read again then. Nobody here answers what waited for an owner.
                self.route = Route::default();
                loaded = load::load(&*self.core.log, &self.log_of, None).await?;
            }
        }
        self.unreadable = None;
        self.note_lost_or_gap(reason);
        let Some(loaded) = loaded else { return Ok(()) };
        self.heard.set(loaded.cursor);
        self.hear();
        self.route.settle_seen(&loaded.state);
        self.replica = Some(Replica::new(loaded));
        self.unflushed = None;
        self.flush_due = None;
        self.check_seats();
        for conn in self.subscribers.conns() {
            let live = self.subscribers.get_mut(conn).is_some_and(|s| matches!(s.phase, Phase::Live { .. }));
            if live {
                self.greet(conn);
            }
        }
        self.greet_waiting();
        self.publish_roster();
        Ok(())
    }

    /// What greeted sessions are to be told with their next snapshot.
    fn note_lost_or_gap(&mut self, reason: SnapshotReason) {
        for Subscriber { sub, phase } in self.subscribers.iter_mut() {
            // A client that is not welcomed yet is judged by its cursor; one that is on the way here has not seen the room.
            let has_seen = phase.is_greeted() || matches!(sub.greeting, Greeting::Snapshot(_));
            if has_seen && reason == SnapshotReason::Lost {
                sub.set_lost(true);
            }
            if phase.is_greeted() && !matches!(sub.greeting, Greeting::Moved { .. }) {
                sub.greeting = Greeting::Snapshot(reason);
            }
        }
    }

    fn apply(&mut self, entry: &LogEntry) -> LogResult<()> {
        let Some(replica) = &mut self.replica else { return Ok(()) };
        let applied = replica.apply(entry)?;
        self.ahead_since = None;
        self.core.metrics.relay_entries.increment(1);
        self.heard.set(applied.id);
        self.ask_feed_rights();
        if let LogBody::Claim(claim) = &entry.body {
            self.core.clear_hint(&self.room);
            if claim.owner != self.core.me() {
                self.core.owners.tell_one(&self.room, RoomEvent::ForeignClaim { epoch: entry.id.epoch });
            }
        }
        self.show(applied);
        self.publish_roster();
        Ok(())
    }

    /// Heads of a silent room: only a difference costs a reading.
    pub(super) fn compare(&mut self, heads: Heads) {
        let (Some(head), Some(replica)) = (heads.log, &mut self.replica) else {
            return self.read_again_soon();
        };
        match standing(replica.cursor(), &head) {
            Standing::UpToDate => {
                replica.see_head(&head);
                self.ahead_since = None;
                self.hear();
            }
            Standing::Behind | Standing::Ahead | Standing::Fork => self.read_again_soon(),
        }
    }

    /// Asks the pub/sub side for nothing: the next turn of the loop reads.
    fn read_again_soon(&mut self) {
        self.core.metrics.relay_gaps.increment(1);
        self.must_read = true;
    }

    /// Reads the log from a resuming session's cursor, off the loop.
    pub(super) fn fetch_backlog(&self, conn: u64, cursor: EntryId) {
        let (core, room, events_tx) = (self.core.clone(), self.room.clone(), self.events_tx.clone());
        self.core.tasks.spawn("backlog", async move {
            let mut entries = Vec::new();
            let mut after = cursor;
            let complete = loop {
                let Ok(page) = core.log.entries(&room, after, LOAD_PAGE_ENTRIES).await else { break false };
                let last_page = page.len() < LOAD_PAGE_ENTRIES;
                if page.first().is_some_and(|first| load::judge(after, first) != Follows::Next) {
                    break false;
                }
                after = page.last().map_or(after, |entry| entry.id);
                entries.extend(page);
                if last_page {
                    break true;
                }
            };
            let _ = events_tx.send(FollowEvent::Backlog { conn, entries: complete.then_some(entries) });
        });
    }
}
