//! What readers are told when they keep up, fall behind, come from elsewhere, or may not read any more.

use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;

use sectorbus::ids::{ActorId, PlayerId};
use sectorbus::log::{FeedItem, OnceKey};

use super::*;
use crate::feeds::Rights;
use crate::feeds::cursor::FeedCursor;
use crate::feeds::item as feeds_item;

fn id(ms: u64) -> FeedId {
    FeedId { ms, n: 0 }
}

/// The item at `ms` after the one at `prev`; known as `name`.
fn named(ms: u64, prev: u64, name: u64) -> Arc<Item> {
    let player = PlayerId::new("ann").expect("a name");
    let name = OnceKey::Player { player, actor: ActorId(1), seq: name };
    let body = sectorbus::item::encode(&name, b"");
    feeds_item::read(FeedItem { id: id(ms), prev: id(prev), as_of: None, body }).expect("readable")
}

fn item(ms: u64) -> Arc<Item> {
    named(ms, ms - 10, ms)
}

fn page(items: &[Arc<Item>]) -> Vec<(FeedId, FeedId, Option<Arc<Item>>)> {
    items.iter().map(|item| (item.id, item.prev, Some(item.clone()))).collect()
}

/// Readers of one feed, and a relay's cursor.
struct Feed {
    readers: Readers,
    cursor: FeedCursor,
}

impl Feed {
    fn at(ms: u64) -> Self {
        Self { readers: Readers::default(), cursor: FeedCursor::new(id(ms)) }
    }

    fn add(&mut self, number: ReaderId, from: FeedFrom, capacity: usize, rights: Option<Rights>) -> Told {
        self.insert(number, from, 0, capacity, rights)
    }

    fn add_since(&mut self, since_ms: u64, from: FeedFrom) -> Told {
        self.insert(1, from, since_ms, 8, None)
    }

    fn insert(
        &mut self,
        number: ReaderId,
        from: FeedFrom,
        since_ms: u64,
        capacity: usize,
        rights: Option<Rights>,
    ) -> Told {
        let (reports_tx, reports_rx) = mpsc::channel(capacity);
        let is_behind = Arc::new(AtomicBool::new(false));
        let new = NewReader {
            id: number,
            from,
            since_ms,
            rights,
            end: ReaderEnd::Channel { reports_tx, is_behind: is_behind.clone() },
        };
        self.readers.insert(new);
        self.readers.start(self.cursor.at());
        Told { reports_rx, is_behind }
    }

    fn take(&mut self, items: &[Arc<Item>]) {
        for item in items {
            self.cursor.take(item.id, item.prev, Some(item.name.clone()));
            self.readers.tell(item);
        }
    }

    fn rewind(&mut self, to: u64) {
        let lost = Arc::new(self.cursor.rewind(id(to)));
        self.readers.rewind(id(to), &lost);
    }

    fn wanting(&mut self) -> Vec<(ReaderId, u64)> {
        self.readers.take_wanting(self.cursor.at()).into_iter().map(after).collect()
    }

    fn page(&mut self, number: ReaderId, items: &[Arc<Item>]) -> bool {
        self.readers.take_page(number, self.cursor.at(), page(items))
    }
}

fn after((number, wanted): (ReaderId, Wanted)) -> (ReaderId, u64) {
    match wanted {
        Wanted::After(at) => (number, at.ms),
        Wanted::Before(at) => panic!("{number} is astray at {at}"),
    }
}

struct Told {
    reports_rx: mpsc::Receiver<FeedReport>,
    is_behind: Arc<AtomicBool>,
}

impl Told {
    /// What has come, in words.
    fn all(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Ok(report) = self.reports_rx.try_recv() {
            words.push(match report {
                FeedReport::Started { after } => format!("after {}", after.ms),
                FeedReport::Item(item) => item.id.ms.to_string(),
                FeedReport::Gap { after, upto } => format!("gap {} to {}", after.ms, upto.ms),
                FeedReport::Rewound { from, to } => format!("rewound {} to {}", from.ms, to.ms),
            });
        }
        words
    }

    fn says_ready(&self) -> bool {
        self.is_behind.swap(false, Ordering::SeqCst)
    }
}

#[test]
fn a_live_reader_is_told_each_item_once() {
    let mut feed = Feed::at(10);
    let mut told = feed.add(1, FeedFrom::Now, 8, None);
    feed.take(&[item(20), item(30)]);
    assert_eq!(told.all(), ["after 10", "20", "30"]);
    assert!(feed.wanting().is_empty() && !told.says_ready());
    assert_eq!(feed.readers.take_told(), 2);
}

