//! One inbox: a bounded stream of commands that its reader trims behind what it took. Pure.

use std::collections::VecDeque;

use bytes::Bytes;

use super::feed::next_stream_id;
use crate::ids::FeedId;
use crate::limits::{INBOX_ITEMS_MAX, LOAD_PAGE_ENTRIES};
use crate::log::Sent;

#[derive(Debug, Clone, Default)]
pub(super) struct Inbox {
    items: VecDeque<(FeedId, Bytes)>,
    last: FeedId,
}

impl Inbox {
    pub(super) fn send(&mut self, commands: &[Bytes], time_ms: u64) -> Sent {
        if self.items.len() >= INBOX_ITEMS_MAX {
            return Sent::Busy;
        }
        for command in commands {
            self.last = next_stream_id(self.last, time_ms);
            self.items.push_back((self.last, command.clone()));
        }
        Sent::Ok
    }

    /// Drops what is at or below `after`, and reads a page of the rest.
    pub(super) fn take(&mut self, after: FeedId) -> Vec<(FeedId, Bytes)> {
        let read = self.items.partition_point(|(id, _)| *id <= after);
        self.items.drain(..read);
        self.items.iter().take(LOAD_PAGE_ENTRIES).cloned().collect()
    }
}
