//! A round through everything that compose.yaml starts: players of two regions through HAProxy on nodes that have no more rights
//! in Redis than their ACL gives, a node and a nexus killed, and Prometheus watching.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use redis::aio::MultiplexedConnection;
use sectorbus::action::{Action, Status};
use sectorbus::ids::{PlayerId, RoomId};
use sectorbus_node::auth::{Claims, mint, now_s};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use sectorbus_tests::client::Client;
use sectorbus_tests::cluster::secret;
use sectorbus_tests::prometheus::Prometheus;
use sectorbus_tests::waiting::until_async;
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::SOON;
use crate::running::{NEXUS, Running, nodes};

const PLAYERS: usize = 6;
/// The nodes together take fewer of one address that say nothing.
const HALF_OPEN_SOCKETS_MAX: usize = 900;
/// Slower than `actions_per_s` allows.
const MOVE_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// Slower than a player may speak.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(1);
const TARGETS: f64 = 11.0; // six nodes, two HAProxy, two nexus, Prometheus

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_of_the_composed_regions_talk_and_play_on_when_a_node_and_a_nexus_die_redis() -> Result<()> {
    let (mut running, prometheus) = Running::start().await?;
    ensure!(running.unnamed().is_empty(), "the files do not name {:?}", running.unnamed());
    until_number(&prometheus, "sum(up)", TARGETS).await?;
    until_number(&prometheus, "count(count by (region) (sectorbus_members == 3))", 2.0).await?;
    until_number(&prometheus, "sum(sectorbus_nexus_leader)", 2.0).await?;

    let [here, there] = [("eu", PLAYERS), ("us", 1)].map(|(region, count)| players(&running, region, count));
    let (here, there) = (here?, there?);
    for player in here.iter().chain(&there) {
        player.settled(SOON).await?;
        ensure!(player.told().node.starts_with(&player.name[..2]), "{} is on {}", player.name, player.told().node);
    }
    for player in &here {
        move_on(player).await?;
    }
    let (ann, bob) = (&here[0], &there[0]);
    joined(ann, bob).await?;
    joined(bob, ann).await?;
    is_heard(ann, bob, "good morning").await?;
    is_heard(bob, ann, "good evening").await?;

    let killed = ann.told().node.clone();
    ensure!(nodes("eu").contains(&killed), "a player is on {killed:?}");
    running.kill9(&killed)?;
    ensure!(!running.passes_check(&killed).await?, "{killed} is dead and healthy");
    for player in &here {
        player.act(Action::Status { status: Status::Busy });
        player.settled(SOON).await?;
        ensure!(player.told().node != killed && player.told().client.broken.is_empty(), "{}", player.name);
        move_on(player).await?;
    }
    ensure!(ann.told().connections > 1, "its node died");
    let out = format!("haproxy_server_status{{server=\"{killed}\", state=\"UP\"}}");
    until_number(&prometheus, &out, 0.0).await?;

    let leader = leader(&prometheus, "eu").await?;
    running.kill9(&leader)?;
    ensure!(!running.passes_check(&leader).await?, "{leader} is dead and healthy");
    is_heard(ann, bob, "still here").await?;
    is_heard(bob, ann, "here too").await?;
    for (player, text) in [(bob, "good morning"), (ann, "good evening"), (bob, "still here"), (ann, "here too")] {
        ensure!(heard(player, text) == 1, "{} heard {text:?} {} times", player.name, heard(player, text));
        ensure!(player.told().client.broken.is_empty(), "{}: {:?}", player.name, player.told().client.broken);
    }

    until_number(&prometheus, "sum(up)", TARGETS - 2.0).await?;
    until_number(&prometheus, "sum(sectorbus_nexus_leader)", 2.0).await?;
    until_number(&prometheus, "sum(sectorbus_nexus_gaps_total)", 0.0).await?;
    until_number(&prometheus, "max(region:sectorbus_rooms_without_owner:max)", 0.0).await?;
    until_number(&prometheus, "sum(sectorbus_acked_lost_total)", 0.0).await?;
    an_address_that_floods_is_kept_out_alone(running.address("haproxy-eu:7700")).await?;
    rights_are_enforced(&running).await
}

/// Until one hears the other: what is said before a region's first nexus stays where it was said.
async fn joined(author: &Player, listener: &Player) -> Result<()> {
    let mut said_at: Option<Instant> = None;
    until_async(SOON, "the regions are joined", async || {
        if said_at.is_none_or(|at| at.elapsed() >= SAY_AGAIN_AFTER) {
            author.say(RoomId::Global, "anybody there?");
            said_at = Some(Instant::now());
        }
        Ok(heard(listener, "anybody there?") > 0)
    })
    .await
}

/// One says it to everybody, once, and the other hears it.
async fn is_heard(author: &Player, listener: &Player, text: &str) -> Result<()> {
    author.say(RoomId::Global, text);
    let what = format!("{} hears {text:?}", listener.name);
    until_async(SOON, &what, async || Ok(heard(listener, text) > 0)).await
}

/// How often.
fn heard(player: &Player, text: &str) -> usize {
    let told = player.told();
    told.client.heard.texts(&RoomId::Global).into_iter().filter(|heard| *heard == text).count()
}

/// The nexus that leads a link.
async fn leader(prometheus: &Prometheus, link: &str) -> Result<String> {
    let leads = prometheus.query(&format!("sectorbus_nexus_leader{{link=\"{link}\"}} == 1")).await?;
    let Some(nexus) = leads.first().and_then(|sample| sample.labels.get("nexus")) else { bail!("nobody leads {link}") };
    ensure!(NEXUS.contains(&nexus.as_str()), "{nexus} leads {link}");
    Ok(nexus.clone())
}

