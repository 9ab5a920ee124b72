//! One universe of a run: a region, three nodes that come and go, and players; stepped by one seeded scheduler in
//! virtual time. What goes wrong in it is decided in `chaos`.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::RoomId;
use sectorbus::log::LogBody;
use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus::protocol::Codec;
use sectorbus_node::config::{Gate, TeamsFrom};
use sectorbus_node::{Node, NodeConfig};
use sectorbus_tests::cluster;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::chaos::Chaos;
use crate::counters::Counters;
use crate::dice::Dice;
use crate::evidence::{Device, Evidence};
use crate::player::Player;
use crate::trace::Trace;

pub(crate) const NODES: usize = 3;
pub(crate) const NAMES: [&str; 5] = ["ann", "bob", "cid", "dee", "eve"];
const SPARE_DEVICES_MAX: usize = 3;
const CHAOS_FOR: Duration = Duration::from_secs(20);
/// Heads of silent rooms are compared after 5 s: quiet for longer than that, everything has been noticed.
const QUIET_FOR: Duration = Duration::from_secs(7);
const SETTLE_WITHIN: Duration = Duration::from_secs(60);

/// Where a node's process is in its life.
pub(crate) enum Slot {
    Up(Arc<Node<MemoryLog>>),
    Starting(JoinHandle<Node<MemoryLog>>),
    Draining(Arc<Node<MemoryLog>>, JoinHandle<()>),
    Down { until: Instant },
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    pub(crate) region: MemoryRegion,
    pub(crate) slots: Vec<Slot>,
    pub(crate) players: Vec<Player>,
    pub(crate) trace: Trace,
    cast: Cast,
    /// Same on all nodes but for the name.
    settings: NodeConfig,
    starts: u64,
    panics: Vec<String>,
    quiet: bool,
    /// Tails that were lost, and nodes that ended.
    pub(crate) tails_lost: u64,
    ended: u64,
    acts_percent: u64,
}

/// Who lives in a world, and whom they speak to.
#[derive(Clone, Copy)]
pub(crate) struct Cast {
    pub(crate) players: &'static [&'static str],
    pub(crate) pals: &'static [&'static str],
}

impl World {
    pub(crate) fn new(seed: u64, is_told: bool) -> Self {
        Self::of(seed, is_told, cluster::region(seed), "test", Cast { players: &NAMES, pals: &NAMES })
    }

