//! Two regions, redis-nexus and nexus that come and go: each region is a world with its own trouble, and what is said in one
//! is heard in the other, once and in its order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{FeedId, RegionName, RoomId};
use sectorbus::limits::BRIDGE_BEGINS_AFTER;
use sectorbus::log::memory::{Ambiguity, HandleId, MemoryConfig, MemoryRegion};
use sectorbus::log::{Bridge, Facts, Log, OnceKey};
use sectorbus::presence::Shown;
use sectorbus_nexus::rules::Rules;
use sectorbus_nexus::{Nexus, NexusParts, Region};
use sectorbus_node::config::Gate;
use sectorbus_node::feeds::item;
use tokio::time::Instant;

use crate::chaos::Chaos;
use crate::counters::Counters;
use crate::dice::Dice;
use crate::evidence::Device;
use crate::invariants;
use crate::run::Outcome;
use crate::world::{Cast, World};

const REGIONS: [&str; 2] = ["eu", "us"];
const CASTS: [Cast; 2] = [
    Cast { players: &["ann", "bob", "cid", "dee", "eve"], pals: &PALS },
    Cast { players: &["fay", "gus", "hal", "ida", "joe"], pals: &PALS },
];
const PALS: [&str; 10] = ["ann", "bob", "cid", "dee", "eve", "fay", "gus", "hal", "ida", "joe"];
const START_MS: u64 = 1_790_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const CHAOS_FOR: Duration = Duration::from_secs(20);
/// Marks are looked at again, facts are compared: longer than any of it.
const QUIET_FOR: Duration = Duration::from_secs(12);
const SETTLE_WITHIN: Duration = Duration::from_secs(90);
const NEXUSES: usize = 2;

/// A nexus process.
enum Seat {
    Up { nexus: Nexus, handles: Vec<HandleId> },
    Down { until: Instant },
}

struct Universe {
    worlds: [World; 2],
    hub: MemoryRegion,
    seats: [Seat; NEXUSES],
    dice: Dice,
    starts: u64,
    /// Of each region, when its bridge began at first.
    began_ms: [u64; 2],
    hub_tails_lost: u64,
    tail_lost_at: Option<Instant>,
    answers_back_at: Option<Instant>,
    strike_at: Instant,
    is_troubled: bool,
}

fn region_of(name: &str, seed: u64, hours: u64) -> MemoryRegion {
    let region = RegionName::new(name).expect("a name");
    MemoryRegion::new(MemoryConfig { region, seed, start_ms: START_MS + hours * HOUR_MS, keep_history: true })
}

/// Runs one seed on a runtime of its own, in virtual time.
pub(crate) fn run(seed: u64, is_told: bool) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let counters = Arc::new(Counters::default());
    let (broken, trace_hash) = metrics::with_local_recorder(&*counters, || {
        runtime.block_on(async {
            let mut universe = Universe::new(seed, is_told);
            universe.live().await;
            universe.verdict(&counters).await
        })
    });
    drop(runtime);
    Outcome { seed, trace_hash, broken, counters: counters.all() }
}

impl Universe {
    fn new(seed: u64, is_told: bool) -> Self {
        let mut dice = Dice::new(seed ^ 0xb41d);
        let now = Instant::now();
        let world = |n: usize, hours| {
            let region = region_of(REGIONS[n], seed * 2 + n as u64, hours);
            World::of(seed * 2 + n as u64, is_told, region, REGIONS[n], CASTS[n])
        };
        let mut worlds = [world(0, 2), world(1, 0)];
        for (here, there) in [(0, 1), (1, 0)] {
            let gates = draw_gates(&mut dice, worlds[here].sectors(), REGIONS[there]);
            worlds[here].set_gates(gates);
        }
        let hub = region_of("nexus", seed ^ 0x4b, 1);
        hub.set_latency(Duration::ZERO, Duration::from_millis(dice.between(0, 8)));
        Self {
            worlds,
            hub,
            seats: [Seat::Down { until: now }, Seat::Down { until: now }],
            starts: 0,
            began_ms: [0; 2],
            hub_tails_lost: 0,
            tail_lost_at: None,
            answers_back_at: None,
            strike_at: now + Duration::from_millis(dice.between(1_000, 4_000)),
            is_troubled: !dice.chance(20),
            dice,
        }
    }

