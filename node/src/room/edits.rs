//! Edits of a sector by the game's backend: what may be asked for, and what comes of it. All of a request is done or
//! nothing. Pure; the room's own bookkeeping (who is where, what ships show) cannot be edited, and other rooms (who is a
//! member, how many are counted) are nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use sectorbus::ids::{Alias, EditKey, EntryId, PlayerId, RoomId};
use sectorbus::limits::{EDITS_MAX, EDITS_REMEMBERED, INT_ABS_MAX};
use sectorbus::state::{
    Draft, EditOutcome, EditRefusal, Edited, FieldChanges, Fields, RoomState, SystemChange, check_fields,
};
use sectorbus::value::{Field, Value};

use crate::room::seats::SeatLimits;

/// What the room keeps of a present player's ship.
const KEPT_OF_SHIPS: [Field; 5] = [Field::KIND, Field::PLAYER, Field::STATUS, Field::LAST_SEEN, Field::HOP];
/// What no entity has: players hold it, and it changes by a grant alone.
const OWN: [Field; 2] = [Field::CREDITS, Field::READY_AT];
const SHIP: &str = "ship";

/// One thing to be done to a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// Gives credits to a player who is present or asleep here, or takes them; never below none.
    Credits {
        player: PlayerId,
        delta: i64,
    },
    Create {
        fields: Fields,
    },
    /// Sets or (with nothing) removes fields of an entity.
    Set {
        alias: Alias,
        fields: FieldChanges,
    },
    /// Anything but a present player's ship.
    Remove {
        alias: Alias,
    },
}

/// Edits that are made together, once per key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditRequest {
    pub key: EditKey,
    /// The room's version that they are for; absent: whatever it is.
    pub expected: Option<u64>,
    pub edits: Vec<Edit>,
}

impl EditRequest {
    /// Tells apart what is asked for under one key; never 0 by accident of encoding.
    pub fn asked(&self) -> u64 {
        let bytes = rmp_serde::to_vec(&(&self.expected, &self.edits)).expect("encoding to memory cannot fail");
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Decides a request that the room does not remember and carries it out; answers what became of it. What is one for ever
/// is not remembered: a conflict, because versions only grow (and if it made an entry it would cause the next one), and
/// that this is no sector.
pub(super) fn decide(
    draft: &mut Draft<'_>,
    room: &RoomId,
    limits: &SeatLimits,
    name: (EntryId, u32),
    request: &EditRequest,
) -> Edited {
    let (entry, n) = name;
    let edited = |outcome| Edited { entry, n, asked: request.asked(), outcome };
    // The door does not ask for it; the door of another release may.
    if room.sector().is_none() {
        return edited(EditOutcome::Refused { at: 0, why: EditRefusal::Kept });
    }
    // What this batch has changed already is part of the next version.
    let version = entry.version - u64::from(!draft.has_changes());
    if request.expected.is_some_and(|expected| expected != version) {
        return edited(EditOutcome::Conflict { version });
    }
    let outcome = match refusal(draft.state(), limits, &request.edits) {
        Some((at, why)) => EditOutcome::Refused { at: u32::try_from(at).unwrap_or(u32::MAX), why },
        None => EditOutcome::Done { created: request.edits.iter().filter_map(|edit| apply(draft, edit)).collect() },
    };
    let edited = edited(outcome);
    forget_oldest(draft);
    draft.system(SystemChange::Edited(request.key.clone(), Some(edited.clone())));
    edited
}

fn forget_oldest(draft: &mut Draft<'_>) {
    let remembered = draft.state().system().edited();
    if remembered.len() < EDITS_REMEMBERED {
        return;
    }
    let oldest = remembered.iter().min_by_key(|(_, edited)| (edited.entry, edited.n)).map(|(key, _)| key.clone());
    if let Some(key) = oldest {
        draft.system(SystemChange::Edited(key, None));
    }
}

/// The room as it would be, as far as the edits judged so far touch it.
struct Foreseen<'a> {
    state: &'a RoomState,
    held: BTreeMap<&'a PlayerId, i64>,
    /// `None`: removed.
    entities: BTreeMap<Alias, Option<Fields>>,
    count: usize,
    count_max: usize,
}

/// The first edit that cannot be done, and why.
fn refusal(state: &RoomState, limits: &SeatLimits, edits: &[Edit]) -> Option<(usize, EditRefusal)> {
    if edits.len() > EDITS_MAX {
        return Some((EDITS_MAX, EditRefusal::Full));
    }
    let (held, entities) = (BTreeMap::new(), BTreeMap::new());
    let count = state.public().len();
    let mut foreseen = Foreseen { state, held, entities, count, count_max: limits.entities_max };
    edits.iter().enumerate().find_map(|(at, edit)| foreseen.judge(edit).err().map(|why| (at, why)))
}

impl<'a> Foreseen<'a> {
    fn judge(&mut self, edit: &'a Edit) -> Result<(), EditRefusal> {
        match edit {
            Edit::Credits { player, delta } => {
                let before = match self.held.get(player) {
                    Some(held) => *held,
                    None => held_by(self.state, player).ok_or(EditRefusal::NotHere)?,
                };
                let after = before.checked_add(*delta).filter(|held| (0..=INT_ABS_MAX).contains(held));
                self.held.insert(player, after.ok_or(EditRefusal::Balance { held: before })?);
                Ok(())
            }
            Edit::Create { fields } => {
                self.count += 1;
                if self.count > self.count_max {
                    return Err(EditRefusal::Full);
                }
                fields.iter().try_for_each(|(field, value)| may_have(*field, Some(value)))?;
                check_fields(fields).map_err(|_| EditRefusal::Beyond)
            }
            Edit::Set { alias, fields } => self.judge_set(*alias, fields),
            Edit::Remove { alias } => {
                self.entity(*alias)?;
                if is_ship(self.state, *alias) {
                    return Err(EditRefusal::Kept);
                }
                self.entities.insert(*alias, None);
                self.count -= 1;
                Ok(())
            }
        }
    }

