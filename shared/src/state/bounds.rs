//! What a field, an entity and a player's record may hold at most, and how many bytes of an entry something takes.
//! The limits themselves are in `limits`; here is where state asks for them.

use std::io;

use serde::Serialize;

use super::part::Fields;
use super::records::PlayerRecord;
use crate::ids::Hop;
use crate::limits::{ACTORS_KEPT, DEDUPE_ANSWERS_KEPT, FIELDS_PER_ENTITY_MAX, INT_ABS_MAX, TEXT_BYTES_MAX};
use crate::value::{Field, Value};

/// More than state may hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeyondLimit {
    #[error("field {field} has {bytes} bytes of text: at most {TEXT_BYTES_MAX}")]
    Text { field: u8, bytes: usize },
    #[error("field {field} is {value}: at most {INT_ABS_MAX} either way")]
    Int { field: u8, value: i64 },
    #[error("{count} fields: at most {FIELDS_PER_ENTITY_MAX}")]
    Fields { count: usize },
    #[error("hop {0}: at most {INT_ABS_MAX}")]
    Hop(Hop),
    #[error("{count} actors: at most {ACTORS_KEPT}")]
    Actors { count: usize },
    #[error("an actor with {count} answers: at most {DEDUPE_ANSWERS_KEPT}")]
    Answers { count: usize },
}

/// One value, before it enters a room's state from outside.
pub fn check_value(field: Field, value: &Value) -> Result<(), BeyondLimit> {
    match value {
        Value::Int(n) if n.unsigned_abs() > INT_ABS_MAX as u64 => Err(BeyondLimit::Int { field: field.0, value: *n }),
        Value::Text(text) if text.len() > TEXT_BYTES_MAX => {
            Err(BeyondLimit::Text { field: field.0, bytes: text.len() })
        }
        Value::Int(_) | Value::Text(_) => Ok(()),
    }
}

pub(super) fn check_count(count: usize) -> Result<(), BeyondLimit> {
    if count > FIELDS_PER_ENTITY_MAX { Err(BeyondLimit::Fields { count }) } else { Ok(()) }
}

/// A whole entity's fields, before they enter a room's state from outside.
pub fn check_fields(fields: &Fields) -> Result<(), BeyondLimit> {
    check_count(fields.len())?;
    fields.iter().try_for_each(|(field, value)| check_value(*field, value))
}

impl PlayerRecord {
    /// A record from elsewhere is looked at before it enters a room's state.
    pub fn check_limits(&self) -> Result<(), BeyondLimit> {
        if self.hop.0 > INT_ABS_MAX as u64 {
            return Err(BeyondLimit::Hop(self.hop));
        }
        check_fields(&self.ship)?;
        check_fields(&self.own)?;
        if self.actors.len() > ACTORS_KEPT {
            return Err(BeyondLimit::Actors { count: self.actors.len() });
        }
        let most = self.actors.values().map(|marks| marks.answers().len()).max().unwrap_or(0);
        if most > DEDUPE_ANSWERS_KEPT { Err(BeyondLimit::Answers { count: most }) } else { Ok(()) }
    }
}

/// Counts what is written to it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many bytes `value` has in an entry.
pub(super) fn encoded_bytes<T: Serialize + ?Sized>(value: &T) -> usize {
    let mut counter = Counter(0);
    rmp_serde::encode::write(&mut counter, value).expect("state types always encode, and counting takes every write");
    counter.0
}

/// How many bytes a value has in an entry, at most.
pub(super) fn value_bytes(value: Option<&Value>) -> usize {
    match value {
        None => 1,
        Some(Value::Int(_)) => 9,
        Some(Value::Text(text)) => 5 + text.len(),
    }
}