    fn say(&self, what: impl FnOnce() -> String) {
        self.worlds[0].trace.say(what);
    }

    async fn live(&mut self) {
        let calm = Instant::now() + BRIDGE_BEGINS_AFTER + Duration::from_secs(2);
        while Instant::now() < calm {
            self.step().await;
            self.worlds.iter_mut().for_each(World::play);
        }
        for (began_ms, world) in self.began_ms.iter_mut().zip(&self.worlds) {
            *began_ms = world.region.handle().open_bridge().await.expect("calm").began_ms;
        }
        let mut chaos = [Chaos::draw(&mut self.worlds[0].dice), Chaos::draw(&mut self.worlds[1].dice)];
        self.say(|| format!("faults: {:?}, {:?}", chaos[0].kinds(), chaos[1].kinds()));
        let end = Instant::now() + CHAOS_FOR;
        while Instant::now() < end {
            self.step().await;
            for (world, chaos) in self.worlds.iter_mut().zip(&mut chaos) {
                chaos.strike(world).await;
                world.play();
            }
            self.strike().await;
        }
        self.say(|| "heal".to_owned());
        for (world, chaos) in self.worlds.iter_mut().zip(chaos) {
            chaos.heal(world);
            world.send_spare_devices_away();
        }
        self.hub.heal();
        self.settle().await;
    }

    async fn step(&mut self) {
        for world in &mut self.worlds {
            world.step().await;
        }
        let leavers: Vec<_> = self.worlds.iter_mut().flat_map(World::leavers).collect();
        for (to, player) in leavers {
            let world = REGIONS.iter().position(|name| *name == to).expect("a region of this universe");
            self.worlds[world].players.push(player);
        }
        for n in 0..NEXUSES {
            if matches!(&self.seats[n], Seat::Down { until } if *until <= Instant::now()) {
                self.start(n);
            }
        }
    }

    fn start(&mut self, n: usize) {
        self.starts += 1;
        let (name, hub) = (format!("x{}", self.starts), Arc::new(self.hub.handle()));
        let mut handles = vec![hub.id()];
        let mut regions = Vec::new();
        for (world, region) in self.worlds.iter().zip(REGIONS) {
            let log = Arc::new(world.region.handle());
            handles.push(log.id());
            regions.push(Region { name: region.parse().expect("a name"), log, address: None });
        }
        self.say(|| format!("nexus {name} starts"));
        let nexus = Nexus::start(NexusParts { name, hub, regions, rules: Rules::default() });
        self.seats[n] = Seat::Up { nexus, handles };
    }

    /// kill -9, and another life of it after a while.
    async fn kill(&mut self, n: usize) {
        let until = Instant::now() + Duration::from_millis(self.dice.between(0, 4_000));
        let seat = std::mem::replace(&mut self.seats[n], Seat::Down { until });
        let Seat::Up { nexus, handles } = seat else { return };
        self.say(|| format!("kill nexus {n}"));
        let [hub, here, there] = handles[..] else { unreachable!("three logs") };
        self.hub.kill(hub);
        self.worlds[0].region.kill(here);
        self.worlds[1].region.kill(there);
        nexus.kill().await;
    }

