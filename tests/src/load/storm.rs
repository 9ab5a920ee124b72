//! Mass resume: one node of several has all sessions and is killed; they all connect to the others at once, with their
//! resume tokens and cursors. Timed from the cut until each has its state again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use sectorbus::ids::{ActorId, EntryId, PlayerId, SectorId, Seq};
use sectorbus::protocol::{ClientFrame, Codec, Hello, Secret, ServerFrame, Slot, Source};

use crate::load::audit::{Told, audit};
use crate::load::listening::JOINING_AT_ONCE;
use crate::load::pace::not_negative;
use crate::load::player::{Joined, Player, encoded};
use crate::load::progress::Progress;
use crate::load::redis_reads::RedisReads;
use crate::load::region::{NodeOptions, keep_whole_logs};
use crate::load::summary::{Summary, latencies};
use crate::load::target::{Target, Where};
use crate::load::usage::allow_open_files;
use crate::load::wire::{Arrived, Wire};

/// Until the last one has its state, else the storm has failed.
const OVER_WITHIN: Duration = Duration::from_secs(60);
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, clap::Args)]
pub struct StormArgs {
    #[arg(long, default_value_t = 5_000)]
    pub sessions: usize,
    /// Sectors the sessions are spread over
    #[arg(long, default_value_t = 100)]
    pub rooms: usize,
    /// The first has all sessions
    #[arg(long, default_value_t = 2)]
    pub nodes: usize,
    /// From the last join to the cut
    #[arg(long, default_value_t = 5.0, value_parser = not_negative)]
    pub settle_s: f64,
}

/// A session: what it resumes with, and its connection.
struct Session {
    wire: Wire,
    player: PlayerId,
    token: Option<Secret>,
    resume: Option<Secret>,
    actor: ActorId,
    next_seq: u64,
    sector: SectorId,
    cursor: EntryId,
    /// After the cut.
    addresses: Vec<SocketAddr>,
}

/// What became of the sessions.
#[derive(Default)]
struct Back {
    /// Since the cut, and what the welcome said.
    sessions: Vec<(Duration, Source)>,
}

pub async fn run(args: &StormArgs, place: &Where, name: &str) -> Result<Summary> {
    ensure!(args.sessions > 0 && args.rooms > 0, "--sessions and --rooms: 1 and up are accepted");
    ensure!(args.nodes > 1, "--nodes is {}: 2 and up are accepted, for one is killed", args.nodes);
    allow_open_files(2 * args.sessions as u64 + 1_000)?;
    let options = NodeOptions { settings: vec![keep_whole_logs()], ..NodeOptions::default() }.sectors(args.rooms);
    let mut target = Target::start(place, args.nodes, &options).await?;
    let (cut_tx, cut_rx) = watch::channel(None);
    let back = Arc::new(Mutex::new(Back::default()));
    let (mut running, told) = join(args, &target, &cut_rx, &back).await?;
    Progress::sleep("storm: settling", Duration::from_secs_f64(args.settle_s)).await;
    ensure!(running.try_join_next().is_none(), "a session lost its connection before the cut");
    let reads = match target.own() {
        Some(region) => Some(RedisReads::start(region.redis.port()).await?),
        None => None,
    };
    let cut = Instant::now();
    if let Some(region) = target.own_mut() {
        region.nodes[0].kill9()?;
    }
    cut_tx.send_replace(Some(cut));
    wait_until_over(&mut running, &back, args.sessions).await?;
    let reads = match reads {
        Some(reads) => Some(reads.stop().await? as f64 / args.rooms as f64),
        None => None,
    };
    let mut took = latencies();
    for (time, _) in &back.lock().sessions {
        took.saturating_record(u64::try_from(time.as_micros())?);
    }
    report(&back.lock());
    let summary = Summary { redis_reads_per_room: reads, ..Summary::new(name).with_latencies(&took) };
    Ok(match target.own() {
        Some(region) => summary.with_verdict(&audit(region, args.rooms, &told).await?),
        None => Summary { acked: Some(args.sessions as f64), ..summary },
    })
}

/// Connects all sessions to the first node; each has acted once. They resume at the cut.
async fn join(
    args: &StormArgs,
    target: &Target,
    cut: &watch::Receiver<Option<Instant>>,
    back: &Arc<Mutex<Back>>,
) -> Result<(JoinSet<Result<()>>, Told)> {
    let progress = Progress::new("joining", args.sessions);
    let permits = Arc::new(Semaphore::new(JOINING_AT_ONCE));
    let (mut joining, mut running, mut told) = (JoinSet::new(), JoinSet::new(), Told::default());
    let mut take = |joined: Result<Session>, running: &mut JoinSet<Result<()>>| -> Result<()> {
        let session = joined?;
        told.ack(&session.player, session.actor, Seq(session.next_seq - 1));
        running.spawn(session.run(cut.clone(), back.clone()));
        progress.step();
        Ok(())
    };
    for n in 0..args.sessions {
        let permit = permits.clone().acquire_owned().await?;
        let player = target.player(&format!("stormy{n}"), n % args.rooms + 1)?;
        let first = target.address(0);
        let others = args.nodes - 1;
        let addresses = (0..others).map(|k| target.address(1 + (n + k) % others)).collect();
        joining.spawn(async move {
            let session = Session::join(player, first, addresses).await;
            drop(permit);
            session
        });
        while let Some(joined) = joining.try_join_next() {
            take(joined?, &mut running)?;
        }
    }
    while let Some(joined) = joining.join_next().await {
        take(joined?, &mut running)?;
    }
    Ok((running, told))
}

