//! What one region's rooms are is seen in another: sectors that are observed. Two regions,
//! redis-nexus and two nexus in this process, in paused time. Their clocks are hours apart.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::action::{Action, Status};
use sectorbus::ids::{EntryId, RegionName, Role, RoomId};
use sectorbus::log::memory::{Ambiguity, MemoryConfig, MemoryLog, MemoryRegion};
use sectorbus::log::{Log, MirrorAt, Mirrors, SetTeam, Source};
use sectorbus::protocol::{Codec, Slot, SnapshotReason};
use sectorbus::said::RefusalCode;
use sectorbus_demo::client::Client;
use sectorbus_nexus::{Nexus, NexusParts, Region};
use sectorbus_node::command::Command;
use sectorbus_node::config::TeamsFrom;
use sectorbus_node::people::teams;
use sectorbus_node::{Node, load};
use sectorbus_tests::cluster::{self, Connected};
use sectorbus_tests::pals::{player, room};

use crate::universe::with_sectors;
use tokio::time::Instant;

const HOUR_MS: u64 = 3_600_000;
/// Ten times what anything here takes.
pub(crate) const SOON: Duration = Duration::from_secs(120);
/// There tokens say who is in which team, in us the backend does.
pub(crate) const FROM_TOKENS: &str = "asia";
const OBSERVED: Slot = Slot::OBSERVED[0];

pub(crate) fn name(text: &str) -> RegionName {
    RegionName::new(text).expect("a name")
}

fn region(of: &str, seed: u64, clock: u64) -> MemoryRegion {
    let start_ms = 1_790_000_000_000 + clock * HOUR_MS;
    MemoryRegion::new(MemoryConfig { region: name(of), seed, start_ms, keep_history: false })
}

pub(crate) async fn node(of: &str, region: &MemoryRegion, n: u64) -> Node<MemoryLog> {
    let mut config = cluster::config(&format!("{of}-{n}"));
    config.region = name(of);
    if of == FROM_TOKENS {
        config.teams_from = TeamsFrom::Token;
    }
    cluster::start(region, config, n).await
}

/// us, where things happen; eu, where they are seen; what joins them.
pub(crate) struct Universe {
    /// The other's name.
    seen_in: &'static str,
    pub(crate) us: MemoryRegion,
    pub(crate) eu: MemoryRegion,
    pub(crate) hub: MemoryRegion,
    pub(crate) us_nodes: Vec<Node<MemoryLog>>,
    pub(crate) eu_nodes: Vec<Node<MemoryLog>>,
    logs: Vec<RoomId>,
}

impl Universe {
    pub(crate) async fn new(seed: u64, logs: &[&str]) -> Self {
        Self::of(seed, "eu", logs).await
    }

    pub(crate) async fn of(seed: u64, eu: &'static str, logs: &[&str]) -> Self {
        let (seen_in, hub) = (eu, region("nexus", seed + 7, 1));
        let (us, eu) = (region("us", 10 * seed, 0), region(seen_in, 10 * seed + 1, 3));
        let us_nodes = vec![node("us", &us, 1).await, node("us", &us, 2).await];
        let eu_nodes = vec![node(seen_in, &eu, 1).await];
        Self { seen_in, us, eu, hub, us_nodes, eu_nodes, logs: logs.iter().map(|text| room(text)).collect() }
    }

    pub(crate) fn nexus(&self, of: &str) -> Nexus {
        let regions = [("us", &self.us), (self.seen_in, &self.eu)].map(|(of, region)| Region {
            name: name(of),
            log: Arc::new(region.handle()),
            address: None,
        });
        Nexus::start(NexusParts {
            name: of.to_owned(),
            hub: Arc::new(self.hub.handle()),
            regions: regions.into(),
            rules: with_sectors(self.logs.iter().filter(|room| room.sector().is_some()).cloned()),
        })
    }

    pub(crate) fn all(&self) -> [&MemoryRegion; 3] {
        [&self.us, &self.eu, &self.hub]
    }

