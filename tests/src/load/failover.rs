//! From `kill -9` of a room's owner to playing again: for a player on another node, and for one on the killed node.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::load::audit::{Told, audit};
use crate::load::player::Player;
use crate::load::progress::Progress;
use crate::load::region::{NodeOptions, Region, keep_whole_logs};
use crate::load::summary::{Summary, latencies, ms_at};
use crate::load::target::{Target, Where};

const SECTOR: usize = 1;
const KILLS_LONG: usize = 50;
/// Of each player beside the two that are timed.
const ACT_EVERY: Duration = Duration::from_millis(500);
/// After a node came back, until the ring and its rooms have moved.
const SETTLE: Duration = Duration::from_millis(1500);
const PLAYING_WITHIN: Duration = Duration::from_secs(30);
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, clap::Args)]
pub struct FailoverArgs {
    #[arg(long, default_value_t = 5)]
    pub kills: usize,
    /// 50 kills
    #[arg(long, conflicts_with = "kills")]
    pub long: bool,
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Further rooms with a player each, who acts twice a second: what the killed node leaves behind
    #[arg(long, default_value_t = 60)]
    pub rooms: usize,
}

pub async fn run(args: &FailoverArgs, place: &Where, name: &str) -> Result<Summary> {
    place.require_own(name)?;
    ensure!(args.nodes > 1, "--nodes is {}: 2 and up are accepted, for one is killed", args.nodes);
    let options = NodeOptions { settings: vec![keep_whole_logs()], ..NodeOptions::default() }.sectors(args.rooms + 1);
    let mut target = Target::start(place, args.nodes, &options).await?;
    let addresses: Vec<SocketAddr> = (0..args.nodes).map(|n| target.address(n)).collect();
    let (mut background, stop) = (JoinSet::new(), CancellationToken::new());
    for n in 0..args.rooms {
        let player = target.player(&format!("background{n}"), n + 2)?;
        background.spawn(play_until(stop.clone(), player, addresses.clone(), n));
    }
    let (mut elsewhere, mut on_owner) = (target.player("elsewhere", SECTOR)?, target.player("on-owner", SECTOR)?);
    elsewhere.connect(addresses[0]).await?;
    on_owner.connect(addresses[0]).await?;
    let region = target.own_mut().context("a region of its own")?;
    let kills = if args.long { KILLS_LONG } else { args.kills };
    let (progress, mut took) = (Progress::new("failover: kills", kills), latencies());
    for kill in 1..=kills {
        let times = one_kill(region, &mut elsewhere, &mut on_owner).await.with_context(|| format!("kill {kill}"))?;
        for time in times {
            took.saturating_record(u64::try_from(time.as_micros())?);
        }
        progress.step();
    }
    stop.cancel();
    let mut told = Told::default();
    for player in background.join_all().await.into_iter().chain([elsewhere, on_owner]) {
        ensure!(player.client.broken.is_empty(), "broken promises: {:?}", player.client.broken);
        told.take_client(&player.client)?;
    }
    let verdict = audit(region, args.rooms + 1, &told).await?;
    let took_ms = |quantile| (!took.is_empty()).then(|| ms_at(&took, quantile));
    Ok(Summary {
        failover_ms_p50: took_ms(0.5),
        failover_ms_p99: took_ms(0.99),
        ..Summary::new(name).with_verdict(&verdict)
    })
}

/// Both play; the room's owner is killed; both play again. The node is back at the end.
async fn one_kill(region: &mut Region, elsewhere: &mut Player, on_owner: &mut Player) -> Result<[Duration; 2]> {
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
    let times = [remote?, local?];
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
/// Stays connected and acts, whatever happens to nodes.
async fn play_until(stop: CancellationToken, mut player: Player, addresses: Vec<SocketAddr>, first: usize) -> Player {
    let mut act = tokio::time::interval(ACT_EVERY);
    act.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for attempt in first.. {
        tokio::select! {
            _ = player.connect(addresses[attempt % addresses.len()]) => {}
            () = stop.cancelled() => break,
        }
        // The first `next` says if there is no connection.
        loop {
            tokio::select! {
                next = player.next() => if next.is_err() { break },
                _ = act.tick() => drop(player.act()),
                () = stop.cancelled() => return player,
            }
        }
        tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
    }
    player
}
