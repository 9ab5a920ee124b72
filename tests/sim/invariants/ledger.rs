//! What the rooms' logs amount to: chains as they are at the end, what was lost for good, every answer that was ever
//! given, and the state each room ends in. Read by several invariants; judges nothing.

use std::collections::{BTreeMap, BTreeSet};

use sectorbus::action::{Answer, RejectCode};
use sectorbus::ids::{ActorId, EntryId, Hop, PlayerId, RingVersion, RoomId, Seq};
use sectorbus::log::memory::{Appearance, RoomDump};
use sectorbus::log::{Head, LogBody, OnChain, Push, Snapshot};
use sectorbus::state::{ActorMarks, Answered, Entry, Judged, Parts, RoomState, SystemChange};
use sectorbus_node::command::{Receipt, decode_receipts};

use crate::evidence::Evidence;

/// Names an action for ever.
pub(crate) type ActionName = (PlayerId, ActorId, Seq);

/// An answer, and when it became known.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) order: u64,
    pub(crate) room: RoomId,
    /// `None`: published with a chain check only.
    pub(crate) entry: Option<EntryId>,
    pub(crate) answer: Answer,
    /// The entry is not in the chain that remains.
    pub(crate) lost: bool,
}

/// A room at the end.
pub(crate) struct Ended {
    pub(crate) last: EntryId,
    pub(crate) state: RoomState,
}

pub(crate) struct Ledger {
    /// By room: ids that were appended and are neither in the remaining chain nor in a snapshot of it.
    pub(crate) lost: BTreeMap<RoomId, BTreeSet<EntryId>>,
    pub(crate) answers: BTreeMap<ActionName, Vec<Given>>,
    /// Acked according to the marks in a snapshot that a restore wrote, in an arrival, or in a room at the end.
    pub(crate) in_snapshots: BTreeSet<ActionName>,
    /// The highest marks of each actor at the end: an action that they know is behind the player's record.
    marks: BTreeMap<(PlayerId, ActorId), ActorMarks>,
    /// Rooms as stored: snapshot and the entries after it.
    pub(crate) ended: BTreeMap<RoomId, Ended>,
}

/// Where a player's record was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Seated,
    Dormant,
    Outgoing,
}

pub(crate) fn decode(appearance: &Appearance) -> Result<Option<Entry>, String> {
    match &appearance.body {
        LogBody::Claim(_) => Ok(None),
        LogBody::Batch(bytes) => {
            Entry::decode(bytes).map(Some).map_err(|error| format!("entry {}: {error}", appearance.id))
        }
    }
}

pub(crate) fn read_snapshot(snapshot: &Snapshot) -> Result<RoomState, String> {
    let parts = Parts {
        public: snapshot.parts.public.clone(),
        own: snapshot.parts.own.clone(),
        system: snapshot.parts.system.clone(),
        dormant: snapshot.parts.dormant.clone().unwrap_or_default(),
    };
    RoomState::from_parts(&parts).map_err(|error| format!("snapshot {}: {error}", snapshot.id))
}

/// The snapshot says that this entry is behind it.
fn covers(snapshot: &Snapshot, id: EntryId) -> bool {
    let head =
        Head { last: snapshot.id, owner: None, ring: RingVersion(0), nonce: None, lineage: snapshot.lineage.clone() };
    head.on_chain(id) == OnChain::Yes
}

/// The appearances that remain, in order.
pub(crate) fn remaining(dump: &RoomDump) -> impl DoubleEndedIterator<Item = &Appearance> {
    dump.history.iter().filter(|appearance| appearance.lost.is_none())
}

fn lost_for_good(dump: &RoomDump) -> BTreeSet<EntryId> {
    let kept: BTreeMap<EntryId, &LogBody> = remaining(dump).map(|kept| (kept.id, &kept.body)).collect();
    let restored: Vec<&Snapshot> = remaining(dump).filter_map(|kept| kept.restored.as_ref()).collect();
    let lost = dump.history.iter().filter(|appearance| appearance.lost.is_some());
    lost.filter(|lost| kept.get(&lost.id) != Some(&&lost.body))
        .filter(|lost| !restored.iter().any(|snapshot| covers(snapshot, lost.id)))
        .map(|lost| lost.id)
        .collect()
}

fn acked_by_marks(state: &RoomState) -> Vec<ActionName> {
    marks_in(state).into_iter().flat_map(|(player, actor, marks)| acked_names(player, actor, marks)).collect()
}

fn marks_in(state: &RoomState) -> Vec<(&PlayerId, ActorId, &ActorMarks)> {
    let system = state.system();
    let seated = system.seats().keys().map(|player| (player, system.actors_of(player)));
    let dormant = system.dormants().iter().map(|(player, record)| (player, &record.actors));
    let outgoing = system.outgoing().iter().map(|(player, out)| (player, &out.record.actors));
    let of_players = seated.chain(dormant).chain(outgoing);
    of_players.flat_map(|(player, actors)| actors.iter().map(move |(actor, marks)| (player, *actor, marks))).collect()
}

