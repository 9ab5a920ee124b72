//! What the logs of a region say, read and judged from their first entry by code of its own: the chain, the answers,
//! where everybody is. Compared with what players were told. Must not use the node's code: that is what it judges.

mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sectorbus::action::{Answer, RejectCode};
use sectorbus::ids::{ActorId, EntryId, Hop, Incarnation, PlayerId, RegionName, RoomId, SectorId, Seq};
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::log::{ClaimBody, Head};
use sectorbus::protocol::{Change, ChangeBody};
use sectorbus::rules::{STARTING_CREDITS, Universe};
use sectorbus::state::{Changes, EntityChange, Entry, PlayerRecord, RoomState, SystemChange};
use sectorbus::value::{Field, Value};
use tokio::time::Instant;

use crate::wire::{Player, Told};

const REACHED_WITHIN: Duration = Duration::from_secs(20);
const READ_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// As `NodeSettings::new` has it.
const SECTORS: u32 = 12;
const SEED: u64 = 1;

/// A test's own access to the region's log.
pub async fn log_of(redis_url: &str) -> Result<RedisLog> {
    let region = RegionName::new("test")?;
    let log = RedisLog::connect(RedisConfig { node: "oracle".to_owned(), ..RedisConfig::new(redis_url, region) })?;
    ensure!(log.is_ready_within(REACHED_WITHIN).await, "Redis is not reached within {REACHED_WITHIN:?}");
    Ok(log)
}

pub fn universe() -> Universe {
    Universe::new(SEED, SECTORS)
}

/// One room's log, from genesis (or from the snapshot a restore left) to its head.
pub struct Room {
    pub head: Head,
    pub state: RoomState,
    pub claims: Vec<(EntryId, ClaimBody)>,
    pub entries: Vec<(EntryId, Entry)>,
    /// Public sum after each entry and claim.
    pub sums: BTreeMap<EntryId, u32>,
    /// Where a restore skipped entries: the walk went on from a snapshot at this id.
    pub restored_at: Vec<EntryId>,
}

/// An answer as the log has it.
#[derive(Debug)]
pub struct Logged {
    pub room: SectorId,
    pub id: EntryId,
    pub answer: Answer,
}

/// All rooms of the region.
pub struct Audit {
    pub rooms: BTreeMap<SectorId, Room>,
    pub answers: BTreeMap<(PlayerId, ActorId, Seq), Vec<Logged>>,
}

impl Audit {
    /// Reads every sector's log. A chain that is broken anywhere is an error.
    pub async fn read(redis_url: &str) -> Result<Self> {
        let log = log_of(redis_url).await?;
        let universe = universe();
        let mut audit = Self { rooms: BTreeMap::new(), answers: BTreeMap::new() };
        for sector in universe.sectors() {
            let room = RoomId::Sector(sector.clone());
            let read = walk::read_room(&log, &room, universe.genesis(&sector)).await;
            if let Some(read) = read.with_context(|| format!("the log of {room}"))? {
                audit.take_answers(&sector, &read);
                audit.rooms.insert(sector, read);
            }
        }
        Ok(audit)
    }

    /// Reads until nobody is on the way anywhere.
    pub async fn at_rest(redis_url: &str, within: Duration) -> Result<Self> {
        let deadline = Instant::now() + within;
        loop {
            let audit = Self::read(redis_url).await?;
            let restless: Vec<_> =
                audit.rooms.iter().filter(|(_, room)| audit.travels_from(room)).map(|(sector, _)| sector).collect();
            if restless.is_empty() {
                return Ok(audit);
            }
            ensure!(Instant::now() < deadline, "somebody still travels in {restless:?} after {within:?}");
            tokio::time::sleep(READ_AGAIN_AFTER).await;
        }
    }

    /// Somebody has left this room and is nowhere else yet. (A source keeps a record for a while after that.)
    fn travels_from(&self, room: &Room) -> bool {
        room.state.system().outgoing().iter().any(|(player, out)| !self.is_in(player, out.hop))
    }

