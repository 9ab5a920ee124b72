//! Every sector of a region as its log has it, read the way any replica may: heads, then the entries that follow, judged, applied
//! and verified. Nothing here goes through a node: this is what the nodes' promises are held against.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sectorbus::action::{Answer, Status};
use sectorbus::ids::{ActorId, EntryId, Hop, Incarnation, PlayerId, RegionName, RoomId, SectorId, Seq};
use sectorbus::limits::LOAD_PAGE_ENTRIES;
use sectorbus::log::{Heads, Log, LogEntry, LogResult};
use sectorbus::small_map::SmallMap;
use sectorbus::state::{ActorMarks, Entry, Fields, RoomState};
use sectorbus::value::{Field, Value};
use sectorbus_node::load::{Follows, apply, judge, load};

/// Acked seqs remembered per actor.
const ACKS_KEPT: usize = 512;

/// A sector as its log has it.
pub struct Replica {
    /// `None` after a park.
    pub owner: Option<Incarnation>,
    pub cursor: EntryId,
    pub state: RoomState,
}

/// A player's record, wherever it is: seated, on the way, or dormant.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub hop: Hop,
    pub asked: Status,
    pub actors: &'a SmallMap<ActorId, ActorMarks>,
    /// False: the copy that a source keeps until the destination has confirmed; more may have happened there meanwhile.
    pub arrived: bool,
}

/// A ship for the map.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ShipView {
    pub player: String,
    pub name: String,
    pub sector: SectorId,
    pub status: String,
}

type EntryPlace = (RegionName, SectorId, EntryId);

/// Which entry acked an action, of all regions: a second one means that it ran twice.
#[derive(Debug, Default)]
pub struct Acks {
    by: BTreeMap<(PlayerId, ActorId), BTreeMap<Seq, EntryPlace>>,
    /// Actions that two entries acked.
    pub twice: u64,
}

pub struct Rooms<L: Log> {
    region: RegionName,
    log: Arc<L>,
    ids: Vec<RoomId>,
    replicas: BTreeMap<SectorId, Replica>,
    acks: Arc<Mutex<Acks>>,
}

impl<L: Log> Rooms<L> {
    /// `acks`: the same for all regions.
    pub fn new(
        region: RegionName,
        log: Arc<L>,
        sectors: impl Iterator<Item = SectorId>,
        acks: Arc<Mutex<Acks>>,
    ) -> Self {
        let ids = sectors.map(RoomId::Sector).collect();
        Self { region, log, ids, replicas: BTreeMap::new(), acks }
    }

    /// Brings every replica up to its log's head. Rooms are read one after another: a player on the way may be seen in
    /// none of them.
    pub async fn read(&mut self) -> LogResult<()> {
        let heads = self.log.heads(&self.ids).await?;
        for (id, heads) in self.ids.clone().into_iter().zip(heads) {
            if let RoomId::Sector(sector) = &id {
                self.read_room(&id, sector, heads).await?;
            }
        }
        Ok(())
    }

    async fn read_room(&mut self, id: &RoomId, sector: &SectorId, heads: Heads) -> LogResult<()> {
        let Some(head) = heads.log else { return Ok(()) };
        let known = self.replicas.get(sector);
        if known.is_none_or(|replica| replica.cursor != head.last) && !self.read_on(id, sector).await? {
            self.load(id, sector).await?;
        }
        if let Some(replica) = self.replicas.get_mut(sector) {
            replica.owner = head.owner;
        }
        Ok(())
    }

    /// Applies what follows; false: this copy cannot go on (there is none, entries were trimmed, the log forked).
    async fn read_on(&mut self, id: &RoomId, sector: &SectorId) -> LogResult<bool> {
        let Some(replica) = self.replicas.get_mut(sector) else { return Ok(false) };
        let mut page = vec![];
        loop {
            page.clear();
            page.extend(self.log.entries(id, replica.cursor, LOAD_PAGE_ENTRIES).await?);
            for entry in &page {
                match judge(replica.cursor, entry) {
                    Follows::Next => {}
                    Follows::Duplicate => continue,
                    Follows::Stale | Follows::Gap | Follows::Fork => return Ok(false),
                }
                let applied = apply(&mut replica.state, entry)?;
                replica.cursor = entry.id;
                self.acks.lock().note(&self.region, sector, entry, applied.as_ref());
            }
            if page.len() < LOAD_PAGE_ENTRIES {
                return Ok(true);
            }
        }
    }

