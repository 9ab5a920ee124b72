//! State into protocol frames: the one place where both vocabularies meet on the way out.
//! Pure; says nothing about who gets a frame.

use sectorbus::action::Answer;
use sectorbus::ids::{ActorId, EntryId, Incarnation, PlayerId, RoomId, SectorId, Seq};
use sectorbus::protocol::{
    Ack, ActorMarks, Change, ChangeBody, DeltaFrame, EntityFields, Left, Moved, OwnChange, OwnerChange, Reject,
    RoomSnapshot, SeqAnswer, ServerFrame, Slot, Snapshot, SnapshotReason,
};
use sectorbus::state::RoomState;
use sectorbus::state::{Delta, EntityChange, FieldChanges};

use crate::follow::replica::Replica;

/// The slot that every session sees such a room in; a room of another region is in one that its session chose.
pub fn slot_of(room: &RoomId) -> Slot {
    match room {
        RoomId::Sector(_) | RoomId::Player(_) | RoomId::Topic(_) => Slot::SECTOR,
        RoomId::Team(_) => Slot::TEAM,
        RoomId::Global => Slot::GLOBAL,
        RoomId::Elsewhere(_) => Slot::OBSERVED[0],
    }
}

pub fn delta(room: Slot, delta: &Delta) -> DeltaFrame {
    let changes = delta.changes.iter().map(|(entity, change)| Change {
        entity: *entity,
        body: match change {
            EntityChange::Set(set) => ChangeBody::Set(set.iter().map(|(f, v)| (*f, v.clone())).collect()),
            EntityChange::Removed => ChangeBody::Removed,
        },
    });
    DeltaFrame { room, from: delta.from, to: delta.to, sum: delta.sum, changes: changes.collect() }
}

pub fn own(to: u64, sum: u32, set: &FieldChanges) -> ServerFrame {
    ServerFrame::Own(OwnChange { to, sum, set: set.iter().map(|(f, v)| (*f, v.clone())).collect() })
}

pub fn answer(seq: Seq, answer: &Answer, version: u64) -> ServerFrame {
    match answer {
        Answer::Ack => ServerFrame::Ack(Ack { seq, version }),
        Answer::Reject { code, facts } => {
            ServerFrame::Reject(Reject { seq, code: *code, facts: facts.clone(), version })
        }
    }
}

pub fn owner(room: Slot, id: EntryId, owner: &Incarnation) -> ServerFrame {
    let node = owner.node_name().to_owned();
    ServerFrame::Owner(OwnerChange { room, node, epoch: id.epoch, version: id.version })
}

/// What is decided of one actor's actions, as far as the log says.
pub fn marks(state: &RoomState, player: &PlayerId, actor: ActorId) -> Vec<ActorMarks> {
    let marks = state.system().actors_of(player).get(&actor);
    let to_wire = |marks: &sectorbus::state::ActorMarks| ActorMarks {
        actor,
        high: marks.high(),
        bitmap: marks.bitmap(),
        answers: marks.answers().iter().map(|(seq, answer)| SeqAnswer { seq: *seq, answer: answer.clone() }).collect(),
    };
    marks.map(to_wire).into_iter().collect()
}

pub fn snapshot(
    replica: &Replica,
    sector: &SectorId,
    player: &PlayerId,
    actor: ActorId,
    reason: SnapshotReason,
) -> Snapshot {
    let state = replica.state();
    Snapshot {
        room: Slot::SECTOR,
        sector: sector.clone(),
        id: replica.cursor(),
        owner: owner_name(replica),
        sum: state.public().sum(),
        entities: entities(state),
        own: state.own(player).map(|own| own.iter().map(|(f, v)| (*f, v.clone())).collect()).unwrap_or_default(),
        own_sum: state.own_sum(player).unwrap_or_default(),
        marks: marks(state, player, actor),
        reason,
    }
}

/// A room beside the sector, whole.
pub fn room(replica: &Replica, slot: Slot, of: &RoomId, reason: SnapshotReason) -> ServerFrame {
    let state = replica.state();
    ServerFrame::Room(Box::new(RoomSnapshot {
        room: slot,
        of: of.clone(),
        id: replica.cursor(),
        owner: owner_name(replica),
        sum: state.public().sum(),
        entities: entities(state),
        reason,
    }))
}

pub fn left(slot: Slot, of: &RoomId) -> ServerFrame {
    ServerFrame::Left(Left { room: slot, of: of.clone() })
}

fn owner_name(replica: &Replica) -> String {
    replica.owner().map(|owner| owner.node_name().to_owned()).unwrap_or_default()
}

fn entities(state: &RoomState) -> Vec<EntityFields> {
    let entities = state.public().iter();
    let shown = entities
        .map(|(entity, fields)| EntityFields { entity, fields: fields.iter().map(|(f, v)| (*f, v.clone())).collect() });
    shown.collect()
}

pub fn moved(from: &SectorId, snapshot: Snapshot) -> ServerFrame {
    ServerFrame::Moved(Box::new(Moved { from: from.clone(), to: snapshot.sector.clone(), snapshot }))
}