    /// Until what us has of the room, and nothing less or else, is in the copies and on the client's screen.
    pub(crate) async fn converges(&self, room: &RoomId, seen_by: &mut Connected, slot: Slot) {
        let (us, eu) = (self.us.handle(), self.eu.handle());
        let here = match room {
            RoomId::Team(_) => room.clone(),
            room => room.clone().at(name("us")).expect("mirrored"),
        };
        let deadline = Instant::now() + SOON;
        loop {
            let at_home = load::load(&us, room, None).await.expect("readable").expect("a room");
            let shown = seen_by.client.beside.get(&slot).filter(|shown| shown.room == here);
            let copied = load::load(&eu, &room.clone().at(name("us")).expect("mirrored"), None).await;
            let is_copied = copied.as_ref().is_ok_and(|copied| {
                copied.as_ref().is_some_and(|copied| {
                    copied.cursor == at_home.cursor && copied.state.public() == at_home.state.public()
                })
            });
            let sum = at_home.state.public().sum();
            if is_copied && shown.is_some_and(|shown| shown.cursor == at_home.cursor && shown.sum() == sum) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{room}: at home {} copied {is_copied} shown {:?}",
                at_home.cursor,
                shown.map(|shown| shown.cursor)
            );
            seen_by.until(Duration::from_millis(200), |_| false).await;
        }
    }
}

pub(crate) fn unsure() -> Ambiguity {
    let (executed, not_executed, late) = (0.05, 0.05, 0.05);
    let (late_by, answered_after) = (Duration::from_millis(300), Duration::from_millis(80));
    Ambiguity { executed, not_executed, late, late_by, answered_after }
}

pub(crate) async fn live(of: &str, node: &Node<MemoryLog>) -> Connected {
    let mut connected = Connected::new(of, [Codec::Msgpack, Codec::Json][of.len() % 2]);
    connected.client.heard.wanted = true;
    connected.connect(node);
    assert!(connected.until(SOON, Client::is_live).await, "{of} is not live");
    connected
}

fn sector_of(player: &Connected) -> RoomId {
    RoomId::Sector(player.client.view.as_ref().expect("a first state").sector.clone())
}

/// Asks until the room is shown: it may not be mirrored yet.
async fn observes(who: &mut Connected, of: &RoomId, slot: Slot) {
    let deadline = Instant::now() + SOON;
    while who.client.beside.get(&slot).is_none_or(|shown| shown.room != *of) {
        assert!(Instant::now() < deadline, "{of} is not shown: {:?}", who.client.heard.refused);
        let frame = who.client.heard.observe(of.clone(), true);
        who.send(&frame);
        who.until(Duration::from_millis(500), |client| client.beside.contains_key(&slot)).await;
    }
}

pub(crate) fn kept_its_word(player: &Connected) {
    assert_eq!(player.client.broken, Vec::<String>::new(), "{}", player.client.player);
    assert_eq!(player.client.errors, Vec::<String>::new(), "{}", player.client.player);
}

pub(crate) const STATUSES: [Status; 3] = [Status::Busy, Status::Away, Status::Online];

