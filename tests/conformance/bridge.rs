//! Room-log 10: what comes from other regions is in a region's feed once and in the order of its origin, whoever brings it.

use sectorbus::ids::{ActorId, FeedId, Hop, PlayerId, RoomId};
use sectorbus::limits::{BRIDGE_BEGINS_AFTER, MIRROR_ITEMS_MAX};
use sectorbus::log::{
    Bridge, BridgePlace, Log, Mirror, MirrorItem, MirroredUpto, OnceKey, Part, Posted, Push, Touched,
};

use crate::stand::{Stand, region, rules};
use crate::support::*;

rules! {
    items_of_another_region_are_posted_once_in_their_order,
    what_was_mirrored_before_is_passed_over_whoever_brings_it,
    a_rewound_feed_goes_on_below_and_repeats_nothing,
    what_would_leave_something_out_is_not_posted,
    each_region_has_its_own_place_and_local_posts_are_among_them,
    a_mirror_without_an_answer_is_made_once,
    without_a_nexus_nothing_is_marked,
    what_changes_is_marked_before_and_told_afterwards,
    where_a_link_stands_is_kept_and_a_bridge_begins_once,
    a_server_has_one_name_for_all,
}

fn name_in(of: &str, seq: u64) -> OnceKey {
    let name = OnceKey::Player { player: PlayerId::new("ann").unwrap(), actor: ActorId(3), seq };
    OnceKey::From { region: region(of), name: Box::new(name) }
}

/// Item `seq` of ann in that region, with this id there.
fn item(of: &str, seq: u64, id: u64) -> MirrorItem {
    MirrorItem { id: FeedId { ms: id, n: 0 }, name: name_in(of, seq), body: bytes(&format!("{of} {seq}")) }
}

fn mirror(of: &str, rewinds: u64, items: Vec<MirrorItem>) -> Mirror {
    let after = FeedId { ms: if rewinds > 0 { 849 } else { 0 }, n: 0 };
    let upto = items.last().map_or(FeedId::START, |item| item.id);
    Mirror { room: RoomId::Global, from: region(of), known: MirroredUpto::default(), rewinds, after, upto, items }
}

fn upto(rewinds: u64, id: u64) -> MirroredUpto {
    MirroredUpto { rewinds, id: FeedId { ms: id, n: 0 } }
}

async fn bodies(log: &impl Log) -> Vec<String> {
    let items = answered(async || log.feed(&RoomId::Global, FeedId::START, 1_000).await).await;
    let mut prev = FeedId::START;
    for item in &items {
        assert!(item.prev == prev && item.id > prev, "a chain: {item:?}");
        prev = item.id;
    }
    let heads = heads(log, &RoomId::Global).await;
    assert_eq!(heads.feed.unwrap_or_default(), prev, "the head says the last one");
    items.into_iter().map(|item| String::from_utf8(item.body.to_vec()).unwrap()).collect()
}

async fn items_of_another_region_are_posted_once_in_their_order(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let mut following = followed(&other, &RoomId::Global).await;
    assert_eq!(log.mirrored(&RoomId::Global, &region("us")).await, Ok(MirroredUpto::default()));
    let given = vec![item("us", 1, 900), item("us", 2, 901), item("us", 3, 950)];
    assert_eq!(log.mirror(mirror("us", 0, given)).await, Ok(upto(0, 950)));
    assert_eq!(other.mirrored(&RoomId::Global, &region("us")).await, Ok(upto(0, 950)));
    assert_eq!(bodies(&other).await, ["us 1", "us 2", "us 3"]);
    for body in ["us 1", "us 2", "us 3"] {
        let Push::Feed(heard) = next(&mut following).await else { panic!("an item was to come") };
        assert_eq!(&heard.body[..], body.as_bytes());
    }
    assert_eq!(log.mirror(mirror("us", 0, Vec::new())).await, Ok(upto(0, 950)), "nothing changes nothing");
    let unreadable = Mirror { upto: upto(0, 970).id, ..mirror("us", 0, Vec::new()) };
    assert_eq!(log.mirror(unreadable).await, Ok(upto(0, 970)), "what has no item here is passed over");
    assert_eq!(log.mirror(mirror("us", 0, vec![item("us", 4, 960)])).await, Ok(upto(0, 970)));
    assert_eq!(bodies(&other).await.len(), 3);
}

async fn what_was_mirrored_before_is_passed_over_whoever_brings_it(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let all: Vec<MirrorItem> = (1..=MIRROR_ITEMS_MAX as u64).map(|n| item("us", n, 900 + n)).collect();
    // Two leaders, one of them behind.
    for (by, items) in [(&log, 0..60), (&other, 0..40), (&other, 20..80), (&log, 50..100), (&other, 0..100)] {
        by.mirror(mirror("us", 0, all[items].to_vec())).await.unwrap();
    }
    let expected: Vec<String> = (1..=MIRROR_ITEMS_MAX).map(|n| format!("us {n}")).collect();
    assert_eq!(bodies(&log).await, expected);
    assert_eq!(log.mirrored(&RoomId::Global, &region("us")).await, Ok(upto(0, 900 + MIRROR_ITEMS_MAX as u64)));
}

