//! Posts that follow from a room's entries, on the memory log in paused time: each is in its feed once, whenever its
//! owner dies, and the room's state forgets it. An owner of the test's own writes the entry.

use std::time::Duration;

use bytes::Bytes;
use sectorbus::ids::{EntryId, FeedId, RoomId};
use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus::log::{Log, OnceKey};
use sectorbus::state::{Post, PostName, SystemChange};
use sectorbus_node::command::Command;
use sectorbus_node::feeds::FeedFrom;
use sectorbus_node::{Node, NodeConfig, load};
use sectorbus_tests::cluster;

use super::support::{Seen, TestOwner, eventually, post, room, stored};

const BODIES: [&str; 3] = ["attacked", "team attacked", "attacked again"];

fn sector() -> RoomId {
    room("sector:4")
}

/// Writes an entry with three posts, as an owner that dies before it has posted any.
async fn left_behind(log: &MemoryLog) -> EntryId {
    let mut owner = TestOwner::claim(log, &sector()).await;
    let entry = owner.last.following();
    let appended = owner.append(|draft| {
        for (n, (to, body)) in ["player:bob", "team:red", "player:bob"].into_iter().zip(BODIES).enumerate() {
            let post = Post { to: room(to), body: Bytes::from_static(body.as_bytes()), teams_of: Vec::new() };
            draft.system(SystemChange::Post(PostName { entry, n: n as u32 }, Some(post)));
        }
    });
    assert_eq!(appended.await, entry);
    entry
}

async fn start(region: &MemoryRegion, names: &[&str], change: impl Fn(&mut NodeConfig)) -> Vec<Node<MemoryLog>> {
    let mut nodes = Vec::new();
    for (name, seed) in names.iter().zip(1..) {
        let mut config = cluster::config(name);
        change(&mut config);
        nodes.push(cluster::start(region, config, seed).await);
    }
    for node in &nodes {
        eventually("the nodes see each other", async || node.core().view().members.len() == names.len()).await;
    }
    nodes
}

/// The room is needed: the node that the ring names claims it.
fn need(nodes: &[Node<MemoryLog>]) {
    for node in nodes.iter().filter(|node| node.core().maps_to_me(&sector())) {
        node.core().take_command(&sector(), node.core().me(), Command::Adopt);
    }
}

/// Posts in the room's state, as the log has it; `None` while that cannot be read.
async fn posts_left(log: &MemoryLog) -> Option<usize> {
    let loaded = load::load(log, &sector(), None).await.ok()??;
    Some(loaded.state.system().posts().len())
}

fn assert_in_feeds_once(seen: &[Seen; 2], entry: EntryId) {
    assert_eq!(seen[0].bodies(), [BODIES[0], BODIES[2]]);
    assert_eq!(seen[1].bodies(), [BODIES[1]]);
    let names: Vec<_> = seen[0].items.iter().map(|item| item.name.clone()).collect();
    assert_eq!(names, [0, 2].map(|n| OnceKey::Entry { room: sector(), entry, n }));
}

/// Readers of both feeds on a node.
async fn readers(node: &Node<MemoryLog>) -> [Seen; 2] {
    let from = FeedFrom::After(FeedId::START);
    [Seen::start(node, &room("player:bob"), from, 8).await, Seen::start(node, &room("team:red"), from, 8).await]
}

