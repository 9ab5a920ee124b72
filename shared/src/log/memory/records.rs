//! What the memory log stores and publishes is the bytes that Redis would hold: so every run in memory also writes
//! and reads the formats of `stored`. What it cannot read again it wrote wrongly: that panics.

use bytes::Bytes;

use crate::ids::{EntryId, FeedId};
use crate::log::{FeedItem, LogBody, LogEntry, Push, stored};

pub(super) fn entry_record(body: &LogBody) -> Bytes {
    match body {
        LogBody::Claim(claim) => stored::claim_record(claim).into(),
        LogBody::Batch(entry) => stored::batch_record(entry).into(),
    }
}

pub(super) fn read_entry(id: EntryId, record: &Bytes) -> LogEntry {
    own(stored::read_entry(id, record.clone()))
}

pub(super) fn feed_record(item: &FeedItem) -> Bytes {
    stored::feed_record(item.prev, item.as_of, &item.body).into()
}

pub(super) fn read_feed_item(id: FeedId, record: &Bytes) -> FeedItem {
    own(stored::read_feed_item(id, record.clone()))
}

/// What goes over a channel. `None` for what is never published but told by the connection itself.
pub(super) fn payload(push: &Push) -> Option<Bytes> {
    let payload = match push {
        Push::Following | Push::Lost => return None,
        Push::Entry(entry) => stored::published(&entry.id.to_string(), &entry_record(&entry.body)),
        Push::Receipts { at, body } => stored::published(&at.to_string(), &stored::receipts_record(body)),
        Push::Feed(item) => stored::published(&item.id.to_string(), &feed_record(item)),
        Push::Attached { session, generation, floor } => {
            stored::published("", &stored::attached_record(session, *generation, *floor))
        }
        Push::Ears(change) => stored::published("", &stored::ears_record(change)),
        Push::Present(present) => stored::published("", &stored::present_record(present)),
        Push::Team(team) => stored::published("", &stored::team_record(team)),
        Push::Far(region) => stored::published("", &stored::far_record(region)),
        Push::Touched(touched) => stored::published("", &stored::touched_record(touched)),
        Push::Kicked { session } => stored::published("", &stored::kicked_record(session.as_ref())),
        Push::Replied { actor, n, reply } => stored::published("", &stored::replied_record(*actor, *n, reply)),
    };
    Some(payload.into())
}

pub(super) fn read_payload(payload: Bytes) -> Push {
    own(stored::read_published(payload))
}

fn own<T>(read: Result<T, stored::Unreadable>) -> T {
    read.unwrap_or_else(|why| panic!("the memory log wrote what it cannot read: {why}"))
}
