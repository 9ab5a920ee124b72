//! A team with members in two regions, on Redis: a redis-server for each region and for redis-nexus, nodes and two nexus in this
//! process. What is asked where the team is not at home comes to its roster, with what members there are shown as, over ends
//! of a leader, of nodes and of redis-nexus.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use sectorbus::action::{Action, Status};
use sectorbus::ids::{RegionName, Role, RoomId, TeamId};
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::log::{Log, SetTeam};
use sectorbus::protocol::{Codec, Slot};
use sectorbus::value::Field;
use sectorbus_demo::client::Client;
use sectorbus_nexus::rules::Rules;
use sectorbus_nexus::{Nexus, NexusParts, Region};
use sectorbus_node::Node;
use sectorbus_node::people::teams::{self, ChangeError};
use sectorbus_tests::cluster::{self, Connected};
use sectorbus_tests::pals::player;
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};
use sectorbus_tests::waiting;
use tokio::time::Instant;

/// Ten times what anything here takes on a quiet machine.
const SOON: Duration = Duration::from_secs(60);

async fn log(server: &RedisServer, region: &str, who: &str) -> Result<RedisLog> {
    let config = RedisConfig { node: who.to_owned(), ..RedisConfig::new(server.url(), RegionName::new(region)?) };
    let log = RedisLog::connect(config)?;
    anyhow::ensure!(log.is_ready_within(SOON).await, "Redis is not reached");
    Ok(log)
}

async fn node(server: &RedisServer, region: &str, name: &str, seed: u64) -> Result<Node<RedisLog>> {
    let mut config = cluster::config(name);
    config.region = RegionName::new(region)?;
    Ok(cluster::start_on(Arc::new(log(server, region, name).await?), config, seed).await)
}

async fn nexus(name: &str, eu: &RedisServer, us: &RedisServer, hub: &RedisServer) -> Result<Nexus> {
    let mut regions = Vec::new();
    for (region, server) in [("eu", eu), ("us", us)] {
        let log = Arc::new(log(server, region, name).await?);
        regions.push(Region { name: RegionName::new(region)?, log, address: None });
    }
    let hub = Arc::new(log(hub, "nexus", name).await?);
    Ok(Nexus::start(NexusParts { name: name.to_owned(), hub, regions, rules: Rules::default() }))
}

async fn change(node: &Node<RedisLog>, of: &str, change: &SetTeam) -> Result<()> {
    let deadline = Instant::now() + SOON;
    loop {
        match teams::change(node.core(), &player(of), change.clone()).await {
            Ok(_) => return Ok(()),
            Err(ChangeError::Unfinished(why)) => anyhow::ensure!(Instant::now() < deadline, "{of}: {why}"),
            Err(error) => anyhow::bail!("{of}: {error}"),
        }
    }
}

fn shows(client: &Client, of: &str, field: Field, expected: &str) -> bool {
    let shown = client.beside.get(&Slot::TEAM).and_then(|shown| shown.of_member(of, field));
    shown.is_some_and(|value| value.as_text() == Some(expected))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roster_has_its_members_of_another_region_over_ends_of_leader_nodes_and_redis_nexus_on_redis() -> Result<()> {
    let (eu, us) =
        (RedisServer::start(RedisOptions::default()).await?, RedisServer::start(RedisOptions::default()).await?);
    let mut hub = RedisServer::start(RedisOptions::default()).await?;
    let mut leaders = vec![nexus("x1", &eu, &us, &hub).await?, nexus("x2", &eu, &us, &hub).await?];
    let mut at_home = vec![node(&eu, "eu", "e1", 1).await?, node(&eu, "eu", "e2", 2).await?];
    let mut away = vec![node(&us, "us", "u1", 3).await?, node(&us, "us", "u2", 4).await?];
    let (red, room): (TeamId, RoomId) = ("red".parse()?, "team:red".parse()?);
    let role = |name: &str| Role::new(name).expect("a name");
    let join = |name: &str| SetTeam::Join(red.clone(), role(name));
    change(&at_home[1], "uma", &join("captain")).await?;
    let mut uma = Connected::new("uma", Codec::Json);
    uma.connect(&at_home[1]);
    let mut ann = Connected::new("anna", Codec::Msgpack);
    ann.connect(&away[1]);
    assert!(uma.until(SOON, Client::is_live).await && ann.until(SOON, Client::is_live).await);
    let reader = log(&us, "us", "reader").await?;
    waiting::until_async(SOON, "us is told of the home", async || {
        Ok(reader.heads(std::slice::from_ref(&room)).await?[0].home.is_some())
    })
    .await?;

    change(&away[0], "anna", &join("pilot")).await?;
    assert!(uma.until(SOON, |client| shows(client, "anna", Field::STATUS, "online")).await);
    assert!(uma.until(SOON, |client| shows(client, "anna", Field::SECTOR, "1@us")).await);
    leaders.remove(0).kill().await;
    change(&away[0], "anna", &join("medic")).await?;
    assert!(uma.until(SOON, |client| shows(client, "anna", Field::ROLE, "medic")).await);

    // Whoever is asked ends in the middle, on both sides, and redis-nexus comes back.
    let core = away[0].core().clone();
    let (of, wish) = (player("anna"), join("scout"));
    let asked = tokio::spawn(async move { teams::change(&core, &of, wish).await });
    waiting::until_async(SOON, "it is asked", async || {
        let asks = sectorbus::log::Rosters::roster_asks(&reader, &player("anna")).await?;
        Ok(asks.iter().any(|ask| ask.wish.to_string() == "join scout"))
    })
    .await?;
    asked.abort();
    away.remove(0).kill();
    at_home.remove(0).kill();
    hub.restart().await?;
    leaders.push(nexus("x3", &eu, &us, &hub).await?);
    assert!(uma.until(SOON, |client| shows(client, "anna", Field::ROLE, "scout")).await, "nothing is lost");
    assert!(ann.until(SOON, |client| shows(client, "anna", Field::ROLE, "scout")).await);

    ann.act(Action::Status { status: Status::Busy });
    assert!(ann.until(SOON, |client| client.pending.is_empty()).await);
    assert!(uma.until(SOON, |client| shows(client, "anna", Field::STATUS, "busy")).await);
    let to = ann.client.view.as_ref().expect("a first state").warps()[0].clone();
    ann.act(Action::Move { to: to.clone() });
    assert!(ann.until(SOON, |client| client.view.as_ref().is_some_and(|view| view.sector == to)).await);
    let there = format!("{to}@us");
    assert!(uma.until(SOON, |client| shows(client, "anna", Field::SECTOR, &there)).await, "{there}");
    change(&away[0], "anna", &SetTeam::Leave(red.clone())).await?;
    let is_gone = |client: &Client| client.beside[&Slot::TEAM].members().all(|(of, _)| of != "anna");
    assert!(uma.until(SOON, is_gone).await);
    assert!(ann.until(SOON, |client| !client.beside.contains_key(&Slot::TEAM)).await);
    for player in [&uma, &ann] {
        assert_eq!(player.client.broken, Vec::<String>::new(), "{}", player.client.player);
    }
    Ok(())
}