#[test]
fn a_reader_without_room_reads_on_from_its_own_cursor() {
    let mut feed = Feed::at(10);
    let mut slow = feed.add(1, FeedFrom::Now, 2, None);
    let mut quick = feed.add(2, FeedFrom::Now, 8, None);
    feed.take(&[item(20), item(30), item(40)]);
    assert_eq!(quick.all(), ["after 10", "20", "30", "40"], "nobody waits for the slow one");
    assert!(feed.wanting().is_empty(), "no page is read for a reader without room");
    assert_eq!(slow.all(), ["after 10", "20"]);
    assert!(slow.says_ready());
    feed.readers.ready(1);
    assert_eq!(feed.wanting(), [(1, 20)]);
    assert!(feed.wanting().is_empty(), "one page at a time");
    feed.take(&[item(50)]);
    assert!(feed.page(1, &[item(30), item(40), item(50)]));
    assert_eq!(slow.all(), ["30", "40"]);
    assert!(slow.says_ready());
    assert_eq!(feed.wanting(), [(1, 40)]);
    assert!(feed.page(1, &[item(50)]));
    assert!(feed.wanting().is_empty(), "it is live again");
    feed.take(&[item(60)]);
    assert_eq!(slow.all(), ["50", "60"]);
}

#[test]
fn a_page_that_fills_a_reader_exactly_does_not_leave_it_waiting_for_ever() {
    let mut feed = Feed::at(40);
    let mut told = feed.add(1, FeedFrom::After(id(10)), 2, None);
    assert_eq!(told.all(), ["after 10"]);
    assert_eq!(feed.wanting(), [(1, 10)]);
    assert!(feed.page(1, &[item(20), item(30)]));
    assert!(feed.wanting().is_empty());
    assert_eq!(told.all(), ["20", "30"]);
    assert!(told.says_ready(), "it was told to say when it has room");
    assert_eq!(feed.wanting(), [(1, 30)]);
}

#[test]
fn a_page_is_taken_only_as_far_as_the_relay_is() {
    let mut feed = Feed::at(30);
    let mut told = feed.add(1, FeedFrom::After(id(10)), 8, None);
    assert_eq!(feed.wanting(), [(1, 10)]);
    assert!(feed.page(1, &[item(20), item(30), item(40)]), "40 may have to wait for its entry");
    assert_eq!(told.all(), ["after 10", "20", "30"]);
    feed.wanting();
    feed.take(&[item(40)]);
    assert_eq!(told.all(), ["40"]);
}

#[test]
fn items_past_retention_are_a_gap() {
    let mut feed = Feed::at(50);
    let mut told = feed.add(1, FeedFrom::After(id(10)), 8, None);
    let mut live = feed.add(2, FeedFrom::Now, 8, None);
    feed.wanting();
    assert!(feed.page(1, &[item(40), item(50)]));
    assert_eq!(told.all(), ["after 10", "gap 10 to 30", "40", "50"]);
    feed.cursor.skip_to(id(70));
    feed.readers.gap(id(50), id(70));
    feed.take(&[item(80)]);
    assert_eq!(live.all(), ["after 50", "gap 50 to 70", "80"]);
}

#[test]
fn a_feed_without_the_items_it_had_is_a_gap_and_no_endless_reading() {
    let mut feed = Feed::at(50);
    let mut told = feed.add(1, FeedFrom::After(id(10)), 8, None);
    feed.wanting();
    assert!(!feed.page(1, &[]), "the relay had better look");
    assert_eq!(feed.wanting(), [(1, 10)]);
    feed.page(1, &[]);
    assert_eq!(told.all(), ["after 10", "gap 10 to 50"]);
    assert!(feed.wanting().is_empty());
    feed.take(&[item(60)]);
    assert_eq!(told.all(), ["60"]);
}

/// The relay had not noticed yet: what the reader asked for is lost, and is told as that.
#[test]
fn an_empty_page_before_a_rewind_does_not_count_towards_a_gap_after_it() {
    let mut feed = Feed::at(10);
    let mut told = feed.add(1, FeedFrom::Now, 1, None);
    feed.take(&[item(20), item(30)]);
    let ask = |feed: &mut Feed, told: &mut Told| {
        let had = told.all();
        feed.readers.ready(1);
        (had, feed.wanting())
    };
    assert_eq!(ask(&mut feed, &mut told), (vec!["after 10".to_owned()], vec![(1, 10)]));
    assert!(!feed.page(1, &[]));
    feed.rewind(10);
    assert!(feed.wanting().is_empty(), "it is at the tail: live");
    feed.take(&[named(40, 10, 4), named(50, 40, 5)]);
    assert_eq!(ask(&mut feed, &mut told), (vec!["40".to_owned()], vec![(1, 40)]));
    assert!(!feed.page(1, &[]), "the first empty page since");
    assert!(told.all().is_empty());
}

#[test]
fn what_was_lost_and_is_posted_again_is_told_to_who_had_not_had_it() {
    let mut feed = Feed::at(10);
    let mut quick = feed.add(1, FeedFrom::Now, 8, None);
    let mut slow = feed.add(2, FeedFrom::Now, 2, None);
    feed.take(&[item(20), item(30)]);
    assert_eq!((quick.all().len(), slow.all()), (3, vec!["after 10".to_owned(), "20".to_owned()]));
    feed.rewind(10);
    assert_eq!((quick.all(), slow.all()), (vec!["rewound 30 to 10".to_owned()], vec!["rewound 20 to 10".to_owned()]));
    // Each has had what it was told; new items and those it missed come to both.
    feed.wanting();
    feed.take(&[named(40, 10, 20), named(50, 40, 30), item(60)]);
    assert_eq!(quick.all(), ["60"]);
    assert_eq!(slow.all(), ["50", "60"]);
    // Lost once more: still known.
    feed.rewind(10);
    assert_eq!(quick.all(), ["rewound 60 to 10"]);
    feed.take(&[named(70, 10, 20), named(80, 70, 60), named(90, 80, 99)]);
    assert_eq!(quick.all(), ["90"]);
}

