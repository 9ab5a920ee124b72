//! Room-log section 10, the first bullets: feeds. Each item once, each knows the one before it, readers see gaps.

use sectorbus::ids::{ActorId, EntryId, FeedId, PlayerId, RoomId};
use sectorbus::limits::FEED_ITEMS_KEPT;
use sectorbus::log::{Claimed, Heads, Log, OnceKey, Posted, Push};

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    a_post_is_read_back_and_heard,
    a_repeated_post_is_the_same_item,
    once_keys_are_per_room_player_actor_and_seq,
    once_keys_of_entries_are_per_room_entry_and_number,
    each_item_carries_the_one_before_it,
    posts_of_many_writers_are_one_chain,
    an_item_carries_the_rooms_head,
    a_room_with_only_a_feed_has_no_log_and_can_still_be_claimed,
    each_topic_is_a_feed_of_its_own,
    a_reader_that_lost_a_tail_sees_that_it_was_rewound,
    a_reader_behind_retention_sees_a_gap,
}

fn once(player: &str, actor: u64, seq: u64) -> OnceKey {
    OnceKey::Player { player: PlayerId::new(player).unwrap(), actor: ActorId(actor), seq }
}

/// A post by ann that is new.
async fn post(log: &impl Log, room: &RoomId, seq: u64) -> FeedId {
    let key = once("ann", 1, seq);
    match answered(async || log.post(room, &key, bytes(&format!("post {seq}"))).await).await {
        Posted::New(id) => id,
        Posted::Already(id) => panic!("already {id}"),
    }
}

async fn a_post_is_read_back_and_heard(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("team:red"));
    let mut following = followed(&log, &room).await;
    let before_ms = log.time_ms().await.unwrap();
    let id = post(&log, &room, 1).await;
    assert!(id.ms >= before_ms);
    let items = log.feed(&room, FeedId::START, 10).await.unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!((items[0].id, items[0].prev, items[0].as_of), (id, FeedId::START, None));
    assert_eq!(items[0].body, bytes("post 1"));
    assert_eq!(next(&mut following).await, Push::Feed(items[0].clone()));
    assert_eq!(heads(&log, &room).await, Heads { feed: Some(id), ..Heads::default() });
}

async fn a_repeated_post_is_the_same_item(stand: impl Stand) {
    let (a, b, room) = (stand.node().await, stand.node().await, room("team:red"));
    let id = post(&a, &room, 1).await;
    let mut following = followed(&a, &room).await;
    for log in [&a, &b] {
        assert_eq!(log.post(&room, &once("ann", 1, 1), bytes("post 1")).await, Ok(Posted::Already(id)));
    }
    let second = post(&b, &room, 2).await;
    let heard = next(&mut following).await;
    assert!(matches!(&heard, Push::Feed(item) if item.id == second), "repeats are not heard: {heard:?}");
    assert_eq!(a.feed(&room, FeedId::START, 10).await.unwrap().len(), 2);
}

async fn each_topic_is_a_feed_of_its_own(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    let (ore, market) = (room("topic:market:ore"), room("topic:market"));
    let mut following = followed(&a, &ore).await;
    assert_eq!(heads(&a, &ore).await, Heads::default(), "who follows makes nothing");
    let of_market = post(&b, &market, 1).await;
    let of_ore = post(&b, &ore, 1).await;
    assert!(matches!(next(&mut following).await, Push::Feed(item) if item.id == of_ore));
    for (room, id) in [(&market, of_market), (&ore, of_ore)] {
        assert_eq!(heads(&a, room).await, Heads { feed: Some(id), ..Heads::default() });
        let items = a.feed_before(room, None, 10).await.unwrap();
        assert_eq!(items.iter().map(|item| (item.id, item.prev)).collect::<Vec<_>>(), [(id, FeedId::START)]);
    }
}

async fn once_keys_are_per_room_player_actor_and_seq(stand: impl Stand) {
    let (log, red) = (stand.node().await, room("team:red"));
    let keys = [once("ann", 1, 1), once("bob", 1, 1), once("ann", 2, 1), once("ann", 1, 2)];
    for key in &keys {
        let posted = log.post(&red, key, bytes("x")).await.unwrap();
        assert!(matches!(posted, Posted::New(_)), "{key:?}: {posted:?}");
    }
    let elsewhere = log.post(&room("team:blue"), &keys[0], bytes("x")).await.unwrap();
    assert!(matches!(elsewhere, Posted::New(_)), "{elsewhere:?}");
    assert_eq!(log.feed(&red, FeedId::START, 10).await.unwrap().len(), 4);
}

async fn once_keys_of_entries_are_per_room_entry_and_number(stand: impl Stand) {
    let (log, red) = (stand.node().await, room("team:red"));
    let named = |text: &str, version, n| OnceKey::Entry { room: room(text), entry: EntryId::new(5, version), n };
    let keys = [
        named("sector:4", 7, 0),
        named("sector:4", 7, 1),
        named("sector:4", 8, 0),
        named("team:red", 7, 0),
        once("sector", 4, 0),
    ];
    for key in &keys {
        let posted = log.post(&red, key, bytes("x")).await.unwrap();
        assert!(matches!(posted, Posted::New(_)), "{key:?}: {posted:?}");
        assert!(matches!(log.post(&red, key, bytes("x")).await, Ok(Posted::Already(_))), "{key:?}");
    }
    assert_eq!(log.feed(&red, FeedId::START, 10).await.unwrap().len(), keys.len());
}

