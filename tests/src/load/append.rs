//! How many entries and actions one node puts into one Redis: rooms decide, append, and hear their own entries, as in
//! production, but their actions come from this process instead of sockets. The node runs inside this process, so its
//! CPU time includes the little that sending takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::Instant;

use sectorbus::ids::{
    ActorId, EntryId, Generation, Hop, NodeName, PlayerId, RegionName, RoomId, SectorId, Seq, SessionId,
};
use sectorbus::limits::BATCH_COMMANDS_MAX;
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::rules::new_record;
use sectorbus_node::admin::{self, Readiness};
use sectorbus_node::command::{Command, Speaker};
use sectorbus_node::core::{Core, Heard};
use sectorbus_node::follow::{FollowGuard, Follows};
use sectorbus_node::{Node, NodeConfig, NodeStart};

use crate::cluster::{JWT_SECRET, RESUME_SECRET, secret};
use crate::load::pace::{block_until, not_negative};
use crate::load::player::status;
use crate::load::progress::Progress;
use crate::load::region::REGION;
use crate::load::summary::Summary;
use crate::load::target::{Cpu, Where, per_million};
use crate::load::usage::cpu_of;
use crate::metrics_page;
use crate::redis_server::{RedisOptions, RedisServer};

const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// Between two rounds over all rooms.
const ROUND: Duration = Duration::from_millis(2);
const ROUND_BATCHED: Duration = Duration::from_millis(10);
/// Two full batches: one on its way to Redis, one in the inbox.
const UNANSWERED_PER_ROOM: u64 = 2 * BATCH_COMMANDS_MAX as u64;
const SEATED_AT_ONCE: usize = 200;
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(10);
const ACKED: &str = "sectorbus_actions_total{answer=\"ack\"}";
const ENTRIES: &str = "sectorbus_entries_appended_total";
const ACTOR: ActorId = ActorId(1);

#[derive(Debug, Clone, clap::Args)]
pub struct AppendArgs {
    /// Rooms that append at one time; fewer when batched
    #[arg(long)]
    pub rooms: Option<usize>,
    /// Inboxes are kept full: each append carries many actions. Without it, each carries one
    #[arg(long)]
    pub batched: bool,
    #[arg(long, default_value_t = 5.0, value_parser = not_negative)]
    pub seconds: f64,
    #[arg(long, default_value_t = 2.0, value_parser = not_negative)]
    pub warm_up_s: f64,
}

impl AppendArgs {
    /// Enough that an append is always on its way; so many single ones that no room is hot and lingers.
    fn rooms(&self) -> usize {
        self.rooms.unwrap_or(if self.batched { 128 } else { 5_000 })
    }
}

pub async fn run(args: &AppendArgs, place: &Where, name: &str) -> Result<Summary> {
    place.require_own(name)?;
    let rooms = args.rooms();
    ensure!(rooms > 0, "--rooms: 1 and up are accepted");
    let redis = RedisServer::start(RedisOptions::default()).await?;
    let metrics = admin::install_recorder_once()?;
    let mut upkeep = JoinSet::new();
    upkeep.spawn(admin::upkeep(metrics.clone()));
    let node = start_node(&redis, rooms).await?;
    let mut driver = Driver { core: node.core().clone(), rooms: seat_all(node.core(), rooms).await?, sent: 0 };
    let count = |name: &str| metrics_page::sum(&metrics.render(), name).map(|sum| sum as u64);
    let stopped = Arc::new(AtomicBool::new(false));
    let acked_before = count(ACKED)?;
    let sending = {
        let (stopped, batched, metrics) = (stopped.clone(), args.batched, metrics.clone());
        let acked = move || Ok(metrics_page::sum(&metrics.render(), ACKED)? as u64 - acked_before);
        tokio::task::spawn_blocking(move || driver.run(&stopped, batched, acked).map(|()| driver.sent))
    };
    let cpu = || -> Result<Cpu> { Ok(Cpu { nodes: cpu_of(std::process::id())?, redis: cpu_of(redis.pid())? }) };
    Progress::sleep("append: warming up", Duration::from_secs_f64(args.warm_up_s)).await;
    let (started, before, acked, entries) = (Instant::now(), cpu()?, count(ACKED)?, count(ENTRIES)?);
    Progress::sleep(name, Duration::from_secs_f64(args.seconds)).await;
    let (seconds, spent) = (started.elapsed().as_secs_f64(), cpu()?.since(before));
    let (acked, entries) = (count(ACKED)? - acked, count(ENTRIES)? - entries);
    stopped.store(true, Ordering::Relaxed);
    let sent = sending.await??;
    let answered = answered_within(sent, || Ok(count(ACKED)? - acked_before)).await?;
    node.kill();
    node.ended().await?;
    ensure!(entries > 0, "nothing was appended");
    eprintln!("{:.0} entries/s of {:.1} actions", entries as f64 / seconds, acked as f64 / entries as f64);
    Ok(Summary {
        actions_per_s: Some(acked as f64 / seconds),
        node_cpu_s_per_million: Some(per_million(spent.nodes, acked)),
        redis_cpu_s_per_million: Some(per_million(spent.redis, acked)),
        acked: Some(answered as f64),
        lost: Some(sent.saturating_sub(answered) as f64),
        ..Summary::new(name)
    })
}

