//! The streams for the game's backend, and up to where each room's events were told. Pure, one call one script.

use std::collections::{BTreeMap, VecDeque};

use super::feed::next_stream_id;
use crate::ids::{EntryId, FeedId, RoomId};
use crate::limits::{AUDIT_KEPT, EVENTS_KEPT};
use crate::log::{Outward, OutwardItem, OutwardRecord, Tell};

#[derive(Debug, Clone, Default)]
pub(super) struct OutwardStreams {
    events: VecDeque<OutwardItem>,
    audit: VecDeque<OutwardItem>,
    told: BTreeMap<RoomId, EntryId>,
}

impl OutwardStreams {
    pub(super) fn note(&mut self, stream: Outward, record: OutwardRecord, time_ms: u64) -> FeedId {
        let (items, kept) = match stream {
            Outward::Events => (&mut self.events, EVENTS_KEPT),
            Outward::Audit => (&mut self.audit, AUDIT_KEPT),
        };
        let id = next_stream_id(items.back().map_or(FeedId::START, |last| last.id), time_ms);
        items.push_back(OutwardItem { id, record });
        if items.len() > kept {
            items.pop_front();
        }
        id
    }

    pub(super) fn noted(&self, stream: Outward, before: Option<FeedId>, count: usize) -> Vec<OutwardItem> {
        let items = match stream {
            Outward::Events => &self.events,
            Outward::Audit => &self.audit,
        };
        items.iter().rev().filter(|item| before.is_none_or(|before| item.id < before)).take(count).cloned().collect()
    }

    pub(super) fn tell(&mut self, tell: Tell, time_ms: u64) {
        let told = self.told(&tell.room);
        for (_, record) in tell.events.into_iter().filter(|(entry, _)| told.is_none_or(|told| *entry > told)) {
            self.note(Outward::Events, record, time_ms);
        }
        if told.is_none_or(|told| tell.upto > told) {
            self.told.insert(tell.room, tell.upto);
        }
    }

    pub(super) fn told(&self, room: &RoomId) -> Option<EntryId> {
        self.told.get(room).copied()
    }
}
