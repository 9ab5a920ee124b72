//! From committed entries to the stream `events`: each event once, though owners die. The log itself is what is still to
//! be told: the region knows up to which entry that was done, so a new owner reads on from there. Events kept in the
//! room's state, as posts are, would cost every join and move a second entry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::{EntryId, RoomId};
use sectorbus::limits::{LOAD_PAGE_ENTRIES, TELL_AFTER_ENTRIES, TELL_EVENTS_MAX};
use sectorbus::log::{Log, LogBody, LogError, LogResult, OutwardRecord, Tell};
use sectorbus::state::Entry;

use crate::core::Core;
use crate::load::decode_entry;
use crate::room::events;
use crate::room::task::{RoomEvent, RoomTask};

/// Before what cannot be read is tried again.
const UNREADABLE_AGAIN_AFTER: Duration = Duration::from_secs(5);

type Untold = Vec<(EntryId, OutwardRecord)>;

/// What of a room's entries is not told yet.
#[derive(Debug)]
pub(super) struct Telling {
    /// One batch at a time: the stream has a room's events in the room's order.
    sending: bool,
    /// It is to be looked up what was told: the owner before may have died with it, or Redis lost it.
    behind: bool,
    upto: EntryId,
    waiting: Untold,
    again_at: Option<Instant>,
}

impl Telling {
    pub(super) fn new(claim: EntryId) -> Self {
        Self { sending: false, behind: true, upto: claim, waiting: Vec::new(), again_at: None }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.again_at
    }

    /// An entry is committed.
    pub(super) fn take(&mut self, room: &RoomId, id: EntryId, entry: &Entry) {
        self.waiting.extend(events::events_of(room, id, entry).into_iter().map(|event| (id, event)));
    }

    /// Redis may have lost what was told.
    pub(super) fn doubt(&mut self) {
        self.behind = true;
    }

    pub(super) fn is_done(&self) -> bool {
        !self.sending && self.waiting.is_empty()
    }
}

impl<L: Log> RoomTask<L> {
    pub(super) fn tell_events(&mut self) {
        let (now, last) = (Instant::now(), self.chain.last());
        let telling = &mut self.telling;
        let is_old = last.version.saturating_sub(telling.upto.version) > TELL_AFTER_ENTRIES;
        let nothing = telling.waiting.is_empty() && !telling.behind && !is_old;
        if telling.sending || nothing || telling.again_at.is_some_and(|at| now < at) {
            return;
        }
        telling.again_at = None;
        telling.sending = true;
        let waiting = std::mem::take(&mut telling.waiting);
        let since = std::mem::take(&mut telling.behind).then_some(self.chain.claim().0);
        let (core, room, mailbox) = (self.core.clone(), self.room.clone(), self.mailbox.clone());
        self.core.tasks.spawn("events", async move {
            let told = tell(&core, &room, since, last, waiting).await;
            if let Some(mailbox) = mailbox.upgrade() {
                let _ = mailbox.send(RoomEvent::Told { upto: told.then_some(last) }).await;
            }
        });
    }

    /// `None`: something could not be read.
    pub(super) fn take_told(&mut self, upto: Option<EntryId>) {
        self.telling.sending = false;
        match upto {
            Some(upto) => self.telling.upto = upto,
            None => {
                self.telling.behind = true;
                self.telling.again_at = Some(Instant::now() + UNREADABLE_AGAIN_AFTER);
            }
        }
    }
}

/// Tells everything up to `upto`: `waiting`, and with `since` what the log has that was not told; a room of which nothing
/// was ever told begins there. False: the log cannot be read.
async fn tell<L: Log>(
    core: &Arc<Core<L>>,
    room: &RoomId,
    since: Option<EntryId>,
    upto: EntryId,
    waiting: Untold,
) -> bool {
    let untold = match since {
        None => waiting,
        Some(claim) => match until_answered(|| untold(&*core.log, room, claim, upto)).await {
            Some(found) => merged(found, waiting),
            None => return false,
        },
    };
    let mut batches = in_batches(&untold);
    if batches.is_empty() {
        batches.push(&[]);
    }
    let count = batches.len();
    for (at, batch) in batches.into_iter().enumerate() {
        let last = batch.last().map(|(entry, _)| *entry).filter(|_| at + 1 < count);
        let tell = Tell { room: room.clone(), upto: last.unwrap_or(upto), events: batch.to_vec() };
        if until_answered(|| core.log.tell(tell.clone())).await.is_none() {
            return false;
        }
    }
    true
}

/// Batches of about [`TELL_EVENTS_MAX`] events. None ends within an entry: what was told is known by entries.
fn in_batches(untold: &[(EntryId, OutwardRecord)]) -> Vec<&[(EntryId, OutwardRecord)]> {
    let (mut batches, mut rest) = (Vec::new(), untold);
    while !rest.is_empty() {
        let full = rest.len().min(TELL_EVENTS_MAX);
        let last = rest[full - 1].0;
        let more = rest[full..].iter().take_while(|(entry, _)| *entry == last).count();
        let (batch, after) = rest.split_at(full + more);
        batches.push(batch);
        rest = after;
    }
    batches
}

/// `None`: what is there cannot be read.
async fn until_answered<T, F: Future<Output = LogResult<T>>>(call: impl Fn() -> F) -> Option<T> {
    loop {
        match call().await {
            Ok(answer) => return Some(answer),
            Err(LogError::Corrupt(what)) => {
                tracing::error!(%what, "events cannot be told");
                return None;
            }
            Err(_) => tokio::time::sleep(super::RETRY_AFTER).await,
        }
    }
}

/// Events of the log's entries after what was told.
async fn untold<L: Log>(log: &L, room: &RoomId, claim: EntryId, upto: EntryId) -> LogResult<Untold> {
    let (mut cursor, mut found) = (log.told(room).await?.unwrap_or(claim), Vec::new());
    loop {
        let page = log.entries(room, cursor, LOAD_PAGE_ENTRIES).await?;
        let is_last = page.len() < LOAD_PAGE_ENTRIES;
        for stored in page.into_iter().filter(|stored| stored.id <= upto) {
            let LogBody::Batch(bytes) = &stored.body else {
                cursor = stored.id;
                continue;
            };
            let entry = decode_entry(stored.id, bytes)?;
            if stored.id.version > cursor.version + 1 {
                found.push((stored.id, events::gap(room, stored.id, entry.now_ms)));
            }
            found.extend(events::events_of(room, stored.id, &entry).into_iter().map(|event| (stored.id, event)));
            cursor = stored.id;
        }
        if is_last || cursor >= upto {
            return Ok(found);
        }
    }
}

/// Both, each event once, in the order of the log.
fn merged(found: Untold, waiting: Untold) -> Untold {
    let mut all: BTreeMap<EntryId, Untold> = BTreeMap::new();
    for (entry, event) in found.into_iter().chain(waiting) {
        let of_entry = all.entry(entry).or_default();
        if !of_entry.iter().any(|(_, known)| *known == event) {
            of_entry.push((entry, event));
        }
    }
    all.into_values().flatten().collect()
}

#[cfg(test)]
#[path = "telling_tests.rs"]
mod tests;
