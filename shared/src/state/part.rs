//! The public part of a room: entities by alias, with their checksum kept up to date by every change.
//! Knows nothing of versions; who may change it is decided by `Draft` (owner) and `RoomState::apply` (replica).

use std::collections::BTreeMap;

use super::checksum::{field_hash, fields_sum};
use super::delta::{Changes, EntityChange, FieldChanges};
use crate::ids::Alias;
use crate::small_map::SmallMap;
use crate::value::{Field, Value};

/// Fields of one entity, or a player's own fields.
pub type Fields = SmallMap<Field, Value>;

/// Entities and their sum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    entities: BTreeMap<Alias, Fields>,
    sum: u32,
}

impl Part {
    pub fn get(&self, alias: Alias) -> Option<&Fields> {
        self.entities.get(&alias)
    }

    /// Entities in the order of their aliases.
    pub fn iter(&self) -> impl Iterator<Item = (Alias, &Fields)> {
        self.entities.iter().map(|(alias, fields)| (*alias, fields))
    }

    pub fn len(&self) -> usize {
        self.entities.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// Wrapping sum of the hashes of all fields, kept incrementally.
    pub fn sum(&self) -> u32 {
        self.sum
    }

    /// The same sum, computed anew.
    pub fn sum_from_scratch(&self) -> u32 {
        self.iter().fold(0, |sum, (alias, fields)| sum.wrapping_add(fields_sum(alias, fields)))
    }

    /// Sets or (with `None`) removes one field; the entity is created if it is not there.
    pub fn set(&mut self, alias: Alias, field: Field, value: Option<Value>) {
        set_field(alias, self.entities.entry(alias).or_default(), &mut self.sum, field, value);
    }

    /// Removes an entity; nothing if it is not there.
    pub fn remove(&mut self, alias: Alias) {
        if let Some(fields) = self.entities.remove(&alias) {
            self.sum = self.sum.wrapping_sub(fields_sum(alias, &fields));
        }
    }

    pub fn apply(&mut self, changes: &Changes) {
        for (alias, change) in changes {
            match change {
                EntityChange::Set(fields) => {
                    set_fields(*alias, self.entities.entry(*alias).or_default(), &mut self.sum, fields);
                }
                EntityChange::Removed => self.remove(*alias),
            }
        }
    }

    pub(super) fn entities(&self) -> &BTreeMap<Alias, Fields> {
        &self.entities
    }

    pub(super) fn from_entities(entities: BTreeMap<Alias, Fields>) -> Self {
        let mut part = Self { entities, sum: 0 };
        part.sum = part.sum_from_scratch();
        part
    }
}

/// One player's own fields and their sum, which clients add to the public one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnPart {
    fields: Fields,
    sum: u32,
}

/// Own fields are hashed under this alias; no entity has it.
pub const OWN: Alias = Alias(0);

impl OwnPart {
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub fn sum(&self) -> u32 {
        self.sum
    }

    pub fn sum_from_scratch(&self) -> u32 {
        fields_sum(OWN, &self.fields)
    }

    pub fn set(&mut self, field: Field, value: Option<Value>) {
        set_field(OWN, &mut self.fields, &mut self.sum, field, value);
    }

    pub fn apply(&mut self, changes: &FieldChanges) {
        set_fields(OWN, &mut self.fields, &mut self.sum, changes);
    }

    pub(super) fn from_fields(fields: Fields) -> Self {
        let sum = fields_sum(OWN, &fields);
        Self { fields, sum }
    }
}

fn set_fields(alias: Alias, fields: &mut Fields, sum: &mut u32, changes: &FieldChanges) {
    for (field, value) in changes {
        set_field(alias, fields, sum, *field, value.clone());
    }
}

fn set_field(alias: Alias, fields: &mut Fields, sum: &mut u32, field: Field, value: Option<Value>) {
    let added = value.as_ref().map_or(0, |value| field_hash(alias, field, value));
    let before = match value {
        Some(value) => fields.insert(field, value),
        None => fields.remove(&field),
    };
    let removed = before.map_or(0, |value| field_hash(alias, field, &value));
    *sum = sum.wrapping_sub(removed).wrapping_add(added);
}
