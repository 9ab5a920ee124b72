//! Feeds as nodes read and post them, on the memory log with its faults, in paused time: each reader has each item
//! once, in one order, or is told of the gap; who was removed has nothing that was posted later.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sectorbus::ids::{FeedId, RoomId};
use sectorbus::limits::FEED_ITEMS_KEPT;
use sectorbus::log::memory::{Ambiguity, MemoryLog, MemoryRegion};
use sectorbus::state::{Fields, RoomState};
use sectorbus::value::{Field, Value};
use sectorbus_node::Node;
use sectorbus_node::feeds::{self, FeedFrom};
use sectorbus_tests::cluster;

use super::support::{Seen, TestOwner, eventually, player, post, room, stored};
use crate::support::SOON;

const WRITERS: [&str; 3] = ["ann", "bob", "cid"];
const POSTS: u64 = 40;

async fn nodes(region: &MemoryRegion, seed: u64) -> Vec<Node<MemoryLog>> {
    let mut nodes = Vec::new();
    for (name, seed) in ["a", "b", "c"].into_iter().zip(seed..) {
        nodes.push(cluster::start(region, cluster::config(name), seed).await);
    }
    nodes
}

/// Readers of every patience on every node.
async fn readers(nodes: &[Node<MemoryLog>], room: &RoomId) -> Vec<Seen> {
    let mut readers = Vec::new();
    for node in nodes {
        for capacity in [1, 4, 64] {
            readers.push(Seen::start(node, room, FeedFrom::Now, capacity).await);
        }
    }
    readers
}

