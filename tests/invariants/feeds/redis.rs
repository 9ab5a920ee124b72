//! Feeds as nodes read and post them, on a real redis-server that is killed, and on one that is replaced by a replica
//! without the last items. The nodes run in this process: no frame of the protocol posts yet.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use sectorbus::ids::{FeedId, RegionName, RoomId};
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus_node::admin::Readiness;
use sectorbus_node::feeds::FeedFrom;
use sectorbus_node::{Node, NodeStart};
use sectorbus_tests::proxy::{Proxy, Weather};
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};
use sectorbus_tests::{cluster, oracle};
use tokio::time::Instant;

use super::support::{Seen, eventually, post, room, stored};
use crate::support::SOON;

const WRITERS: [&str; 3] = ["ann", "bob", "cid"];
const POSTS: u64 = 60;

async fn start(redis_url: &str, name: &str, seed: u64) -> Result<Node<RedisLog>> {
    let region = RegionName::new("test")?;
    let log = RedisLog::connect(RedisConfig { node: name.to_owned(), ..RedisConfig::new(redis_url, region) })?;
    let (config, readiness) = (cluster::config(name), Arc::new(Readiness::default()));
    let (log, address) = (Arc::new(log), format!("{name}:0"));
    let start = NodeStart { config, log, address, seed: Some(seed), simulated_ring: Some(40), readiness };
    Ok(Node::start(start).await?)
}

/// Each writer posts one after the other through its node; a node that is killed leaves its writers to the last one,
/// which posts again what was not answered.
async fn write(nodes: &[Node<RedisLog>], room: &RoomId, from: u64) {
    join_all(WRITERS.iter().zip(nodes.iter().cycle()).map(async |(writer, node)| {
        for seq in from..from + POSTS {
            let fallback = nodes.last().expect("a node");
            tokio::select! {
                biased;
                () = node.core().tasks.killed() => {}
                _ = post(node, room, writer, seq) => continue,
            }
            post(fallback, room, writer, seq).await;
        }
    }))
    .await;
}

fn assert_all_there(reader: &Seen, upto: u64) {
    let mut bodies = reader.bodies();
    bodies.sort();
    let mut asked: Vec<_> = WRITERS.iter().flat_map(|w| (1..=upto).map(move |seq| format!("{w} {seq}"))).collect();
    asked.sort();
    assert_eq!(bodies, asked);
    reader.assert_once();
    assert!(reader.gaps.is_empty(), "{reader:?}");
}

/// A posting node is killed, then Redis (which has its AOF): every reader has every item once, in the order of the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_have_every_item_once_though_a_posting_node_and_redis_are_killed() -> Result<()> {
    let mut redis = RedisServer::start(RedisOptions::default()).await?;
    let nodes = [start(&redis.url(), "a", 1).await?, start(&redis.url(), "b", 2).await?];
    for room in [room("team:red"), room("player:ann")] {
        let mut readers = Vec::new();
        for capacity in [1, 64] {
            readers.push(Seen::start(&nodes[1], &room, FeedFrom::Now, capacity).await);
        }
        let log = oracle::log_of(&redis.url()).await?;
        let trouble = async {
            while stored(&log, &room).await.len() < 20 {
                tokio::task::yield_now().await;
            }
            nodes[0].kill();
            while stored(&log, &room).await.len() < 40 {
                tokio::task::yield_now().await;
            }
            redis.restart().await
        };
        let read = join_all(readers.iter_mut().map(|reader| reader.until_items(WRITERS.len() * POSTS as usize)));
        let ((), restarted, _) = tokio::join!(write(&nodes, &room, 1), trouble, read);
        restarted?;
        let order: Vec<FeedId> = stored(&log, &room).await.iter().map(|item| item.id).collect();
        for reader in &readers {
            assert_all_there(reader, POSTS);
            assert_eq!(reader.ids(), order);
            WRITERS.iter().for_each(|writer| reader.assert_in_order_of(writer));
            assert!(reader.rewinds.is_empty(), "nothing was lost: {reader:?}");
        }
    }
    Ok(())
}

/// A master with a replica, which nodes reach through `front`.
struct Pair {
    master: RedisServer,
    replica: RedisServer,
    front: Proxy,
    link: Proxy,
}

impl Pair {
    async fn start() -> Result<Self> {
        let master = RedisServer::start(RedisOptions::default()).await?;
        let replica = RedisServer::start(RedisOptions::default()).await?;
        let (front, link) = (Proxy::to_redis(master.port()).await?, Proxy::to_redis(master.port()).await?);
        let mut connection = replica.connection().await?;
        let link_port = link.address().port();
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg(link_port).query_async::<()>(&mut connection).await?;
        let deadline = Instant::now() + SOON;
        loop {
            let info: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await?;
            if info.contains("master_link_status:up") {
                return Ok(Self { master, replica, front, link });
            }
            ensure!(Instant::now() < deadline, "no replication: {info}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The master dies with all that the replica has not heard.
    async fn fail_over(&mut self) -> Result<()> {
        self.master.kill9()?;
        self.replica.promote().await?;
        self.front.retarget(([127, 0, 0, 1], self.replica.port()).into());
        self.front.cut();
        Ok(())
    }
}

/// The promoted replica lacks the last items: readers are told, living nodes post them again, nobody has one twice, and
/// who comes later finds all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_lost_in_a_failover_are_told_and_put_back_by_the_nodes_that_posted_them() -> Result<()> {
    let mut pair = Pair::start().await?;
    let url = pair.front.redis_url();
    let nodes = [start(&url, "a", 1).await?, start(&url, "b", 2).await?];
    let room = room("team:red");
    let mut readers = Vec::new();
    for (node, capacity) in [(0, 64), (1, 1), (1, 64)] {
        readers.push(Seen::start(&nodes[node], &room, FeedFrom::Now, capacity).await);
    }
    let read = async |readers: &mut Vec<Seen>, upto: u64| {
        let count = WRITERS.len() * upto as usize;
        join_all(readers.iter_mut().map(|reader| reader.until_items(count))).await;
    };
    tokio::join!(write(&nodes, &room, 1), read(&mut readers, POSTS));
    // From now on the replica hears nothing.
    eventually("the replica has all of it", async || {
        let log = oracle::log_of(&pair.replica.url()).await.expect("the replica");
        stored(&log, &room).await.len() == WRITERS.len() * POSTS as usize
    })
    .await;
    pair.link.set(Weather::BlackHole);
    tokio::join!(write(&nodes, &room, POSTS + 1), read(&mut readers, 2 * POSTS));
    pair.fail_over().await?;
    tokio::join!(write(&nodes, &room, 2 * POSTS + 1), read(&mut readers, 3 * POSTS));
    for reader in &readers {
        assert_all_there(reader, 3 * POSTS);
        assert!(!reader.rewinds.is_empty(), "a loss that no reader was told of");
    }
    let log = oracle::log_of(&pair.replica.url()).await?;
    let all = WRITERS.len() * 3 * POSTS as usize;
    eventually("all of it is in the log again", async || stored(&log, &room).await.len() == all).await;
    let mut late = Seen::start(&nodes[0], &room, FeedFrom::After(FeedId::START), 8).await;
    late.until_items(all).await;
    assert_all_there(&late, 3 * POSTS);
    Ok(())
}