    /// The player has arrived somewhere with this hop or a later one.
    fn is_in(&self, player: &PlayerId, hop: Hop) -> bool {
        self.rooms.values().any(|room| {
            let system = room.state.system();
            system.seat(player).is_some_and(|seat| seat.hop >= hop)
                || system.dormant(player).is_some_and(|record| record.hop >= hop)
        })
    }

    /// Entries over all rooms.
    pub fn entries(&self) -> usize {
        self.rooms.values().map(|room| room.entries.len()).sum()
    }

    fn take_answers(&mut self, sector: &SectorId, room: &Room) {
        for (id, entry) in &room.entries {
            for answered in &entry.answers {
                let key = (answered.player.clone(), answered.actor, answered.seq);
                let logged = Logged { room: sector.clone(), id: *id, answer: answered.answer.clone() };
                self.answers.entry(key).or_default().push(logged);
            }
        }
    }

    /// Claims over all rooms after their first.
    pub fn takeovers(&self) -> usize {
        self.rooms.values().map(|room| room.claims.len() - 1).sum()
    }

    pub fn owner_of(&self, sector: &SectorId) -> Option<&Incarnation> {
        self.rooms.get(sector)?.head.owner.as_ref()
    }

    /// Invariant 3 and 4: what a client was answered is what the log says, and the log says it once.
    pub fn broken_answers(&self, told: &Told) -> Vec<String> {
        let mut broken = Vec::new();
        let (Ok(player), Some(actor)) = (PlayerId::new(&told.client.player), told.client.actor) else {
            return vec![format!("{} was never welcomed", told.client.player)];
        };
        for (seq, answer) in &told.client.answers {
            let logged = self.answers.get(&(player.clone(), actor, *seq)).map_or(&[][..], Vec::as_slice);
            let ran = logged.iter().any(|logged| logged.answer == Answer::Ack);
            let as_promised = match answer {
                Answer::Ack => ran,
                // It was decided, and the answer is forgotten: either may be so.
                Answer::Reject { code: RejectCode::Already, .. } => true,
                Answer::Reject { .. } => !ran,
            };
            if !as_promised {
                broken.push(format!("{player} seq {seq}: told {answer:?}, the log has it {} times", logged.len()));
            }
        }
        broken
    }

    /// Invariant 4: actions that were answered more than once in the logs.
    pub fn repeated(&self) -> Vec<String> {
        let repeated = self.answers.iter().filter(|(_, logged)| logged.len() > 1);
        repeated
            .map(|((player, _, seq), logged)| {
                let places: Vec<String> =
                    logged.iter().map(|at| format!("{} {} {:?}", at.room, at.id, at.answer)).collect();
                format!("{player} seq {seq} is answered {} times: {}", logged.len(), places.join(", "))
            })
            .collect()
    }

    /// Invariants 2, 5 and 6: every public state a client was shown is the log's state at that version.
    pub fn unlogged_states(&self, told: &Told) -> Vec<String> {
        let mut broken = Vec::new();
        for (sector, cursor, sum) in &told.shown {
            let logged = self.rooms.get(sector).and_then(|room| room.sums.get(cursor).copied());
            if logged != Some(*sum) && !self.is_later(told, sector, *cursor) {
                let player = &told.client.player;
                broken.push(format!("{player} was shown {sum:08x} in {sector} at {cursor}, the log has {logged:08x?}"));
            }
        }
        broken
    }

    /// An entry that came after this audit was read, for instance one that forgets a finished move: the client, which was
    /// at the head then, has gone on to it.
    fn is_later(&self, told: &Told, sector: &SectorId, id: EntryId) -> bool {
        let head = self.rooms.get(sector).map_or(0, |room| room.head.last.version);
        let shown = told.client.view.as_ref().filter(|view| view.sector == *sector).map_or(0, |view| view.version);
        (head + 1..=shown).contains(&id.version)
    }

