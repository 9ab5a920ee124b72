//! A relay's place in a feed: how the next item follows, and which items it has seen. Pure.
//! Knows nothing of who reads.

use std::collections::{BTreeMap, VecDeque};

use sectorbus::ids::{EntryId, FeedId};
use sectorbus::limits::FEED_NAMES_KEPT;
use sectorbus::log::OnceKey;

/// How an item follows a cursor (room-log 10, the reader's side).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// The next one.
    Next,
    /// The next one, but the log was not read up to the entry it was posted after: whom that entry removed must not see
    /// the item.
    WaitFor(EntryId),
    Duplicate,
    /// Items before it were not heard; read right after the cursor: they are gone.
    Gap,
    /// Redis has less than the cursor has seen: go on after `to`, which is still there or is unknown here.
    Rewound {
        to: FeedId,
    },
}

/// An item as a cursor sees it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub id: FeedId,
    pub prev: FeedId,
    pub as_of: Option<EntryId>,
    /// `None`: unreadable.
    pub name: Option<&'a OnceKey>,
}

/// How an item with this `prev` follows an item seen before, for a reader that remembers nothing else.
pub fn follows(at: FeedId, id: FeedId, prev: FeedId) -> Follows {
    match prev.cmp(&at) {
        _ if id <= prev => Follows::Duplicate,
        std::cmp::Ordering::Equal => Follows::Next,
        std::cmp::Ordering::Greater => Follows::Gap,
        std::cmp::Ordering::Less if id <= at => Follows::Duplicate,
        std::cmp::Ordering::Less => Follows::Rewound { to: prev },
    }
}

/// The log was read up to `as_of`: it is at or before the cursor, in a room that has a log. An entry of an earlier epoch
/// is behind the cursor or off the chain; both count.
pub fn is_reached(as_of: Option<EntryId>, log: Option<EntryId>) -> bool {
    as_of.is_none_or(|as_of| log.is_some_and(|log| as_of <= log))
}

/// What Redis had and lost again: the items by name, with the ids they had.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lost(BTreeMap<OnceKey, FeedId>);

impl Lost {
    pub fn id_of(&self, name: &OnceKey) -> Option<FeedId> {
        self.0.get(name).copied()
    }
}

/// An item that a reader was told from a page of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagedItem {
    pub id: FeedId,
    pub prev: FeedId,
    /// `None`: unreadable.
    pub name: Option<OnceKey>,
}

/// The last item taken, and the names of those before it.
#[derive(Debug, PartialEq, Eq)]
pub struct FeedCursor {
    at: FeedId,
    /// All items between it and `at` are in `seen`.
    floor: FeedId,
    /// Unreadable items have no name.
    seen: VecDeque<(FeedId, Option<OnceKey>)>,
    /// After a rewind: up to here what is remembered was found again. A Redis whose clock is behind may have given any of
    /// its ids to something else.
    found: Option<FeedId>,
}

impl FeedCursor {
    pub fn new(at: FeedId) -> Self {
        Self { at, floor: at, seen: VecDeque::new(), found: None }
    }

    pub fn at(&self) -> FeedId {
        self.at
    }

    /// After what to read: the item before the last one taken; the last one itself if it is the only one known. After a
    /// rewind, all that is remembered.
    pub fn before(&self) -> FeedId {
        if let Some(found) = self.found {
            return found;
        }
        match self.seen.len().checked_sub(2).and_then(|before| self.seen.get(before)) {
            Some((before, _)) => *before,
            None => self.floor,
        }
    }

    /// Judges one item. `log`: up to where the room's log was read.
    pub fn judge(&self, item: &Place<'_>, log: Option<EntryId>) -> Follows {
        let Place { id, prev, as_of, name } = *item;
        match follows(self.at, id, prev) {
            Follows::Next => match as_of {
                Some(as_of) if !is_reached(Some(as_of), log) => Follows::WaitFor(as_of),
                _ => Follows::Next,
            },
            // After a failover to a Redis whose clock is behind, new items may have ids below those that were lost.
            Follows::Duplicate if id > prev && !self.may_have_seen(id, name) => {
                Follows::Rewound { to: self.still_there(prev).min(self.before_seen(id)) }
            }
            Follows::Rewound { to } => Follows::Rewound { to: self.still_there(to) },
            other => other,
        }
    }

    /// It is not of another branch: taken, or further back than is remembered. An id alone does not tell: a Redis whose clock
    /// is behind may give it a second time.
    pub fn may_have_seen(&self, id: FeedId, name: Option<&OnceKey>) -> bool {
        let found = self.seen.binary_search_by_key(&id, |(seen, _)| *seen).ok().and_then(|at| self.seen.get(at));
        id <= self.floor || found.is_some_and(|(_, seen)| seen.as_ref() == name)
    }

    /// The youngest item at or before `id` that was seen: what came after it is to be read. Below what is remembered,
    /// `id` itself.
    pub fn still_there(&self, id: FeedId) -> FeedId {
        let after = self.seen.partition_point(|(seen, _)| *seen <= id);
        match after.checked_sub(1).and_then(|last| self.seen.get(last)) {
            Some((seen, _)) => *seen,
            None => self.floor.min(id),
        }
    }

