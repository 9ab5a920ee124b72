//! Invariant 10: each subscriber sees each item once, in order, or learns of a gap when retention was exceeded.
//! The log's side of it is here, on a real Redis that is killed; what nodes make of it in `feeds/`.

mod support;

mod entries;
mod nodes;
mod redis;

use std::collections::BTreeSet;

use anyhow::Result;
use bytes::Bytes;
use futures_util::future::try_join_all;
use sectorbus::ids::{ActorId, FeedId, PlayerId, RoomId};
use sectorbus::limits::FEED_ITEMS_KEPT;
use sectorbus::log::redis::RedisLog;
use sectorbus::log::{FeedItem, Log, LogError, OnceKey, Posted, Push};
use sectorbus_tests::oracle;
use sectorbus_tests::redis_server::{Fsync, RedisOptions, RedisServer};
use tokio::time::{Instant, timeout};

use crate::support::SOON;

fn room() -> RoomId {
    "team:red".parse().expect("a room")
}

fn once(writer: &str, seq: u64) -> OnceKey {
    OnceKey::Player { player: PlayerId::new(writer).expect("a name"), actor: ActorId(1), seq }
}

/// Posts until answered, as a node does.
async fn post(log: &RedisLog, writer: &str, seq: u64) -> Result<FeedId> {
    let body = Bytes::from(format!("{writer} {seq}"));
    let deadline = Instant::now() + SOON;
    loop {
        match log.post(&room(), &once(writer, seq), body.clone()).await {
            Ok(Posted::New(id) | Posted::Already(id)) => return Ok(id),
            Err(LogError::NotExecuted(_) | LogError::Ambiguous(_)) if Instant::now() < deadline => {
                tokio::task::yield_now().await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn all_items(log: &RedisLog) -> Result<Vec<FeedItem>> {
    let mut items: Vec<FeedItem> = Vec::new();
    loop {
        let after = items.last().map_or(FeedId::default(), |item| item.id);
        let page = log.feed(&room(), after, 500).await?;
        if page.is_empty() {
            return Ok(items);
        }
        items.extend(page);
    }
}

/// Several writers post, each post sent twice, while Redis is killed and started again: every item is there once, each
/// writer's in order, and every item names the one before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_post_is_one_item_in_one_order_on_redis() -> Result<()> {
    const POSTS: u64 = 60;
    let writers = ["ann", "bob", "cid"];
    // With `everysec`, a kill while the disk is busy syncing loses posts that were answered, and nobody here puts them back.
    let careful = RedisOptions { fsync: Fsync::Always, ..RedisOptions::default() };
    let mut redis = RedisServer::start(careful).await?;
    let logs = [oracle::log_of(&redis.url()).await?, oracle::log_of(&redis.url()).await?];
    let write = async |writer: &str| -> Result<()> {
        for seq in 1..=POSTS {
            let ids = [post(&logs[0], writer, seq).await?, post(&logs[1], writer, seq).await?];
            assert_eq!(ids[0], ids[1], "a resend through another node is the same item");
        }
        Ok(())
    };
    let restart = async {
        while all_items(&logs[0]).await?.len() < 30 {
            tokio::task::yield_now().await;
        }
        redis.restart().await
    };
    let (written, restarted) = tokio::join!(try_join_all(writers.iter().map(|writer| write(writer))), restart);
    written?;
    restarted?;
    let items = all_items(&logs[1]).await?;
    let bodies: BTreeSet<_> = items.iter().map(|item| item.body.clone()).collect();
    assert_eq!((items.len(), bodies.len()), (writers.len() * POSTS as usize, items.len()), "each once");
    let mut prev = FeedId::default();
    for item in &items {
        assert_eq!(item.prev, prev, "{} names the item before it", item.id);
        assert!(item.id > prev);
        prev = item.id;
    }
    for writer in writers {
        let mine: Vec<_> =
            items.iter().filter(|item| item.body.starts_with(writer.as_bytes())).map(|i| &i.body).collect();
        let asked: Vec<_> = (1..=POSTS).map(|seq| Bytes::from(format!("{writer} {seq}"))).collect();
        assert_eq!(mine, asked.iter().collect::<Vec<_>>(), "{writer}'s order is kept");
    }
    Ok(())
}

/// A subscriber hears each item once; one that was away finds what it missed, or sees by `prev` that it cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_hears_each_item_once_or_sees_the_gap_on_redis() -> Result<()> {
    let redis = RedisServer::start(RedisOptions::default()).await?;
    let (writer, reader) = (oracle::log_of(&redis.url()).await?, oracle::log_of(&redis.url()).await?);
    let mut following = reader.follow(&room());
    assert_eq!(timeout(SOON, following.pushes.recv()).await?, Some(Push::Following));
    let first = post(&writer, "ann", 1).await?;
    let second = post(&writer, "ann", 2).await?;
    assert_eq!(post(&writer, "ann", 2).await?, second, "a repeat is no second item");
    for expected in [first, second] {
        let Some(Push::Feed(item)) = timeout(SOON, following.pushes.recv()).await? else { panic!("an item") };
        assert_eq!(item.id, expected);
    }
    drop(following);
    // Away: what was missed is read after the cursor, and connects to it.
    post(&writer, "ann", 3).await?;
    let missed = reader.feed(&room(), second, 10).await?;
    assert_eq!(missed.iter().map(|item| item.prev).collect::<Vec<_>>(), [second]);
    // Away for longer than items are kept: what is left does not connect, and that is the gap.
    for from in (0..FEED_ITEMS_KEPT as u64 + 100).step_by(500) {
        try_join_all((from..from + 500).map(|n| post(&writer, "bob", n + 1))).await?;
    }
    let left = reader.feed(&room(), second, 1).await?;
    assert!(left[0].prev > second, "{} follows {}, which the reader never saw", left[0].id, left[0].prev);
    let newest = all_items(&reader).await?;
    assert!(newest.len() >= FEED_ITEMS_KEPT, "{} items are kept", newest.len());
    assert!(newest.windows(2).all(|two| two[1].prev == two[0].id));
    Ok(())
}
