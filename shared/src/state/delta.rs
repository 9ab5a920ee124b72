//! Changes of the public part between two versions, and how two of them become one.
//! Values are absolute and removals are kept, so a composed delta fits every state between its ends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::ids::Alias;
use crate::small_map::SmallMap;
use crate::value::{Field, Value};

/// What became of some fields: the new value, or `None` for removed.
pub type FieldChanges = SmallMap<Field, Option<Value>>;

/// What became of one entity. Stored as a map, or nil for removed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<FieldChanges>")]
pub enum EntityChange {
    /// Fields with their new values; creates the entity if it is not there, even with no field at all.
    Set(FieldChanges),
    Removed,
}

impl From<Option<FieldChanges>> for EntityChange {
    fn from(stored: Option<FieldChanges>) -> Self {
        stored.map_or(EntityChange::Removed, EntityChange::Set)
    }
}

impl Serialize for EntityChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            EntityChange::Set(fields) => serializer.serialize_some(fields),
            EntityChange::Removed => serializer.serialize_none(),
        }
    }
}

/// Changes of many entities. An alias is never reused, so nothing follows a removal.
pub type Changes = BTreeMap<Alias, EntityChange>;

/// The change of the public part from one version to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// Fits any state whose version is in `from..=to`.
    pub from: u64,
    pub to: u64,
    pub changes: Changes,
    /// Public sum of the state at `to`.
    pub sum: u32,
}

impl Delta {
    /// Appends `next` in place.
    ///
    /// # Panics
    /// If `next` does not begin where this ends.
    pub fn merge_in(&mut self, next: &Delta) {
        assert!(
            next.from == self.to,
            "a delta {}..{} cannot follow a delta {}..{}",
            next.from,
            next.to,
            self.from,
            self.to
        );
        for (alias, change) in &next.changes {
            merge_entity(&mut self.changes, *alias, change);
        }
        self.to = next.to;
        self.sum = next.sum;
    }
}

fn merge_entity(changes: &mut Changes, alias: Alias, next: &EntityChange) {
    match (changes.get_mut(&alias), next) {
        (Some(EntityChange::Set(fields)), EntityChange::Set(newer)) => {
            fields.extend(newer.iter().map(|(field, value)| (*field, value.clone())));
        }
        _ => {
            changes.insert(alias, next.clone());
        }
    }
}

/// `first` then `second` as one delta: for every version x in [first.from, second.to], applied to the state at x it
/// gives the state at `second.to`.
///
/// # Panics
/// If `second` does not begin where `first` ends.
pub fn compose(first: &Delta, second: &Delta) -> Delta {
    let mut composed = first.clone();
    composed.merge_in(second);
    composed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(from: u64, to: u64) -> Delta {
        Delta { from, to, changes: Changes::new(), sum: 0 }
    }

    #[test]
    #[should_panic(expected = "a delta 4..5 cannot follow a delta 1..3")]
    fn a_delta_with_a_hole_before_it_is_a_broken_invariant() {
        compose(&empty(1, 3), &empty(4, 5));
    }

    #[test]
    fn a_removal_survives_composition() {
        let set = EntityChange::Set(SmallMap::from([(Field::X, Some(Value::Int(4)))]));
        let first = Delta { changes: BTreeMap::from([(Alias(1), set)]), ..empty(0, 1) };
        let second = Delta { changes: BTreeMap::from([(Alias(1), EntityChange::Removed)]), ..empty(1, 2) };
        assert_eq!(compose(&first, &second).changes, second.changes);
    }
}
