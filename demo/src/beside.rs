//! A room that a client sees beside its sector: its team's, `global`. Pure; says what promise was broken.

use std::collections::BTreeMap;

use sectorbus::ids::{Alias, EntryId, RoomId};
use sectorbus::protocol::{ChangeBody, DeltaFrame, OwnerChange, RoomSnapshot, Slot};
use sectorbus::state::field_hash;
use sectorbus::value::{Field, Value};

use crate::client::{Fields, apply};

/// As the client shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    pub slot: Slot,
    pub room: RoomId,
    pub cursor: EntryId,
    pub owner: String,
    pub entities: BTreeMap<Alias, Fields>,
    /// What the server says it comes to.
    said: u32,
}

impl Beside {
    pub fn of(snapshot: RoomSnapshot) -> Self {
        Self {
            slot: snapshot.room,
            room: snapshot.of,
            cursor: snapshot.id,
            owner: snapshot.owner,
            entities: snapshot.entities.into_iter().map(|e| (e.entity, e.fields)).collect(),
            said: snapshot.sum,
        }
    }

    /// What is wrong with it.
    pub fn check(&self) -> Option<String> {
        (self.sum() != self.said).then(|| format!("{} {} contradicts its checksum", self.room, self.cursor))
    }

    pub fn sum(&self) -> u32 {
        let fields = self.entities.iter().flat_map(|(alias, fields)| fields.iter().map(move |f| (*alias, f)));
        fields.fold(0, |sum, (alias, (field, value))| sum.wrapping_add(field_hash(alias, *field, value)))
    }

    pub fn take_delta(&mut self, delta: &DeltaFrame) -> Result<(), String> {
        if delta.to < self.cursor.version {
            return Ok(());
        }
        if delta.from > self.cursor.version {
            return Err(format!("{} {}: delta {}..{} leaves a gap", self.room, self.cursor, delta.from, delta.to));
        }
        for change in &delta.changes {
            match &change.body {
                ChangeBody::Removed => drop(self.entities.remove(&change.entity)),
                ChangeBody::Set(set) => apply(self.entities.entry(change.entity).or_default(), set),
            }
        }
        self.cursor.version = delta.to;
        self.said = delta.sum;
        self.check().map_or(Ok(()), Err)
    }

    pub fn take_owner(&mut self, owner: &OwnerChange) -> Result<(), String> {
        if self.cursor.version + 1 < owner.version || owner.epoch < self.cursor.epoch {
            return Err(format!("{} {}: owner {}-{}", self.room, self.cursor, owner.epoch, owner.version));
        }
        self.cursor = EntryId::new(owner.epoch, self.cursor.version.max(owner.version));
        self.owner = owner.node.clone();
        Ok(())
    }

    /// A field of a team's member; `None`: no such member or field.
    pub fn of_member(&self, player: &str, field: Field) -> Option<Value> {
        self.members().find(|(name, _)| *name == player)?.1.get(&field).cloned()
    }

    /// Ids of a team's members, and their fields.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Fields)> {
        self.entities.values().filter_map(|fields| Some((fields.get(&Field::PLAYER)?.as_text()?, fields)))
    }

    /// A field of the one entity of `global`.
    pub fn count(&self, field: Field) -> Option<i64> {
        self.entities.values().find_map(|fields| fields.get(&field)?.as_int())
    }
}