    pub(crate) fn of(seed: u64, is_told: bool, region: MemoryRegion, region_name: &str, cast: Cast) -> Self {
        let mut dice = Dice::new(seed);
        region.set_latency(Duration::ZERO, Duration::from_millis(dice.between(0, 8)));
        let mut settings = draw_settings(&mut dice);
        settings.region = region_name.parse().expect("a name");
        let now = Instant::now();
        let players: Vec<Player> = cast
            .players
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let at = now + Duration::from_millis(dice.between(0, 4_000));
                Player::new((*name).to_owned(), name, cast.pals, codec_of(index), at)
            })
            .collect();
        Self {
            seed,
            region,
            slots: (0..NODES).map(|_| Slot::Down { until: now }).collect(),
            players,
            trace: Trace::new(is_told),
            cast,
            settings,
            starts: 0,
            panics: Vec::new(),
            quiet: false,
            tails_lost: 0,
            ended: 0,
            acts_percent: dice.between(2, 12),
            dice,
        }
    }

    /// Gates to another region; before anything has begun.
    pub(crate) fn set_gates(&mut self, gates: Vec<Gate>) {
        self.settings.gates = gates;
    }

    pub(crate) fn sectors(&self) -> u32 {
        self.settings.universe_sectors
    }

    /// Those who were told to go to another region, and which.
    pub(crate) fn leavers(&mut self) -> Vec<(String, Player)> {
        let Self { players, trace, settings, .. } = self;
        let here = settings.region.as_str();
        let leavers = players.extract_if(.., |player| player.sent_to().is_some_and(|to| to != here));
        let left = |mut player: Player| {
            player.leave(here, trace);
            (player.sent_to().unwrap_or_default().to_owned(), player)
        };
        leavers.map(left).collect()
    }

    /// Lives through the trouble, heals, and waits until all is quiet.
    pub(crate) async fn run(&mut self) {
        let mut chaos = Chaos::draw(&mut self.dice);
        self.trace.say(|| format!("faults: {:?}", chaos.kinds()));
        let end = Instant::now() + CHAOS_FOR;
        while Instant::now() < end {
            self.step().await;
            chaos.strike(self).await;
            self.play();
        }
        self.trace.say(|| "heal".to_owned());
        chaos.heal(self);
        self.send_spare_devices_away();
        self.settle().await;
    }

    /// Lets a moment pass, then looks at nodes and frames.
    pub(crate) async fn step(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.dice.between(1, 20))).await;
        for index in 0..self.slots.len() {
            self.look_after(index).await;
        }
        let Self { players, region, dice, trace, slots, .. } = self;
        let up: Vec<Arc<Node<MemoryLog>>> = slots.iter().filter_map(Slot::up).cloned().collect();
        for player in players {
            player.take_frames(region, dice, trace);
            if player.wants_to_connect()
                && let Some(node) = dice.pick(&up)
            {
                player.connect(node, trace);
            }
        }
    }

    async fn look_after(&mut self, index: usize) {
        let slot = std::mem::replace(&mut self.slots[index], Slot::Down { until: Instant::now() });
        self.slots[index] = match slot {
            Slot::Down { until } if until <= Instant::now() => {
                self.starts += 1;
                let name = ["a", "b", "c"][index];
                let config = NodeConfig { node_name: name.parse().expect("a name"), ..self.settings.clone() };
                let (region, seed) = (self.region.clone(), self.seed ^ (self.starts << 32));
                self.trace.say(|| format!("node {name} starts"));
                Slot::Starting(tokio::spawn(async move { cluster::start(&region, config, seed).await }))
            }
            Slot::Starting(starting) if starting.is_finished() => {
                Slot::Up(Arc::new(starting.await.expect("a node starts")))
            }
            Slot::Draining(node, draining) if draining.is_finished() => {
                self.trace.say(|| format!("{} has drained", node.core().me()));
                self.ended += 1;
                self.note_panic(&node);
                Slot::Down { until: Instant::now() + Duration::from_millis(self.dice.between(50, 2_000)) }
            }
            Slot::Up(node) if node.core().tasks.is_killed() => {
                self.note_panic(&node);
                self.region.kill(node.core().log.id());
                Slot::Down { until: Instant::now() }
            }
            other => other,
        };
    }

    fn note_panic(&mut self, node: &Node<MemoryLog>) {
        if let Some(panic) = node.core().tasks.panic() {
            self.trace.say(|| format!("PANIC {panic}"));
            self.panics.push(panic);
        }
    }

    /// kill -9, and up again after a while.
    pub(crate) fn kill(&mut self, index: usize, down_for: Duration) {
        let until = Instant::now() + down_for;
        let slot = std::mem::replace(&mut self.slots[index], Slot::Down { until });
        match slot {
            Slot::Up(node) => self.end_process(&node),
            Slot::Draining(node, draining) => {
                draining.abort();
                self.end_process(&node);
            }
            Slot::Starting(starting) => starting.abort(),
            Slot::Down { until } => self.slots[index] = Slot::Down { until },
        }
    }

    fn end_process(&mut self, node: &Node<MemoryLog>) {
        self.trace.say(|| format!("kill {}", node.core().me()));
        self.ended += 1;
        self.note_panic(node);
        self.region.kill(node.core().log.id());
        node.kill();
    }

    pub(crate) fn drain(&mut self, index: usize) {
        let slot = std::mem::replace(&mut self.slots[index], Slot::Down { until: Instant::now() });
        self.slots[index] = match slot {
            Slot::Up(node) => {
                self.trace.say(|| format!("drain {}", node.core().me()));
                let draining = node.clone();
                Slot::Draining(node, tokio::spawn(async move { draining.drain().await }))
            }
            other => other,
        };
    }

    /// A handle of some node that is up.
    pub(crate) fn any_up(&mut self) -> Option<(usize, Arc<Node<MemoryLog>>)> {
        let up: Vec<_> =
            self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.up()?.clone()))).collect();
        self.dice.pick(&up).cloned()
    }

    /// A player that exists logs in on another device; one that did so earlier may go.
    pub(crate) fn add_device(&mut self) {
        let Self { players, dice, trace, cast, .. } = self;
        let spare = players.iter_mut().filter(|player| !player.stays && !player.retired).count();
        if spare >= SPARE_DEVICES_MAX
            && let Some(oldest) = players.iter_mut().find(|player| !player.stays && !player.retired)
        {
            oldest.retire(trace);
        }
        let index = players.len();
        let name = cast.players[dice.below(cast.players.len())];
        let at = Instant::now() + Duration::from_millis(dice.between(0, 300));
        let mut device = Player::new(format!("{name}-{index}"), name, cast.pals, codec_of(index), at);
        device.stays = false;
        players.push(device);
    }

    pub(crate) fn play(&mut self) {
        let Self { players, dice, trace, .. } = self;
        for player in players.iter_mut().filter(|player| !player.retired) {
            if dice.chance(self.acts_percent) {
                player.act(dice, trace);
            }
        }
    }

    /// The first device of each player stays; the others leave, so that nobody is superseded for ever.
    pub(crate) fn send_spare_devices_away(&mut self) {
        for player in self.players.iter_mut().filter(|player| !player.stays && !player.retired) {
            player.retire(&mut self.trace);
        }
    }

    /// Everybody who stays has what they asked for, and all nodes are up.
    pub(crate) fn is_settled(&self) -> bool {
        let settled = self.players.iter().filter(|player| player.stays).all(Player::is_settled);
        settled && self.slots.iter().all(|slot| slot.up().is_some())
    }

    /// Nothing happens any more.
    pub(crate) fn is_quiet(&mut self) {
        self.quiet = true;
    }

    pub(crate) async fn settle(&mut self) {
        let give_up = Instant::now() + SETTLE_WITHIN;
        let (mut order, mut quiet_since) = (self.region.order(), Instant::now());
        while Instant::now() < give_up {
            self.step().await;
            if self.region.order() != order || !self.is_settled() {
                (order, quiet_since) = (self.region.order(), Instant::now());
            }
            if quiet_since.elapsed() >= QUIET_FOR {
                self.quiet = true;
                return;
            }
        }
        self.quiet = false;
        for publication in self.region.publications().iter().rev().take(8) {
            self.trace.say(|| format!("at the end: {publication:?}"));
        }
        self.trace.say(|| "never quiet".to_owned());
    }

    /// What those who are here leave for the oracle, by the names of the regions it is about.
    pub(crate) fn take_devices(&mut self) -> Vec<(String, Device)> {
        let here = self.settings.region.as_str();
        std::mem::take(&mut self.players).into_iter().flat_map(|player| player.into_devices(here)).collect()
    }

    /// The evidence, and the hash of the trace.
    pub(crate) fn into_evidence(mut self, counters: &Counters) -> (Evidence, u64) {
        let devices = self.take_devices().into_iter().map(|(_, device)| device).collect();
        for index in 0..self.slots.len() {
            if let Slot::Up(node) = &self.slots[index] {
                let node = node.clone();
                self.note_panic(&node);
            }
        }
        // Copies of other regions' rooms are held to what those have by tests/regions.
        let rooms: Vec<RoomId> = self.region.rooms().into_iter().filter(|room| !room.is_elsewhere()).collect();
        let dumps: BTreeMap<RoomId, _> =
            rooms.iter().filter_map(|room| Some((room.clone(), self.region.room_dump(room)?))).collect();
        for (room, dump) in &dumps {
            self.trace.hash(|hasher| room.hash(hasher));
            for appearance in &dump.history {
                let LogBody::Batch(bytes) = &appearance.body else { continue };
                self.trace.hash(|hasher| (appearance.order, appearance.id, bytes).hash(hasher));
            }
        }
        let universe = sectorbus::rules::Universe::new(self.settings.universe_seed, self.settings.universe_sectors);
        let gates = self.settings.gates.iter().map(|gate| (gate.sector.clone(), gate.to.clone()));
        let rules = sectorbus::rules::Rules::new(universe, 0).with_gates(gates);
        let evidence = Evidence {
            genesis: dumps.keys().map(|room| (room.clone(), rules.genesis(room))).collect(),
            rooms: dumps,
            publications: self.region.publications(),
            devices,
            acked_lost: counters.sum("sectorbus_acked_lost_total"),
            lost_with_a_node: self.tails_lost > 0 && self.ended > 0,
            quiet: self.quiet,
            panics: self.panics,
            elsewhere: None,
        };
        (evidence, self.trace.finish())
    }
}

