//! The one hot frame: `delta`. A compact array in msgpack, an ordinary map in JSON.
//! Encoded once per codec for all sessions; must not know how state is changed by it.

use bytes::Bytes;
use rmp::decode::{read_array_len, read_int};
use rmp::encode as put;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::fields::{self, FieldChanges, check_text};
use super::{BadFrame, Codec, Slot, decode};
use crate::ids::Alias;
use crate::value::{Field, Value};

/// Change of a room's public state from version `from` (excluded) to `to`. Absolute values: whoever is at any version
/// from `from` to `to` gets to `to`. An entry without public changes is a delta without changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaFrame {
    pub room: Slot,
    pub from: u64,
    pub to: u64,
    /// Public checksum after it.
    pub sum: u32,
    #[serde(serialize_with = "telling_changes")]
    pub changes: Vec<Change>,
}

/// Change of one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub entity: Alias,
    pub body: ChangeBody,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeBody {
    /// Fields set (`Some`) or removed (`None`); creates the entity if it is new. Never empty on the wire.
    Set(FieldChanges),
    /// The entity is gone with all its fields; its alias is never used again.
    Removed,
}

impl Change {
    /// A `Set` of nothing says nothing, and in msgpack would read as a removal: it is not sent.
    fn tells_something(&self) -> bool {
        !matches!(&self.body, ChangeBody::Set(set) if set.is_empty())
    }
}

/// The payload of a `delta` message.
///
/// # Panics
/// If `from` is not below `to`: whoever made this lost track of versions.
pub fn encode_delta(codec: Codec, delta: &DeltaFrame) -> Bytes {
    let (from, to) = (delta.from, delta.to);
    assert!(from < to, "a delta cannot go from {from} to {to}");
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Frame<'a> {
        Delta(&'a DeltaFrame),
    }
    match codec {
        Codec::Msgpack => encode_msgpack(delta),
        Codec::Json => decode::write(codec, &Frame::Delta(delta)),
    }
}

fn encode_msgpack(delta: &DeltaFrame) -> Bytes {
    let telling = delta.changes.iter().filter(|change| change.tells_something());
    // 13 bytes for one change of two small fields; one more allocation is cheaper than a second walk.
    let mut out = Vec::with_capacity(12 + 16 * delta.changes.len());
    put_array_len(&mut out, 3 + telling.clone().count());
    put_uint(&mut out, delta.room.0.into());
    if delta.from.checked_add(1) == Some(delta.to) {
        put_uint(&mut out, delta.to);
    } else {
        put_array_len(&mut out, 2);
        put_uint(&mut out, delta.from);
        put_uint(&mut out, delta.to);
    }
    put_uint(&mut out, delta.sum.into());
    telling.for_each(|change| put_change(&mut out, change));
    out.into()
}

fn put_change(out: &mut Vec<u8>, change: &Change) {
    let set: &[_] = match &change.body {
        ChangeBody::Set(set) => set,
        ChangeBody::Removed => &[],
    };
    put_array_len(out, 1 + 2 * set.len());
    put_uint(out, change.entity.0.into());
    for (field, value) in set {
        put_uint(out, field.0.into());
        match value {
            None => put::write_nil(out).expect(VEC_TAKES_ALL),
            Some(Value::Int(n)) => drop(put::write_sint(out, *n).expect(VEC_TAKES_ALL)),
            Some(Value::Text(text)) => put::write_str(out, text).expect(VEC_TAKES_ALL),
        }
    }
}

const VEC_TAKES_ALL: &str = "writing to a Vec cannot fail";

fn put_uint(out: &mut Vec<u8>, n: u64) {
    put::write_uint(out, n).expect(VEC_TAKES_ALL);
}

fn put_array_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("a delta is far below 2^32 items");
    put::write_array_len(out, len).expect(VEC_TAKES_ALL);
}

/// A msgpack message that begins with an array header is a delta; any other frame is a map.
pub(super) fn is_delta(message: &[u8]) -> bool {
    matches!(message.first(), Some(0x90..=0x9f | 0xdc | 0xdd))
}

/// What JSON's types alone do not say.
pub(super) fn check_versions(delta: DeltaFrame) -> Result<DeltaFrame, BadFrame> {
    if delta.from < delta.to {
        return Ok(delta);
    }
    Err(bad_delta("versions: from < to"))
}

fn bad_delta(detail: &str) -> BadFrame {
    BadFrame::InvalidField { frame: "delta", seq: None, n: None, detail: detail.into() }
}

