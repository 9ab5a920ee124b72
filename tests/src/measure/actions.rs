//! Round trip of actions at a fixed rate over many rooms, open loop: an action's time starts when it was due to be sent,
//! whatever held up its sending.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use sectorbus::ids::Seq;
use sectorbus::protocol::{Act, ClientFrame, Codec, ServerFrame};

use crate::measure::nodes::{NodeOptions, Region};
use crate::measure::player::{Player, encoded, status};
use crate::measure::usage::{allow_open_files, cpu_of};
use crate::measure::wire::{Arrived, Sender, Wire};

/// After the last action, for its answer.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, clap::Args)]
pub struct ActionsArgs {
    /// Actions per second, all rooms together
    #[arg(long, default_value_t = 1_000.0)]
    pub rate: f64,
    #[arg(long, default_value_t = 100)]
    pub rooms: usize,
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Sessions in each room, on the nodes in turn
    #[arg(long, default_value_t = 2)]
    pub sessions_per_room: usize,
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// Acting before counting starts
    #[arg(long, default_value_t = 3.0)]
    pub warm_up_s: f64,
}

/// Who acts in turn.
struct Actor {
    sender: Sender,
    next_seq: u64,
    /// The session's node owns the room.
    is_local: bool,
    due: Arc<Due>,
}

/// Actions without an answer: when each was due.
#[derive(Default)]
struct Due(Mutex<HashMap<u64, Instant>>);

