//! What players hear, may say and have read; and looking back into feeds. Not of room-log.md: rules of their own.

use sectorbus::ids::{ActorId, FeedId, Hop, PlayerId, RoomId};
use sectorbus::limits::{BLOCKS_MAX, MARKS_MAX};
use sectorbus::log::{Ears, EarsChange, EarsChanged, Log, OnceKey, Posted, Push, TakesFrom};
use sectorbus::said::HeardKind;

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    a_change_is_stored_once_and_heard_in_the_players_room,
    kinds_that_are_not_wanted_are_kept_beside_everything_else,
    a_mark_never_goes_back,
    the_oldest_mark_makes_room_and_blocks_do_not,
    who_is_blocked_is_not_taken_from,
    a_mute_is_read_by_itself_and_ends,
    a_feed_is_read_backwards_from_any_item,
    a_post_is_known_by_its_name_afterwards,
}

fn player(name: &str) -> PlayerId {
    PlayerId::new(name).unwrap()
}

fn block(peer: &str, blocked: bool) -> EarsChange {
    EarsChange::Block { peer: player(peer), blocked }
}

fn mark(of: &str, ms: u64, n: u64) -> EarsChange {
    EarsChange::Mark { of: room(of), upto: FeedId { ms, n } }
}

async fn change(log: &impl Log, of: &str, change: EarsChange) -> EarsChanged {
    answered(async || log.change_ears(&player(of), &change).await).await
}

async fn a_change_is_stored_once_and_heard_in_the_players_room(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let mut following = followed(&other, &RoomId::Player(player("ann"))).await;
    assert_eq!(other.ears(&player("ann")).await, Ok(Ears::default()));
    for (made, outcome) in [
        (block("bob", true), EarsChanged::Changed),
        (block("bob", true), EarsChanged::Unchanged),
        (mark("global", 5, 1), EarsChanged::Changed),
        (mark("player:bob", 7, 0), EarsChanged::Changed),
        (EarsChange::Mute { until_ms: Some(99) }, EarsChanged::Changed),
        (block("cy", false), EarsChanged::Unchanged),
        (block("bob", false), EarsChanged::Changed),
    ] {
        assert_eq!(change(&log, "ann", made.clone()).await, outcome, "{made:?}");
        if outcome == EarsChanged::Changed {
            assert_eq!(next(&mut following).await, Push::Ears(made));
        }
    }
    let ears = other.ears(&player("ann")).await.unwrap();
    assert_eq!((ears.muted_until_ms, ears.blocks.len(), ears.marks.len()), (Some(99), 0, 2));
    assert_eq!(other.ears(&player("bob")).await, Ok(Ears::default()));
}

async fn kinds_that_are_not_wanted_are_kept_beside_everything_else(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let mut following = followed(&other, &RoomId::Player(player("ann"))).await;
    for n in 0..BLOCKS_MAX {
        assert_eq!(change(&log, "ann", block(&format!("p{n}"), true)).await, EarsChanged::Changed);
        assert!(matches!(next(&mut following).await, Push::Ears(EarsChange::Block { .. })));
    }
    let prefer = |kind, wanted| EarsChange::Prefer { kind, wanted };
    for kind in HeardKind::ALL {
        for (wanted, outcome) in
            [(true, EarsChanged::Unchanged), (false, EarsChanged::Changed), (false, EarsChanged::Unchanged)]
        {
            assert_eq!(change(&log, "ann", prefer(kind, wanted)).await, outcome, "{kind:?} {wanted}");
        }
        assert_eq!(next(&mut following).await, Push::Ears(prefer(kind, false)));
    }
    assert_eq!(change(&log, "ann", prefer(HeardKind::Team, true)).await, EarsChanged::Changed);
    assert_eq!(next(&mut following).await, Push::Ears(prefer(HeardKind::Team, true)));
    let ears = other.ears(&player("ann")).await.unwrap();
    let unwanted = HeardKind::ALL.into_iter().filter(|kind| *kind != HeardKind::Team).collect();
    assert_eq!((ears.unwanted, ears.blocks.len()), (unwanted, BLOCKS_MAX));
    assert_eq!(change(&log, "ann", block("one-more", true)).await, EarsChanged::Full, "kinds are no blocks");
}

async fn a_mark_never_goes_back(stand: impl Stand) {
    let log = stand.node().await;
    for (ms, n, outcome) in [
        (100, 9, EarsChanged::Changed),
        (100, 10, EarsChanged::Changed),
        (100, 9, EarsChanged::Unchanged),
        (20, 99, EarsChanged::Unchanged),
        (1_000, 0, EarsChanged::Changed),
    ] {
        assert_eq!(change(&log, "ann", mark("global", ms, n)).await, outcome, "{ms}-{n}");
    }
    assert_eq!(log.ears(&player("ann")).await.unwrap().marks[&RoomId::Global], FeedId { ms: 1_000, n: 0 });
}

