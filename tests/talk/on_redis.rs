//! With real node processes on a real redis-server.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use sectorbus::ids::RoomId;
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions, Told};

/// Ten times what anything here takes on a quiet machine.
const SOON: Duration = Duration::from_secs(30);

fn options() -> PlayerOptions {
    PlayerOptions { feeds: true, keep_heard: true, ..PlayerOptions::default() }
}

fn room(text: &str) -> RoomId {
    text.parse().expect("a room")
}

/// A player of each name, each first on another node.
async fn players(region: &Region, names: &[&str]) -> Result<Vec<Player>> {
    let mut addresses = region.addresses();
    let mut players = Vec::new();
    for name in names {
        let player = Player::start(name, &addresses, options());
        player.settled(SOON).await?;
        // What is said before a feed begins is its history.
        for of in [RoomId::Global, room(&format!("player:{name}"))] {
            player.until(SOON, "its feeds", |told| told.client.heard.cursors.contains_key(&of)).await?;
        }
        players.push(player);
        addresses.rotate_left(1);
    }
    Ok(players)
}

fn has(told: &Told, of: &RoomId, count: usize) -> bool {
    told.client.heard.saying.is_empty() && told.client.heard.texts(of).len() >= count
}

fn assert_kept(players: &[Player]) {
    for player in players {
        assert_eq!(player.told().client.broken, Vec::<String>::new(), "{}", player.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_said_is_heard_once_and_in_one_order_over_a_kill_and_a_restart_of_redis() -> Result<()> {
    const ROUNDS: usize = 60;
    let mut region = Region::start(&["a", "b", "c"]).await?;
    let players = players(&region, &["ann", "bob", "cid"]).await?;
    for round in 0..ROUNDS {
        for player in &players {
            player.say(RoomId::Global, &format!("{} {round}", player.name));
            player.say(room("player:ann"), &format!("{} {round}", player.name));
        }
        match round {
            20 => region.nodes[1].kill9()?,
            40 => {
                region.redis.kill9()?;
                region.redis.restart().await?;
            }
            _ => {}
        }
        for player in &players {
            player.until(SOON, "half of what was said", |told| told.client.heard.saying.len() < 10).await?;
        }
    }
    for player in &players {
        player.until(SOON, "all of global", |told| has(told, &RoomId::Global, 3 * ROUNDS)).await?;
    }
    players[0].until(SOON, "everything private", |told| has(told, &room("player:ann"), 3 * ROUNDS)).await?;
    let of_ann = players[0].told().client.heard.texts(&RoomId::Global).len();
    assert_eq!(of_ann, 3 * ROUNDS);
    let order = |player: &Player| -> Vec<String> {
        player.told().client.heard.texts(&RoomId::Global).into_iter().map(str::to_owned).collect()
    };
    assert_eq!(order(&players[0]), order(&players[1]));
    assert_eq!(order(&players[0]), order(&players[2]));
    assert_kept(&players);
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_message_is_in_no_other_players_socket_on_redis() -> Result<()> {
    let region = Region::start(&["a", "b", "c"]).await?;
    let players = players(&region, &["ann", "bob", "cid", "dan", "eve", "fay"]).await?;
    for round in 0..20 {
        players[0].say(room("player:bob"), &format!("whispered{round} to bob"));
        players[1].say(room("player:ann"), &format!("whispered{round} to ann"));
        players[2].say(RoomId::Global, &format!("shouted{round}"));
    }
    for player in &players {
        player.until(SOON, "what was shouted", |told| has(told, &RoomId::Global, 20)).await?;
    }
    for player in &players[..2] {
        let own = room(&format!("player:{}", player.name));
        player.until(SOON, "what was whispered", |told| has(told, &own, 40)).await?;
    }
    for player in &players {
        let told = player.told();
        let heard = told.heard.as_ref().context("all that was heard is kept")?;
        let whispered = heard.iter().filter(|payload: &&Bytes| find(payload, b"whispered")).count();
        assert_eq!(whispered > 0, ["ann", "bob"].contains(&&*player.name), "{} heard {whispered}", player.name);
        assert!(heard.iter().any(|payload| find(payload, b"shouted")), "what is looked for would be found");
    }
    assert_kept(&players);
    region.passed()
}

fn find(payload: &[u8], text: &[u8]) -> bool {
    payload.windows(text.len()).any(|window| window == text)
}