    fn judge_set(&mut self, alias: Alias, changes: &FieldChanges) -> Result<(), EditRefusal> {
        let mut fields = self.entity(alias)?;
        let is_ship = is_ship(self.state, alias);
        for (field, value) in changes {
            may_have(*field, value.as_ref())?;
            if is_ship && KEPT_OF_SHIPS.contains(field) {
                return Err(EditRefusal::Kept);
            }
            match value {
                Some(value) => drop(fields.insert(*field, value.clone())),
                None => drop(fields.remove(field)),
            }
            // As the draft will have it after each of them.
            check_fields(&fields).map_err(|_| EditRefusal::Beyond)?;
        }
        self.entities.insert(alias, Some(fields));
        Ok(())
    }

    fn entity(&self, alias: Alias) -> Result<Fields, EditRefusal> {
        let foreseen = self.entities.get(&alias).cloned();
        foreseen.unwrap_or_else(|| self.state.public().get(alias).cloned()).ok_or(EditRefusal::NoEntity)
    }
}

fn may_have(field: Field, value: Option<&Value>) -> Result<(), EditRefusal> {
    let is_ship = field == Field::KIND && value.and_then(Value::as_text) == Some(SHIP);
    if is_ship || OWN.contains(&field) { Err(EditRefusal::Kept) } else { Ok(()) }
}

fn is_ship(state: &RoomState, alias: Alias) -> bool {
    state.system().seats().values().any(|seat| seat.alias == alias)
}

fn credits_in(fields: &Fields) -> i64 {
    fields.get(&Field::CREDITS).and_then(Value::as_int).unwrap_or(0)
}

/// What a player holds who is present or asleep here.
fn held_by(state: &RoomState, player: &PlayerId) -> Option<i64> {
    if state.system().seat(player).is_some() {
        return Some(state.own(player).map_or(0, credits_in));
    }
    state.system().dormant(player).map(|record| credits_in(&record.own))
}

/// Carries out one edit that was judged; the alias of what it created.
fn apply(draft: &mut Draft<'_>, edit: &Edit) -> Option<Alias> {
    match edit {
        Edit::Credits { player, delta } => {
            let held = held_by(draft.state(), player).unwrap_or(0) + delta;
            if draft.state().system().seat(player).is_some() {
                draft.set_own(player, Field::CREDITS, Some(Value::Int(held)));
            } else if let Some(mut record) = draft.state().system().dormant(player).cloned() {
                record.own.insert(Field::CREDITS, Value::Int(held));
                draft.system(SystemChange::Dormant(player.clone(), Some(record)));
            }
            None
        }
        Edit::Create { fields } => Some(draft.create(fields.clone())),
        Edit::Set { alias, fields } => {
            fields.iter().for_each(|(field, value)| draft.set(*alias, *field, value.clone()));
            None
        }
        Edit::Remove { alias } => {
            draft.remove(*alias);
            None
        }
    }
}

#[cfg(test)]
#[path = "edits_tests.rs"]
mod tests;
