//! Field values and field numbers: the vocabulary that state stores and protocol sends.
//! A value is an integer or a text; null, absent and 0 fields mean the same to the checksum.

use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a field holds. In both codecs a plain number or string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// |value| <= 2^53 - 1 (`limits::INT_ABS_MAX`).
    Int(i64),
    /// In state at most `limits::TEXT_BYTES_MAX` bytes of UTF-8. Up to 24 bytes, which most are, lie in place.
    Text(CompactString),
}

impl Value {
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            Value::Text(_) => None,
        }
    }
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Int(_) => None,
            Value::Text(text) => Some(text),
        }
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Value::Int(n)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(n) => write!(f, "{n}"),
            Value::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Int(n) => serializer.serialize_i64(*n),
            Value::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a string")
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Value, E> {
                Ok(Value::Int(n))
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Value, E> {
                i64::try_from(n).map(Value::Int).map_err(|_| E::custom("integer out of range"))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.into()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Number of a field, fixed per protocol version; new fields take the next free number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Field(pub u8);

impl Field {
    /// `ship`, `warp`, `port`, `drones`, in a team `member`, in `global` `counts`.
    pub const KIND: Field = Field(1);
    /// A ship's, a member's or drones' player id.
    pub const PLAYER: Field = Field(2);
    /// The name to show.
    pub const NAME: Field = Field(3);
    /// A ship's presence: `online`, `away`, `busy`, `in_combat`, `link_dead`; a member's as in [`crate::presence`].
    pub const STATUS: Field = Field(4);
    /// Position on the sector's map, in map units, 0 to 999.
    pub const X: Field = Field(5);
    pub const Y: Field = Field(6);
    /// A warp's destination sector id.
    pub const TO: Field = Field(7);
    /// Milliseconds since 1970 (Redis TIME) when the player's last connection was lost; absent while one lives.
    pub const LAST_SEEN: Field = Field(8);
    /// Own: credits held.
    pub const CREDITS: Field = Field(9);
    /// Own: milliseconds since 1970 before which the drive is not ready.
    pub const READY_AT: Field = Field(10);
    /// Number of moves the ship has made.
    pub const HOP: Field = Field(11);
    /// A member's role in the team.
    pub const ROLE: Field = Field(12);
    /// A member's sector id; shown in the team only.
    pub const SECTOR: Field = Field(13);
    /// A member's living sessions.
    pub const DEVICES: Field = Field(14);
    /// Counts: players with a session in the region.
    pub const PLAYERS: Field = Field(15);
    /// Counts: nodes of the region.
    pub const NODES: Field = Field(16);

    /// Names used by the JSON codec, in the order of the numbers, from 1.
    pub const NAMES: [&'static str; 16] = [
        "kind",
        "player",
        "name",
        "status",
        "x",
        "y",
        "to",
        "last_seen",
        "credits",
        "ready_at",
        "hop",
        "role",
        "sector",
        "devices",
        "players",
        "nodes",
    ];

    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.get(usize::from(self.0).checked_sub(1)?).copied()
    }
    pub fn from_name(name: &str) -> Option<Field> {
        let at = Self::NAMES.iter().position(|n| *n == name)?;
        u8::try_from(at + 1).ok().map(Field)
    }
}
