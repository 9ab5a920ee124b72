//! Room-log section 6: what a follower hears, and that it is told when it lost its place.

use sectorbus::ids::{ActorId, FeedId, PlayerId};
use sectorbus::log::{Appended, FeedItem, Log, LogBody, OnceKey, Posted, Push};

use crate::stand::{Stand, rules};
use crate::support::*;

rules! {
    a_follower_is_confirmed_first_and_then_hears_everything_in_order,
    what_was_before_the_confirmation_is_not_heard_again,
    rooms_do_not_hear_each_other,
    two_followers_on_one_node_both_hear,
    a_dropped_follower_is_no_receiver,
    receivers_are_counted_on_every_node,
    log_and_feed_share_one_order,
    after_a_restart_followers_lose_their_place_and_get_it_back,
    a_suspected_connection_is_replaced,
}

async fn a_follower_is_confirmed_first_and_then_hears_everything_in_order(stand: impl Stand) {
    let (writer, reader, room) = (stand.node().await, stand.node().await, room("sector:1"));
    let mut following = followed(&reader, &room).await;
    let mut owner = Owner::claiming(&writer, &room, "n1#1", 5).await;
    let claim = next_entry(&mut following).await;
    assert_eq!((claim.id, claim.body), (owner.last, LogBody::Claim(Box::new(owner.claim_body()))));
    let entries = owner.append_many(50).await;
    for entry in entries {
        assert_eq!(next_entry(&mut following).await, entry);
    }
}

async fn what_was_before_the_confirmation_is_not_heard_again(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    owner.append("before").await;
    let mut following = followed(&log, &room).await;
    let after = owner.append("after").await;
    assert_eq!(next_entry(&mut following).await, after);
}

async fn rooms_do_not_hear_each_other(stand: impl Stand) {
    let log = stand.node().await;
    let (mine, other) = (room("sector:1"), room("sector:11"));
    let mut following = followed(&log, &mine).await;
    Owner::claiming(&log, &other, "n1#1", 5).await;
    let owner = Owner::claiming(&log, &mine, "n1#1", 5).await;
    assert_eq!(next_entry(&mut following).await.id, owner.last);
}

async fn two_followers_on_one_node_both_hear(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut one = followed(&log, &room).await;
    let mut two = followed(&log, &room).await;
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    assert_eq!(next_entry(&mut one).await.id, owner.last);
    assert_eq!(next_entry(&mut two).await.id, owner.last);
    drop(one);
    let entry = owner.append("x").await;
    assert_eq!(next_entry(&mut two).await, entry);
}

async fn a_dropped_follower_is_no_receiver(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let following = followed(&log, &room).await;
    let heard = owner.try_append("heard").await;
    assert!(matches!(heard, Appended::Ok { receivers: 1, .. }), "{heard:?}");
    drop(following);
    eventually("an append that nobody hears", async || match owner.try_append("x").await {
        Appended::Ok { receivers, .. } => (receivers == 0).then_some(()),
        refused => panic!("{refused:?}"),
    })
    .await;
    // And it can be followed again.
    let mut following = followed(&log, &room).await;
    let entry = owner.append("again").await;
    assert_eq!(next_entry(&mut following).await, entry);
}

async fn receivers_are_counted_on_every_node(stand: impl Stand) {
    let (a, b, room) = (stand.node().await, stand.node().await, room("sector:1"));
    let _on_a = followed(&a, &room).await;
    let _on_b = followed(&b, &room).await;
    let mut owner = Owner::claiming(&a, &room, "n1#1", 5).await;
    let appended = owner.try_append("x").await;
    assert!(matches!(appended, Appended::Ok { receivers: 2, .. }), "{appended:?}");
}

async fn log_and_feed_share_one_order(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("team:red"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let mut following = followed(&log, &room).await;
    for seq in 1..10 {
        let entry = owner.append("entry").await;
        let once = OnceKey::Player { player: PlayerId::new("ann").unwrap(), actor: ActorId(1), seq };
        let posted = log.post(&room, &once, bytes("hi")).await.unwrap();
        let Posted::New(id) = posted else { panic!("{posted:?}") };
        assert_eq!(next(&mut following).await, Push::Entry(entry.clone()));
        let item = next(&mut following).await;
        let Push::Feed(FeedItem { id: heard, prev, as_of, .. }) = item else { panic!("{item:?}") };
        assert_eq!((heard, as_of), (id, Some(entry.id)));
        assert_eq!(prev == FeedId::START, seq == 1);
    }
}

async fn after_a_restart_followers_lose_their_place_and_get_it_back(mut stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let mut following = followed(&log, &room).await;
    let before = owner.append("before").await;
    assert_eq!(next_entry(&mut following).await, before);
    stand.restart().await;
    assert_eq!(next(&mut following).await, Push::Lost);
    assert_eq!(next(&mut following).await, Push::Following);
    // Nothing stored is lost, and what is written now is heard.
    assert_eq!(head(&log, &room).await.last, owner.last);
    let after = owner.append("after").await;
    assert_eq!(next_entry(&mut following).await, after);
}

async fn a_suspected_connection_is_replaced(stand: impl Stand) {
    let (log, room) = (stand.node().await, room("sector:1"));
    let mut owner = Owner::claiming(&log, &room, "n1#1", 5).await;
    let mut following = followed(&log, &room).await;
    // A young connection may be given some time: a suspicion is repeated with every entry that is not heard.
    let first = eventually("another connection", async || {
        log.suspect(&room, owner.last.following());
        following.pushes.try_recv().ok()
    })
    .await;
    assert_eq!(first, Push::Lost);
    assert_eq!(next(&mut following).await, Push::Following);
    let entry = owner.append("heard").await;
    assert_eq!(next_entry(&mut following).await, entry);
}