async fn until_in_feeds(seen: &mut [Seen; 2]) {
    seen[0].until_items(2).await;
    seen[1].until_items(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_posts_what_the_one_before_had_only_written_and_then_forgets_it() {
    let region = cluster::region(1);
    let log = region.handle();
    let entry = left_behind(&log).await;
    let nodes = start(&region, &["a", "b"], |_| {}).await;
    let mut seen = readers(&nodes[0]).await;
    need(&nodes);
    until_in_feeds(&mut seen).await;
    assert_in_feeds_once(&seen, entry);
    assert_eq!(posts_left(&log).await, Some(3), "they wait for an entry to go with");
    eventually("the posts are dropped", async || posts_left(&log).await == Some(0)).await;
    let entries = log.entries(&sector(), entry, 10).await.expect("the log answers");
    assert_eq!(entries.len(), 2, "the new owner's claim, and one entry that drops all three: {entries:?}");
}

#[tokio::test(start_paused = true)]
async fn posts_whose_owner_dies_before_they_are_dropped_are_not_posted_twice() {
    let region = cluster::region(2);
    let log = region.handle();
    left_behind(&log).await;
    let mut nodes = start(&region, &["a", "b"], |_| {}).await;
    need(&nodes);
    let at = nodes.iter().position(|node| node.core().maps_to_me(&sector())).expect("an owner");
    let owner = nodes.remove(at);
    let mut seen = readers(&nodes[0]).await;
    until_in_feeds(&mut seen).await;
    assert_eq!(posts_left(&log).await, Some(3));
    owner.kill();
    region.kill(owner.core().log.id());
    eventually("the next owner drops the posts", async || posts_left(&log).await == Some(0)).await;
    // What comes now comes after everything that could have been posted a second time.
    post(&nodes[0], &room("player:bob"), "ann", 1).await;
    seen[0].until_items(3).await;
    assert_eq!(seen[0].bodies(), [BODIES[0], BODIES[2], "ann 1"]);
    assert_eq!(stored(&log, &room("team:red")).await.len(), 1);
    let owner_now = log.heads(&[sector()]).await.expect("the log answers")[0].log.clone().and_then(|head| head.owner);
    assert_eq!(owner_now, Some(nodes[0].core().me()));
}

/// Owners are killed at any moment between the claim and the entry that drops the posts, and tails are lost.
#[tokio::test(start_paused = true)]
async fn posts_are_in_their_feeds_once_whenever_owners_die() {
    for seed in 0..40_u64 {
        let region = cluster::region(seed);
        let log = region.handle();
        let entry = left_behind(&log).await;
        let mut nodes = start(&region, &["a", "b", "c"], |_| {}).await;
        region.set_latency(Duration::ZERO, Duration::from_millis(6));
        if seed % 4 == 3 {
            region.mark();
        }
        need(&nodes);
        // Most of it happens in the first moments.
        let kill_after = if seed % 2 == 0 { seed * 2 } else { seed * 150 };
        tokio::time::sleep(Duration::from_millis(kill_after)).await;
        let at = nodes.iter().position(|node| node.core().owners.is_running(&sector()));
        if let Some(owner) = at.map(|at| nodes.remove(at)) {
            owner.kill();
            region.kill(owner.core().log.id());
        }
        if seed % 4 == 3 {
            region.lose_tail();
        }
        let mut seen = readers(&nodes[0]).await;
        eventually("somebody owns the room and drops its posts", async || {
            need(&nodes);
            posts_left(&log).await == Some(0)
        })
        .await;
        until_in_feeds(&mut seen).await;
        assert_in_feeds_once(&seen, entry);
        for (feed, count) in [("player:bob", 2), ("team:red", 1)] {
            assert_eq!(stored(&log, &room(feed)).await.len(), count, "seed {seed}: {feed}");
        }
    }
}

/// The entry that dropped them, the items and the owner's claim are lost; the owner lives and puts everything back.
#[tokio::test(start_paused = true)]
async fn posts_that_are_lost_with_the_entries_around_them_are_put_back_once() {
    let region = cluster::region(3);
    let log = region.handle();
    let entry = left_behind(&log).await;
    let nodes = start(&region, &["a"], |config| config.member_ttl = Duration::from_secs(30)).await;
    let mut seen = readers(&nodes[0]).await;
    region.mark();
    need(&nodes);
    until_in_feeds(&mut seen).await;
    region.lose_tail();
    seen[0].until("the rewind", |seen| !seen.rewinds.is_empty()).await;
    eventually("the posts are dropped", async || posts_left(&log).await == Some(0)).await;
    for (feed, count) in [("player:bob", 2), ("team:red", 1)] {
        eventually("all items are back", async || stored(&log, &room(feed)).await.len() == count).await;
    }
    post(&nodes[0], &room("player:bob"), "ann", 1).await;
    seen[0].until_items(3).await;
    assert_eq!(seen[0].bodies(), [BODIES[0], BODIES[2], "ann 1"], "who had them is not told again");
    assert_eq!(seen[1].bodies(), [BODIES[1]]);
    assert!(seen[0].items[0].name == OnceKey::Entry { room: sector(), entry, n: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_room_is_not_closed_before_its_posts_are_in_their_feeds() {
    let region = cluster::region(4);
    let log = region.handle();
    let entry = left_behind(&log).await;
    let nodes = start(&region, &["a"], |config| config.park_after = Duration::from_millis(300)).await;
    let mut seen = readers(&nodes[0]).await;
    // Long enough for the room to be idle and closed, if posts did not count.
    need(&nodes);
    eventually("the room is closed", async || {
        let heads = log.heads(&[sector()]).await.expect("the log answers");
        heads[0].log.as_ref().is_some_and(|head| head.owner.is_none())
    })
    .await;
    assert_eq!(posts_left(&log).await, Some(0));
    until_in_feeds(&mut seen).await;
    assert_in_feeds_once(&seen, entry);
}