    /// Something happens to redis-nexus, or to a nexus.
    async fn strike(&mut self) {
        let now = Instant::now();
        if self.tail_lost_at.is_some_and(|at| at <= now) {
            self.tail_lost_at = None;
            self.hub_tails_lost += 1;
            self.say(|| "redis-nexus loses its tail".to_owned());
            self.hub.lose_tail();
        }
        if self.answers_back_at.is_some_and(|at| at <= now) {
            self.answers_back_at = None;
            self.hub.set_ambiguity(Ambiguity::default());
        }
        if now < self.strike_at || !self.is_troubled {
            return;
        }
        let millis = |dice: &mut Dice, low, high| Duration::from_millis(dice.between(low, high));
        let Self { dice, hub, .. } = self;
        self.strike_at = now + millis(dice, 100, 5_000);
        let kind = dice.below(8);
        match kind {
            0 => hub.stall_region(millis(dice, 50, 3_000)),
            1 => hub.unavailable(millis(dice, 50, 4_000)),
            2 => hub.restart(millis(dice, 50, 2_000)),
            3 => hub.shift_clock(i64::try_from(dice.between(0, 8_000)).unwrap_or(0) - 4_000),
            4 => {
                let (executed, not_executed, late) = (0.1, 0.1, 0.1);
                let (late_by, answered_after) = (millis(dice, 1, 1_000), millis(dice, 20, 400));
                hub.set_ambiguity(Ambiguity { executed, not_executed, late, late_by, answered_after });
                self.answers_back_at = Some(now + millis(dice, 500, 3_000));
            }
            5 if self.tail_lost_at.is_none() => {
                hub.mark();
                self.tail_lost_at = Some(now + millis(dice, 20, 2_000));
            }
            _ => {
                let n = dice.below(NEXUSES);
                self.kill(n).await;
            }
        }
        self.say(|| format!("fault {kind} beside the regions"));
    }

    async fn settle(&mut self) {
        let give_up = Instant::now() + SETTLE_WITHIN;
        let orders = |worlds: &[World; 2]| [worlds[0].region.order(), worlds[1].region.order()];
        let (mut order, mut quiet_since) = (orders(&self.worlds), Instant::now());
        while Instant::now() < give_up {
            self.step().await;
            let is_settled = self.worlds.iter().all(World::is_settled);
            if orders(&self.worlds) != order || !is_settled {
                (order, quiet_since) = (orders(&self.worlds), Instant::now());
            }
            if quiet_since.elapsed() >= QUIET_FOR {
                self.worlds.iter_mut().for_each(World::is_quiet);
                return;
            }
        }
    }

    async fn verdict(mut self, counters: &Counters) -> (Vec<String>, u64) {
        let mut broken = Vec::new();
        let tails_lost = [self.worlds[0].tails_lost, self.worlds[1].tails_lost];
        let regions = [0, 1].map(|world| self.worlds[world].region.clone());
        // At once: reading takes time, in which rooms go on, and no player looks.
        let mut hash = 0_u64;
        let devices: Vec<(String, Device)> = self.worlds.iter_mut().flat_map(World::take_devices).collect();
        let evidence = self.worlds.into_iter().zip(REGIONS).map(|(world, name)| {
            let (mut evidence, trace) = world.into_evidence(counters);
            hash = hash.rotate_left(7) ^ trace;
            let of_here = devices.iter().filter(|(region, _)| region == name);
            evidence.devices = of_here.map(|(_, device)| device.clone()).collect();
            evidence
        });
        broken.extend(invariants::check_regions(REGIONS, evidence.collect()));
        let (mut feeds, mut began, mut presence) = (Vec::new(), Vec::new(), Vec::new());
        for (region, began_ms) in regions.iter().zip(self.began_ms) {
            // Earlier after the clock stepped back; what was posted before stays where it is all the same.
            began.push(region.handle().open_bridge().await.expect("healed").began_ms.max(began_ms));
            feeds.push(feeds_of(region));
            presence.push(presence_of(region).await);
        }
        for (here, there) in [(0, 1), (1, 0)] {
            let found = mirrored(REGIONS[here], &feeds[here], &feeds[there], began[here], tails_lost[here] > 0);
            broken.extend(found.into_iter().map(|what| format!("regions: {what}")));
            if tails_lost == [0, 0] && self.hub_tails_lost == 0 {
                broken.extend(in_order(REGIONS[here], &feeds[here], &feeds[there]));
            }
            for (player, shown) in &presence[here].0 {
                let told = presence[there].1.get(player);
                if told != Some(shown) {
                    broken.push(format!("presence: {player} is {shown:?} in {}, elsewhere {told:?}", REGIONS[here]));
                }
            }
        }
        (broken, hash)
    }
}