/// Round trips, µs.
struct Trips {
    local: Histogram<u64>,
    remote: Histogram<u64>,
    /// How late the sending itself was: what of a round trip this tool added.
    late: Histogram<u64>,
    rejected: u64,
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

pub async fn run(args: ActionsArgs) -> Result<Value> {
    allow_open_files(4_000)?;
    let options =
        NodeOptions { settings: vec![("universe_sectors", args.rooms.to_string())], ..NodeOptions::default() };
    let region = Region::start(args.nodes, &options).await?;
    let trips =
        Arc::new(Mutex::new(Trips { local: histogram()?, remote: histogram()?, late: histogram()?, rejected: 0 }));
    let mut readers = JoinSet::new();
    let start = Instant::now() + Duration::from_secs(3600);
    let counted_from = Arc::new(Mutex::new(start));
    let mut actors = Vec::new();
    for n in 0..args.rooms * args.sessions_per_room {
        let (room, node) = (n % args.rooms, (n % args.rooms + n / args.rooms) % args.nodes);
        let mut player = Player::new(&format!("actor{n}"), &(room + 1).to_string())?;
        player.connect(region.nodes[node].address).await?;
        let owner = player.client.view.as_ref().context("a view")?.owner.clone();
        let (wire, next_seq) = player.into_wire()?;
        let (due, is_local) = (Arc::new(Due::default()), owner == region.nodes[node].name);
        let sender = wire.sender();
        readers.spawn(read(wire, due.clone(), is_local, trips.clone(), counted_from.clone()));
        actors.push(Actor { sender, next_seq, is_local, due });
    }
    let local = actors.iter().filter(|actor| actor.is_local).count();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let cpu = |region: &Region| -> Result<Vec<Duration>> {
        region.nodes.iter().map(|node| cpu_of(node.pid())).chain([cpu_of(region.redis.pid())]).collect()
    };
    let before = cpu(&region)?;
    let pace = Pace {
        rate: args.rate,
        warm_up: Duration::from_secs_f64(args.warm_up_s),
        counted: Duration::from_secs_f64(args.seconds),
    };
    let sent = {
        let (trips, counted_from) = (trips.clone(), counted_from.clone());
        // A thread of its own: the runtime's timers are a millisecond coarse.
        tokio::task::spawn_blocking(move || {
            send_all(&pace, &mut actors, &trips, &counted_from).map(|sent| (sent, actors))
        })
        .await??
    };
    let (sent, actors) = sent;
    let unanswered = await_answers(&actors).await;
    ensure!(readers.try_join_next().is_none(), "a session lost its connection");
    let spent = cpu(&region)?.into_iter().zip(before).map(|(after, before)| (after - before).as_secs_f64());
    let spent: Vec<f64> = spent.collect();
    let trips = trips.lock();
    let mut all = trips.local.clone();
    all.add(&trips.remote)?;
    Ok(json!({
        "rate": args.rate, "rooms": args.rooms, "nodes": args.nodes, "sessions": args.rooms * args.sessions_per_room,
        "sent": sent, "unanswered": unanswered, "rejected": trips.rejected,
        "round_trip_ms": quantiles(&all), "owner_on_the_same_node": quantiles(&trips.local),
        "owner_on_another_node": quantiles(&trips.remote), "sent_late": quantiles(&trips.late),
        "local_sessions": local, "cpu_s_of_nodes_then_redis": spent,
    }))
}

fn quantiles(of: &Histogram<u64>) -> Value {
    let ms = |quantile: f64| of.value_at_quantile(quantile) as f64 / 1000.0;
    json!({ "count": of.len(), "p50": ms(0.5), "p90": ms(0.9), "p99": ms(0.99), "p999": ms(0.999), "max": of.max() as f64 / 1000.0 })
}

struct Pace {
    rate: f64,
    warm_up: Duration,
    counted: Duration,
}

/// Sends every action when it is due, from the thread it is called on; actions that were counted.
fn send_all(pace: &Pace, actors: &mut [Actor], trips: &Mutex<Trips>, counted_from: &Mutex<Instant>) -> Result<u64> {
    let started = Instant::now();
    let (first_counted, end) = (started + pace.warm_up, started + pace.warm_up + pace.counted);
    *counted_from.lock() = first_counted;
    let mut counted = 0;
    for number in 0_u64.. {
        let due = started + Duration::from_secs_f64(number as f64 / pace.rate);
        if due >= end {
            break;
        }
        while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            std::thread::park_timeout(wait);
        }
        let index = number as usize % actors.len();
        let actor = &mut actors[index];
        let seq = actor.next_seq;
        actor.next_seq += 1;
        actor.due.0.lock().insert(seq, due);
        actor.sender.send(&encoded(&ClientFrame::Act(Act { seq: Seq(seq), action: status(seq) })))?;
        if due >= first_counted {
            counted += 1;
            trips.lock().late.saturating_record(micros(due));
        }
    }
    Ok(counted)
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Takes the answers of one session until its connection ends.
async fn read(
    mut wire: Wire,
    due: Arc<Due>,
    is_local: bool,
    trips: Arc<Mutex<Trips>>,
    counted_from: Arc<Mutex<Instant>>,
) {
    loop {
        let payload = match wire.next().await {
            Ok(Arrived::Message(payload)) => payload,
            Ok(Arrived::Ping(payload)) if wire.sender().pong(&payload).is_ok() => continue,
            Ok(Arrived::Ping(_) | Arrived::Closed(..) | Arrived::Ended) | Err(_) => return,
        };
        let (seq, is_ack) = match ServerFrame::decode(Codec::Msgpack, &payload) {
            Ok(ServerFrame::Ack(ack)) => (ack.seq, true),
            Ok(ServerFrame::Reject(reject)) => (reject.seq, false),
            Ok(_) | Err(_) => continue,
        };
        let Some(was_due) = due.0.lock().remove(&seq.0) else { continue };
        if was_due < *counted_from.lock() {
            continue;
        }
        let mut trips = trips.lock();
        trips.rejected += u64::from(!is_ack);
        let of_kind = if is_local { &mut trips.local } else { &mut trips.remote };
        of_kind.saturating_record(micros(was_due));
    }
}

/// How many actions are still without an answer after a while.
async fn await_answers(actors: &[Actor]) -> usize {
    let deadline = Instant::now() + LAST_ANSWERS_WITHIN;
    loop {
        let open = actors.iter().map(|actor| actor.due.0.lock().len()).sum();
        if open == 0 || Instant::now() >= deadline {
            return open;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
