//! From `kill -9` of a room's owner to playing again: for a player on another node, and for one on the killed node.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::measure::nodes::{NodeOptions, Region};
use crate::measure::player::Player;

const ROOM: &str = "1";
/// After a node came back, until the ring and its rooms have moved.
const SETTLE: Duration = Duration::from_millis(1500);
const PLAYING_WITHIN: Duration = Duration::from_secs(30);
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, clap::Args)]
pub struct FailoverArgs {
    /// Kills
    #[arg(long, default_value_t = 50)]
    pub rounds: usize,
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Further rooms with a session each: what the killed node leaves behind
    #[arg(long, default_value_t = 60)]
    pub rooms: usize,
}

pub async fn run(args: FailoverArgs) -> Result<Value> {
    let mut region = Region::start(args.nodes, &NodeOptions::default()).await?;
    let addresses: Vec<SocketAddr> = region.nodes.iter().map(|node| node.address).collect();
    let mut background = JoinSet::new();
    for n in 0..args.rooms {
        let player = Player::new(&format!("background{n}"), &(n + 2).to_string())?;
        background.spawn(stay_connected(player, addresses.clone(), n));
    }
    let (mut elsewhere, mut on_owner) = (Player::new("elsewhere", ROOM)?, Player::new("on-owner", ROOM)?);
    elsewhere.connect(addresses[0]).await?;
    on_owner.connect(addresses[0]).await?;
    let (mut remote_ms, mut local_ms) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        let (remote, local) =
            one_kill(&mut region, &mut elsewhere, &mut on_owner).await.with_context(|| format!("round {round}"))?;
        eprintln!(
            "round {round}: on another node {} ms, on the killed node {} ms",
            remote.as_millis(),
            local.as_millis()
        );
        remote_ms.push(remote.as_secs_f64() * 1000.0);
        local_ms.push(local.as_secs_f64() * 1000.0);
    }
    for player in [&elsewhere, &on_owner] {
        ensure!(player.client.broken.is_empty(), "broken promises: {:?}", player.client.broken);
    }
    Ok(json!({
        "rounds": args.rounds, "nodes": args.nodes, "rooms": args.rooms + 1,
        "client_on_another_node_ms": summary(&mut remote_ms), "client_on_the_killed_node_ms": summary(&mut local_ms),
    }))
}

fn summary(values: &mut [f64]) -> Value {
    values.sort_by(f64::total_cmp);
    // Nearest rank: of 50 values the p99 is the largest.
    let at =
        |quantile: f64| values[((values.len() as f64 * quantile).ceil() as usize).clamp(1, values.len()) - 1].round();
    json!({ "median": at(0.5), "p90": at(0.9), "p99": at(0.99), "min": at(0.0), "max": at(1.0) })
}

/// Both play; the room's owner is killed; both play again. The node is back at the end.
async fn one_kill(region: &mut Region, elsewhere: &mut Player, on_owner: &mut Player) -> Result<(Duration, Duration)> {
    let owner = settled_owner(region, elsewhere).await?;
    let others = region.others(&owner);
    on_owner.connect(region.node(&owner)?.address).await?;
    elsewhere.connect(others[0]).await?;
    for player in [&mut *elsewhere, &mut *on_owner] {
        let seq = player.act();
        player.answered(seq).await?;
    }
    // The timing of beats relative to the kill is to be anything.
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..500))).await;
    region.node(&owner)?.kill9()?;
    let killed = Instant::now();
    let (remote, local) = tokio::join!(play_on(elsewhere, killed), resume_and_play(on_owner, &others, killed));
    let times = (remote?, local?);
    region.node(&owner)?.restart()?;
    region.wait_until_ready().await?;
    tokio::time::sleep(SETTLE).await;
    Ok(times)
}

/// The room's owner, once an action was acked and the owner was the same before and after.
async fn settled_owner(region: &Region, player: &mut Player) -> Result<String> {
    let shown = |player: &Player| player.client.view.as_ref().map(|view| view.owner.clone()).context("no view");
    loop {
        let before = shown(player)?;
        let playing = async {
            let seq = player.act();
            player.answered(seq).await
        };
        if tokio::time::timeout(PLAYING_WITHIN, playing).await?.is_err() {
            player.connect(region.nodes[0].address).await?;
            continue;
        }
        let after = shown(player)?;
        if before == after && region.nodes.iter().any(|node| node.name == after) {
            return Ok(after);
        }
    }
}

async fn play_on(player: &mut Player, killed: Instant) -> Result<Duration> {
    let seq = player.act();
    tokio::time::timeout(PLAYING_WITHIN, player.answered(seq)).await.context("no answer")??;
    Ok(killed.elapsed())
}

/// The connection is dead: resumes on another node. The action waits in the client as in a client library.
async fn resume_and_play(player: &mut Player, others: &[SocketAddr], killed: Instant) -> Result<Duration> {
    let seq = player.act();
    let playing = async {
        for attempt in 0.. {
            if player.answered(seq).await.is_ok() {
                return;
            }
            if player.connect(others[attempt % others.len()]).await.is_err() {
                tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
            }
        }
    };
    tokio::time::timeout(PLAYING_WITHIN, playing).await.context("no answer")?;
    Ok(killed.elapsed())
}

/// Keeps a room in use, over whichever node takes the connection.
async fn stay_connected(mut player: Player, addresses: Vec<SocketAddr>, first: usize) {
    for attempt in first.. {
        if player.connect(addresses[attempt % addresses.len()]).await.is_ok() {
            while player.next().await.is_ok() {}
        }
        tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
    }
}