#[test]
fn a_rewind_that_finds_no_room_is_said_first_when_there_is() {
    let mut feed = Feed::at(10);
    let mut told = feed.add(1, FeedFrom::Now, 2, None);
    feed.take(&[item(20)]);
    feed.rewind(10);
    feed.take(&[named(30, 10, 3)]);
    assert_eq!(told.all(), ["after 10", "20"]);
    assert!(told.says_ready());
    feed.readers.ready(1);
    assert_eq!(feed.wanting(), [(1, 10)]);
    assert!(feed.page(1, &[named(30, 10, 3)]));
    assert_eq!(told.all(), ["rewound 20 to 10", "30"]);
}

#[test]
fn a_reader_from_elsewhere_that_had_more_is_told_of_the_rewind() {
    let mut feed = Feed::at(30);
    let mut told = feed.add(1, FeedFrom::After(id(50)), 8, None);
    assert_eq!(told.all(), ["after 50"]);
    // Its item is not on the chain, though younger ones are.
    let mut other = feed.add(2, FeedFrom::After(id(25)), 8, None);
    assert_eq!(feed.readers.take_wanting(id(30)), [(1, Wanted::Before(id(50))), (2, Wanted::After(id(25)))]);
    assert!(feed.page(2, &[item(30)]));
    assert_eq!(other.all(), ["after 25"]);
    // Which of the items before it they had, nobody knows here: they go on some way before it.
    assert_eq!(feed.readers.take_wanting(id(30)), [(2, Wanted::Before(id(25)))]);
    feed.readers.take_back(1, id(10));
    feed.readers.take_back(2, id(10));
    assert_eq!(feed.wanting(), [(1, 10), (2, 10)]);
    assert!(feed.page(1, &[item(20), item(30)]));
    assert!(feed.page(2, &[item(20), item(30)]));
    assert_eq!(told.all(), ["rewound 50 to 10", "20", "30"]);
    assert_eq!(other.all(), ["rewound 25 to 10", "20", "30"]);
    feed.wanting();
    feed.take(&[item(40)]);
    assert_eq!((told.all(), other.all()), (vec!["40".to_owned()], vec!["40".to_owned()]));
}

#[test]
fn a_reader_that_went_astray_still_is_after_a_rewind() {
    let mut feed = Feed::at(10);
    feed.take(&[item(20), item(30)]);
    let mut told = feed.add(1, FeedFrom::After(id(50)), 8, None);
    feed.rewind(20);
    assert_eq!(told.all(), ["after 50", "rewound 50 to 20"]);
    assert_eq!(feed.readers.take_wanting(id(20)), [(1, Wanted::Before(id(20)))]);
    feed.readers.take_back(1, id(10));
    assert_eq!(feed.wanting(), [(1, 10)]);
}

#[test]
fn what_was_posted_before_a_reader_came_in_is_not_for_it() {
    let mut feed = Feed::at(40);
    let mut told = feed.add_since(25, FeedFrom::After(id(35)));
    assert_eq!(feed.wanting(), [(1, 35)]);
    assert!(feed.page(1, &[item(40)]));
    assert_eq!(feed.readers.take_wanting(id(40)), [(1, Wanted::Before(id(35)))]);
    feed.readers.take_back(1, id(10));
    assert_eq!(feed.wanting(), [(1, 10)]);
    assert!(feed.page(1, &[item(20), item(30), item(40)]));
    assert_eq!(told.all(), ["after 35", "rewound 35 to 10", "30", "40"]);
}

#[test]
fn who_may_not_read_any_more_is_ended_and_who_is_gone_is_forgotten() {
    let mut feed = Feed::at(10);
    let may_read = Arc::new(AtomicBool::new(true));
    let rights: Rights = Arc::new({
        let may_read = may_read.clone();
        move |_| may_read.load(Ordering::SeqCst)
    });
    let mut member = feed.add(1, FeedFrom::Now, 8, Some(rights));
    let guest = feed.add(2, FeedFrom::Now, 8, None);
    let state = RoomState::new();
    feed.readers.ask_rights(EntryId::new(7, 1), &state);
    feed.take(&[item(20)]);
    may_read.store(false, Ordering::SeqCst);
    feed.readers.ask_rights(EntryId::new(7, 2), &state);
    feed.take(&[item(30)]);
    assert_eq!(member.all(), ["after 10", "20"]);
    assert!(member.reports_rx.is_closed(), "its stream ends");
    drop(guest);
    feed.take(&[item(40)]);
    assert!(feed.readers.is_empty());
}
