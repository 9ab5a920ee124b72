//! CPU of a node per delivery: one room, many sessions, deltas at a fixed rate and as fast as the room decides them.
//! Beside it, in the same run, the raw-socket limit for the same bytes at the same rate.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use sectorbus::ids::Seq;
use sectorbus::protocol::{Act, ClientFrame};

use crate::load::broadcast::{self, BroadcastArgs};
use crate::load::listening::{Heard, join_all};
use crate::load::pace::not_negative;
use crate::load::player::{Joined, encoded, status};
use crate::load::progress::Progress;
use crate::load::region::NodeOptions;
use crate::load::summary::Summary;
use crate::load::target::{Cpu, Target, Where, per_million};
use crate::load::usage::allow_open_files;
use crate::load::wire::{Arrived, Wire};

const SECTOR: usize = 1;

#[derive(Debug, Clone, clap::Args)]
pub struct FanoutArgs {
    #[arg(long, default_value_t = 1_000)]
    pub sessions: usize,
    /// Deltas per second; 0: flat out, with realtime_frames_per_s = 0
    #[arg(long, default_value_t = 20.0, value_parser = not_negative)]
    pub rate: f64,
    #[arg(long, default_value_t = 10.0, value_parser = not_negative)]
    pub seconds: f64,
    /// Of the load, before counting starts; as long is waited after the last session joined
    #[arg(long, default_value_t = 3.0, value_parser = not_negative)]
    pub warm_up_s: f64,
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
    /// Of a delta.
    bytes_each: f64,
    bytes: u64,
    seconds: f64,
    /// `None`: not this run's own node.
    cpu: Option<Cpu>,
}

pub async fn run(args: &FanoutArgs, place: &Where, name: &str) -> Result<Summary> {
    ensure!(args.sessions > 0 && args.drivers > 0, "--sessions and --drivers: 1 and up are accepted");
    allow_open_files(2 * args.sessions as u64 + 1_000)?;
    let mut options = NodeOptions { core: args.core, ..NodeOptions::default() };
    if args.rate == 0.0 {
        options.settings.push(("realtime_frames_per_s", "0".to_owned()));
    }
    let target = Target::start(place, 1, &options).await?;
    let (mut listeners, heard) = (JoinSet::new(), Arc::new(Heard::default()));
    let who = (0..args.sessions).map(|n| (format!("listener{n}"), SECTOR));
    join_all(&mut listeners, &target, who, &heard).await?;
    let mut driving = drive(args, &target).await?;
    Progress::sleep("fanout: warming up", Duration::from_secs_f64(args.warm_up_s)).await;
    let node = measure(&target, &heard, args).await?;
    ensure!(driving.try_join_next().is_none(), "a driver ended");
    ensure!(heard.ended() == 0, "{} sessions lost their connection", heard.ended());
    let per_million = |of: fn(Cpu) -> Duration| node.cpu.map(|cpu| per_million(of(cpu), node.deliveries));
    let node_cpu = per_million(|cpu| cpu.nodes);
    let limit = match node_cpu {
        Some(_) => Some(limit(args, &node).await?),
        None => None,
    };
    Ok(Summary {
        deliveries_per_s: Some(node.deliveries as f64 / node.seconds),
        node_cpu_s_per_million: node_cpu,
        redis_cpu_s_per_million: per_million(|cpu| cpu.redis),
        ratio_to_limit: node_cpu.zip(limit).map(|(node, limit)| node / limit),
        bytes_per_player_per_s: Some(node.bytes as f64 / args.sessions as f64 / node.seconds),
        ..Summary::new(name)
    })
}

/// CPU seconds per million of the same bytes to as many sockets at the same rate, while the node goes on as before.
async fn limit(args: &FanoutArgs, node: &Delivered) -> Result<f64> {
    let limit = BroadcastArgs {
        sessions: args.sessions,
        bytes: node.bytes_each.round() as usize,
        rounds_per_s: node.deliveries as f64 / args.sessions as f64 / node.seconds,
        seconds: args.seconds,
    };
    let progress = Progress::new("fanout: bare sockets", 1);
    let limit = broadcast::measure(limit, args.core).await?;
    progress.step();
    ensure!(limit.cpu_s > 0.0, "too short: CPU time is counted in steps of 10 ms; give more --seconds or --sessions");
    Ok(limit.cpu_s_per_million())
}

/// Starts those whose actions make the deltas, after a rest from the joins.
async fn drive(args: &FanoutArgs, target: &Target) -> Result<JoinSet<Result<()>>> {
    let drivers = if args.rate == 0.0 { args.drivers } else { 1 };
    let mut players = Vec::new();
    for n in 0..drivers {
        let mut player = target.player(&format!("driver{n}"), SECTOR)?;
        player.connect(target.address(n)).await?;
        players.push(player.into_wire()?);
    }
    Progress::sleep("fanout: settling", Duration::from_secs_f64(args.warm_up_s)).await;
    let mut driving = JoinSet::new();
    for Joined { wire, next_seq, .. } in players {
        if args.rate == 0.0 {
            driving.spawn(drive_flat_out(wire, next_seq));
        } else {
            driving.spawn(drive_at(wire, next_seq, args.rate));
        }
    }
    Ok(driving)
}

async fn measure(target: &Target, heard: &Heard, args: &FanoutArgs) -> Result<Delivered> {
    let (started, before) = (Instant::now(), target.cpu()?);
    let (deltas, delta_bytes, bytes) = (heard.deltas(), heard.delta_bytes(), heard.bytes());
    Progress::sleep("fanout", Duration::from_secs_f64(args.seconds)).await;
    let cpu = target.cpu()?.zip(before).map(|(after, before)| after.since(before));
    let deliveries = heard.deltas() - deltas;
    ensure!(deliveries > 0, "nothing was delivered");
    Ok(Delivered {
        deliveries,
        bytes_each: (heard.delta_bytes() - delta_bytes) as f64 / deliveries as f64,
        bytes: heard.bytes() - bytes,
        seconds: started.elapsed().as_secs_f64(),
        cpu,
    })
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