#[tokio::test(start_paused = true)]
async fn a_sector_is_seen_in_another_region_as_it_is_while_steps_fail_and_leaders_end() {
    for seed in 0..6_u64 {
        let universe = Universe::new(300 + seed, &["sector:1"]).await;
        let mut nexus = vec![universe.nexus("x1"), universe.nexus("x2")];
        let mut uma = live("uma", &universe.us_nodes[(seed % 2) as usize]).await;
        assert_eq!(sector_of(&uma), room("sector:1"));
        let mut ann = live("anna", &universe.eu_nodes[0]).await;
        observes(&mut ann, &room("sector:1@us"), OBSERVED).await;
        for region in universe.all() {
            region.set_latency(Duration::ZERO, Duration::from_millis(3 * seed));
            region.set_drop_chance(if seed > 2 { 0.3 } else { 0.0 });
            region.set_ambiguity(if seed > 1 { unsure() } else { Ambiguity::default() });
        }
        for round in 0..12_u64 {
            uma.act(Action::Status { status: STATUSES[(round % 3) as usize] });
            uma.until(Duration::from_millis(90 + 97 * (round + seed) % 400), |_| false).await;
            ann.until(Duration::from_millis(30), |_| false).await;
            if round % 4 == 3 {
                nexus.remove(0).kill().await;
                nexus.push(universe.nexus(&format!("x{}", 3 + round)));
            }
        }
        universe.all().into_iter().for_each(MemoryRegion::heal);
        assert!(uma.until(SOON, |client| client.pending.is_empty()).await, "seed {seed}");
        universe.converges(&room("sector:1"), &mut ann, OBSERVED).await;
        let shown = &ann.client.beside[&OBSERVED];
        assert!(shown.members().any(|(of, _)| of == "uma"), "{shown:?}");
        kept_its_word(&ann);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_seen_ends_on_the_regions_chain_whichever_redis_loses_a_tail() {
    for seed in 0..12_u64 {
        let mut universe = Universe::new(500 + seed, &["sector:1"]).await;
        let _nexus = [universe.nexus("x1"), universe.nexus("x2")];
        let (losing, owner_dies, is_behind) = ((seed % 3) as usize, seed % 2 == 1, seed >= 6);
        let mut uma = live("uma", &universe.us_nodes[0]).await;
        let mut ann = live("anna", &universe.eu_nodes[0]).await;
        observes(&mut ann, &room("sector:1@us"), OBSERVED).await;
        for round in 0..8_u64 {
            uma.act(Action::Status { status: STATUSES[(round % 3) as usize] });
            uma.until(Duration::from_millis(150), |_| false).await;
            if round == 3 {
                universe.converges(&room("sector:1"), &mut ann, OBSERVED).await;
                universe.all()[losing].mark();
            }
            if round == 5 {
                ann.until(Duration::from_millis(300), |_| false).await;
                if owner_dies && losing == 0 {
                    // Nobody appends again what is lost: another owner goes on from before it.
                    let owns = |node: &Node<MemoryLog>| node.core().owners.is_owned(&room("sector:1"));
                    let owner = universe.us_nodes.iter().position(owns).expect("an owner");
                    let dead = universe.us_nodes.remove(owner);
                    universe.us.kill(dead.core().log.id());
                    dead.kill();
                }
                let region = universe.all()[losing];
                assert!(region.lose_tail());
                if is_behind {
                    // The replica that took over has a clock that is behind.
                    region.shift_clock(-1_500);
                }
                if owner_dies && losing == 0 {
                    uma.connect(&universe.us_nodes[0]);
                    assert!(uma.until(SOON, Client::is_live).await, "seed {seed}");
                }
            }
        }
        universe.converges(&room("sector:1"), &mut ann, OBSERVED).await;
        if owner_dies && losing == 0 {
            let told = ann.client.beside_anew.iter().filter(|(of, _)| of.is_elsewhere());
            let told: Vec<_> = told.map(|(_, reason)| *reason).collect();
            assert!(told.contains(&SnapshotReason::Lost), "seed {seed}: {told:?}");
        }
        kept_its_word(&ann);
    }
}

#[tokio::test(start_paused = true)]
async fn a_region_that_comes_late_begins_with_a_snapshot_and_copies_stay_bounded() {
    let mut universe = Universe::new(700, &["sector:1"]).await;
    let early = universe.nexus("x1");
    let mut uma = live("uma", &universe.us_nodes[0]).await;
    let act = async |uma: &mut Connected, count: u64| {
        for round in 0..count {
            uma.act(Action::Status { status: STATUSES[(round % 3) as usize] });
            assert!(uma.until(SOON, |client| client.pending.is_empty()).await);
        }
    };
    act(&mut uma, 1_500).await;
    early.kill().await;
    let of: Source = "sector:1@us".parse().expect("a source");
    let hub = universe.hub.handle();
    let standing = async |at: MirrorAt, log: &MemoryLog| {
        log.mirror_standings(at, std::slice::from_ref(&of)).await.expect("an answer").remove(0).expect("a copy")
    };
    // Nobody carries, and what was appended meanwhile is trimmed away.
    act(&mut uma, 2_500).await;
    let before = standing(MirrorAt::Hub, &hub).await;
    let home = load::load(&universe.us.handle(), &room("sector:1"), None).await.expect("readable").expect("a room");
    assert!(home.snapshot.version > before.last.version, "{} {}", home.snapshot, before.last);
    universe.eu_nodes.push(node("eu", &universe.eu, 2).await);
    let _late = universe.nexus("x2");
    let mut ann = live("anna", &universe.eu_nodes[1]).await;
    observes(&mut ann, &room("sector:1@us"), OBSERVED).await;
    act(&mut uma, 2_600).await;
    universe.converges(&room("sector:1"), &mut ann, OBSERVED).await;
    let eu = universe.eu.handle();
    for (at, log) in [(MirrorAt::Hub, &hub), (MirrorAt::Region, &eu)] {
        let standing = standing(at, log).await;
        let kept = match at {
            MirrorAt::Hub => log.hub_entries(&of, EntryId::GENESIS, 100_000).await,
            MirrorAt::Region => log.entries(&room("sector:1@us"), EntryId::GENESIS, 100_000).await,
        };
        let kept = kept.expect("an answer").len() as u64;
        assert!(standing.last.version - standing.snapshot.version < 2_600, "{at:?}: {standing:?}");
        assert!(kept < 3_000, "{at:?}: {kept} entries, {standing:?}");
    }
    kept_its_word(&ann);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_mirrored_is_observed_at_most_four_rooms_and_nothing_of_a_player_is_in_it() {
    let sectors: Vec<String> = (1..=5).map(|n| format!("sector:{n}")).collect();
    let mut logs: Vec<&str> = sectors.iter().map(String::as_str).collect();
    logs.push("team:red");
    let universe = Universe::new(800, &logs).await;
    let _nexus = universe.nexus("x1");
    // One player of this name in each region: they are two.
    let mut there = live("ann", &universe.us_nodes[0]).await;
    let red = SetTeam::Join("red".parse().expect("a name"), Role::new("pilot").expect("a name"));
    teams::change(universe.us_nodes[0].core(), &player("ann"), red).await.expect("done");
    let warps = there.client.view.as_ref().expect("a first state").warps();
    let mut ann = live("ann", &universe.eu_nodes[0]).await;
    observes(&mut ann, &room("sector:1@us"), Slot::OBSERVED[0]).await;
    let own = ann.client.view.as_ref().expect("a first state").own.clone();
    for _ in 0..3 {
        there.act(Action::Status { status: Status::Busy });
        there.act(Action::Status { status: Status::Online });
        there.until(Duration::from_millis(300), |_| false).await;
    }
    there.act(Action::Move { to: warps[0].clone() });
    assert!(there.until(SOON, |client| client.view.as_ref().is_some_and(|view| view.sector == warps[0])).await);
    universe.converges(&room("sector:1"), &mut ann, Slot::OBSERVED[0]).await;
    assert!(ann.client.beside[&Slot::OBSERVED[0]].members().all(|(of, _)| of != "ann"), "gone from there");
    assert!(ann.client.answers.is_empty() && ann.client.moves.is_empty(), "{:?}", ann.client.answers);
    assert_eq!(ann.client.view.as_ref().map(|view| (&view.own, view.sector.as_str())), Some((&own, "1")));

    let refused = async |ann: &mut Connected, of: &str| {
        let frame = ann.client.heard.observe(room(of), true);
        ann.send(&frame);
        let n = ann.client.heard.last_request();
        assert!(ann.until(SOON, |client| client.heard.refused.contains_key(&n)).await, "{of}");
        ann.client.heard.refused[&n]
    };
    for of in ["sector:12@us", "sector:1@asia", "sector:1@eu", "global@asia", "team:red@us"] {
        assert_eq!(refused(&mut ann, of).await, RefusalCode::NotThere, "{of}");
    }
    // Rooms that nobody was in have no log: somebody is in each of these.
    let _others = futures_util::future::join_all((2..=5).map(async |n| {
        let core = universe.us_nodes[0].core();
        core.deliver(&room(&format!("sector:{n}")), Command::Adopt)
    }))
    .await;
    for n in 2..=4_usize {
        observes(&mut ann, &room(&format!("sector:{n}@us")), Slot::OBSERVED[n - 1]).await;
    }
    assert_eq!(refused(&mut ann, "sector:5@us").await, RefusalCode::TooMany);
    let frame = ann.client.heard.observe(room("sector:2@us"), false);
    ann.send(&frame);
    assert!(ann.until(SOON, |client| !client.beside.contains_key(&Slot::OBSERVED[1])).await, "left");
    observes(&mut ann, &room("sector:5@us"), Slot::OBSERVED[1]).await;
    kept_its_word(&ann);
}

#[tokio::test(start_paused = true)]
async fn nobody_owns_a_room_of_another_region() {
    let universe = Universe::new(900, &["sector:1"]).await;
    let _nexus = universe.nexus("x1");
    let _uma = live("uma", &universe.us_nodes[0]).await;
    let mut ann = live("anna", &universe.eu_nodes[0]).await;
    let mirrored = room("sector:1@us");
    observes(&mut ann, &mirrored, OBSERVED).await;
    let core = universe.eu_nodes[0].core();
    assert_eq!(core.target(&mirrored), None);
    assert!(!core.maps_to_me(&mirrored) && !core.deliver(&mirrored, Command::Adopt));
    // As another node's mail would bring it.
    core.take_command(&mirrored, core.me(), Command::Adopt);
    ann.until(Duration::from_secs(20), |_| false).await;
    assert!(!core.owners.is_running(&mirrored));
    let log = universe.eu.handle();
    assert!(!log.rooms_of(&core.me()).await.expect("an answer").contains(&mirrored));
    let heads = log.heads(std::slice::from_ref(&mirrored)).await.expect("an answer");
    assert_eq!(heads[0].log.as_ref().map(|head| head.owner.clone()), Some(None));
}
