//! A player jumps from region to region, and at each step of a jump each process that has to do with it is killed, or its Redis
//! restarted. The player is in one place all the time, with all they have, and the client goes on where they are.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use sectorbus::action::{Action, Answer, Status};
use sectorbus::ids::{ActorId, Hop, PlayerId, RegionName, RoomId, Seq, SessionId};
use sectorbus::log::Log;
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::protocol::{Act, ClientFrame};
use sectorbus::rules::STARTING_CREDITS;
use sectorbus::small_map::SmallMap;
use sectorbus::state::{ActorMarks, Fields, PlayerRecord};
use sectorbus::value::{Field, Value};
use sectorbus_node::load::load;
use sectorbus_tests::universe::{Member, Universe};
use sectorbus_tests::wire::{Player, PlayerOptions};

use crate::steps::{STEPS, Step, Trip, hget};
use crate::traffic::SOON;

const PLAYER: &str = "ann";
/// Of two regions, and the sector of each that the gate stands in and the other's gate leads to.
const ENDS: [(&str, &str); 2] = [("eu", "1"), ("us", "3")];
const SECTORS: u32 = 12;

/// What is killed with SIGKILL, and started again: a Redis at once, with what it had written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// The node that owns the gate's sector.
    Owner,
    /// The one that has, or had, the player's connection in the region that is left.
    Gateway,
    /// All of them: whoever goes on knows nothing but what is stored.
    Nexus,
    /// The node there that owns the sector the gate leads to, or would.
    Destination,
    Hub,
    RedisLeft,
    RedisEntered,
}

const VICTIMS: [Victim; 7] = [
    Victim::Owner,
    Victim::Gateway,
    Victim::Nexus,
    Victim::Destination,
    Victim::Hub,
    Victim::RedisLeft,
    Victim::RedisEntered,
];

fn sector_of(region: &str) -> &'static str {
    ENDS.iter().find(|(name, _)| *name == region).expect("a region of this universe").1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_arrives_once_whichever_process_is_killed_at_whichever_step_on_redis() -> Result<()> {
    let mut universe = Universe::start_with(ENDS.len(), 2, |region, settings| {
        let gate = if region == "eu" { "1 us:3" } else { "3 eu:1" };
        settings.with("gates", gate).with("beat_ms", 200).with("member_ttl_ms", 1_000)
    })
    .await?;
    for _ in 0..2 {
        universe.start_nexus("").await?;
    }
    let options = PlayerOptions { sector: Some(sector_of("eu").parse()?), ..PlayerOptions::default() };
    let player = Player::start(PLAYER, &universe.member("eu").region.addresses(), options);
    player.settled(SOON).await?;
    player.act(Action::Status { status: Status::Away });
    player.settled(SOON).await?;

    // Each victim at each step once; every jump begins where the one before has ended.
    let mut hop = Hop(1);
    for round in 0..VICTIMS.len() {
        hop = hop.after_jump();
        let [(from, _), (to, _)] = if round.is_multiple_of(2) { ENDS } else { [ENDS[1], ENDS[0]] };
        let trip = Trip { player: PLAYER, from, to, hop };
        let began = tokio::time::Instant::now();
        jump(&mut universe, &player, trip, round).await.with_context(|| format!("round {round}: {trip:?}"))?;
        println!("round {round} took {:?}", began.elapsed());
    }
    universe.passed()
}