async fn each_item_carries_the_one_before_it(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("player:ann"));
    let mut posted = Vec::new();
    for seq in 1..=12 {
        posted.push(post(&log, &room, seq).await);
    }
    assert!(posted.is_sorted() && posted.windows(2).all(|pair| pair[0] != pair[1]));
    let (mut cursor, mut read) = (FeedId::START, Vec::new());
    loop {
        let page = log.feed(&room, cursor, 5).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 5);
        for item in page {
            assert_eq!(item.prev, cursor, "no gap");
            cursor = item.id;
            read.push(item.id);
        }
    }
    assert_eq!(read, posted);
    // A reader whose cursor is not an item's prev sees that it missed something.
    let late = log.feed(&room, posted[3], 1).await.unwrap();
    assert_ne!(late[0].prev, posted[2]);
}

async fn post_ten(log: &impl Log, room: &RoomId, player: &str) {
    for seq in 1..=10 {
        log.post(room, &once(player, 1, seq), bytes(player)).await.unwrap();
    }
}

async fn posts_of_many_writers_are_one_chain(stand: impl Stand) {
    let (a, b, room) = (stand.node().await, stand.node().await, room("global"));
    tokio::join!(post_ten(&a, &room, "ann"), post_ten(&b, &room, "bob"));
    let items = a.feed(&room, FeedId::START, 100).await.unwrap();
    assert_eq!(items.len(), 20);
    let mut last = FeedId::START;
    for item in items {
        assert_eq!(item.prev, last);
        last = item.id;
    }
    assert_eq!(heads(&b, &room).await.feed, Some(last));
}

async fn an_item_carries_the_rooms_head(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("team:red"));
    post(&log, &room, 1).await;
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    post(&log, &room, 2).await;
    let claimed = owner.last;
    owner.append("x").await;
    post(&log, &room, 3).await;
    let as_of: Vec<_> = log.feed(&room, FeedId::START, 10).await.unwrap().iter().map(|item| item.as_of).collect();
    assert_eq!(as_of, [None, Some(claimed), Some(owner.last)]);
}

async fn a_room_with_only_a_feed_has_no_log_and_can_still_be_claimed(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("team:red"));
    let id = post(&log, &room, 1).await;
    assert!(all_entries(&log, &room).await.is_empty());
    assert_eq!(log.snapshot(&room).await, Ok(None));
    let claimed = log.claim(claim_of(&room, &node("n1#1"), 5, 1)).await.unwrap();
    assert!(matches!(claimed, Claimed::Granted { .. }), "{claimed:?}");
    assert_eq!(log.snapshot(&room).await.unwrap().unwrap().parts, parts("genesis"));
    let heads = heads(&log, &room).await;
    assert_eq!(heads.feed, Some(id), "the claim leaves the feed's head");
    assert_eq!(heads.log.unwrap().last.version, 1);
}

async fn a_reader_that_lost_a_tail_sees_that_it_was_rewound(mut stand: impl Stand) {
    let (log, room) = (stand.node().await, room("team:red"));
    let kept = post(&log, &room, 1).await;
    stand.mark().await;
    let lost = post(&log, &room, 2).await;
    stand.lose_tail().await;
    assert_eq!(heads(&log, &room).await.feed, Some(kept));
    // The poster posts again what was lost: once keys were lost with it.
    let again = post(&log, &room, 2).await;
    let items = log.feed(&room, kept, 10).await.unwrap();
    assert_eq!((items.len(), items[0].id, items[0].prev), (1, again, kept));
    assert!(items[0].prev < lost, "a reader at the lost item finds a prev below its cursor");
}

async fn a_reader_behind_retention_sees_a_gap(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("team:red"));
    let first = post(&log, &room, 1).await;
    let second = post(&log, &room, 2).await;
    let rest: Vec<u64> = (3..=FEED_ITEMS_KEPT as u64 + 2).collect();
    for some in rest.chunks(500) {
        futures_util::future::join_all(some.iter().map(|seq| post(&log, &room, *seq))).await;
    }
    // The two oldest are gone: who has read the second misses nothing, who has read only the first does.
    let after_second = log.feed(&room, second, 1).await.unwrap();
    assert_eq!(after_second[0].prev, second);
    let after_first = log.feed(&room, first, 1).await.unwrap();
    assert_eq!(after_first, after_second);
    assert_ne!(after_first[0].prev, first, "a gap, and the reader can tell");
    assert_eq!(log.feed(&room, FeedId::START, FEED_ITEMS_KEPT + 5).await.unwrap().len(), FEED_ITEMS_KEPT);
    // What was posted stays posted, though it cannot be read any more.
    let again = log.post(&room, &once("ann", 1, 1), bytes("post 1")).await;
    assert_eq!(again, Ok(Posted::Already(first)));
}