/// Reads a message that `decode::check_msgpack` found well-formed.
pub(super) fn decode_msgpack(message: &[u8]) -> Result<DeltaFrame, BadFrame> {
    read_delta(message).map_err(bad_delta)
}

type Reading<T> = Result<T, &'static str>;

fn read_delta(message: &[u8]) -> Reading<DeltaFrame> {
    let rest = &mut &*message;
    let items = read_array_len(rest).map_err(|_| "not an array")?;
    let room = Slot(read_int(rest).map_err(|_| "room: a slot number")?);
    let (from, to) = read_versions(rest)?;
    let sum = read_int(rest).map_err(|_| "sum: an unsigned 32-bit number")?;
    let changes = (3..items).map(|_| read_change(rest)).collect::<Reading<Vec<_>>>()?;
    Ok(DeltaFrame { room, from, to, sum, changes })
}

fn read_versions(rest: &mut &[u8]) -> Reading<(u64, u64)> {
    const BAD: &str = "versions: to, or [from, to], with from < to";
    let (from, to) = if is_delta(rest) {
        if !matches!(read_array_len(rest), Ok(2)) {
            return Err(BAD);
        }
        let from = read_int(rest).map_err(|_| BAD)?;
        (Some(from), read_int(rest).map_err(|_| BAD)?)
    } else {
        let to: u64 = read_int(rest).map_err(|_| BAD)?;
        (to.checked_sub(1), to)
    };
    from.filter(|from| *from < to).map(|from| (from, to)).ok_or(BAD)
}

fn read_change(rest: &mut &[u8]) -> Reading<Change> {
    const BAD: &str = "change: [alias, field, value, …] or [alias]";
    let len = read_array_len(rest).map_err(|_| BAD)?;
    if len % 2 == 0 {
        return Err(BAD);
    }
    let entity = Alias(read_int(rest).map_err(|_| BAD)?);
    if len == 1 {
        return Ok(Change { entity, body: ChangeBody::Removed });
    }
    let mut set: FieldChanges = Vec::new();
    let mut seen = [false; 256];
    for _ in 0..len / 2 {
        let field = Field(read_int(rest).map_err(|_| BAD)?);
        if field.0 == 0 || std::mem::replace(&mut seen[usize::from(field.0)], true) {
            return Err("change: fields count from 1, each at most once");
        }
        set.push((field, read_value(rest)?));
    }
    Ok(Change { entity, body: ChangeBody::Set(set) })
}

fn read_value(rest: &mut &[u8]) -> Reading<Option<Value>> {
    const BAD: &str = "value: an integer, a string of at most 512 bytes, or nil";
    match rest.first() {
        Some(0xc0) => {
            *rest = &rest[1..];
            Ok(None)
        }
        Some(0xa0..=0xbf | 0xd9..=0xdb) => {
            let (text, after) = rmp::decode::read_str_from_slice(*rest).map_err(|_| BAD)?;
            let value = Value::from(text);
            check_text(&value).map_err(|_| BAD)?;
            *rest = after;
            Ok(Some(value))
        }
        _ => read_int(rest).map(|n| Some(Value::Int(n))).map_err(|_| BAD),
    }
}

/// JSON only: changes that say nothing are left out, as in msgpack.
fn telling_changes<S: Serializer>(changes: &[Change], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(changes.iter().filter(|change| change.tells_something()))
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct SetMap<'a>(&'a FieldChanges);
        impl Serialize for SetMap<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                fields::changes::serialize(self.0, serializer)
            }
        }
        let mut change = serializer.serialize_struct("Change", 2)?;
        change.serialize_field("entity", &self.entity)?;
        match &self.body {
            ChangeBody::Set(set) => change.serialize_field("set", &SetMap(set))?,
            ChangeBody::Removed => change.serialize_field("removed", &true)?,
        }
        change.end()
    }
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            entity: Alias,
            #[serde(default)]
            set: Option<SetMap>,
            #[serde(default)]
            removed: bool,
        }
        #[derive(Deserialize)]
        struct SetMap(#[serde(with = "fields::changes")] FieldChanges);

        let wire = Wire::deserialize(deserializer)?;
        let body = match (wire.set, wire.removed) {
            (Some(SetMap(set)), false) if !set.is_empty() => ChangeBody::Set(set),
            (None, true) => ChangeBody::Removed,
            _ => {
                return Err(de::Error::custom("a change has a set with fields, or removed: true"));
            }
        };
        Ok(Change { entity: wire.entity, body })
    }
}