async fn the_oldest_mark_makes_room_and_blocks_do_not(stand: impl Stand) {
    let log = stand.node().await;
    assert_eq!(change(&log, "ann", mark("player:bob", 1, 0)).await, EarsChanged::Changed, "older than all");
    for n in 0..=MARKS_MAX as u64 {
        assert_eq!(change(&log, "ann", mark(&format!("sector:{n}"), 1_000 - n, 0)).await, EarsChanged::Changed);
    }
    let ears = log.ears(&player("ann")).await.unwrap();
    let oldest = room(&format!("sector:{}", MARKS_MAX - 1));
    assert_eq!((ears.marks.len(), ears.marks.contains_key(&oldest)), (MARKS_MAX + 1, false));
    assert!(ears.marks.contains_key(&room("player:bob")), "sectors push out sectors");
    for n in 0..BLOCKS_MAX {
        assert_eq!(change(&log, "ann", block(&format!("p{n}"), true)).await, EarsChanged::Changed);
    }
    assert_eq!(change(&log, "ann", block("one-more", true)).await, EarsChanged::Full);
    assert_eq!(change(&log, "ann", block("p0", true)).await, EarsChanged::Unchanged);
    assert_eq!(change(&log, "ann", block("p0", false)).await, EarsChanged::Changed);
    assert_eq!(change(&log, "ann", block("one-more", true)).await, EarsChanged::Changed);
}

async fn who_is_blocked_is_not_taken_from(stand: impl Stand) {
    let log = stand.node().await;
    let takes = async |from: &str| log.takes_from(&player("ann"), &player(from)).await.unwrap();
    assert_eq!(takes("bob").await, TakesFrom::Unknown, "nobody knows ann");
    log.arrived(&player("ann"), &"1".parse().unwrap(), Hop(1)).await.unwrap();
    assert_eq!(takes("bob").await, TakesFrom::Yes);
    change(&log, "ann", block("bob", true)).await;
    assert_eq!((takes("bob").await, takes("cy").await), (TakesFrom::Blocked, TakesFrom::Yes));
    change(&log, "ann", block("bob", false)).await;
    assert_eq!(takes("bob").await, TakesFrom::Yes);
}

async fn a_mute_is_read_by_itself_and_ends(stand: impl Stand) {
    let log = stand.node().await;
    let muted = async || log.muted_until_ms(&player("ann")).await.unwrap();
    assert_eq!(muted().await, None);
    change(&log, "ann", EarsChange::Mute { until_ms: Some(1_790_000_000_000) }).await;
    assert_eq!(muted().await, Some(1_790_000_000_000));
    change(&log, "ann", EarsChange::Mute { until_ms: None }).await;
    assert_eq!(muted().await, None);
}

fn once(seq: u64) -> OnceKey {
    OnceKey::Player { player: player("ann"), actor: ActorId(1), seq }
}

async fn a_feed_is_read_backwards_from_any_item(stand: impl Stand) {
    let (log, room) = (stand.node().await, RoomId::Player(player("ann")));
    let mut ids = Vec::new();
    for seq in 1..=5 {
        match answered(async || log.post(&room, &once(seq), bytes("x")).await).await {
            Posted::New(id) | Posted::Already(id) => ids.push(id),
        }
    }
    let back = async |before, count| {
        let items = log.feed_before(&room, before, count).await.unwrap();
        items.into_iter().map(|item| item.id).collect::<Vec<_>>()
    };
    assert_eq!(back(None, 2).await, [ids[4], ids[3]]);
    assert_eq!(back(Some(ids[3]), 10).await, [ids[2], ids[1], ids[0]]);
    assert_eq!(back(Some(ids[0]), 10).await, []);
    assert_eq!(back(Some(FeedId::START), 10).await, []);
    assert_eq!(back(Some(FeedId::LAST), 1).await, [ids[4]]);
    assert_eq!(log.feed_before(&RoomId::Global, None, 10).await, Ok(Vec::new()));
}

async fn a_post_is_known_by_its_name_afterwards(stand: impl Stand) {
    let log = stand.node().await;
    let Posted::New(id) = answered(async || log.post(&RoomId::Global, &once(1), bytes("x")).await).await else {
        panic!("posted before")
    };
    assert_eq!(log.posted(&RoomId::Global, &once(1)).await, Ok(Some(id)));
    assert_eq!(log.posted(&RoomId::Global, &once(2)).await, Ok(None));
    assert_eq!(log.posted(&room("team:red"), &once(1)).await, Ok(None));
}