async fn wait_until_over(running: &mut JoinSet<Result<()>>, back: &Mutex<Back>, sessions: usize) -> Result<()> {
    let deadline = Instant::now() + OVER_WITHIN;
    while back.lock().sessions.len() < sessions {
        ensure!(
            Instant::now() < deadline,
            "{} of {sessions} are back after {OVER_WITHIN:?}",
            back.lock().sessions.len()
        );
        if let Some(ended) = running.try_join_next() {
            bail!("a session ended in the storm: {:?}", ended?);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn report(back: &Back) {
    let of = |source| back.sessions.iter().filter(|(_, from)| *from == source).count();
    let last = back.sessions.iter().map(|(time, _)| *time).max().unwrap_or_default();
    eprintln!(
        "the last of {} sessions had its state after {:.3} s; from memory {}, from the log {}, by snapshot {}",
        back.sessions.len(),
        last.as_secs_f64(),
        of(Source::Replica),
        of(Source::Log),
        of(Source::Snapshot),
    );
}

impl Session {
    async fn join(mut player: Player, first: SocketAddr, addresses: Vec<SocketAddr>) -> Result<Self> {
        player.connect(first).await?;
        let seq = player.act();
        player.answered(seq).await?;
        let (token, resume) = (player.client.token.clone().map(Secret::from), player.client.resume.clone());
        let view = player.client.view.as_ref().context("no view")?;
        let (sector, cursor) = (view.sector.clone(), view.cursor());
        let Joined { wire, player, actor, next_seq } = player.into_wire()?;
        Ok(Self { wire, player, token, resume, actor, next_seq, sector, cursor, addresses })
    }

    /// Listens until the cut, resumes, and listens again.
    async fn run(mut self, mut cut: watch::Receiver<Option<Instant>>, back: Arc<Mutex<Back>>) -> Result<()> {
        let at = loop {
            let arrived = tokio::select! {
                biased;
                at = cut.wait_for(Option::is_some) => break *at?,
                arrived = self.wire.next() => arrived?,
            };
            if matches!(arrived, Arrived::Ended | Arrived::Closed(..)) {
                // The node was killed a moment before the cut was told.
                break *cut.wait_for(Option::is_some).await?;
            }
            self.take(arrived)?;
        };
        let source = self.resume().await?;
        back.lock().sessions.push((at.context("a cut has its moment")?.elapsed(), source));
        loop {
            let arrived = self.wire.next().await?;
            if let Arrived::Closed(code, reason) = arrived {
                bail!("closed after its resume: {code} {reason}");
            }
            self.take(arrived)?;
        }
    }

    /// Connects until a node shows the state.
    async fn resume(&mut self) -> Result<Source> {
        for attempt in 0.. {
            match self.resume_on(self.addresses[attempt % self.addresses.len()]).await {
                Ok(source) => return Ok(source),
                // The node is overrun: as the next node would be.
                Err(_) => tokio::time::sleep(CONNECT_AGAIN_AFTER).await,
            }
        }
        bail!("never resumed")
    }

    async fn resume_on(&mut self, address: SocketAddr) -> Result<Source> {
        self.wire = Wire::connect(address).await?;
        self.wire.sender().send(&encoded(&self.hello()))?;
        let mut welcomed = None;
        loop {
            let frame = match self.wire.next().await? {
                Arrived::Closed(code, reason) => bail!("closed: {code} {reason}"),
                Arrived::Ended => bail!("the connection ended"),
                arrived => self.take(arrived)?,
            };
            match frame {
                Some(ServerFrame::Welcome(welcome)) if welcome.source == Source::Snapshot => {
                    welcomed = Some(welcome.source);
                }
                Some(ServerFrame::Welcome(welcome)) => return Ok(welcome.source),
                Some(ServerFrame::Snapshot(_)) => return welcomed.context("a snapshot before the welcome"),
                _ => {}
            }
        }
    }

    fn hello(&self) -> ClientFrame {
        ClientFrame::Hello(Hello {
            token: self.token.clone(),
            features: Vec::new(),
            resume: self.resume.clone(),
            ticket: None,
            cursor: Some(self.cursor),
            sector: Some(self.sector.clone()),
            acked: None,
            actor: Some(self.actor),
            first_seq: Some(Seq(self.next_seq)),
            device: None,
            feeds: BTreeMap::new(),
        })
    }

    /// Keeps the cursor and the resume token as they are told.
    fn take(&mut self, arrived: Arrived) -> Result<Option<ServerFrame>> {
        let payload = match arrived {
            Arrived::Message(payload) => payload,
            Arrived::Ping(payload) => return self.wire.sender().pong(&payload).map(|()| None),
            Arrived::Closed(..) | Arrived::Ended => bail!("the connection ended"),
        };
        let frame = ServerFrame::decode(Codec::Msgpack, &payload)?;
        match &frame {
            ServerFrame::Welcome(welcome) => self.resume = Some(welcome.resume.clone()),
            ServerFrame::Snapshot(snapshot) => self.cursor = snapshot.id,
            ServerFrame::Delta(delta) if delta.room != Slot::SECTOR => {}
            ServerFrame::Owner(owner) if owner.room != Slot::SECTOR => {}
            ServerFrame::Delta(delta) => self.cursor.version = self.cursor.version.max(delta.to),
            ServerFrame::Owner(owner) => {
                self.cursor = EntryId::new(owner.epoch, self.cursor.version.max(owner.version));
            }
            _ => {}
        }
        Ok(Some(frame))
    }
}