    /// Invariant 2: what a client was told at an id that the log has, and the log has something else there. Ids the log
    /// has not are not judged: they are lost, or [`Audit::unlogged_states`].
    pub fn contradictions(&self, told: &Told) -> Vec<String> {
        let mut broken = Vec::new();
        let name = &told.client.player;
        for ((sector, id), heard) in &told.entries {
            let Some(room) = self.rooms.get(sector).filter(|room| room.sums.contains_key(id)) else { continue };
            let logged = room.entries.binary_search_by_key(id, |(id, _)| *id).ok().map(|n| &room.entries[n].1);
            let logged = logged.map(|entry| shown_changes(&entry.public));
            if logged.as_ref() != Some(heard) {
                broken.push(format!("{name} was told {heard:?} in {sector} at {id}, the log has {logged:?}"));
            }
        }
        let (Ok(player), Some(actor)) = (PlayerId::new(name), told.client.actor) else { return broken };
        for (sector, seq, id) in &told.acks {
            let has_id = self.rooms.get(sector).is_some_and(|room| room.sums.contains_key(id));
            let logged = self.answers.get(&(player.clone(), actor, *seq)).map_or(&[][..], Vec::as_slice);
            // A repeated answer comes at a later id than the first.
            let agrees = |at: &Logged| at.answer == Answer::Ack && (&at.room != sector || at.id <= *id);
            if has_id && !logged.iter().any(agrees) {
                broken.push(format!("{name} was acked seq {seq} in {sector} at {id}, the log has {logged:?}"));
            }
        }
        broken
    }

    /// Where a player's records are: seats, dormant records and departures that have arrived nowhere yet.
    pub fn places(&self, player: &PlayerId) -> Vec<(SectorId, Place)> {
        let mut places = Vec::new();
        for (sector, room) in &self.rooms {
            let system = room.state.system();
            if let Some(seat) = system.seat(player) {
                let credits = room.state.own(player).and_then(|own| own.get(&Field::CREDITS)).and_then(Value::as_int);
                places.push((sector.clone(), Place { hop: seat.hop, credits, present: true }));
            }
            let on_the_way = system.outgoing().get(player).filter(|out| !self.is_in(player, out.hop));
            let away = system.dormant(player).into_iter().chain(on_the_way.map(|out| &out.record));
            places.extend(away.map(|record| (sector.clone(), Place::of(record))));
        }
        places
    }

    /// Invariant 7 at rest: one place, credits conserved, one arrival per hop and none left out.
    pub fn misplaced(&self, player: &PlayerId) -> Vec<String> {
        let mut broken = Vec::new();
        let places = self.places(player);
        let [(sector, place)] = places.as_slice() else {
            return vec![format!("{player} is in {} places: {places:?}", places.len())];
        };
        if place.credits != Some(STARTING_CREDITS) {
            broken.push(format!("{player} has {:?} credits in {sector}, began with {STARTING_CREDITS}", place.credits));
        }
        let arrivals = self.arrivals(player);
        let hops: Vec<u64> = arrivals.iter().map(|(hop, _)| hop.0).collect();
        if hops != (1..=place.hop.0).collect::<Vec<_>>() {
            broken.push(format!("{player} is at hop {} and arrived with hops {arrivals:?}", place.hop));
        }
        broken
    }

    /// Every arrival of a player in any log, by hop.
    pub fn arrivals(&self, player: &PlayerId) -> Vec<(Hop, SectorId)> {
        let mut arrivals = Vec::new();
        for (sector, room) in &self.rooms {
            for change in room.entries.iter().flat_map(|(_, entry)| &entry.system) {
                if let SystemChange::Incoming(who, Some(hop)) = change
                    && who == player
                {
                    arrivals.push((*hop, sector.clone()));
                }
            }
        }
        arrivals.sort();
        arrivals
    }

    /// Invariant 8: what a client shows now is the room's state at its head.
    pub fn differs(&self, told: &Told) -> Option<String> {
        let (player, view) = (&told.client.player, told.client.view.as_ref()?);
        let Some(room) = self.rooms.get(&view.sector) else {
            return Some(format!("{player} is shown {}, which has no log", view.sector));
        };
        if view.version != room.head.last.version {
            return Some(format!(
                "{player} is at {} of {}, its head is {}",
                view.cursor(),
                view.sector,
                room.head.last
            ));
        }
        let shown: BTreeMap<_, _> = view.entities.iter().map(|(alias, fields)| (*alias, fields)).collect();
        let logged: BTreeMap<_, _> = room.state.public().iter().collect();
        if shown != logged {
            return Some(format!("{player} is shown {shown:?} in {}, the log has {logged:?}", view.sector));
        }
        let own = PlayerId::new(player).ok().and_then(|player| room.state.own(&player).cloned()).unwrap_or_default();
        (own != view.own).then(|| format!("{player} has {own:?} and is shown {:?}", view.own))
    }
}

