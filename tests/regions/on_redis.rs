//! Two regions and redis-nexus, a redis-server each; two nexus in this process, of which the leader ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use sectorbus::ids::{ActorId, FeedId, PlayerId, RegionName, RoomId};
use sectorbus::item;
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::log::{Bridge, Log, LogError, OnceKey};
use sectorbus_nexus::rules::Rules;
use sectorbus_nexus::{Nexus, NexusParts, Region};
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};
use sectorbus_tests::waiting;

const NAMES: [&str; 2] = ["eu", "us"];
const POSTS: u64 = 300;
/// Ten times what anything here takes on a quiet machine.
const SOON: Duration = Duration::from_secs(60);

fn log(server: &RedisServer, region: &str, who: &str) -> Result<RedisLog> {
    let config = RedisConfig { node: who.to_owned(), ..RedisConfig::new(server.url(), RegionName::new(region)?) };
    Ok(RedisLog::connect(config)?)
}

fn nexus(name: &str, regions: &[RedisServer], hub: &RedisServer) -> Result<Nexus> {
    let mut reached = Vec::new();
    for (region, server) in NAMES.iter().zip(regions) {
        reached.push(Region {
            name: RegionName::new(region)?,
            log: Arc::new(log(server, region, name)?),
            address: None,
        });
    }
    let (name, rules) = (name.to_owned(), Rules::default());
    Ok(Nexus::start(NexusParts { hub: Arc::new(log(hub, "nexus", &name)?), name, regions: reached, rules }))
}

/// Until it is answered.
async fn post(log: &RedisLog, text: &str, seq: u64) {
    let name = OnceKey::Player { player: PlayerId::new("ann").expect("a name"), actor: ActorId(1), seq };
    let body = item::encode(&name, text.as_bytes());
    while let Err(error) = log.post(&RoomId::Global, &name, body.clone()).await {
        assert!(!matches!(error, LogError::Corrupt(_)), "{error}");
        tokio::task::yield_now().await;
    }
}

/// What is in the feed of a region, as its texts, oldest first.
async fn texts(log: &RedisLog) -> Result<Vec<String>> {
    let items = log.feed(&RoomId::Global, FeedId::START, 10_000).await?;
    let read = items.iter().filter_map(|item| item::decode(&item.body));
    Ok(read.map(|(_, body)| String::from_utf8_lossy(&body).into_owned()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_have_all_of_each_other_once_and_in_order_over_a_leaders_end_and_a_restart_on_redis() -> Result<()> {
    let mut hub = RedisServer::start(RedisOptions::default()).await?;
    let regions =
        [RedisServer::start(RedisOptions::default()).await?, RedisServer::start(RedisOptions::default()).await?];
    let logs = [log(&regions[0], "eu", "writer")?, log(&regions[1], "us", "writer")?];
    let mut nexuses = vec![nexus("x1", &regions, &hub)?, nexus("x2", &regions, &hub)?];
    for log in &logs {
        let began_ms = log.open_bridge().await?.began_ms;
        waiting::until_async(SOON, "a bridge", async || Ok(log.time_ms().await? > began_ms)).await?;
    }
    for seq in 1..=POSTS {
        for (name, log) in NAMES.iter().zip(&logs) {
            post(log, &format!("{name} {seq}"), seq).await;
        }
        match seq {
            100 => {
                // x1 began first and leads, if anybody does by now.
                nexuses.remove(0).kill().await;
                nexuses.push(nexus("x3", &regions, &hub)?);
            }
            200 => hub.restart().await?,
            _ => {}
        }
    }
    let all = |of: &str| (1..=POSTS).map(|seq| format!("{of} {seq}")).collect::<Vec<_>>();
    for log in &logs {
        let is_all = async || Ok(texts(log).await?.len() >= 2 * POSTS as usize);
        waiting::until_async(SOON, "all items of both", is_all).await?;
        let found = texts(log).await?;
        for of in NAMES {
            let of_one: Vec<String> = found.iter().filter(|text| text.starts_with(of)).cloned().collect();
            assert_eq!(of_one, all(of));
        }
    }
    Ok(())
}