    /// The last item that was seen before `id`.
    fn before_seen(&self, id: FeedId) -> FeedId {
        let from = self.seen.partition_point(|(seen, _)| *seen < id);
        from.checked_sub(1).and_then(|last| self.seen.get(last)).map_or(self.floor.min(id), |(seen, _)| *seen)
    }

    /// A duplicate was read: what is remembered up to there is still in Redis.
    pub fn find_again(&mut self, id: FeedId) {
        self.found = self.found.map(|found| found.max(id)).filter(|found| *found < self.at);
    }

    /// Takes the next item.
    pub fn take(&mut self, id: FeedId, prev: FeedId, name: Option<OnceKey>) {
        assert!(prev == self.at && id > self.at, "a feed is taken item by item: at {}, {id} after {prev}", self.at);
        self.at = id;
        self.found = None;
        self.seen.push_back((id, name));
        if self.seen.len() > FEED_NAMES_KEPT
            && let Some((oldest, _)) = self.seen.pop_front()
        {
            self.floor = oldest;
        }
    }

    /// Goes on after `prev`, over items that are gone.
    pub fn skip_to(&mut self, prev: FeedId) {
        assert!(prev > self.at, "a gap is ahead: at {}, skipping to {prev}", self.at);
        *self = Self::new(prev);
    }

    /// What a reader was told of the time before the first item that is remembered, in the feed's order: remembered as well, as
    /// far as it reaches up to that one without a break.
    pub fn learn(&mut self, told: &[PagedItem]) {
        let upto = told.partition_point(|item| item.id <= self.floor);
        for item in told[..upto].iter().rev() {
            if item.id != self.floor || self.seen.len() >= FEED_NAMES_KEPT {
                break;
            }
            self.seen.push_front((item.id, item.name.clone()));
            self.floor = item.prev;
        }
    }

