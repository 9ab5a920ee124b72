//! A round through everything that compose.yaml starts: players through HAProxy on nodes that have no more rights in
//! Redis than their ACL gives, a node killed, and Prometheus watching.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use redis::aio::MultiplexedConnection;
use sectorbus::action::{Action, Status};
use sectorbus::ids::PlayerId;
use sectorbus_node::auth::{Claims, mint, now_s};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use sectorbus_tests::client::Client;
use sectorbus_tests::cluster::secret;
use sectorbus_tests::prometheus::Prometheus;
use sectorbus_tests::waiting::until_async;
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::SOON;
use crate::running::{NODES, Running};

const PLAYERS: usize = 6;
/// The nodes together take fewer of one address that say nothing.
const HALF_OPEN_SOCKETS_MAX: usize = 900;
/// Slower than `actions_per_s` allows.
const MOVE_AGAIN_AFTER: Duration = Duration::from_millis(250);
const TARGETS: f64 = 5.0; // three nodes, HAProxy, Prometheus

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_of_the_composed_region_play_on_when_a_node_dies_redis() -> Result<()> {
    let (mut running, prometheus) = Running::start().await?;
    ensure!(running.unnamed().is_empty(), "the files do not name {:?}", running.unnamed());
    until_number(&prometheus, "sum(up)", TARGETS).await?;

    let players = players(&running)?;
    for player in &players {
        player.settled(SOON).await?;
        move_on(player).await?;
    }
    let killed = players[0].told().node.clone();
    ensure!(NODES.contains(&&*killed), "a player is on {killed:?}");
    running.kill9(&killed)?;
    ensure!(!running.passes_check(&killed).await?, "{killed} is dead and healthy");
    for player in &players {
        player.act(Action::Status { status: Status::Busy });
        player.settled(SOON).await?;
        ensure!(player.told().node != killed && player.told().client.broken.is_empty(), "{}", player.name);
        move_on(player).await?;
    }
    ensure!(players[0].told().connections > 1, "its node died");

    let out = format!("haproxy_server_status{{server=\"{killed}\", state=\"UP\"}}");
    until_number(&prometheus, &out, 0.0).await?;
    until_number(&prometheus, "sum(up)", TARGETS - 1.0).await?;
    until_number(&prometheus, "max(region:sectorbus_rooms_without_owner:max)", 0.0).await?;
    until_number(&prometheus, "sum(sectorbus_acked_lost_total)", 0.0).await?;
    an_address_that_floods_is_kept_out_alone(running.address("haproxy:7700")).await?;
    rights_are_enforced(&running).await
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

/// Through HAProxy, with tokens of the secret that the nodes were given.
fn players(running: &Running) -> Result<Vec<Player>> {
    let key = running.secret("jwt_secret")?;
    let start = |n: usize| {
        let name = format!("p{n}");
        let claims = Claims::new(PlayerId::new(&name)?, now_s() + 3_600);
        let client = Client::new(&name, mint(&claims, &secret(key.as_bytes())));
        Ok(Player::with_client(client, &[running.address("haproxy:7700")], PlayerOptions::default()))
    };
    (0..PLAYERS).map(start).collect()
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

/// The nodes were refused nothing in all this, and would be refused whatever else they tried.
async fn rights_are_enforced(running: &Running) -> Result<()> {
    let mut operator = user(running, "operator").await?;
    let refused: Vec<redis::Value> = redis::cmd("ACL").arg("LOG").query_async(&mut operator).await?;
    ensure!(refused.is_empty(), "refused while the nodes worked: {refused:?}");

    let mut node = user(running, "node").await?;
    ensure!(redis::cmd("HGETALL").arg("sb:eu:{members}").query_async::<redis::Value>(&mut node).await.is_ok());
    for command in
        ["FLUSHALL", "KEYS *", "CONFIG GET *", "GET sb:us:x", "SET elsewhere 1", "SPUBLISH sb:us:x 1", "ACL LIST"]
    {
        is_refused(&mut node, command).await?;
    }
    let mut monitor = user(running, "monitor").await?;
    ensure!(redis::cmd("INFO").query_async::<String>(&mut monitor).await.is_ok());
    is_refused(&mut monitor, "HGETALL sb:eu:{members}").await?;

    let nobody = redis::Client::open(format!("redis://{}", running.address("redis:6379")))?;
    let said =
        async { redis::cmd("PING").query_async::<String>(&mut nobody.get_multiplexed_async_connection().await?).await };
    ensure!(said.await.is_err(), "a connection without a name is answered");
    Ok(())
}

async fn is_refused(connection: &mut MultiplexedConnection, command: &str) -> Result<()> {
    let mut words = command.split(' ');
    let mut cmd = redis::cmd(words.next().unwrap_or_default());
    let said = cmd.arg(words.collect::<Vec<_>>()).query_async::<redis::Value>(connection).await;
    ensure!(said.as_ref().is_err_and(|error| error.code() == Some("NOPERM")), "{command}: {said:?}");
    Ok(())
}

async fn user(running: &Running, name: &str) -> Result<MultiplexedConnection> {
    let password = running.secret(&format!("redis_{name}_password"))?;
    let client = redis::Client::open(format!("redis://{name}:{password}@{}", running.address("redis:6379")))?;
    Ok(client.get_multiplexed_async_connection().await?)
}