impl Slot {
    pub(crate) fn up(&self) -> Option<&Arc<Node<MemoryLog>>> {
        match self {
            Slot::Up(node) => Some(node),
            Slot::Starting(_) | Slot::Draining(..) | Slot::Down { .. } => None,
        }
    }
}

fn codec_of(index: usize) -> Codec {
    if index.is_multiple_of(2) { Codec::Msgpack } else { Codec::Json }
}

/// Settings that differ between runs: small limits make rare things common.
fn draw_settings(dice: &mut Dice) -> NodeConfig {
    let mut settings = cluster::config("a");
    let millis = Duration::from_millis;
    settings.universe_sectors = u32::try_from(dice.between(3, 10)).unwrap_or(3);
    settings.teams_from = TeamsFrom::Token;
    settings.move_cool_down = millis(dice.between(0, 500));
    settings.resume_window = millis(dice.between(1_000, 20_000));
    settings.grace = millis(dice.between(0, 900));
    settings.park_after = millis(dice.between(1_500, 60_000));
    settings.sessions_per_player = dice.between(1, 3) as usize;
    settings.checkpoint_entries = dice.between(3, 60);
    settings.log_window_entries = dice.between(2, 60);
    settings.drain_deadline = millis(dice.between(500, 6_000));
    settings.realtime_frames_per_s = [0, 10, 30][dice.below(3)];
    settings
}
