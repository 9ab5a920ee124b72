//! Keeping the replica on the chain: judge each entry heard, fill gaps from the log, and start anew when the chain
//! is another one. Says to sessions what they have to know of it.

use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::EntryId;
use sectorbus::limits::LOAD_PAGE_ENTRIES;
use sectorbus::log::{Head, Heads, Log, LogBody, LogEntry, LogError, LogResult, OnChain};
use sectorbus::metrics::LostBy;
use sectorbus::protocol::SnapshotReason;

use crate::follow::FollowEvent;
use crate::follow::replica::Replica;
use crate::follow::subscriber::{Greeting, Phase};
use crate::follow::task::Follow;
use crate::load::{self, Follows};
use crate::room::task::RoomEvent;

const RETRY_AFTER: Duration = Duration::from_millis(50);
const HEAD_CHECK_EVERY: Duration = Duration::from_secs(1);

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
            Follows::Duplicate => self.hear(),
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
        loop {
            let outcome = match &self.replica {
                None => self.bootstrap().await,
                Some(replica) => {
                    let cursor = replica.cursor();
                    self.read_on(cursor).await
                }
            };
            match outcome {
                Ok(()) => return,
                Err(LogError::Corrupt(what)) => {
                    tracing::error!(room = %self.room, %what, "the room cannot be followed");
                    self.core.metrics.checksum_mismatches.increment(1);
                    self.replica = None;
                    return;
                }
                Err(error) => {
                    tracing::trace!(room = %self.room, %error, "room not read");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn bootstrap(&mut self) -> LogResult<()> {
        if let Some(loaded) = load::load(&*self.core.log, &self.room, None).await? {
            self.heard.set(loaded.cursor);
            self.hear();
            self.route.settle_seen(&loaded.state);
            self.replica = Some(Replica::new(loaded));
            self.unflushed = None;
            self.greet_waiting();
        }
        Ok(())
    }

    /// Reads entries after the cursor, page by page, and compares the head when they do not connect.
    async fn read_on(&mut self, cursor: EntryId) -> LogResult<()> {
        let heads = self.core.log.heads(std::slice::from_ref(&self.room)).await?;
        let head = heads.into_iter().next().and_then(|heads| heads.log);
        let Some(head) = head else { return Ok(()) };
        match standing(cursor, &head) {
            Standing::UpToDate => {
                self.hear();
                if let Some(replica) = &mut self.replica {
                    replica.see_head(&head);
                }
                return Ok(());
            }
            Standing::Ahead => {
                self.core.owners.tell_one(&self.room, RoomEvent::CheckHead);
                return Ok(());
            }
            Standing::Fork => return self.fork(cursor, &head).await,
            Standing::Behind => {}
        }
        loop {
            let cursor = self.replica.as_ref().map_or(EntryId::GENESIS, Replica::cursor);
            let page = self.core.log.entries(&self.room, cursor, LOAD_PAGE_ENTRIES).await?;
            let last_page = page.len() < LOAD_PAGE_ENTRIES;
            for entry in page {
                let cursor = self.replica.as_ref().map_or(EntryId::GENESIS, Replica::cursor);
                match load::judge(cursor, &entry) {
                    Follows::Next => {
                        self.feed_before_entry().await?;
                        self.apply(&entry)?;
                    }
                    Follows::Duplicate => {}
                    Follows::Stale | Follows::Gap | Follows::Fork => return self.reload(SnapshotReason::Gap).await,
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

    /// The chain is another one: what was heard and is not on it is lost, and every session is told.
    async fn fork(&mut self, cursor: EntryId, head: &Head) -> LogResult<()> {
        if head.on_chain(cursor) == OnChain::No {
            let kept = head.lineage.0.iter().find(|known| known.epoch == cursor.epoch).map_or(0, |known| known.version);
            let lost = if kept > 0 { cursor.version.saturating_sub(kept) } else { 1 };
            tracing::error!(room = %self.room, %cursor, head = %head.last, lost, "entries that were delivered are gone");
            self.core.metrics.acked_lost.add(LostBy::Relay, lost);
        }
        self.reload(SnapshotReason::Lost).await
    }

    /// A replica that contradicts its entry is thrown away and read again.
    async fn start_anew(&mut self, error: &LogError) {
        tracing::error!(room = %self.room, %error, "replica thrown away");
        self.core.metrics.checksum_mismatches.increment(1);
        while self.reload(SnapshotReason::Gap).await.is_err() {
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    async fn reload(&mut self, reason: SnapshotReason) -> LogResult<()> {
        let Some(loaded) = load::load(&*self.core.log, &self.room, None).await? else { return Ok(()) };
        self.heard.set(loaded.cursor);
        self.hear();
        self.route.settle_seen(&loaded.state);
        self.replica = Some(Replica::new(loaded));
        self.unflushed = None;
        self.flush_due = None;
        for subscriber in self.subscribers.iter_mut() {
            if subscriber.phase.is_greeted() {
                subscriber.sub.greeting = Greeting::Snapshot(reason);
            }
        }
        self.check_seats();
        for conn in self.subscribers.conns() {
            let live = self.subscribers.get_mut(conn).is_some_and(|s| matches!(s.phase, Phase::Live { .. }));
            if live {
                self.greet(conn);
            }
        }
        self.greet_waiting();
        Ok(())
    }

    fn apply(&mut self, entry: &LogEntry) -> LogResult<()> {
        let Some(replica) = &mut self.replica else { return Ok(()) };
        let applied = replica.apply(entry)?;
        self.core.metrics.relay_entries.increment(1);
        self.heard.set(applied.id);
        self.ask_feed_rights();
        if let LogBody::Claim(claim) = &entry.body {
            self.core.clear_hint(&self.room);
            if claim.owner != self.core.me() {
                self.core.owners.tell_one(&self.room, RoomEvent::ForeignClaim { epoch: entry.id.epoch });
            }
        }
        self.show(&applied);
        Ok(())
    }

    /// Heads of a silent room: only a difference costs a reading.
    pub(super) fn compare(&mut self, heads: Heads) {
        let Some(head) = heads.log else { return };
        let Some(replica) = &mut self.replica else {
            self.read_again_soon();
            return;
        };
        match standing(replica.cursor(), &head) {
            Standing::UpToDate => {
                replica.see_head(&head);
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
