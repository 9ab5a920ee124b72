//! Looking back: what was said before, and how much of it is unread. Read from the log each time; nothing is stored per
//! player but the marks.

use std::collections::BTreeMap;

use sectorbus::ids::{FeedId, PlayerId, RoomId, SectorId};
use sectorbus::limits::{FEED_PAGE_ITEMS, HISTORY_PAGE_ITEMS, HISTORY_SCAN_ITEMS_MAX};
use sectorbus::log::{FeedItem, Log};
use sectorbus::protocol::{ChannelCount, Counts, History, Page, PageItem, ServerFrame, Unread};
use sectorbus::said::{HeardKind, RefusalCode, Said};

use super::Talking;
use crate::feeds::Item;
use crate::feeds::item;

/// A page goes to the client at once: several must fit beside answers that wait.
const PAGE_BYTES_MAX: usize = 32 * 1024;
/// What an item has beside its text and its name.
const ITEM_BYTES: usize = 200;

impl<L: Log> Talking<L> {
    pub(super) async fn history(&self, history: History, here: &SectorId) {
        let History { n, of, before, limit } = history;
        let limit = limit.map_or(HISTORY_PAGE_ITEMS, |limit| limit as usize);
        let found = match &of {
            RoomId::Player(peer) => self.own_history(peer, before, limit).await,
            room => self.room_history(room, before, limit).await,
        };
        let Some((mut items, before)) = found else { return };
        // Asked afterwards: the log may have been waited for, and who was removed meanwhile gets nothing of it.
        match self.may_read(&of, here).await {
            Some(true) => {
                items.reverse();
                self.send(&ServerFrame::Page(Page { n, of, items, before }));
            }
            Some(false) => self.refuse(n, RefusalCode::NotThere),
            None => {}
        }
    }

    /// Newest first; and where to go on, if there is more.
    async fn room_history(
        &self,
        room: &RoomId,
        before: Option<FeedId>,
        limit: usize,
    ) -> Option<(Vec<PageItem>, Option<FeedId>)> {
        let kept = self.items_before(room, None, self.core.config.history_items).await?;
        let older = kept.iter().filter(|item| before.is_none_or(|before| item.id < before));
        Some(page_of(older.filter_map(|item| self.shown(item)), limit))
    }

    /// Of the player's own feed, what was said with `peer`; with the player as peer, everything that is not private.
    async fn own_history(
        &self,
        peer: &PlayerId,
        before: Option<FeedId>,
        limit: usize,
    ) -> Option<(Vec<PageItem>, Option<FeedId>)> {
        let own = RoomId::Player(self.player.clone());
        let (mut found, mut at, mut scanned) = (Vec::new(), before, 0);
        let oldest_ms = self.oldest_own_ms();
        loop {
            let stored = self.stored_before(&own, at, FEED_PAGE_ITEMS).await?;
            let (count, last) = (stored.len(), stored.last().map(|item| item.id));
            let kept = stored.into_iter().filter(|item| item.id.ms >= oldest_ms).filter_map(item::read);
            let wanted = kept.filter_map(|item| self.shown(&item)).filter(|item| self.peer_of(&item.said) == *peer);
            found.extend(wanted);
            scanned += count;
            if found.len() > limit {
                return Some(page_of(found.into_iter(), limit));
            }
            let ended = count < FEED_PAGE_ITEMS || last.is_none_or(|last| last.ms < oldest_ms);
            if ended || scanned >= HISTORY_SCAN_ITEMS_MAX {
                let (page, before) = page_of(found.into_iter(), limit);
                return Some((page, before.or(last.filter(|_| !ended))));
            }
            at = last;
        }
    }

    pub(super) async fn unread(&self, unread: Unread, here: &SectorId) {
        let mut channels = Vec::new();
        let team = self.listening.team().cloned().map(RoomId::Team);
        for room in [RoomId::Global, RoomId::Sector(here.clone())].into_iter().chain(team) {
            if self.may_read(&room, here).await != Some(true) {
                continue;
            }
            let Some(kept) = self.items_before(&room, None, self.core.config.history_items).await else { return };
            let counted = kept.first().map(|newest| newest.id).unwrap_or_default();
            channels.push(self.count(room.clone(), counted, kept.iter().filter_map(|item| self.shown(item))));
        }
        let Some((counted, own)) = self.own_by_peer().await else { return };
        let of_peers =
            own.into_iter().map(|(peer, items)| self.count(RoomId::Player(peer), counted, items.into_iter()));
        channels.extend(of_peers);
        channels.retain(|channel| channel.unread > 0 || channel.upto.is_some());
        self.send(&ServerFrame::Counts(Counts { n: unread.n, channels }));
    }