async fn jump(universe: &mut Universe, player: &Player, trip: Trip, round: usize) -> Result<()> {
    let gateway = apart_from_owner(universe, player, trip.from).await?;
    let before = At::of(universe, trip.from).await?;
    trip.hold(universe, Step::Offered)?;
    let gate = format!("{}:{}", trip.to, sector_of(trip.to)).parse()?;
    let seq = player.act(Action::Jump { to: gate });
    let (mut dead, mut at_once) = (Vec::new(), false);
    for (number, step) in STEPS.into_iter().enumerate() {
        if step == Step::Redeemed {
            at_once = goes_on(universe, player, trip.to).await?;
        } else {
            trip.comes_to(universe, step).await?;
        }
        one_place(universe, trip).await.with_context(|| format!("at {step:?}"))?;
        let victim = VICTIMS[(round + number) % VICTIMS.len()];
        println!("{step:?} of {}: {victim:?}", trip.hop);
        dead.extend(kill(universe, victim, trip, &gateway).await.with_context(|| format!("{victim:?} at {step:?}"))?);
        if let Some(next) = STEPS.get(number + 1) {
            trip.hold(universe, *next)?;
        }
        trip.release(universe, step).await?;
        // What holds the next step are stopped nodes: one that begins now would go on.
        let stopped = match STEPS.get(number + 1) {
            Some(Step::Brought) => Some(trip.to),
            Some(Step::Told) => Some(trip.from),
            _ => None,
        };
        for (region, node) in dead.extract_if(.., |(region, _)| Some(*region) != stopped) {
            universe.member_mut(region).region.nodes[node].restart().await?;
        }
        one_place(universe, trip).await.with_context(|| format!("after {victim:?} at {step:?}"))?;
    }
    player.settled(SOON).await?;
    let after = At::of(universe, trip.to).await?;
    ensure!(after.sessions.len() == 1, "sessions {:?}", after.sessions);
    // A ticket is good once: a connection that ended between that and the welcome took it along.
    ensure!(
        !at_once || after.sessions == before.sessions,
        "the session went on as {:?}, was {:?}",
        after.sessions,
        before.sessions
    );
    ensure!(At::of(universe, trip.from).await?.sessions.is_empty(), "{} still has sessions", trip.from);

    // What was answered there is answered the same here, and makes nothing again.
    let answer = player.told().client.answers.get(&seq).cloned();
    ensure!(answer == Some(Answer::Ack), "{answer:?}");
    let jumped = Action::Jump { to: format!("{}:{}", trip.to, sector_of(trip.to)).parse()? };
    player.send(ClientFrame::Act(Act { seq, action: jumped }));
    let status = if round.is_multiple_of(2) { Status::Busy } else { Status::Away };
    let last = player.act(Action::Status { status });
    player.settled(SOON).await?;
    let kept = one_place(universe, trip).await?.context("at rest")?;
    ensure!(kept.region == trip.to && kept.hop == trip.hop, "{kept:?}");
    ensure!(kept.room.sector().is_some_and(|sector| sector.as_str() == sector_of(trip.to)), "{kept:?}");
    ensure!(kept.answered >= last, "{last} was answered, the record knows {}", kept.answered);
    let told = player.told();
    ensure!(told.client.broken.is_empty(), "{:?}", told.client.broken);
    ensure!(told.client.answers.get(&last) == Some(&Answer::Ack), "{:?}", told.client.answers.get(&last));
    Ok(())
}

/// The client goes where it was told to go. True: with one connection.
async fn goes_on(universe: &Universe, player: &Player, to: &str) -> Result<bool> {
    let is_told = |told: &sectorbus_tests::wire::Told| {
        told.client.elsewhere.as_ref().is_some_and(|elsewhere| elsewhere.region.as_str() == to)
    };
    player.until(SOON, "where it is to go", is_told).await?;
    let before = player.told().connections;
    player.cut();
    player.set_nodes(&universe.member(to).region.addresses());
    player.come_back();
    let is_there = |told: &sectorbus_tests::wire::Told| told.node.starts_with(to) && told.client.is_live();
    player.until(SOON, "that it is there", is_there).await?;
    let made = player.told().connections - before;
    Ok(made == 1)
}

/// Has the player connected to a node that does not own the sector they are in; which one.
async fn apart_from_owner(universe: &Universe, player: &Player, region: &str) -> Result<String> {
    let member = universe.member(region);
    let owner = owner_of(member, sector_of(region)).await?.context("somebody owns where the player is")?;
    let (name, address) = {
        let other = member.region.running().find(|node| !is_life_of(&owner, node.name())).context("two nodes run")?;
        (other.name().to_owned(), other.address())
    };
    let mut nodes: Vec<SocketAddr> = vec![address];
    nodes.extend(member.region.addresses().into_iter().filter(|other| *other != address));
    if !is_life_of(&player.told().node.clone(), &name) {
        player.cut();
        player.set_nodes(&nodes);
        let is_there = |told: &sectorbus_tests::wire::Told| is_life_of(&told.node, &name) && told.client.is_live();
        player.until(SOON, "that it is at another node", is_there).await?;
    }
    player.settled(SOON).await?;
    Ok(name)
}

fn is_life_of(incarnation: &str, node: &str) -> bool {
    incarnation.split_once('#').map_or(incarnation, |(name, _)| name) == node
}

async fn owner_of(member: &Member, sector: &str) -> Result<Option<String>> {
    let mut connection = member.region.redis.connection().await?;
    hget(&mut connection, &format!("sb:{}:{{sector:{sector}}}:head", member.name), "owner").await
}

/// Kills it; a node that is to be started again.
async fn kill(
    universe: &mut Universe,
    victim: Victim,
    trip: Trip,
    gateway: &str,
) -> Result<Option<(&'static str, usize)>> {
    match victim {
        Victim::Owner => {
            let owner = owner_of(universe.member(trip.from), sector_of(trip.from)).await?;
            kill_node(universe, trip.from, owner.as_deref())
        }
        Victim::Gateway => kill_node(universe, trip.from, Some(gateway)),
        Victim::Destination => {
            let owner = owner_of(universe.member(trip.to), sector_of(trip.to)).await?;
            kill_node(universe, trip.to, owner.as_deref())
        }
        Victim::Nexus => {
            for mut nexus in std::mem::take(&mut universe.nexuses) {
                nexus.kill9()?;
                universe.start_nexus("").await?;
            }
            Ok(None)
        }
        Victim::Hub => {
            universe.hub.restart().await?;
            Ok(None)
        }
        Victim::RedisLeft | Victim::RedisEntered => {
            let region = if victim == Victim::RedisLeft { trip.from } else { trip.to };
            universe.member_mut(region).region.redis.restart().await?;
            Ok(None)
        }
    }
}