/// Every writer posts through its node, one after the other.
async fn write(nodes: &[Node<MemoryLog>], room: &RoomId) {
    join_all(WRITERS.iter().zip(nodes).map(async |(writer, node)| {
        for seq in 1..=POSTS {
            post(node, room, writer, seq).await;
            // A moment, so that the trouble has time to come.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }))
    .await;
}

/// What goes wrong while the writers write.
async fn trouble(region: &MemoryRegion, nodes: &[Node<MemoryLog>], seed: u64, lose_tails: bool) {
    region.set_latency(Duration::ZERO, Duration::from_millis(seed % 7));
    region.set_drop_chance(0.3);
    region.set_ambiguity(Ambiguity {
        executed: 0.05,
        not_executed: 0.05,
        late: 0.05,
        late_by: Duration::from_millis(300),
        answered_after: Duration::from_millis(80),
    });
    for round in 0..8_u64 {
        tokio::time::sleep(Duration::from_millis(60 + (seed * 37 + round * 101) % 90)).await;
        region.disconnect_pubsub(nodes[(seed + round) as usize % nodes.len()].core().log.id());
        if lose_tails {
            region.mark();
            tokio::time::sleep(Duration::from_millis(40 + (seed * 53 + round * 71) % 200)).await;
            region.lose_tail();
        } else if round == 5 {
            region.restart(Duration::from_millis(700));
        }
    }
    region.heal();
}

fn assert_all_there(reader: &Seen) {
    let mut bodies = reader.bodies();
    bodies.sort();
    let mut asked: Vec<_> = WRITERS.iter().flat_map(|w| (1..=POSTS).map(move |seq| format!("{w} {seq}"))).collect();
    asked.sort();
    reader.assert_once();
    assert_eq!(bodies, asked);
}

#[tokio::test(start_paused = true)]
async fn every_reader_has_every_item_once_in_one_order_whatever_goes_wrong_on_the_way() {
    for seed in 0..12 {
        println!("seed {seed}");
        let region = cluster::region(seed);
        let nodes = nodes(&region, seed).await;
        let room = room(["team:red", "player:ann"][seed as usize % 2]);
        let mut readers = readers(&nodes, &room).await;
        tokio::join!(write(&nodes, &room), trouble(&region, &nodes, seed, false), async {
            join_all(readers.iter_mut().map(|reader| reader.until_items(WRITERS.len() * POSTS as usize))).await
        });
        let log = region.handle();
        let order: Vec<FeedId> = stored(&log, &room).await.iter().map(|item| item.id).collect();
        for reader in &readers {
            assert_all_there(reader);
            assert_eq!(reader.ids(), order, "one order");
            WRITERS.iter().for_each(|writer| reader.assert_in_order_of(writer));
            assert!(reader.gaps.is_empty() && reader.rewinds.is_empty(), "{reader:?}");
        }
    }
}

/// Redis loses what it had just acknowledged, again and again. Living nodes put it back.
#[tokio::test(start_paused = true)]
async fn every_reader_has_every_item_once_though_tails_are_lost() {
    let mut rewinds = 0;
    for seed in 0..12 {
        println!("seed {seed}");
        let region = cluster::region(seed);
        let nodes = nodes(&region, seed).await;
        let room = room(["team:red", "player:ann"][seed as usize % 2]);
        let mut readers = readers(&nodes, &room).await;
        tokio::join!(write(&nodes, &room), trouble(&region, &nodes, seed, true), async {
            join_all(readers.iter_mut().map(|reader| reader.until_items(WRITERS.len() * POSTS as usize))).await
        });
        for reader in &readers {
            assert_all_there(reader);
            assert!(reader.gaps.is_empty(), "{reader:?}");
            rewinds += reader.rewinds.len();
        }
        // Who comes later finds all of it in the log.
        eventually("all items in the log", async || {
            stored(&region.handle(), &room).await.len() == WRITERS.len() * POSTS as usize
        })
        .await;
        let mut late = Seen::start(&nodes[0], &room, FeedFrom::After(FeedId::START), 8).await;
        late.until_items(WRITERS.len() * POSTS as usize).await;
        assert_all_there(&late);
        assert!(late.rewinds.is_empty());
    }
    assert!(rewinds > 0, "no reader ever saw something that was lost: this proves nothing");
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_is_told_and_put_back_by_its_living_poster() {
    let region = cluster::region(1);
    let (nodes, room) = (nodes(&region, 1).await, room("team:red"));
    let mut reader = Seen::start(&nodes[1], &room, FeedFrom::Now, 8).await;
    let mut slow = Seen::start(&nodes[1], &room, FeedFrom::Now, 1).await;
    let kept = post(&nodes[0], &room, "ann", 1).await;
    region.mark();
    post(&nodes[0], &room, "ann", 2).await;
    let lost = post(&nodes[0], &room, "ann", 3).await;
    reader.until_items(3).await;
    slow.until_items(1).await;
    region.lose_tail();
    reader.until("the rewind", |seen| !seen.rewinds.is_empty()).await;
    assert_eq!(reader.rewinds, [(lost, kept)]);
    eventually("both are posted again", async || stored(&region.handle(), &room).await.len() == 3).await;
    post(&nodes[2], &room, "bob", 4).await;
    reader.until_items(4).await;
    slow.until_items(4).await;
    for reader in [&reader, &slow] {
        assert_eq!(reader.bodies(), ["ann 1", "ann 2", "ann 3", "bob 4"]);
    }
    let again = stored(&region.handle(), &room).await;
    assert!(again[1].id > lost && again[1].prev == kept, "{again:?}");
}

/// Its node sees in its beats that Redis is another one.
#[tokio::test(start_paused = true)]
async fn a_lost_post_is_posted_again_though_nobody_reads_the_feed() {
    let region = cluster::region(8);
    let (nodes, room) = (nodes(&region, 8).await, room("player:ann"));
    region.mark();
    for seq in 1..=3 {
        post(&nodes[0], &room, "ann", seq).await;
    }
    region.lose_tail();
    assert!(stored(&region.handle(), &room).await.is_empty());
    eventually("they are posted again", async || stored(&region.handle(), &room).await.len() == 3).await;
    let mut late = Seen::start(&nodes[1], &room, FeedFrom::After(FeedId::START), 8).await;
    late.until_items(3).await;
    assert_eq!(late.bodies(), ["ann 1", "ann 2", "ann 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_is_lost_with_its_poster_is_told() {
    let region = cluster::region(2);
    let (mut nodes, room) = (nodes(&region, 2).await, room("player:ann"));
    let mut reader = Seen::start(&nodes[1], &room, FeedFrom::Now, 8).await;
    let kept = post(&nodes[0], &room, "ann", 1).await;
    region.mark();
    let lost = post(&nodes[0], &room, "ann", 2).await;
    reader.until_items(2).await;
    let poster = nodes.remove(0);
    poster.kill();
    region.kill(poster.core().log.id());
    region.lose_tail();
    post(&nodes[0], &room, "bob", 3).await;
    reader.until_items(3).await;
    assert_eq!(reader.bodies(), ["ann 1", "ann 2", "bob 3"]);
    assert_eq!(reader.rewinds, [(lost, kept)], "what is gone for good is said");
    assert_eq!(stored(&region.handle(), &room).await.len(), 2);
}

/// A post that was not answered when its node was killed may be there or not; posted again by another node, it is there
/// once.
#[tokio::test(start_paused = true)]
async fn a_post_of_a_node_that_is_killed_is_there_once_when_it_is_posted_again() {
    for executed in [0.0, 1.0] {
        let region = cluster::region(3);
        let (nodes, room) = (nodes(&region, 3).await, room("team:red"));
        let mut reader = Seen::start(&nodes[1], &room, FeedFrom::Now, 8).await;
        region.set_ambiguity(Ambiguity { executed, not_executed: 1.0 - executed, ..Ambiguity::default() });
        let unanswered = tokio::time::timeout(Duration::from_secs(1), post(&nodes[0], &room, "ann", 1)).await;
        assert!(unanswered.is_err());
        nodes[0].kill();
        region.heal();
        post(&nodes[2], &room, "ann", 1).await;
        post(&nodes[2], &room, "ann", 2).await;
        reader.until_items(2).await;
        assert_eq!(reader.bodies(), ["ann 1", "ann 2"]);
    }
}

/// The log tells nothing of the feed: a busy room is no less looked at.
#[tokio::test(start_paused = true)]
async fn the_last_item_comes_though_its_publish_is_lost_and_the_log_is_busy() {
    let region = cluster::region(4);
    let (nodes, room, log) = (nodes(&region, 4).await, room("team:red"), region.handle());
    let mut owner = TestOwner::claim(&log, &room).await;
    let mut reader = Seen::start(&nodes[1], &room, FeedFrom::Now, 8).await;
    post(&nodes[0], &room, "ann", 1).await;
    reader.until_items(1).await;
    region.drop_publishes(&room, 1);
    post(&nodes[0], &room, "ann", 2).await;
    let busy = async {
        for n in 0.. {
            owner.append(|draft| draft.set_own(&player("ann"), Field::CREDITS, Some(Value::Int(n)))).await;
            // Never at the moment when heads are read: an entry on its way has the feed read too.
            tokio::time::sleep(Duration::from_millis(370)).await;
        }
    };
    tokio::select! {
        () = busy => {}
        () = reader.until_items(2) => {}
    }
    assert_eq!(reader.bodies(), ["ann 1", "ann 2"]);
}

/// A reader that does not read costs a few places; when it reads again it is told what it cannot have any more.
#[tokio::test(start_paused = true)]
async fn a_reader_that_sleeps_past_retention_is_told_of_the_gap() {
    let region = cluster::region(5);
    let (nodes, room) = (nodes(&region, 5).await, room("team:red"));
    let mut sleeper = Seen::start(&nodes[1], &room, FeedFrom::Now, 4).await;
    let count = FEED_ITEMS_KEPT as u64 + 300;
    // The poster keeps 4 MiB: two nodes post, so that neither has to wait.
    for seq in 1..=count {
        post(&nodes[seq as usize % 2], &room, "ann", seq).await;
    }
    let kept = stored(&region.handle(), &room).await;
    assert_eq!(kept.len(), FEED_ITEMS_KEPT);
    let last = kept.last().map(|item| item.id).expect("items");
    sleeper.until("the last item", |seen| seen.items.last().is_some_and(|item| item.id == last)).await;
    assert_eq!(sleeper.gaps.len(), 1, "{:?}", sleeper.gaps);
    let (after, upto) = sleeper.gaps[0];
    let before: Vec<FeedId> = sleeper.ids().into_iter().filter(|id| *id <= after).collect();
    assert_eq!(before.last(), Some(&after), "{} items before the gap", before.len());
    assert_eq!(kept[0].prev, upto, "the gap ends where the feed begins");
    assert_eq!(sleeper.items.len(), before.len() + kept.len());
    sleeper.assert_once();
    // The same for one that comes from elsewhere.
    let mut late = Seen::start(&nodes[2], &room, FeedFrom::After(after), 4).await;
    late.until_items(FEED_ITEMS_KEPT).await;
    assert_eq!(late.gaps, [(after, upto)]);
}

/// Publishes of the item before the removal, of the removal, of the items after it: whichever are lost, the removed
/// member has nothing that was posted after the removal, and the others have all. It also has the item before the
/// removal, unless just that one's publish was lost: then nothing tells of it before the removal is heard.
#[tokio::test(start_paused = true)]
async fn a_removed_member_has_nothing_that_was_posted_after_the_removal() {
    for lost in 0..=5 {
        println!("{lost} publishes lost");
        let region = cluster::region(6);
        let (nodes, room, log) = (nodes(&region, 6).await, room("team:red"), region.handle());
        let mut owner = TestOwner::claim(&log, &room).await;
        let bob = player("bob");
        owner.append(|draft| draft.replace_own(&bob, Fields::new())).await;
        let mut other = Seen::start(&nodes[1], &room, FeedFrom::Now, 8).await;
        let rights = Arc::new({
            let bob = bob.clone();
            move |state: &RoomState| state.own(&bob).is_some()
        });
        let mut member = Seen::with_rights(&nodes[1], &room, FeedFrom::Now, 8, Some(rights.clone())).await;
        let mut sleeper = Seen::with_rights(&nodes[1], &room, FeedFrom::Now, 1, Some(rights.clone())).await;
        post(&nodes[0], &room, "ann", 1).await;
        other.until_items(1).await;
        region.drop_publishes(&room, lost);
        post(&nodes[0], &room, "ann", 2).await;
        let removed = owner.append(|draft| draft.remove_own(&bob)).await;
        post(&nodes[0], &room, "ann", 3).await;
        owner.append(|draft| draft.set_own(&player("ann"), Field::CREDITS, Some(Value::Int(1)))).await;
        post(&nodes[0], &room, "ann", 4).await;
        other.until_items(4).await;
        assert_eq!(other.bodies(), ["ann 1", "ann 2", "ann 3", "ann 4"]);
        assert_eq!(other.items[2].as_of, Some(removed));
        member.until("its end", |seen| seen.ended).await;
        let had: &[&str] = if lost == 1 { &["ann 1"] } else { &["ann 1", "ann 2"] };
        assert_eq!(member.bodies(), had);
        sleeper.until("its end", |seen| seen.ended).await;
        assert!(sleeper.items.iter().all(|item| item.as_of < Some(removed)), "{sleeper:?}");
        // Nor does who asks again when it is too late.
        let mut again = feeds::follow(nodes[1].core(), &room, FeedFrom::After(FeedId::START), Some(rights), 8);
        assert_eq!(tokio::time::timeout(SOON, again.next()).await, Ok(None));
    }
}
