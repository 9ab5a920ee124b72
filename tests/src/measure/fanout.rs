//! CPU of a node per delivery: one room, many sessions, deltas at a fixed rate and as fast as the room decides them.
//! Beside it, in the same run, the raw-socket limit for the same bytes at the same rate.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use sectorbus::ids::Seq;
use sectorbus::protocol::{Act, ClientFrame};

use crate::measure::broadcast::{self, BroadcastArgs};
use crate::measure::listening::{Heard, join_all};
use crate::measure::nodes::{NodeOptions, Region};
use crate::measure::player::{Player, encoded, status};
use crate::measure::usage::{self, cpu_of};
use crate::measure::wire::{Arrived, Wire};

const ROOM: &str = "1";
/// After the last session joined, before the first measurement.
const SETTLE: Duration = Duration::from_secs(3);
/// From the first delta of a load until counting starts.
const WARM_UP: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, clap::Args)]
pub struct FanoutArgs {
    #[arg(long, default_value_t = 1_000)]
    pub sessions: usize,
    /// Deltas per second; 0: flat out, with realtime_frames_per_s = 0
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// How often node and limit are measured in turn
    #[arg(long, default_value_t = 3)]
    pub repeats: usize,
    /// Sessions that act without a pause when flat out
    #[arg(long, default_value_t = 8)]
    pub drivers: usize,
    /// The one core that node and broadcaster run on; not given: all
    #[arg(long)]
    pub core: Option<u32>,
}

/// One measurement of the node.
struct Delivered {
    deliveries: u64,
    bytes_each: f64,
    rounds_per_s: f64,
    cpu_s: f64,
    cpu_s_per_million: f64,
    redis_cpu_s: f64,
    others: u64,
}

pub async fn run(args: FanoutArgs) -> Result<Value> {
    usage::allow_open_files(4 * args.sessions as u64 + 1_000)?;
    let mut options = NodeOptions { core: args.core, ..NodeOptions::default() };
    if args.rate == 0.0 {
        options.settings.push(("realtime_frames_per_s", "0".to_owned()));
    }
    let region = Region::start(1, &options).await?;
    let address = region.nodes[0].address;
    let (mut listeners, heard) = (JoinSet::new(), Arc::new(Heard::default()));
    let who = (0..args.sessions).map(|n| (format!("listener{n}"), ROOM.to_owned()));
    join_all(&mut listeners, address, who, &heard).await?;
    let drivers = if args.rate == 0.0 { args.drivers } else { 1 };
    let mut driving = JoinSet::new();
    let mut players = Vec::new();
    for n in 0..drivers {
        let mut player = Player::new(&format!("driver{n}"), ROOM)?;
        player.connect(address).await?;
        players.push(player);
    }
    tokio::time::sleep(SETTLE).await;
    for player in players {
        let (wire, seq) = player.into_wire()?;
        match args.rate {
            0.0 => drop(driving.spawn(drive_flat_out(wire, seq))),
            rate => drop(driving.spawn(drive_at(wire, seq, rate))),
        }
    }
    tokio::time::sleep(WARM_UP).await;
    let mut rows = Vec::new();
    for _ in 0..args.repeats {
        let node = measure(&region, &heard, &args).await?;
        let limit = BroadcastArgs {
            sessions: args.sessions,
            bytes: node.bytes_each.round() as usize,
            rounds_per_s: node.rounds_per_s,
            seconds: args.seconds,
        };
        let limit = broadcast::measure(limit, args.core).await?;
        ensure!(driving.try_join_next().is_none(), "a driver ended");
        ensure!(heard.ended() == 0, "{} sessions lost their connection", heard.ended());
        let ratio = node.cpu_s_per_million / limit.cpu_s_per_million();
        rows.push(json!({
            "node_cpu_s_per_million": round(node.cpu_s_per_million), "limit_cpu_s_per_million": round(limit.cpu_s_per_million()),
            "ratio": round(ratio), "deliveries": node.deliveries, "deltas_per_s": round(node.rounds_per_s),
            "bytes_each": round(node.bytes_each), "node_cpu_s": round(node.cpu_s), "redis_cpu_s": round(node.redis_cpu_s),
            "other_frames": node.others, "limit_deliveries": limit.deliveries, "limit_refused": limit.refused,
        }));
        eprintln!("{}", rows.last().context("a row")?);
    }
    let median = |name: &str| {
        let mut values: Vec<f64> = rows.iter().filter_map(|row| row[name].as_f64()).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    Ok(json!({
        "sessions": args.sessions, "rate": args.rate, "core": args.core, "repeats": rows.len(),
        "node_cpu_s_per_million": median("node_cpu_s_per_million"),
        "limit_cpu_s_per_million": median("limit_cpu_s_per_million"),
        "ratio": median("ratio"), "deltas_per_s": median("deltas_per_s"), "bytes_each": median("bytes_each"),
    }))
}

async fn measure(region: &Region, heard: &Heard, args: &FanoutArgs) -> Result<Delivered> {
    let (pid, redis) = (region.nodes[0].pid(), region.redis.pid());
    let (started, cpu, redis_cpu) = (Instant::now(), cpu_of(pid)?, cpu_of(redis)?);
    let (deltas, bytes, others) = (heard.deltas(), heard.delta_bytes(), heard.others());
    tokio::time::sleep(Duration::from_secs_f64(args.seconds)).await;
    let cpu_s = (cpu_of(pid)? - cpu).as_secs_f64();
    let deliveries = heard.deltas() - deltas;
    ensure!(deliveries > 0, "nothing was delivered");
    Ok(Delivered {
        deliveries,
        bytes_each: (heard.delta_bytes() - bytes) as f64 / deliveries as f64,
        rounds_per_s: deliveries as f64 / args.sessions as f64 / started.elapsed().as_secs_f64(),
        cpu_s,
        cpu_s_per_million: cpu_s * 1e6 / deliveries as f64,
        redis_cpu_s: (cpu_of(redis)? - redis_cpu).as_secs_f64(),
        others: heard.others() - others,
    })
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn act(seq: u64) -> Vec<u8> {
    encoded(&ClientFrame::Act(Act { seq: Seq(seq), action: status(seq) }))
}

/// Acts at a fixed rate, whatever is answered.
async fn drive_at(mut wire: Wire, first_seq: u64, rate: f64) -> Result<()> {
    let sender = wire.sender();
    let mut every = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    every.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut seq = first_seq;
    loop {
        tokio::select! {
            _ = every.tick() => {
                sender.send(&act(seq))?;
                seq += 1;
            }
            arrived = wire.next() => if !lives_on(&wire, arrived?)? { return Ok(()) },
        }
    }
}

/// Acts again as soon as it is answered.
async fn drive_flat_out(mut wire: Wire, first_seq: u64) -> Result<()> {
    let sender = wire.sender();
    for seq in first_seq.. {
        sender.send(&act(seq))?;
        loop {
            let arrived = wire.next().await?;
            let answered = matches!(&arrived, Arrived::Message(payload) if payload.get(1..5) == Some(b"\xa3ack"));
            if !lives_on(&wire, arrived)? {
                return Ok(());
            }
            if answered {
                break;
            }
        }
    }
    Ok(())
}

fn lives_on(wire: &Wire, arrived: Arrived) -> Result<bool> {
    match arrived {
        Arrived::Message(_) => Ok(true),
        Arrived::Ping(payload) => wire.sender().pong(&payload).map(|()| true),
        Arrived::Closed(..) | Arrived::Ended => Ok(false),
    }
}