    /// Goes back to `to`; answers what was seen after it.
    pub fn rewind(&mut self, to: FeedId) -> Lost {
        assert!(to < self.at, "a rewind goes back: at {}, rewinding to {to}", self.at);
        let kept = self.seen.partition_point(|(seen, _)| *seen <= to);
        let lost = self.seen.drain(kept..).filter_map(|(id, name)| Some((name?, id))).collect();
        self.at = to;
        self.floor = self.floor.min(to);
        self.found = Some(self.floor).filter(|floor| *floor < to);
        Lost(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sectorbus::ids::{ActorId, PlayerId};

    fn id(ms: u64) -> FeedId {
        FeedId { ms, n: 0 }
    }

    fn name(seq: u64) -> OnceKey {
        OnceKey::Player { player: PlayerId::new("ann").expect("a name"), actor: ActorId(1), seq }
    }

    /// At 10, then took 20, 30, 40.
    fn cursor() -> FeedCursor {
        let mut cursor = FeedCursor::new(id(10));
        for ms in [20, 30, 40] {
            cursor.take(id(ms), id(ms - 10), Some(name(ms)));
        }
        cursor
    }

    fn judge(cursor: &FeedCursor, item: u64, prev: u64, known_as: u64) -> Follows {
        let name = name(known_as);
        cursor.judge(&Place { id: id(item), prev: id(prev), as_of: None, name: Some(&name) }, None)
    }

    fn judged(item: u64, prev: u64) -> Follows {
        judge(&cursor(), item, prev, item)
    }

    #[test]
    fn after_a_rewind_everything_that_is_remembered_is_looked_at_again() {
        let mut cursor = cursor();
        assert_eq!(cursor.before(), id(30));
        cursor.rewind(id(30));
        assert_eq!(cursor.before(), id(10));
        assert_eq!(judge(&cursor, 20, 10, 20), Follows::Duplicate);
        cursor.find_again(id(20));
        assert_eq!(cursor.before(), id(20));
        // The same id, given to something else: what was seen there is lost.
        assert_eq!(judge(&cursor, 30, 20, 31), Follows::Rewound { to: id(20) });
        cursor.find_again(id(30));
        assert_eq!(cursor.before(), id(20), "all of it, and as before");
        cursor.rewind(id(20));
        cursor.take(id(30), id(20), Some(name(31)));
        assert_eq!(cursor.before(), id(20));
    }

    #[test]
    fn only_the_item_after_the_cursor_is_next() {
        assert_eq!(judged(50, 40), Follows::Next);
        assert_eq!(judged(60, 50), Follows::Gap);
        for (item, prev) in [(40, 30), (30, 20), (20, 10), (10, 5), (4, 3)] {
            assert_eq!(judged(item, prev), Follows::Duplicate, "{item} after {prev}");
        }
    }

    #[test]
    fn an_item_that_follows_something_older_tells_of_a_rewind() {
        assert_eq!(judged(50, 30), Follows::Rewound { to: id(30) });
        assert_eq!(judged(50, 10), Follows::Rewound { to: id(10) });
        assert_eq!(judged(50, 5), Follows::Rewound { to: id(5) }, "below what is remembered");
        // Something was posted after 20 that this cursor has not seen: it goes on from 20, not from there.
        assert_eq!(judged(50, 25), Follows::Rewound { to: id(20) });
        // The new Redis's clock is behind, and may give an id a second time.
        assert_eq!(judged(35, 30), Follows::Rewound { to: id(30) });
        assert_eq!(judge(&cursor(), 40, 30, 99), Follows::Rewound { to: id(30) });
        assert_eq!(judged(26, 25), Follows::Rewound { to: id(20) });
    }

    #[test]
    fn an_item_that_contradicts_itself_changes_nothing() {
        assert_eq!(judged(50, 50), Follows::Duplicate);
        assert_eq!(judged(50, 60), Follows::Duplicate);
        assert_eq!(judged(30, 40), Follows::Duplicate);
    }

    #[test]
    fn an_item_waits_for_its_entry_and_only_for_that() {
        let as_of = |epoch, version| Some(EntryId::new(epoch, version));
        let judged = |as_of, log| cursor().judge(&Place { id: id(50), prev: id(40), as_of, name: None }, log);
        assert_eq!(judged(None, None), Follows::Next);
        assert_eq!(judged(None, as_of(7, 1)), Follows::Next);
        assert_eq!(judged(as_of(7, 1), None), Follows::WaitFor(EntryId::new(7, 1)));
        assert_eq!(judged(as_of(7, 2), as_of(7, 1)), Follows::WaitFor(EntryId::new(7, 2)));
        assert_eq!(judged(as_of(8, 2), as_of(7, 5)), Follows::WaitFor(EntryId::new(8, 2)));
        assert_eq!(judged(as_of(7, 1), as_of(7, 1)), Follows::Next);
        assert_eq!(judged(as_of(7, 9), as_of(8, 3)), Follows::Next, "off the chain, or long passed");
        let far = Place { id: id(60), prev: id(50), as_of: as_of(9, 9), name: None };
        let gap = cursor().judge(&far, as_of(7, 1));
        assert_eq!(gap, Follows::Gap, "the items before it come first");
    }

    #[test]
    fn a_rewind_names_what_was_lost_and_the_feed_goes_on_from_there() {
        let mut cursor = cursor();
        let lost = cursor.rewind(id(20));
        assert_eq!([20, 30, 40].map(|ms| lost.id_of(&name(ms))), [None, Some(id(30)), Some(id(40))]);
        assert_eq!(judge(&cursor, 50, 20, 50), Follows::Next);
        cursor.take(id(50), id(20), Some(name(40)));
        assert_eq!(judge(&cursor, 50, 20, 40), Follows::Duplicate);
        assert_eq!(judge(&cursor, 40, 30, 40), Follows::Rewound { to: id(20) }, "not of this chain");
        let lost = cursor.rewind(id(5));
        assert_eq!((lost.id_of(&name(20)), lost.id_of(&name(40))), (Some(id(20)), Some(id(50))));
        assert_eq!(cursor.still_there(id(7)), id(5));
    }

    #[test]
    fn what_a_reader_was_told_of_before_is_remembered_as_far_as_it_reaches() {
        let mut known = cursor();
        let paged = |ms: u64, prev: u64| PagedItem { id: id(ms), prev: id(prev), name: Some(name(ms)) };
        known.learn(&[paged(4, 3), paged(7, 5), paged(10, 7), paged(20, 10)]);
        assert_eq!(known.floor, id(5), "there is a hole before 7");
        let lost = known.rewind(id(5));
        assert_eq!([4, 7, 10, 40].map(|ms| lost.id_of(&name(ms)).is_some()), [false, true, true, true]);
        let mut other = cursor();
        other.learn(&[paged(7, 5), paged(9, 7)]);
        assert_eq!(other, cursor(), "it does not reach up to 10");
    }

    #[test]
    fn a_gap_is_skipped_and_what_was_before_it_is_forgotten() {
        let mut cursor = cursor();
        cursor.skip_to(id(70));
        assert_eq!(judge(&cursor, 80, 70, 80), Follows::Next);
        assert_eq!(judge(&cursor, 30, 20, 30), Follows::Duplicate);
        assert_eq!(judge(&cursor, 90, 60, 90), Follows::Rewound { to: id(60) });
    }

    #[test]
    fn reading_on_begins_with_the_last_item_taken() {
        assert_eq!(cursor().before(), id(30));
        let mut cursor = FeedCursor::new(id(10));
        assert_eq!(cursor.before(), id(10));
        cursor.take(id(20), id(10), None);
        assert_eq!(cursor.before(), id(10));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut cursor = FeedCursor::new(id(0));
        let many = FEED_NAMES_KEPT as u64 + 10;
        for ms in 1..=many {
            cursor.take(id(ms), id(ms - 1), Some(name(ms)));
        }
        assert_eq!((cursor.seen.len(), cursor.floor), (FEED_NAMES_KEPT, id(10)));
        assert_eq!(judge(&cursor, 3, 2, 3), Follows::Duplicate);
    }
}
