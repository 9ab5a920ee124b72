//! The metric behind "rooms without owner" tells the truth: it counts a room that cannot be claimed, for as long as that
//! is so, and nothing else.

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use sectorbus::action::{Action, Status};

use sectorbus_tests::region::{Region, until_metric};
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::SOON;

const WITHOUT_OWNER: &str = "sectorbus_rooms_without_owner";
const PLAYERS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_cannot_be_claimed_is_counted_until_it_is_redis() -> Result<()> {
    let mut region = Region::start(&["n1", "n2"]).await?;
    let (killed, n2) = (region.position("n1"), region.position("n2"));
    let at_n2 = [region.nodes[n2].address()];
    let players: Vec<Player> = (1..=PLAYERS)
        .map(|n| {
            let sector = Some(n.to_string().parse().expect("a sector"));
            Player::start(&format!("p{n}"), &at_n2, PlayerOptions { sector, ..PlayerOptions::default() })
        })
        .collect();
    for player in &players {
        player.settled(SOON).await?;
    }
    until_metric(&region.nodes[n2], WITHOUT_OWNER, SOON, |rooms| rooms == 0.0).await?;
    let owned_by_n1 =
        |player: &&Player| player.told().client.view.as_ref().is_some_and(|view| view.owner.starts_with("n1"));
    let player = players.iter().find(owned_by_n1).context("n1 owns one of all the rooms")?;
    let sector = player.told().client.view.as_ref().map(|view| view.sector.clone()).context("a view")?;

    let (head, aside) = (format!("sb:test:{{sector:{sector}}}:head"), format!("sb:test:{{sector:{sector}}}:aside"));
    let mut redis = region.redis.connection().await?;
    run(&mut redis, &["RENAME", &head, &aside]).await?;
    run(&mut redis, &["SET", &head, "not a hash"]).await?;
    region.nodes[killed].kill9()?;
    until_metric(&region.nodes[n2], "sectorbus_members", SOON, |members| members == 1.0).await?;
    until_metric(&region.nodes[n2], "sectorbus_adopted_rooms_total", SOON, |rooms| rooms > 0.0).await?;
    until_metric(&region.nodes[n2], WITHOUT_OWNER, SOON, |rooms| rooms == 1.0).await?;

    run(&mut redis, &["RENAME", &aside, &head]).await?;
    until_metric(&region.nodes[n2], WITHOUT_OWNER, SOON, |rooms| rooms == 0.0).await?;
    player.act(Action::Status { status: Status::Away });
    player.settled(SOON).await?;
    region.passed()
}

async fn run(redis: &mut MultiplexedConnection, words: &[&str]) -> Result<()> {
    let (name, arguments) = words.split_first().context("a command")?;
    Ok(redis::cmd(name).arg(arguments).query_async(redis).await?)
}