/// A player who arrives brings the marks of all rooms before.
fn acked_by_changes(entry: &Entry) -> Vec<ActionName> {
    let marks = entry.system.iter().filter_map(|change| match change {
        SystemChange::Actor(player, actor, Some(marks)) => Some((player, *actor, marks)),
        _ => None,
    });
    marks.flat_map(|(player, actor, marks)| acked_names(player, actor, marks)).collect()
}

fn acked_names(player: &PlayerId, actor: ActorId, marks: &ActorMarks) -> Vec<ActionName> {
    let kept = marks.answers().iter().filter(|(_, answer)| *answer == Answer::Ack);
    kept.map(|(seq, _)| (player.clone(), actor, *seq)).collect()
}

fn end_of(room: &RoomId, dump: &RoomDump) -> Result<Option<Ended>, String> {
    let (Some(head), Some(snapshot)) = (&dump.heads.log, &dump.snapshot) else { return Ok(None) };
    let mut state = read_snapshot(snapshot)?;
    for entry in dump.entries.iter().filter(|entry| entry.id > snapshot.id) {
        let LogBody::Batch(bytes) = &entry.body else { continue };
        let entry_of = Entry::decode(bytes).map_err(|error| format!("{room} {}: {error}", entry.id))?;
        state.apply(&entry_of).map_err(|mismatch| format!("{room} as stored, {}: {mismatch}", entry.id))?;
    }
    Ok(Some(Ended { last: head.last, state }))
}

impl Ledger {
    pub(crate) fn of(evidence: &Evidence) -> Result<Self, String> {
        let mut ledger = Self {
            lost: BTreeMap::new(),
            answers: BTreeMap::new(),
            in_snapshots: BTreeSet::new(),
            marks: BTreeMap::new(),
            ended: BTreeMap::new(),
        };
        for (room, dump) in &evidence.rooms {
            let lost = lost_for_good(dump);
            for appearance in &dump.history {
                let Some(entry) = decode(appearance)? else { continue };
                let is_lost = lost.contains(&appearance.id);
                if !is_lost {
                    ledger.in_snapshots.extend(acked_by_changes(&entry));
                }
                for answered in entry.answers {
                    ledger.note(room, appearance.order, Some(appearance.id), is_lost, answered);
                }
            }
            if !lost.is_empty() {
                ledger.lost.insert(room.clone(), lost);
            }
            for restored in remaining(dump).filter_map(|kept| kept.restored.as_ref()) {
                ledger.in_snapshots.extend(acked_by_marks(&read_snapshot(restored)?));
            }
            if let Some(ended) = end_of(room, dump)? {
                ledger.in_snapshots.extend(acked_by_marks(&ended.state));
                for (player, actor, marks) in marks_in(&ended.state) {
                    let highest = ledger.marks.entry((player.clone(), actor)).or_insert_with(|| marks.clone());
                    if marks.high() > highest.high() {
                        *highest = marks.clone();
                    }
                }
                ledger.ended.insert(room.clone(), ended);
            }
        }
        for publication in &evidence.publications {
            let Push::Receipts { body, .. } = &publication.push else { continue };
            for receipt in decode_receipts(body).map_err(|error| error.to_string())? {
                let answered = match receipt {
                    Receipt::Answer(answered) => answered,
                    Receipt::Stale { speaker, actor, seq } => {
                        let answer = Answer::reject(RejectCode::StaleSession);
                        Answered { player: speaker.player, actor, seq, answer }
                    }
                    _ => continue,
                };
                ledger.note(&publication.room, publication.order, None, false, answered);
            }
        }
        Ok(ledger)
    }

    fn note(&mut self, room: &RoomId, order: u64, entry: Option<EntryId>, lost: bool, answered: Answered) {
        let name = (answered.player, answered.actor, answered.seq);
        let given = Given { order, room: room.clone(), entry, answer: answered.answer, lost };
        self.answers.entry(name).or_default().push(given);
    }

    pub(crate) fn answers_to(&self, name: &ActionName) -> &[Given] {
        self.answers.get(name).map_or(&[], Vec::as_slice)
    }

    /// The player's record at the end has this action behind it, though its answer may be forgotten.
    pub(crate) fn is_behind(&self, name: &ActionName) -> bool {
        let marks = self.marks.get(&(name.0.clone(), name.1));
        marks.is_some_and(|marks| !matches!(marks.judge(name.2), Judged::Run | Judged::TooFar))
    }

    /// Nothing was lost for good in any room.
    pub(crate) fn is_whole(&self) -> bool {
        self.lost.is_empty()
    }

    /// Where each player's record is at the end: room, how, hop.
    pub(crate) fn places(&self) -> BTreeMap<PlayerId, Vec<(RoomId, Found, Hop)>> {
        let mut places: BTreeMap<PlayerId, Vec<(RoomId, Found, Hop)>> = BTreeMap::new();
        for (room, ended) in &self.ended {
            let system = ended.state.system();
            let seated = system.seats().iter().map(|(player, seat)| (player, Found::Seated, seat.hop));
            let dormant = system.dormants().iter().map(|(player, record)| (player, Found::Dormant, record.hop));
            let outgoing = system.outgoing().iter().map(|(player, out)| (player, Found::Outgoing, out.hop));
            for (player, found, hop) in seated.chain(dormant).chain(outgoing) {
                places.entry(player.clone()).or_default().push((room.clone(), found, hop));
            }
        }
        places
    }
}
