//! Things said in one room that many sessions hear: from when each was due to be said until each session has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use sectorbus::ids::RoomId;
use sectorbus::protocol::{ClientFrame, Codec, Say, ServerFrame};
use sectorbus::said::Said;

use crate::load::listening::{JOINING_AT_ONCE, is_delta};
use crate::load::pace::{Latencies, Pace, block_until, not_negative};
use crate::load::player::encoded;
use crate::load::progress::Progress;
use crate::load::region::NodeOptions;
use crate::load::summary::Summary;
use crate::load::target::{Target, Where, per_million};
use crate::load::usage::allow_open_files;
use crate::load::wire::{Arrived, Sender, Wire};

/// After the last join, before the first word.
const SETTLE: Duration = Duration::from_secs(2);
/// After the last word, for its last delivery.
const LAST_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, clap::Args)]
pub struct ChatArgs {
    /// Sessions that hear everything
    #[arg(long, default_value_t = 1_000)]
    pub sessions: usize,
    /// Those of them that speak, in turn
    #[arg(long, default_value_t = 20)]
    pub speakers: usize,
    /// Things said per second, by all together
    #[arg(long, default_value_t = 10.0, value_parser = not_negative)]
    pub rate: f64,
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    #[arg(long, default_value_t = 20.0, value_parser = not_negative)]
    pub seconds: f64,
    /// Speaking before counting starts
    #[arg(long, default_value_t = 2.0, value_parser = not_negative)]
    pub warm_up_s: f64,
}

/// What all sessions together heard.
struct Heard {
    /// When each thing was due to be said, by its number.
    due: Mutex<Vec<Instant>>,
    trips: Mutex<Latencies>,
    items: AtomicU64,
    repeated: AtomicU64,
    bytes: AtomicU64,
    ended: AtomicU64,
}

pub async fn run(args: &ChatArgs, place: &Where, name: &str) -> Result<Summary> {
    ensure!(args.rate > 0.0, "--rate: things said per second, above 0, are accepted");
    ensure!((1..=args.sessions).contains(&args.speakers), "--speakers: 1 to --sessions are accepted");
    allow_open_files(2 * args.sessions as u64 + 1_000)?;
    let target = Target::start(place, args.nodes, &NodeOptions::default()).await?;
    let wires = join(args, &target).await?;
    tokio::time::sleep(SETTLE).await;
    let pace = Pace {
        per_s: args.rate,
        warm_up: Duration::from_secs_f64(args.warm_up_s),
        counted: Duration::from_secs_f64(args.seconds),
    };
    let started = Instant::now();
    let heard = Arc::new(Heard {
        due: Mutex::default(),
        trips: Mutex::new(Latencies::new(started + pace.warm_up)),
        items: AtomicU64::new(0),
        repeated: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        ended: AtomicU64::new(0),
    });
    let speakers: Vec<Sender> = wires.iter().take(args.speakers).map(Wire::sender).collect();
    let mut listening = JoinSet::new();
    for wire in wires {
        listening.spawn(listen(wire, heard.clone()));
    }
    let cpu_before = target.cpu()?;
    let speaking = tokio::task::spawn_blocking({
        let heard = heard.clone();
        move || speak(&pace, started, &speakers, &heard.due)
    });
    Progress::sleep(name, pace.total()).await;
    let said = speaking.await??;
    let wanted = said * args.sessions as u64;
    let deadline = Instant::now() + LAST_WITHIN;
    while heard.items.load(Ordering::Relaxed) < wanted && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ensure!(heard.ended.load(Ordering::Relaxed) == 0, "a session lost its connection");
    let items = heard.items.load(Ordering::Relaxed);
    let cpu = target.cpu()?.zip(cpu_before).map(|(after, before)| after.since(before));
    let seconds = pace.total().as_secs_f64();
    let trips = heard.trips.lock().micros().clone();
    Ok(Summary {
        deliveries_per_s: Some(items as f64 / seconds),
        node_cpu_s_per_million: cpu.map(|cpu| per_million(cpu.nodes, items)),
        redis_cpu_s_per_million: cpu.map(|cpu| per_million(cpu.redis, items)),
        bytes_per_player_per_s: Some(heard.bytes.load(Ordering::Relaxed) as f64 / args.sessions as f64 / seconds),
        lost: Some(wanted.saturating_sub(items) as f64),
        duplicated: Some(heard.repeated.load(Ordering::Relaxed) as f64),
        ..Summary::new(name)
    }
    .with_latencies(&trips))
}

async fn join(args: &ChatArgs, target: &Target) -> Result<Vec<Wire>> {
    let (progress, permits) = (Progress::new("joining", args.sessions), Arc::new(Semaphore::new(JOINING_AT_ONCE)));
    let mut joining = JoinSet::new();
    for n in 0..args.sessions {
        let permit = permits.clone().acquire_owned().await?;
        let (mut player, address) = (target.player(&format!("talker{n}"), 1 + n % 10)?, target.address(n));
        joining.spawn(async move {
            player.client.heard.wanted = true;
            player.connect(address).await.context("a session cannot join")?;
            while !player.client.heard.cursors.contains_key(&RoomId::Global) {
                player.next().await?;
            }
            drop(permit);
            anyhow::Ok(player.into_wire()?.wire)
        });
    }
    let mut wires = Vec::with_capacity(args.sessions);
    while let Some(joined) = joining.join_next().await {
        wires.push(joined??);
        progress.step();
    }
    Ok(wires)
}

/// Says everything in `global` when it is due, its number as its words, and notes when that was; how much it was.
pub(super) fn speak(pace: &Pace, started: Instant, speakers: &[Sender], dues: &Mutex<Vec<Instant>>) -> Result<u64> {
    let mut said = 0;
    for (number, due) in (0_usize..).map_while(|number| Some((number, pace.due(number as u64)?))) {
        let due = started + due;
        block_until(due);
        dues.lock().push(due);
        let n = (number / speakers.len()) as u64 + 1;
        let say = Say { n, to: RoomId::Global, text: number.to_string() };
        speakers[number % speakers.len()].send(&encoded(&ClientFrame::Say(say)))?;
        said += 1;
    }
    Ok(said)
}

/// Counts what one session hears until its connection ends.
async fn listen(mut wire: Wire, heard: Arc<Heard>) {
    let (mut bytes_before, mut last) = (wire.bytes_in, None);
    loop {
        let arrived = wire.next().await;
        heard.bytes.fetch_add(wire.bytes_in - bytes_before, Ordering::Relaxed);
        bytes_before = wire.bytes_in;
        match arrived {
            Ok(Arrived::Message(payload)) if is_delta(&payload) => {}
            Ok(Arrived::Message(payload)) => {
                let Ok(ServerFrame::Item(item)) = ServerFrame::decode(Codec::Msgpack, &payload) else { continue };
                let Said::Chat(chat) = &item.said else { continue };
                if last.is_some_and(|last| item.id <= last) {
                    heard.repeated.fetch_add(1, Ordering::Relaxed);
                }
                last = Some(item.id);
                heard.items.fetch_add(1, Ordering::Relaxed);
                let number = chat.text.parse::<usize>().unwrap_or(usize::MAX);
                if let Some(due) = heard.due.lock().get(number).copied() {
                    heard.trips.lock().answered(due);
                }
            }
            Ok(Arrived::Ping(payload)) if wire.sender().pong(&payload).is_ok() => {}
            Ok(Arrived::Ping(_) | Arrived::Closed(..) | Arrived::Ended) | Err(_) => {
                heard.ended.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }
}