/// Limits are per player's address, not per HAProxy's.
async fn an_address_that_floods_is_kept_out_alone(haproxy: SocketAddr) -> Result<()> {
    let (flooding, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let mut open = Vec::new();
    while let Some(socket) = upgraded(haproxy, flooding).await? {
        open.push(socket);
        ensure!(open.len() < HALF_OPEN_SOCKETS_MAX, "so many handshakes of one address are taken");
    }
    ensure!(upgraded(haproxy, other).await?.is_some(), "an address that does nothing is kept out too");
    Ok(())
}

/// A handshake from this address of the loopback; `None`: it was refused.
async fn upgraded(to: SocketAddr, from: Ipv4Addr) -> Result<Option<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let mut socket = socket.connect(to).await?;
    let request = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sectorbus.v1.json\r\n\r\n";
    socket.write_all(request.as_bytes()).await?;
    let mut status = [0; "HTTP/1.1 101".len()];
    tokio::time::timeout(SOON, socket.read_exact(&mut status)).await.context("no answer to a handshake")??;
    Ok((status == *b"HTTP/1.1 101").then_some(socket))
}

/// Of one region, through its HAProxy, with tokens of the secret that all nodes were given.
fn players(running: &Running, region: &str, count: usize) -> Result<Vec<Player>> {
    let key = running.secret("jwt_secret")?;
    let start = |n: usize| {
        let name = format!("{region}{n}");
        let claims = Claims::new(PlayerId::new(&name)?, now_s() + 3_600);
        let client = Client::new(&name, mint(&claims, &secret(key.as_bytes())));
        let options = PlayerOptions { feeds: true, ..PlayerOptions::default() };
        Ok(Player::with_client(client, &[running.address(&format!("haproxy-{region}:7700"))], options))
    };
    (0..count).map(start).collect()
}

/// To a sector nearby, which mostly another node owns.
async fn move_on(player: &Player) -> Result<()> {
    let sector = |player: &Player| player.told().client.view.as_ref().map(|view| (view.sector.clone(), view.warps()));
    let (from, warps) = sector(player).context("a player sees a sector")?;
    // A ship that has just moved is asked to wait: the move is asked for again, as often as limits allow.
    let mut again = tokio::time::interval(MOVE_AGAIN_AFTER);
    until_async(SOON, "the player moves", async || {
        again.tick().await;
        player.act(Action::Move { to: warps[0].clone() });
        player.settled(SOON).await?;
        Ok(sector(player).is_some_and(|(now, _)| now != from))
    })
    .await
}

async fn until_number(prometheus: &Prometheus, expression: &str, wanted: f64) -> Result<()> {
    until_async(SOON, expression, async || Ok(prometheus.number(expression).await? == Some(wanted))).await
}

/// Nodes and nexus were refused nothing in all this, and would be refused whatever else they tried.
async fn rights_are_enforced(running: &Running) -> Result<()> {
    for redis in ["eu", "us", "nexus"] {
        let mut operator = user(running, redis, "operator").await?;
        let refused: Vec<redis::Value> = redis::cmd("ACL").arg("LOG").query_async(&mut operator).await?;
        ensure!(refused.is_empty(), "redis-{redis} refused while they worked: {refused:?}");
        let mut monitor = user(running, redis, "monitor").await?;
        ensure!(redis::cmd("INFO").query_async::<String>(&mut monitor).await.is_ok());
        is_refused(&mut monitor, "HGETALL sb:eu:{members}").await?;
        let nobody = redis::Client::open(format!("redis://{}", running.address(&format!("redis-{redis}:6379"))))?;
        let said = async {
            redis::cmd("PING").query_async::<String>(&mut nobody.get_multiplexed_async_connection().await?).await
        };
        ensure!(said.await.is_err(), "a connection without a name is answered");
    }
    for (mine, other) in [("eu", "us"), ("us", "eu")] {
        let mut node = user(running, mine, "node").await?;
        let members = format!("sb:{mine}:{{members}}");
        ensure!(redis::cmd("HGETALL").arg(members).query_async::<redis::Value>(&mut node).await.is_ok());
        for command in ["FLUSHALL", "KEYS *", "CONFIG GET *", "SET elsewhere 1", "ACL LIST"] {
            is_refused(&mut node, command).await?;
        }
        for user_name in ["node", "nexus"] {
            let mut user = user(running, mine, user_name).await?;
            for command in ["GET sb:OTHER:x", "SPUBLISH sb:OTHER:x 1"] {
                is_refused(&mut user, &command.replace("OTHER", other)).await?;
            }
        }
    }
    Ok(())
}

async fn is_refused(connection: &mut MultiplexedConnection, command: &str) -> Result<()> {
    let mut words = command.split(' ');
    let mut cmd = redis::cmd(words.next().unwrap_or_default());
    let said = cmd.arg(words.collect::<Vec<_>>()).query_async::<redis::Value>(connection).await;
    ensure!(said.as_ref().is_err_and(|error| error.code() == Some("NOPERM")), "{command}: {said:?}");
    Ok(())
}

/// `redis`: a region, or `nexus`.
async fn user(running: &Running, redis: &str, name: &str) -> Result<MultiplexedConnection> {
    let password = running.secret(&format!("redis_{redis}_{name}_password"))?;
    let address = running.address(&format!("redis-{redis}:6379"));
    let client = redis::Client::open(format!("redis://{name}:{password}@{address}"))?;
    Ok(client.get_multiplexed_async_connection().await?)
}