/// A record of a player.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub hop: Hop,
    pub credits: Option<i64>,
    /// In the public state.
    pub present: bool,
}

impl Place {
    fn of(record: &PlayerRecord) -> Self {
        let credits = record.own.get(&Field::CREDITS).and_then(Value::as_int);
        Self { hop: record.hop, credits, present: false }
    }
}

/// Waits until every player is shown what the log has, and answers the audit that says so.
pub async fn converged(redis_url: &str, players: &[Player], within: Duration) -> Result<Audit> {
    let deadline = Instant::now() + within;
    loop {
        let audit = Audit::at_rest(redis_url, within).await?;
        let differing: Vec<String> = players.iter().filter_map(|player| audit.differs(&player.told())).collect();
        if differing.is_empty() {
            return Ok(audit);
        }
        ensure!(Instant::now() < deadline, "{} differ after {within:?}: {}", differing.len(), differing.join("\n"));
        tokio::time::sleep(READ_AGAIN_AFTER).await;
    }
}

/// Everything that holds of any run without reported losses, over all players, at rest.
pub fn breaches(audit: &Audit, players: &[Player]) -> Vec<String> {
    let mut broken = audit.repeated();
    for player in players {
        let told = player.told();
        broken.extend(told.client.broken.iter().map(|what| format!("{}: {what}", player.name)));
        broken.extend(audit.broken_answers(&told));
        broken.extend(audit.unlogged_states(&told));
        broken.extend(audit.contradictions(&told));
        let id = PlayerId::new(&player.name).expect("a player's name");
        broken.extend(audit.misplaced(&id));
    }
    broken
}

/// Public changes as a delta frame has them.
fn shown_changes(changes: &Changes) -> Vec<Change> {
    let bodies = changes.iter().map(|(alias, change)| match change {
        EntityChange::Set(set) => (alias, ChangeBody::Set(set.clone().into_iter().collect())),
        EntityChange::Removed => (alias, ChangeBody::Removed),
    });
    let telling = bodies.filter(|(_, body)| !matches!(body, ChangeBody::Set(set) if set.is_empty()));
    telling.map(|(alias, body)| Change { entity: *alias, body }).collect()
}

/// Who the members are and who is gone, as Redis has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Members {
    pub living: BTreeSet<String>,
    pub gone: BTreeSet<String>,
}

impl Members {
    pub async fn read(redis_url: &str) -> Result<Self> {
        let client = redis::Client::open(redis_url)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let fields: Vec<String> = redis::cmd("HKEYS").arg("sb:test:{members}").query_async(&mut connection).await?;
        let of = |kind: &str| fields.iter().filter_map(|field| field.strip_prefix(kind)).map(str::to_owned).collect();
        let members = Self { living: of("m:"), gone: of("g:") };
        ensure!(!members.living.is_empty(), "no members in {fields:?}");
        Ok(members)
    }
}

/// Rooms that had an owner have the same one, by the same claim.
///
/// # Panics
/// If a room changed hands, or was claimed again by its owner.
pub fn assert_same_claims(before: &Audit, after: &Audit) {
    let claims = |audit: &Audit, sector| audit.rooms.get(sector).map(|room| room.claims.clone());
    for sector in before.rooms.keys() {
        assert_eq!(claims(before, sector), claims(after, sector), "{sector} was claimed again");
    }
}

/// All entries of an epoch come from one node: epochs and who claimed them, over all rooms.
pub fn owners_by_epoch(audit: &Audit) -> BTreeMap<(SectorId, u64), BTreeSet<Incarnation>> {
    let mut owners: BTreeMap<(SectorId, u64), BTreeSet<Incarnation>> = BTreeMap::new();
    for (sector, room) in &audit.rooms {
        for (id, claim) in &room.claims {
            owners.entry((sector.clone(), id.epoch)).or_default().insert(claim.owner.clone());
        }
    }
    owners
}
