//! Round trip of actions at a fixed rate over many rooms, open loop: an action's time starts when it was due to be sent,
//! whatever held up its sending.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use sectorbus::ids::{ActorId, PlayerId, Seq};
use sectorbus::protocol::{Act, ClientFrame, Codec, ServerFrame};

use crate::load::audit::{Told, audit};
use crate::load::listening::is_delta;
use crate::load::pace::{Latencies, Pace, block_until, not_negative};
use crate::load::player::{Joined, encoded, status};
use crate::load::progress::Progress;
use crate::load::region::{NodeOptions, keep_whole_logs};
use crate::load::summary::{Summary, ms_at};
use crate::load::target::{Cpu, Target, Where, per_million};
use crate::load::usage::allow_open_files;
use crate::load::wire::{Arrived, Sender, Wire};

/// After the last join, before the first action.
const SETTLE: Duration = Duration::from_secs(2);
/// After the last action, for its answer.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// What this tool may add to a p99 without a word.
const LATE_MS_MAX: f64 = 1.0;

#[derive(Debug, Clone, clap::Args)]
pub struct ActionsArgs {
    /// Actions per second, all rooms together
    #[arg(long, default_value_t = 1_000.0, value_parser = not_negative)]
    pub rate: f64,
    #[arg(long, default_value_t = 100)]
    pub rooms: usize,
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Sessions in each room, on the nodes in turn
    #[arg(long, default_value_t = 2)]
    pub sessions_per_room: usize,
    #[arg(long, default_value_t = 20.0, value_parser = not_negative)]
    pub seconds: f64,
    /// Acting before counting starts
    #[arg(long, default_value_t = 3.0, value_parser = not_negative)]
    pub warm_up_s: f64,
}

/// Who acts in turn.
struct Actor {
    sender: Sender,
    next_seq: u64,
    player: PlayerId,
    actor: ActorId,
    answers: Arc<Mutex<Answers>>,
}

/// Of one actor.
#[derive(Default)]
struct Answers {
    /// Without an answer: when each was due.
    open: HashMap<u64, Instant>,
    acked: Vec<u64>,
}

/// What all sessions together got.
struct Got {
    trips: Mutex<Latencies>,
    rejected: AtomicU64,
    bytes: AtomicU64,
}

/// When counting began and ended, and what was spent until then.
#[derive(Clone, Copy)]
struct Mark {
    cpu: Option<Cpu>,
    bytes: u64,
}

pub async fn run(args: &ActionsArgs, place: &Where, name: &str) -> Result<Summary> {
    ensure!(args.rate > 0.0, "--rate: actions per second, above 0, are accepted");
    ensure!(args.rooms > 0 && args.sessions_per_room > 0, "--rooms and --sessions-per-room: 1 and up are accepted");
    let sessions = args.rooms * args.sessions_per_room;
    allow_open_files(sessions as u64 + 1_000)?;
    let options = NodeOptions { settings: vec![keep_whole_logs()], ..NodeOptions::default() }.sectors(args.rooms);
    let target = Arc::new(Target::start(place, args.nodes, &options).await?);
    let joined = join(args, &target).await?;
    tokio::time::sleep(SETTLE).await;
    let pace = Pace {
        per_s: args.rate,
        warm_up: Duration::from_secs_f64(args.warm_up_s),
        counted: Duration::from_secs_f64(args.seconds),
    };
    let started = Instant::now();
    let got = Arc::new(Got {
        trips: Mutex::new(Latencies::new(started + pace.warm_up)),
        rejected: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    });
    let (mut readers, mut actors) = (JoinSet::new(), Vec::new());
    for Joined { wire, player, actor, next_seq } in joined {
        let answers = Arc::new(Mutex::new(Answers::default()));
        actors.push(Actor { sender: wire.sender(), next_seq, player, actor, answers: answers.clone() });
        readers.spawn(read(wire, answers, got.clone()));
    }
    let mut run = Run { pace, started, target: target.clone(), got: got.clone(), actors };
    let sending = tokio::task::spawn_blocking(move || run.send_all().map(|marks| (marks, run.actors)));
    Progress::sleep(name, pace.total()).await;
    let ((from, to), actors) = sending.await??;
    let unanswered = await_answers(&actors).await;
    ensure!(unanswered == 0, "{unanswered} actions have no answer after {LAST_ANSWERS_WITHIN:?}");
    ensure!(readers.try_join_next().is_none(), "a session lost its connection");
    let rejected = got.rejected.load(Ordering::Relaxed);
    ensure!(rejected == 0, "{rejected} actions were rejected");
    let trips = got.trips.lock().micros().clone();
    let cpu = to.cpu.zip(from.cpu).map(|(to, from)| to.since(from));
    let mut summary = Summary {
        actions_per_s: Some(trips.len() as f64 / args.seconds),
        node_cpu_s_per_million: cpu.map(|cpu| per_million(cpu.nodes, trips.len())),
        redis_cpu_s_per_million: cpu.map(|cpu| per_million(cpu.redis, trips.len())),
        bytes_per_player_per_s: Some((to.bytes - from.bytes) as f64 / sessions as f64 / args.seconds),
        ..Summary::new(name).with_latencies(&trips)
    };
    let told = told(&actors);
    match target.own() {
        Some(region) => summary = summary.with_verdict(&audit(region, args.rooms, &told).await?),
        None => summary.acked = Some(actors.iter().map(|actor| actor.answers.lock().acked.len()).sum::<usize>() as f64),
    }
    Ok(summary)
}

