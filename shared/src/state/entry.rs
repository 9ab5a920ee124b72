//! What an owner appends for one batch: answers, changes of the three audiences, and the sums after it.
//! Results, not inputs: a replica needs no rules. The log carries the bytes without looking inside.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use super::delta::{Changes, FieldChanges};
use super::records::SystemChange;
use super::stored::{Unreadable, decode, encode, growing};
use crate::action::Answer;
use crate::ids::{ActorId, PlayerId, Seq};
use crate::limits::ENTRY_BYTES_MAX;

/// The answer to one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub player: PlayerId,
    pub actor: ActorId,
    pub seq: Seq,
    pub answer: Answer,
}

/// What became of a player's own fields. Stored as a map, or nil for removed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<FieldChanges>")]
pub enum OwnChange {
    /// Fields with their new values, `None` for removed; creates the player's own part if there is none.
    Set(FieldChanges),
    Removed,
}

impl From<Option<FieldChanges>> for OwnChange {
    fn from(stored: Option<FieldChanges>) -> Self {
        stored.map_or(OwnChange::Removed, OwnChange::Set)
    }
}

impl Serialize for OwnChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            OwnChange::Set(fields) => serializer.serialize_some(fields),
            OwnChange::Removed => serializer.serialize_none(),
        }
    }
}

pub type OwnChanges = BTreeMap<PlayerId, OwnChange>;

/// Checksums after an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sums {
    pub public: u32,
    /// In an entry: of the players whose own fields changed; absent after `Removed`.
    pub own: BTreeMap<PlayerId, u32>,
    pub system: u32,
}

/// One committed batch. Applied in this order: answers (into the marks of actors the room knew before), public, own,
/// system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entry {
    /// The room's time, milliseconds since 1970 (Redis TIME); never below that of the entry before.
    pub now_ms: u64,
    #[serde(deserialize_with = "growing")]
    pub answers: Vec<Answered>,
    pub public: Changes,
    pub own: OwnChanges,
    #[serde(deserialize_with = "growing")]
    pub system: Vec<SystemChange>,
    pub sums: Sums,
}

impl Entry {
    /// The first byte of a stored entry.
    pub const FORMAT: u8 = 1;

    /// # Panics
    /// If it is larger than `limits::ENTRY_BYTES_MAX`: whoever drafted it took more than a batch may hold.
    pub fn encode(&self) -> Bytes {
        let bytes = encode(Self::FORMAT, self);
        assert!(bytes.len() <= ENTRY_BYTES_MAX, "an entry of {} bytes: at most {ENTRY_BYTES_MAX}", bytes.len());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Entry, Unreadable> {
        decode(&[Self::FORMAT], bytes)
    }
}
