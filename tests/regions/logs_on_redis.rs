//! A sector of one region is seen in another: node processes, a redis-server for each region and for redis-nexus, two nexus in
//! this process of which the leader ends; redis-nexus, the room's owner and the Redis that reads are killed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sectorbus::action::{Action, Status};
use sectorbus::ids::{RegionName, RoomId};
use sectorbus::log::Log;
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::protocol::Slot;
use sectorbus_nexus::{Nexus, NexusParts};
use sectorbus_node::load;
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};
use sectorbus_tests::region::Region;
use sectorbus_tests::waiting;
use sectorbus_tests::wire::{Player, PlayerOptions, Told};

use crate::universe::with_sectors;
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(60);
const OBSERVED: Slot = Slot::OBSERVED[0];

fn log(server: &RedisServer, region: &str, who: &str) -> Result<RedisLog> {
    let config = RedisConfig { node: who.to_owned(), ..RedisConfig::new(server.url(), RegionName::new(region)?) };
    Ok(RedisLog::connect(config)?)
}

struct Joined<'r> {
    us: &'r RedisServer,
    eu: &'r RedisServer,
    hub: &'r RedisServer,
}

impl Joined<'_> {
    fn by(&self, name: &str) -> Result<Nexus> {
        let mut regions = Vec::new();
        for (region, server) in [("us", self.us), ("eu", self.eu)] {
            let log = Arc::new(log(server, region, name)?);
            regions.push(sectorbus_nexus::Region { name: RegionName::new(region)?, log, address: None });
        }
        let hub = Arc::new(log(self.hub, "nexus", name)?);
        let (name, rules) = (name.to_owned(), with_sectors(["sector:1".parse()?]));
        Ok(Nexus::start(NexusParts { name, hub, regions, rules }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sector_is_seen_in_another_region_over_ends_of_leader_owner_and_servers_on_redis() -> Result<()> {
    let mut us = Region::start_with(&["a", "b"], |settings| settings.with("region", "us")).await?;
    let mut eu = Region::start_with(&["c"], |settings| settings.with("region", "eu")).await?;
    let mut hub = RedisServer::start(RedisOptions::default()).await?;
    let joined =
        |us: &Region, eu: &Region, hub: &RedisServer, name: &str| Joined { us: &us.redis, eu: &eu.redis, hub }.by(name);
    let mut nexus = vec![joined(&us, &eu, &hub, "x1")?, joined(&us, &eu, &hub, "x2")?];
    let (room, mirrored): (RoomId, RoomId) = ("sector:1".parse()?, "sector:1@us".parse()?);
    let home = log(&us.redis, "us", "reader")?;
    let uma = Player::start("uma", &us.addresses(), PlayerOptions::default());
    let ann = Player::start("ann", &eu.addresses(), PlayerOptions::default());
    uma.settled(SOON).await?;
    ann.settled(SOON).await?;
    let is_shown = |told: &Told| told.client.beside.get(&OBSERVED).is_some_and(|shown| shown.room == mirrored);
    let observes = async |ann: &Player| {
        let deadline = Instant::now() + SOON;
        loop {
            let n = ann.ask(|heard| heard.observe(mirrored.clone(), true));
            // Refused as long as it is not mirrored yet.
            let is_answered = |told: &Told| is_shown(told) || told.client.heard.refused.contains_key(&n);
            ann.until(SOON, "an answer", is_answered).await?;
            if is_shown(&ann.told()) {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "it is never mirrored");
        }
    };
    let converged = async |ann: &Player| {
        waiting::until_async(SOON, "what is seen is what is there", async || {
            let Ok(Some(there)) = load::load(&home, &room, None).await else { return Ok(false) };
            let told = ann.told();
            let shown = told.client.beside.get(&OBSERVED);
            Ok(shown.is_some_and(|shown| shown.cursor == there.cursor && shown.sum() == there.state.public().sum()))
        })
        .await
    };
    observes(&ann).await?;
    for round in 0..60_u32 {
        uma.act(Action::Status { status: [Status::Busy, Status::Away, Status::Online][round as usize % 3] });
        uma.settled(SOON).await?;
        match round {
            10 => {
                converged(&ann).await?;
                nexus.remove(0).kill().await;
                nexus.push(joined(&us, &eu, &hub, "x3")?);
            }
            20 => hub.restart().await?,
            30 => {
                let heads = home.heads(std::slice::from_ref(&room)).await?;
                let owner = heads[0].log.as_ref().and_then(|head| head.owner.clone()).context("an owner")?;
                let dead = us.position(owner.node_name());
                us.nodes[dead].kill9()?;
                let living: Vec<_> = us.running().map(|node| node.address()).collect();
                uma.set_nodes(&living);
            }
            40 => {
                converged(&ann).await?;
                eu.redis.restart().await?;
            }
            _ => {}
        }
    }
    // Whoever observes asks again on a new connection.
    ann.settled(SOON).await?;
    observes(&ann).await?;
    converged(&ann).await?;
    assert!(ann.told().client.beside[&OBSERVED].members().any(|(name, _)| name == "uma"));
    for player in [&uma, &ann] {
        assert_eq!(player.told().client.broken, Vec::<String>::new(), "{}", player.name);
    }
    us.passed()?;
    eu.passed()
}
