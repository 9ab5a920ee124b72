//! State fields on the wire: maps keyed by field number in msgpack, by field name in JSON.
//! Checks names and values as they enter; must not know what a field means.

use std::fmt;
use std::marker::PhantomData;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::TEXT_BYTES_MAX;
use crate::small_map::SmallMap;
use crate::value::{Field, Value};

/// All fields of an entity, or a player's own.
pub type Fields = SmallMap<Field, Value>;

/// Changed fields, each at most once; `None`: removed.
pub type FieldChanges = Vec<(Field, Option<Value>)>;

/// A field as a map's key. A field without a name (of a newer server) is written as its decimal number in JSON.
struct Key(Field);

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.name() {
            _ if !serializer.is_human_readable() => serializer.serialize_u8(self.0.0),
            Some(name) => serializer.serialize_str(name),
            None => serializer.collect_str(&self.0.0),
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let field = if deserializer.is_human_readable() {
            let name = String::deserialize(deserializer)?;
            Field::from_name(&name).or_else(|| name.parse().ok().map(Field))
        } else {
            Some(Field(u8::deserialize(deserializer)?))
        };
        field.filter(|field| field.0 != 0).map(Key).ok_or_else(|| de::Error::custom("not a field's name or number"))
    }
}

/// Why a value may not be in a frame. Integers are checked for all of a frame at once, see `decode`.
pub(super) fn check_text(value: &Value) -> Result<(), String> {
    match value.as_text() {
        Some(text) if text.len() > TEXT_BYTES_MAX => Err(format!("a text value has at most {TEXT_BYTES_MAX} bytes")),
        _ => Ok(()),
    }
}

/// A map's entries in their order: no field twice, no text too long.
struct Entries<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de> + AsValue> de::Visitor<'de> for Entries<V> {
    type Value = Vec<(Field, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of fields")
    }

    fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut entries = Vec::new();
        let mut seen = [false; 256];
        while let Some((Key(field), value)) = map.next_entry::<Key, V>()? {
            if std::mem::replace(&mut seen[usize::from(field.0)], true) {
                return Err(de::Error::custom("a field is there twice"));
            }
            value.as_value().map_or(Ok(()), check_text).map_err(de::Error::custom)?;
            entries.push((field, value));
        }
        Ok(entries)
    }
}

trait AsValue {
    fn as_value(&self) -> Option<&Value>;
}

impl AsValue for Value {
    fn as_value(&self) -> Option<&Value> {
        Some(self)
    }
}

impl AsValue for Option<Value> {
    fn as_value(&self) -> Option<&Value> {
        self.as_ref()
    }
}

/// `#[serde(with = "fields")]` for [`Fields`].
pub(super) fn serialize<S: Serializer>(fields: &Fields, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(field, value)| (Key(*field), value)))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
    let entries = deserializer.deserialize_map(Entries::<Value>(PhantomData))?;
    Ok(entries.into_iter().collect())
}

/// `#[serde(with = "fields::changes")]` for [`FieldChanges`].
pub(super) mod changes {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        changes: &[(Field, Option<Value>)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(changes.len()))?;
        for (field, value) in changes {
            map.serialize_entry(&Key(*field), value)?;
        }
        map.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FieldChanges, D::Error> {
        deserializer.deserialize_map(Entries::<Option<Value>>(PhantomData))
    }
}