    /// Up to which item, and what was said by whom.
    async fn own_by_peer(&self) -> Option<(FeedId, BTreeMap<PlayerId, Vec<PageItem>>)> {
        let own = RoomId::Player(self.player.clone());
        let items = self.items_before(&own, None, HISTORY_SCAN_ITEMS_MAX).await?;
        let oldest_ms = self.oldest_own_ms();
        let mut by_peer: BTreeMap<PlayerId, Vec<PageItem>> = BTreeMap::new();
        for item in items.iter().filter(|item| item.id.ms >= oldest_ms).filter_map(|item| self.shown(item)) {
            by_peer.entry(self.peer_of(&item.said)).or_default().push(item);
        }
        Some((items.first().map(|newest| newest.id).unwrap_or_default(), by_peer))
    }

    fn count(&self, of: RoomId, counted: FeedId, items: impl Iterator<Item = PageItem>) -> ChannelCount {
        let upto = self.ears.marks.get(&of).copied();
        let is_counted = self.wants_to_know_of(&of);
        let unread = items
            .filter(|item| is_counted && upto.is_none_or(|upto| item.id > upto))
            .filter(|item| item.said.author() != Some(&self.player))
            .count();
        ChannelCount { of, upto, unread: u32::try_from(unread).unwrap_or(u32::MAX), counted }
    }

    /// Whether what players say in a channel counts as unread.
    pub(super) fn wants_to_know_of(&self, of: &RoomId) -> bool {
        let unwanted = |kind| self.ears.unwanted.contains(&kind);
        match of {
            RoomId::Player(peer) => *peer == self.player || !unwanted(HeardKind::Private),
            RoomId::Global | RoomId::Sector(_) | RoomId::Team(_) => !unwanted(HeardKind::Chat),
            // Nobody chats there.
            RoomId::Topic(_) | RoomId::Elsewhere(_) => true,
        }
    }

    /// Which channel of the player's own feed something belongs to: the other player, or the player for the rest.
    pub(super) fn peer_of(&self, said: &Said) -> PlayerId {
        match said {
            Said::Private(private) if private.from == self.player => private.to.clone(),
            Said::Private(private) => private.from.clone(),
            _ => self.player.clone(),
        }
    }

    /// What is older is over, even if nothing was posted since that would have trimmed it.
    pub(super) fn oldest_own_ms(&self) -> u64 {
        let kept_ms = self.core.config.player_feed_kept.as_millis() as u64;
        self.core.clock.now_ms().saturating_sub(kept_ms)
    }

    fn shown(&self, item: &Item) -> Option<PageItem> {
        let said = item.said().filter(|said| !self.listening.blocked.hides(said))?;
        Some(PageItem { id: item.id, msg: item.name.to_string(), said: said.clone() })
    }

    pub(super) async fn items_before(
        &self,
        room: &RoomId,
        before: Option<FeedId>,
        count: usize,
    ) -> Option<Vec<std::sync::Arc<Item>>> {
        let stored = self.stored_before(room, before, count).await?;
        Some(stored.into_iter().filter_map(item::read).collect())
    }

    async fn stored_before(&self, room: &RoomId, before: Option<FeedId>, count: usize) -> Option<Vec<FeedItem>> {
        let core = &self.core;
        self.until_answered(|| core.log.feed_before(room, before, count)).await
    }
}

/// The first `limit` of at most [`PAGE_BYTES_MAX`], one at least, and the last of them if there are more.
fn page_of(items: impl Iterator<Item = PageItem>, limit: usize) -> (Vec<PageItem>, Option<FeedId>) {
    let (mut page, mut bytes, mut more) = (Vec::new(), 0, false);
    for item in items {
        bytes += ITEM_BYTES + item.msg.len() + item.said.text_bytes();
        if page.len() == limit || bytes > PAGE_BYTES_MAX && !page.is_empty() {
            more = true;
            break;
        }
        page.push(item);
    }
    let before = page.last().map(|last: &PageItem| last.id).filter(|_| more);
    (page, before)
}