/// In the start sector and some others; some lead to sectors that are not there.
fn draw_gates(dice: &mut Dice, sectors: u32, to: &str) -> Vec<Gate> {
    let mut gates = Vec::new();
    for sector in 1..=sectors {
        if sector == 1 || dice.chance(50) {
            let there = dice.between(1, 12);
            gates.push(Gate::read(&format!("{sector} {to}:{there}")).expect("a gate"));
        }
    }
    gates
}

/// By room, what is in its feed, oldest first.
type Feeds = BTreeMap<RoomId, Vec<(FeedId, OnceKey)>>;

fn feeds_of(region: &MemoryRegion) -> Feeds {
    let rooms = region.rooms().into_iter().filter(|room| !matches!(room, RoomId::Sector(_)));
    let feed = |room: RoomId| {
        let dump = region.room_dump(&room)?;
        let items = dump.feed.iter().cloned().filter_map(item::read);
        Some((room, items.map(|item| (item.id, item.name.clone())).collect()))
    };
    rooms.filter_map(feed).collect()
}

fn from(region: &str, name: &OnceKey) -> OnceKey {
    OnceKey::From { region: region.parse().expect("a name"), name: Box::new(name.clone()) }
}

/// What a region says of its own is in the other's feeds once, and nothing else of it is.
fn mirrored(region: &str, here: &Feeds, there: &Feeds, began_ms: u64, lost_tail: bool) -> Vec<String> {
    let mut broken = Vec::new();
    for (room, items) in here {
        let elsewhere = there.get(room).map(Vec::as_slice).unwrap_or_default();
        let own: Vec<_> = items.iter().filter(|(_, name)| !matches!(name, OnceKey::From { .. })).collect();
        for (id, name) in &own {
            let name = from(region, name);
            let count = elsewhere.iter().filter(|(_, other)| *other == name).count();
            if count > 1 || count == 0 && id.ms >= began_ms {
                broken.push(format!("{room} has {name} {count} times ({id} in {region})"));
            }
        }
        let names: BTreeSet<OnceKey> = own.iter().map(|(_, name)| from(region, name)).collect();
        let is_strange = |name: &OnceKey| matches!(name, OnceKey::From { region: of, .. } if of.as_str() == region);
        let strange = elsewhere.iter().filter(|(_, name)| is_strange(name) && !names.contains(name));
        broken.extend(
            strange.filter(|_| !lost_tail).map(|(_, name)| format!("{room} has {name}, which {region} has not")),
        );
    }
    broken
}

fn in_order(region: &str, here: &Feeds, there: &Feeds) -> Option<String> {
    for (room, items) in here {
        let elsewhere = there.get(room).map(Vec::as_slice).unwrap_or_default();
        let place = |name: &OnceKey| elsewhere.iter().position(|(_, other)| *other == from(region, name));
        let places: Vec<usize> = items.iter().filter_map(|(_, name)| place(name)).collect();
        if !places.is_sorted() {
            return Some(format!("regions: {room} has what {region} says in another order"));
        }
    }
    None
}

/// Of each player: as what they are shown and on how many devices.
type Presence = BTreeMap<String, (Shown, u32)>;

/// Of those who are in the region, and of those of whom it was told.
async fn presence_of(region: &MemoryRegion) -> (Presence, Presence) {
    let log = region.handle();
    let (mut own, mut told) = (Presence::new(), Presence::new());
    for name in PALS {
        let player = name.parse().expect("a name");
        if let Some(at) = log.at(&player).await.expect("healed") {
            let shown = Shown::best(at.sessions.values().map(|seat| seat.shown));
            own.insert(name.to_owned(), (shown, at.sessions.len() as u32));
        }
        let fars = log.fars(std::slice::from_ref(&player)).await.expect("healed");
        told.extend(fars[0].iter().map(|far| (name.to_owned(), (far.presence.shown, far.presence.devices))));
    }
    (own, told)
}