async fn a_rewound_feed_goes_on_below_and_repeats_nothing(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    log.mirror(mirror("us", 0, (1..=3).map(|n| item("us", n, 900 + n)).collect())).await.unwrap();
    // Items 2 and 3 were lost there and posted again after a new one, by a clock that is behind.
    let again = vec![item("us", 7, 849), item("us", 9, 850), item("us", 3, 851), item("us", 2, 852)];
    // The place went back with a lost tail meanwhile, or was elsewhere: what is between may be missing.
    for known in [upto(0, 902), upto(0, 904)] {
        assert_eq!(other.mirror(Mirror { known, ..mirror("us", 1, again.clone()) }).await, Ok(upto(0, 903)));
    }
    let known = upto(0, 903);
    assert_eq!(other.mirror(Mirror { known, ..mirror("us", 1, again.clone()) }).await, Ok(upto(1, 852)));
    assert_eq!(bodies(&log).await, ["us 1", "us 2", "us 3", "us 9"]);
    // A leader that has not noticed has no say any more.
    assert_eq!(log.mirror(mirror("us", 0, vec![item("us", 4, 999)])).await, Ok(upto(1, 852)));
    assert_eq!(log.mirror(mirror("us", 1, again)).await, Ok(upto(1, 852)), "7 is before where they begin");
    assert_eq!(log.mirror(mirror("us", 1, vec![item("us", 4, 853)])).await, Ok(upto(1, 853)));
    let twice = vec![item("us", 5, 860), item("us", 5, 861)];
    assert_eq!(log.mirror(mirror("us", 1, twice)).await, Ok(upto(1, 861)));
    assert_eq!(bodies(&log).await, ["us 1", "us 2", "us 3", "us 9", "us 4", "us 5"], "once, in one page too");
}

async fn what_would_leave_something_out_is_not_posted(stand: impl Stand) {
    let mut stand = stand;
    let log = stand.node().await;
    log.mirror(mirror("us", 0, vec![item("us", 1, 900)])).await.unwrap();
    stand.mark().await;
    answered(async || log.mirror(mirror("us", 0, vec![item("us", 2, 901), item("us", 3, 902)])).await).await;
    stand.lose_tail().await;
    let log = stand.node().await;
    let goes_on = Mirror { after: upto(0, 902).id, ..mirror("us", 0, vec![item("us", 4, 903)]) };
    assert_eq!(answered(async || log.mirror(goes_on.clone()).await).await, upto(0, 900), "2 and 3 would be missing");
    let all = (2..=4).map(|n| item("us", n, 899 + n)).collect::<Vec<_>>();
    assert_eq!(answered(async || log.mirror(mirror("us", 0, all.clone())).await).await, upto(0, 903));
    assert_eq!(bodies(&log).await, ["us 1", "us 2", "us 3", "us 4"]);
}

async fn each_region_has_its_own_place_and_local_posts_are_among_them(stand: impl Stand) {
    let log = stand.node().await;
    log.mirror(mirror("us", 0, vec![item("us", 1, 900)])).await.unwrap();
    let local = OnceKey::Player { player: PlayerId::new("ann").unwrap(), actor: ActorId(3), seq: 1 };
    let posted = answered(async || log.post(&RoomId::Global, &local, bytes("here 1")).await).await;
    log.mirror(mirror("asia", 0, vec![item("asia", 1, 5)])).await.unwrap();
    log.mirror(mirror("us", 0, vec![item("us", 2, 901)])).await.unwrap();
    assert_eq!(bodies(&log).await, ["us 1", "here 1", "asia 1", "us 2"], "one name in each region is three");
    let again = answered(async || log.post(&RoomId::Global, &local, bytes("here 1")).await).await;
    assert!(
        matches!((&posted, &again), (Posted::New(id), Posted::Already(same)) if id == same),
        "{posted:?}, {again:?}"
    );
    assert_eq!(log.posted(&RoomId::Global, &name_in("us", 2)).await.map(|id| id.is_some()), Ok(true));
    assert_eq!(log.mirrored(&RoomId::Global, &region("asia")).await, Ok(upto(0, 5)));
}

async fn a_mirror_without_an_answer_is_made_once(stand: impl Stand) {
    let (fragile, other) = (stand.fragile_node().await, stand.node().await);
    other.mirror(mirror("asia", 0, Vec::new())).await.unwrap();
    let given = || mirror("us", 0, vec![item("us", 1, 900), item("us", 2, 901)]);
    stand.unanswered(&fragile, "global", fragile.mirror(given())).await;
    assert_eq!(answered(async || fragile.mirror(given()).await).await, upto(0, 901));
    assert_eq!(bodies(&other).await, ["us 1", "us 2"]);
}