/// The node of which this is a life, if it runs; else another that does.
fn kill_node(universe: &mut Universe, of: &'static str, life: Option<&str>) -> Result<Option<(&'static str, usize)>> {
    let nodes = &mut universe.member_mut(of).region.nodes;
    let is_it = |name: &str| life.is_some_and(|life| is_life_of(life, name));
    let wanted = nodes.iter().position(|node| node.runs() && is_it(node.name()));
    let Some(at) = wanted.or_else(|| nodes.iter().position(|node| node.runs())) else {
        bail!("no node of {of} runs");
    };
    nodes[at].kill9()?;
    Ok(Some((of, at)))
}

/// What a region knows of the player's sessions.
struct At {
    sessions: Vec<SessionId>,
}

impl At {
    async fn of(universe: &Universe, region: &str) -> Result<Self> {
        let at = log_of(universe.member(region)).await?.at(&PlayerId::new(PLAYER)?).await?;
        Ok(Self { sessions: at.map(|at| at.sessions.keys().cloned().collect()).unwrap_or_default() })
    }
}

type Actors = SmallMap<ActorId, ActorMarks>;

/// A record of the player.
#[derive(Debug)]
struct Kept {
    region: &'static str,
    room: RoomId,
    is_leaving: bool,
    hop: Hop,
    credits: Option<i64>,
    /// The highest action that the record knows the answer of.
    answered: Seq,
}

async fn log_of(member: &Member) -> Result<RedisLog> {
    let region = RegionName::new(member.name)?;
    let config = RedisConfig { node: "judge".to_owned(), ..RedisConfig::new(member.region.redis.url(), region) };
    let log = RedisLog::connect(config)?;
    ensure!(log.is_ready_within(SOON).await, "the Redis of {} is not reached", member.name);
    Ok(log)
}

async fn kept_in(member: &Member) -> Result<Vec<Kept>> {
    let (log, player) = (log_of(member).await?, PlayerId::new(PLAYER)?);
    let credits = |own: &Fields| own.get(&Field::CREDITS).and_then(Value::as_int);
    let mut found = Vec::new();
    for number in 1..=SECTORS {
        let room: RoomId = format!("sector:{number}").parse()?;
        let Some(loaded) = load(&log, &room, None).await? else { continue };
        let system = loaded.state.system();
        let kept = |is_leaving, hop, credits, answered| Kept {
            region: member.name,
            room: room.clone(),
            is_leaving,
            hop,
            credits,
            answered,
        };
        let answered = |actors: &Actors| actors.iter().map(|(_, marks)| marks.high()).max().unwrap_or_default();
        let of_record = |is_leaving, hop, record: &PlayerRecord| {
            kept(is_leaving, hop, credits(&record.own), answered(&record.actors))
        };
        if let Some(seat) = system.seat(&player) {
            let own = loaded.state.own(&player).and_then(credits);
            found.push(kept(false, seat.hop, own, answered(system.actors_of(&player))));
        }
        found.extend(system.dormant(&player).map(|record| of_record(false, record.hop, record)));
        found.extend(system.outgoing().get(&player).map(|out| of_record(true, out.hop, &out.record)));
    }
    Ok(found)
}

/// Never in both regions and never in neither, with what they had. `None`: on the way.
async fn one_place(universe: &Universe, trip: Trip) -> Result<Option<Kept>> {
    // In this order: who arrives between the two readings is still known where they left.
    let mut found = kept_in(universe.member(trip.to)).await?;
    found.extend(kept_in(universe.member(trip.from)).await?);
    let here = found.iter().filter(|kept| !kept.is_leaving).count();
    ensure!(here <= 1, "in {here} places: {found:?}");
    // A departure is remembered for a while after the arrival: the newest counts, unless its arrival is there.
    found.sort_by_key(|kept| (kept.hop, !kept.is_leaving));
    let kept = found.pop().context("nowhere")?;
    ensure!(here == 0 || !kept.is_leaving, "{kept:?}, and still in {found:?}");
    ensure!(kept.credits == Some(STARTING_CREDITS), "{kept:?}");
    ensure!(kept.answered > Seq(0), "what was answered is forgotten: {kept:?}");
    Ok(Some(kept).filter(|kept| !kept.is_leaving))
}