    async fn load(&mut self, id: &RoomId, sector: &SectorId) -> LogResult<()> {
        let Some(loaded) = load(&*self.log, id, None).await? else { return Ok(()) };
        for entry in &loaded.entries {
            // Already applied once by `load`: here only its answers are of interest.
            let applied = apply_again(entry)?;
            self.acks.lock().note(&self.region, sector, entry, applied.as_ref());
        }
        let replica = Replica { owner: loaded.head.owner, cursor: loaded.cursor, state: loaded.state };
        self.replicas.insert(sector.clone(), replica);
        Ok(())
    }

    pub fn get(&self, sector: &SectorId) -> Option<&Replica> {
        self.replicas.get(sector)
    }

    /// Each sector's owner and the epoch of its last entry; sectors that nobody owns are left out.
    pub fn owners(&self) -> impl Iterator<Item = (&SectorId, &Incarnation, u64)> {
        self.replicas.iter().filter_map(|(sector, room)| Some((sector, room.owner.as_ref()?, room.cursor.epoch)))
    }

    pub fn ships(&self) -> Vec<ShipView> {
        let text = |fields: &Fields, field| fields.get(&field).and_then(Value::as_text).unwrap_or_default().to_owned();
        let ships = self.replicas.iter().flat_map(|(sector, replica)| {
            let ships = replica.state.public().iter().filter(|(_, fields)| fields.contains_key(&Field::PLAYER));
            ships.map(move |(_, fields)| ShipView {
                player: text(fields, Field::PLAYER),
                name: text(fields, Field::NAME),
                sector: sector.clone(),
                status: text(fields, Field::STATUS),
            })
        });
        ships.collect()
    }

    /// The player's record with the highest hop; of two, the one that has arrived.
    pub fn record(&self, player: &PlayerId) -> Option<Record<'_>> {
        let records = self.replicas.values().flat_map(|replica| {
            let system = replica.state.system();
            let seated = system.seat(player).map(|seat| Record {
                hop: seat.hop,
                asked: seat.asked,
                actors: system.actors_of(player),
                arrived: true,
            });
            let away = system.outgoing().get(player);
            let away = away.map(|out| Record { hop: out.hop, ..Record::of(&out.record, false) });
            let dormant = system.dormant(player).map(|record| Record::of(record, true));
            [seated, dormant, away].into_iter().flatten()
        });
        records.max_by_key(Record::rank)
    }
}

impl<'a> Record<'a> {
    fn of(record: &'a sectorbus::state::PlayerRecord, arrived: bool) -> Self {
        Self { hop: record.hop, asked: record.asked, actors: &record.actors, arrived }
    }

    /// Of two the higher one counts.
    pub fn rank(&self) -> (Hop, bool) {
        (self.hop, self.arrived)
    }
}

fn apply_again(entry: &LogEntry) -> LogResult<Option<Entry>> {
    match &entry.body {
        sectorbus::log::LogBody::Claim(_) => Ok(None),
        sectorbus::log::LogBody::Batch(bytes) => sectorbus_node::load::decode_entry(entry.id, bytes).map(Some),
    }
}

impl Acks {
    /// Remembers which actions this entry acked, and counts those that another entry had acked before.
    fn note(&mut self, region: &RegionName, sector: &SectorId, at: &LogEntry, entry: Option<&Entry>) {
        let acked =
            entry.into_iter().flat_map(|entry| &entry.answers).filter(|answered| answered.answer == Answer::Ack);
        for answered in acked {
            let known = self.by.entry((answered.player.clone(), answered.actor)).or_default();
            let place = (region.clone(), sector.clone(), at.id);
            let before = known.insert(answered.seq, place.clone());
            self.twice += u64::from(before.is_some_and(|before| before != place));
            while known.len() > ACKS_KEPT {
                known.pop_first();
            }
        }
    }
}