fn feed_of(room: &RoomId) -> Touched {
    Touched { part: Part::Feed, room: room.clone() }
}

async fn marks(log: &impl Bridge) -> Vec<Touched> {
    let marks = answered(async || log.touched(0, 1_000).await).await;
    assert!(marks.is_sorted_by_key(|(_, marked_ms)| *marked_ms), "{marks:?}");
    marks.into_iter().map(|(touched, _)| touched).collect()
}

async fn without_a_nexus_nothing_is_marked(stand: impl Stand) {
    let (log, nexus) = (stand.node().await, stand.node().await);
    let mut following = nexus.follow_touched();
    assert_eq!(next(&mut following).await, Push::Following);
    for seq in 1..=3 {
        log.post(&RoomId::Global, &name_in("us", seq), bytes("x")).await.unwrap();
    }
    assert_eq!(marks(&nexus).await, []);
    nexus.open_bridge().await.unwrap();
    // Whoever was alone looks again before a bridge begins to carry.
    let mut seq = 3;
    eventually("a mark", async || {
        seq += 1;
        log.post(&room("topic:news"), &name_in("us", seq), bytes("x")).await.unwrap();
        (!marks(&nexus).await.is_empty()).then_some(())
    })
    .await;
    let Push::Touched(touched) = next(&mut following).await else { panic!("what has changed was to be told") };
    assert_eq!(touched, feed_of(&room("topic:news")), "and nothing of before");
}

async fn what_changes_is_marked_before_and_told_afterwards(stand: impl Stand) {
    let (log, nexus) = (stand.node().await, stand.node().await);
    let opened_ms = nexus.time_ms().await.unwrap();
    nexus.open_bridge().await.unwrap();
    let mut following = nexus.follow_touched();
    assert_eq!(next(&mut following).await, Push::Following);
    let ann = room("player:ann");
    log.post(&ann, &name_in("us", 1), bytes("x")).await.unwrap();
    assert_eq!(next(&mut following).await, Push::Touched(feed_of(&ann)));
    log.arrived(&PlayerId::new("ann").unwrap(), &"12".parse().unwrap(), Hop(1)).await.unwrap();
    let present = Touched { part: Part::Presence, room: ann.clone() };
    assert_eq!(next(&mut following).await, Push::Touched(present.clone()));
    crate::seats::attach(&log, "s1").await;
    assert_eq!(next(&mut following).await, Push::Touched(present.clone()));
    let mut team = Owner::claiming(&log, &room("team:red"), "n#1", 1).await;
    let log_of_team = Touched { part: Part::Log, room: room("team:red") };
    assert_eq!(next(&mut following).await, Push::Touched(log_of_team.clone()));
    team.append("x").await;
    assert_eq!(next(&mut following).await, Push::Touched(log_of_team.clone()));
    // A sector's log is followed by who wants it.
    Owner::claiming(&log, &room("sector:12"), "n#1", 1).await.append("x").await;
    nexus.mirror(mirror("us", 0, vec![item("us", 1, 900)])).await.unwrap();
    log.post(&room("topic:news"), &name_in("us", 2), bytes("x")).await.unwrap();
    assert_eq!(next(&mut following).await, Push::Touched(feed_of(&room("topic:news"))), "nothing of the others");
    let mut found = marks(&nexus).await;
    found.sort();
    let mut all = vec![feed_of(&ann), present, log_of_team, feed_of(&room("topic:news"))];
    all.sort();
    assert_eq!(found, all, "and nothing that a nexus brought");
    let later = answered(async || nexus.touched(opened_ms, 2).await).await;
    assert_eq!(later.len(), 2, "no more than asked for");
    assert_eq!(nexus.touched(u64::MAX >> 12, 10).await, Ok(Vec::new()));
}

async fn where_a_link_stands_is_kept_and_a_bridge_begins_once(stand: impl Stand) {
    let (one, other) = (stand.node().await, stand.node().await);
    let before_ms = one.time_ms().await.unwrap();
    let began = one.open_bridge().await.unwrap();
    assert!(began.began_ms >= before_ms + BRIDGE_BEGINS_AFTER.as_millis() as u64);
    assert_eq!((began.news, began.news_of.as_str()), (FeedId::START, ""));
    let news = FeedId { ms: 5, n: 6 };
    let place = BridgePlace { news, news_of: "hub".to_owned(), ..began };
    assert_eq!(one.keep_news(&place).await, Ok(true));
    let elsewhere = BridgePlace { news: FeedId::START, replication_id: "another".to_owned(), ..place.clone() };
    assert_eq!(one.keep_news(&elsewhere).await, Ok(false));
    assert_eq!(other.open_bridge().await, Ok(place));
}

async fn a_server_has_one_name_for_all(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let name = answered(async || log.server().await).await;
    assert!(!name.is_empty());
    assert_eq!(answered(async || other.server().await).await, name);
}