async fn join(args: &ActionsArgs, target: &Target) -> Result<Vec<Joined>> {
    let sessions = args.rooms * args.sessions_per_room;
    let (progress, mut joined) = (Progress::new("joining", sessions), Vec::with_capacity(sessions));
    for n in 0..sessions {
        let room = n % args.rooms;
        let mut player = target.player(&format!("actor{n}"), room + 1)?;
        player.connect(target.address(room + n / args.rooms)).await?;
        joined.push(player.into_wire()?);
        progress.step();
    }
    Ok(joined)
}

/// What the sending thread has.
struct Run {
    pace: Pace,
    started: Instant,
    target: Arc<Target>,
    got: Arc<Got>,
    actors: Vec<Actor>,
}

impl Run {
    /// Sends every action when it is due, from the thread it is called on; the marks of begin and end.
    fn send_all(&mut self) -> Result<(Mark, Mark)> {
        let mut late = Latencies::new(self.started + self.pace.warm_up);
        let (pace, mut from) = (self.pace, None);
        for (number, due) in (0_u64..).map_while(|number| Some((number, pace.due(number)?))) {
            if due >= pace.warm_up && from.is_none() {
                from = Some(self.mark()?);
            }
            let due = self.started + due;
            block_until(due);
            self.send(number as usize % self.actors.len(), due)?;
            late.answered(due);
        }
        let late_ms = ms_at(late.micros(), 0.99);
        if late_ms > LATE_MS_MAX {
            eprintln!("p99 of this tool's own lateness, which every latency includes: {late_ms} ms");
        }
        let to = self.mark()?;
        Ok((from.unwrap_or(to), to))
    }

    fn send(&mut self, index: usize, due: Instant) -> Result<()> {
        let actor = &mut self.actors[index];
        let seq = actor.next_seq;
        actor.next_seq += 1;
        actor.answers.lock().open.insert(seq, due);
        actor.sender.send(&encoded(&ClientFrame::Act(Act { seq: Seq(seq), action: status(seq) })))
    }

    fn mark(&self) -> Result<Mark> {
        Ok(Mark { cpu: self.target.cpu()?, bytes: self.got.bytes.load(Ordering::Relaxed) })
    }
}

/// Takes the answers of one session until its connection ends.
async fn read(mut wire: Wire, answers: Arc<Mutex<Answers>>, got: Arc<Got>) {
    let mut bytes_before = wire.bytes_in;
    loop {
        let arrived = wire.next().await;
        got.bytes.fetch_add(wire.bytes_in - bytes_before, Ordering::Relaxed);
        bytes_before = wire.bytes_in;
        match arrived {
            Ok(Arrived::Message(payload)) if is_delta(&payload) => {}
            Ok(Arrived::Message(payload)) => take_answer(&payload, &answers, &got),
            Ok(Arrived::Ping(payload)) if wire.sender().pong(&payload).is_ok() => {}
            Ok(Arrived::Ping(_) | Arrived::Closed(..) | Arrived::Ended) | Err(_) => return,
        }
    }
}

fn take_answer(payload: &[u8], answers: &Mutex<Answers>, got: &Got) {
    let mut answers = answers.lock();
    let seq = match ServerFrame::decode(Codec::Msgpack, payload) {
        Ok(ServerFrame::Ack(ack)) => {
            answers.acked.push(ack.seq.0);
            ack.seq
        }
        Ok(ServerFrame::Reject(reject)) => {
            got.rejected.fetch_add(1, Ordering::Relaxed);
            reject.seq
        }
        Ok(_) | Err(_) => return,
    };
    if let Some(due) = answers.open.remove(&seq.0) {
        got.trips.lock().answered(due);
    }
}

fn told(actors: &[Actor]) -> Told {
    let mut told = Told::default();
    for actor in actors {
        for seq in &actor.answers.lock().acked {
            told.ack(&actor.player, actor.actor, Seq(*seq));
        }
    }
    told
}

/// How many actions are still without an answer after a while.
async fn await_answers(actors: &[Actor]) -> usize {
    let deadline = Instant::now() + LAST_ANSWERS_WITHIN;
    loop {
        let open = actors.iter().map(|actor| actor.answers.lock().open.len()).sum();
        if open == 0 || Instant::now() >= deadline {
            return open;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