async fn start_node(redis: &RedisServer, rooms: usize) -> Result<Node<RedisLog>> {
    let (region, node_name) = (RegionName::new(REGION)?, NodeName::new("n1")?);
    let mut config = NodeConfig::new(region.clone(), node_name, secret(JWT_SECRET), secret(RESUME_SECRET));
    config.universe_sectors = u32::try_from(rooms.max(2))?;
    let log = RedisConfig { node: "n1".to_owned(), ..RedisConfig::new(redis.url(), region) };
    let start = NodeStart {
        config,
        log: Arc::new(RedisLog::connect(log)?),
        address: "127.0.0.1:0".to_owned(),
        seed: None,
        simulated_ring: None,
        readiness: Arc::new(Readiness::default()),
    };
    let node = Node::start(start).await?;
    let first = sector(1)?;
    until("on the ring", || node.core().maps_to_me(&first)).await?;
    Ok(node)
}

/// A room with one player in it, who acts.
struct Room {
    id: RoomId,
    speaker: Speaker,
    heard: Arc<Heard>,
    next_seq: u64,
    /// The entry after which the next action is due, when there is one at a time.
    due_after: EntryId,
    _followed: FollowGuard,
}

async fn seat_all(core: &Arc<Core<RedisLog>>, count: usize) -> Result<Vec<Room>> {
    let (progress, mut rooms) = (Progress::new("taking seats", count), Vec::with_capacity(count));
    while rooms.len() < count {
        let numbers = rooms.len() + 1..=count.min(rooms.len() + SEATED_AT_ONCE);
        let seating = numbers.map(|number| Room::claimed(core, number)).collect::<Result<Vec<_>>>()?;
        for room in &seating {
            // The claim and the arrival.
            until("seated", || room.heard.get().version >= 2).await?;
            room.join(core);
            progress.step();
        }
        rooms.extend(seating);
    }
    Ok(rooms)
}

impl Room {
    /// Has the node claim the room and a new player arrive in it.
    fn claimed(core: &Arc<Core<RedisLog>>, number: usize) -> Result<Self> {
        let (id, name) = (sector(number)?, format!("player{number}"));
        let player = PlayerId::new(&name)?;
        let followed = Follows::pin(core, &id);
        let record = Box::new(new_record(&player, &name));
        core.deliver(&id, Command::Arrive { player: player.clone(), hop: Hop(1), record, from: None });
        let session = SessionId::new(&name)?;
        let speaker = Speaker { player, session, generation: Generation(1), floor: Generation(0) };
        let heard = followed.heard();
        Ok(Self { id, speaker, heard, next_seq: 1, due_after: EntryId::default(), _followed: followed })
    }

    /// Mailboxes keep their order: what is sent from now on finds the seat.
    fn join(&self, core: &Arc<Core<RedisLog>>) {
        let (speaker, incarnation) = (self.speaker.clone(), core.me());
        let join = Command::Join { speaker, incarnation, actor: ACTOR, first_seq: Seq(1), learn: true };
        core.deliver(&self.id, join);
    }

    fn act(&mut self, core: &Arc<Core<RedisLog>>, to_epoch: u64) {
        let (speaker, seq) = (self.speaker.clone(), Seq(self.next_seq));
        self.next_seq += 1;
        core.deliver(&self.id, Command::Act { speaker, actor: ACTOR, seq, action: status(seq.0), to_epoch });
    }
}

/// Sends actions to rooms as fast as they take them.
struct Driver {
    core: Arc<Core<RedisLog>>,
    rooms: Vec<Room>,
    sent: u64,
}

impl Driver {
    fn run(&mut self, stopped: &AtomicBool, batched: bool, acked: impl Fn() -> Result<u64>) -> Result<()> {
        while !stopped.load(Ordering::Relaxed) {
            let round = Instant::now();
            if batched {
                self.fill_all(acked()?);
                block_until(round + ROUND_BATCHED);
            } else {
                self.one_each();
                block_until(round + ROUND);
            }
        }
        Ok(())
    }

    /// One action to each room that has appended the one before.
    fn one_each(&mut self) {
        for room in &mut self.rooms {
            let heard = room.heard.get();
            if heard > room.due_after {
                room.due_after = heard;
                room.act(&self.core, heard.epoch);
                self.sent += 1;
            }
        }
    }

    /// So many to each room that all together have as many unanswered as they should.
    fn fill_all(&mut self, acked: u64) {
        let wanted = (self.rooms.len() as u64 * UNANSWERED_PER_ROOM + acked).saturating_sub(self.sent);
        let each = wanted / self.rooms.len() as u64;
        for room in &mut self.rooms {
            let epoch = room.heard.get().epoch;
            for _ in 0..each {
                room.act(&self.core, epoch);
            }
        }
        self.sent += each * self.rooms.len() as u64;
    }
}

fn sector(number: usize) -> Result<RoomId> {
    Ok(RoomId::Sector(SectorId::new(&number.to_string())?))
}

async fn until(what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    while !is_so() {
        ensure!(Instant::now() < deadline, "not {what} within {READY_WITHIN:?}");
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
    Ok(())
}

/// How many actions are answered in the end.
async fn answered_within(sent: u64, answered: impl Fn() -> Result<u64>) -> Result<u64> {
    let deadline = Instant::now() + LAST_ANSWERS_WITHIN;
    while answered()? < sent && Instant::now() < deadline {
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
    answered()
}
