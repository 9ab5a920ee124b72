//! What one address can do to a node that has the limits it comes with: 200 connections that trickle, 1,000 that say
//! nothing, 10 MB/s of garbage. Somebody who plays meanwhile is answered, and afterwards nothing is left of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sectorbus::action::{Action, Status};
use sectorbus_tests::cluster::token;
use sectorbus_tests::processes::NodeProcess;
use sectorbus_tests::region::{Region, until_metric};
use sectorbus_tests::wire::{Player, PlayerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::SOON;

/// 127.0.0.0/8 is all this machine's: the attacker is another address than the player.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// A round trip takes milliseconds; the machine may be busy with other tests.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
const ATTACK_FOR: Duration = Duration::from_secs(5);
const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

struct Scene {
    region: Region,
    player: Player,
    open_files: usize,
}

impl Scene {
    async fn new() -> Result<Self> {
        let region = Region::start_with(&["a"], |settings| settings.limited().with("hello_within_ms", 2_000)).await?;
        let player = Player::start("bystander", &region.addresses(), PlayerOptions::default());
        player.settled(SOON).await?;
        let open_files = region.nodes[0].open_files()?;
        Ok(Self { region, player, open_files })
    }

    fn node(&self) -> &NodeProcess {
        &self.region.nodes[0]
    }

    /// Plays until `attack` is over; how often it was answered, and the longest it waited.
    async fn plays_during<T>(&self, attack: impl Future<Output = Result<T>>) -> Result<T> {
        let mut attack = std::pin::pin!(attack);
        let mut rounds = 0;
        let over = loop {
            tokio::select! {
                over = &mut attack => break over?,
                played = self.plays_once(rounds) => played?,
            }
            rounds += 1;
        };
        ensure!(rounds >= 5, "only {rounds} actions were answered");
        ensure!(self.player.told().connections == 1, "the bystander was thrown out: {:?}", self.player.told().closes);
        Ok(over)
    }

    async fn plays_once(&self, round: u32) -> Result<()> {
        let status = if round.is_multiple_of(2) { Status::Away } else { Status::Busy };
        let seq = self.player.act(Action::Status { status });
        let answered = |told: &sectorbus_tests::wire::Told| told.client.answers.contains_key(&seq);
        self.player.until(ANSWERED_WITHIN, "an answer during the attack", answered).await?;
        // As fast as a player may.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    }

    /// Waits until the node has let go of all that the attack opened.
    async fn nothing_is_left(self) -> Result<()> {
        until_metric(self.node(), "sectorbus_half_open", SOON, |open| open == 0.0).await?;
        let deadline = Instant::now() + SOON;
        // One for the probe's own connection.
        while self.node().open_files()? > self.open_files + 1 {
            ensure!(
                Instant::now() < deadline,
                "{} files are open, before {}",
                self.node().open_files()?,
                self.open_files
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.region.passed()
    }
}

async fn connected(to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((ATTACKER, 0)))?;
    Ok(socket.connect(to).await?)
}

/// Reads until the node has closed, cleanly or not.
async fn until_closed(stream: &mut TcpStream) -> Result<()> {
    let mut unread = [0; 4096];
    let reading = async { while stream.read(&mut unread).await.is_ok_and(|bytes| bytes > 0) {} };
    tokio::time::timeout(SOON, reading).await.context("the node keeps the connection")
}

async fn all(mut attackers: JoinSet<Result<()>>) -> Result<()> {
    while let Some(over) = attackers.join_next().await {
        over??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_trickle_are_cut_off_on_redis() -> Result<()> {
    let scene = Scene::new().await?;
    let address = scene.node().address();
    let mut attackers = JoinSet::new();
    for _ in 0..200 {
        attackers.spawn(async move {
            let mut stream = connected(address).await?;
            let mut ticks = tokio::time::interval(Duration::from_millis(200));
            let trickle = async {
                for byte in REQUEST.bytes().chain(std::iter::repeat(b'x')) {
                    ticks.tick().await;
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
            };
            tokio::time::timeout(SOON, trickle).await.context("the node waits for ever")
        });
    }
    scene.plays_during(all(attackers)).await?;
    ensure!(scene.node().metric("sectorbus_handshakes_total{result=\"timed_out\"}").await? >= 1.0);
    scene.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_half_open_handshakes_are_refused_or_closed_on_redis() -> Result<()> {
    let scene = Scene::new().await?;
    let address = scene.node().address();
    let mut attackers = JoinSet::new();
    for number in 0..1_000 {
        attackers.spawn(async move {
            let mut stream = connected(address).await?;
            // One half says nothing at all, the other nothing after its handshake.
            if number % 2 == 1 {
                let _ = stream.write_all(format!("{REQUEST}\r\n").as_bytes()).await;
            }
            until_closed(&mut stream).await
        });
    }
    scene.plays_during(all(attackers)).await?;
    let refused = scene.node().metric("sectorbus_handshakes_total{result=\"half_open\"}").await?;
    let limited = scene.node().metric("sectorbus_handshakes_total{result=\"rate_limited\"}").await?;
    let late = scene.node().metric("sectorbus_handshakes_total{result=\"timed_out\"}").await?;
    ensure!(refused >= 500.0 && late >= 1.0, "{refused} half open, {limited} too often, {late} too late");
    scene.nothing_is_left().await
}

/// Kinds of garbage: no HTTP, no WebSocket, no frame, and frames of a player with a good token.
const KINDS: usize = 4;
const CHUNK: usize = 64 * 1024;
const BYTES_PER_S: u64 = 10_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_of_garbage_a_second_are_not_noticed_by_others_on_redis() -> Result<()> {
    let scene = Scene::new().await?;
    let address = scene.node().address();
    let offered = Arc::new(AtomicU64::new(0));
    let mut attackers = JoinSet::new();
    for number in 0..16 {
        attackers.spawn(throw_garbage(address, number % KINDS, offered.clone()));
    }
    scene.plays_during(all(attackers)).await?;
    let offered = offered.load(Ordering::Relaxed);
    ensure!(offered >= BYTES_PER_S * ATTACK_FOR.as_secs() / 2, "only {offered} bytes were offered");
    let refused = scene.node().metric("sectorbus_handshakes_total{result=\"rate_limited\"}").await?;
    let frames = scene.node().metric("sectorbus_rate_limited_total{by=\"player_frames\"}").await?;
    ensure!(frames >= 1.0, "no frame was refused; {refused} handshakes were");
    scene.nothing_is_left().await
}

/// Its share of the bytes, for the time of the attack; connects again whenever it is closed.
async fn throw_garbage(address: SocketAddr, kind: usize, offered: Arc<AtomicU64>) -> Result<()> {
    let until = Instant::now() + ATTACK_FOR;
    let mut pace = tokio::time::interval(Duration::from_secs(16) * CHUNK as u32 / BYTES_PER_S as u32);
    while Instant::now() < until {
        pace.tick().await;
        offered.fetch_add(CHUNK as u64, Ordering::Relaxed);
        let mut stream = connected(address).await?;
        if kind > 0 && stream.write_all(opening(kind).as_bytes()).await.is_err() {
            continue;
        }
        if kind == 3 && stream.write_all(&masked(br#"{"hello":{"features":[]}}"#)).await.is_err() {
            continue;
        }
        let chunk = garbage(kind);
        while Instant::now() < until {
            pace.tick().await;
            offered.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            let written = tokio::time::timeout_at(until, stream.write_all(&chunk)).await;
            if !matches!(written, Ok(Ok(()))) {
                break;
            }
        }
    }
    Ok(())
}

fn opening(kind: usize) -> String {
    let token = if kind == 3 { token("garbage") } else { token("nobody") };
    format!("{REQUEST}Sec-WebSocket-Protocol: sectorbus.v1.json\r\nAuthorization: Bearer {token}\r\n\r\n")
}

fn garbage(kind: usize) -> Vec<u8> {
    match kind {
        0 | 1 => (0..CHUNK).map(|n| (n * 31 % 251) as u8).collect(),
        2 => masked(&[b'x'; 16_000]).repeat(4),
        // Frames that are answered, as long as they may be.
        _ => masked(format!(r#"{{"ping":{{"t":1,"x":"{}"}}}}"#, "x".repeat(15_900)).as_bytes()).repeat(4),
    }
}

/// A text message as a client writes it, of up to 65,535 bytes.
fn masked(payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16;
    let header = [&[0x81, 0x80 | 126][..], &length.to_be_bytes(), &[0; 4]].concat();
    [&header, payload].concat()
}
