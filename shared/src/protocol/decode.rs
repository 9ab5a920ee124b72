//! From bytes to frames: first the syntax of the whole message is checked (one value, bounded depth, nothing after
//! it, lengths that fit), so that reading types afterwards cannot be made to allocate; then serde reads the fields.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use rmp::Marker;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{BadFrame, Codec, RequestNo};
use crate::ids::Seq;
use crate::limits::{FRAME_DEPTH_MAX, INT_ABS_MAX};

/// Actions of this release, as in `action::Action`.
pub(super) const ACTION_NAMES: &[&str] = &["move", "status", "attack", "jump"];

/// Longest text of a peer that an error repeats, in bytes.
const REPEATED_BYTES_MAX: usize = 200;

/// Writes a frame as a map of one.
pub(super) fn write<T: Serialize>(codec: Codec, frame: &T) -> Bytes {
    let mut out = Vec::with_capacity(64);
    match codec {
        Codec::Msgpack => rmp_serde::encode::write_named(&mut out, frame).expect("frames have only named fields"),
        Codec::Json => serde_json::to_writer(&mut out, frame).expect("frames have only text keys"),
    }
    out.into()
}

/// Checks the whole message's syntax and outline; answers the frame's name, one of `accepted`.
pub(super) fn check(codec: Codec, message: &[u8], accepted: &'static [&'static str]) -> Result<&'static str, BadFrame> {
    match codec {
        Codec::Msgpack => check_msgpack(message)?,
        Codec::Json => check_json(message)?,
    }
    let outline: Outline = parse(codec, message)
        .map_err(|detail| BadFrame::Malformed(format!("not a map of one frame name to its fields: {detail}")))?;
    let known = accepted.iter().find(|name| **name == outline.name);
    known.copied().ok_or_else(|| BadFrame::UnknownFrame { name: cut(&outline.name), accepted })
}

/// Reads the fields of a message that [`check`] found well-formed.
pub(super) fn read<T: DeserializeOwned>(codec: Codec, message: &[u8], frame: &'static str) -> Result<T, BadFrame> {
    parse(codec, message).map_err(|detail| BadFrame::InvalidField {
        frame,
        seq: None,
        n: number_of(codec, message),
        detail,
    })
}

/// Says more about an `act` that could not be read: its seq, and whether its action is unknown.
pub(super) fn explain_bad_act(codec: Codec, message: &[u8], bad: BadFrame) -> BadFrame {
    let BadFrame::InvalidField { frame: "act", detail, .. } = bad else {
        return bad;
    };
    let seq = parse::<ActSeq>(codec, message).ok().map(|frame| frame.act.seq);
    match parse::<ActName>(codec, message) {
        Ok(ActName { act: OnlyAction { action } }) if !ACTION_NAMES.contains(&action.name.as_str()) => {
            BadFrame::UnknownAction { seq, name: cut(&action.name), accepted: ACTION_NAMES }
        }
        _ => BadFrame::InvalidField { frame: "act", seq, n: None, detail },
    }
}

/// The number of a request of which some other field cannot be read.
fn number_of(codec: Codec, message: &[u8]) -> Option<RequestNo> {
    parse::<BTreeMap<String, OnlyNumber>>(codec, message).ok()?.into_values().next()?.n
}

#[derive(Deserialize)]
struct OnlyNumber {
    #[serde(default)]
    n: Option<RequestNo>,
}

#[derive(Deserialize)]
struct ActSeq {
    act: OnlySeq,
}

#[derive(Deserialize)]
struct OnlySeq {
    seq: Seq,
}

#[derive(Deserialize)]
struct ActName {
    act: OnlyAction,
}

#[derive(Deserialize)]
struct OnlyAction {
    action: Outline,
}

fn parse<'a, T: Deserialize<'a>>(codec: Codec, message: &'a [u8]) -> Result<T, String> {
    match codec {
        Codec::Msgpack => rmp_serde::from_slice(message).map_err(|error| said(&error.to_string())),
        Codec::Json => serde_json::from_slice(message).map_err(|error| said(&error.to_string())),
    }
}

/// What serde says of a value, without the value: it may be a token in the wrong place, and details are logged.
fn said(error: &str) -> String {
    const VALUE: &str = "string \"";
    let Some((before, value)) = error.split_once(VALUE) else { return cut(error) };
    let mut escaped = false;
    let end = value.find(|c| match c {
        _ if escaped => {
            escaped = false;
            false
        }
        '\\' => {
            escaped = true;
            false
        }
        c => c == '"',
    });
    let after = end.map_or("", |end| &value[end + 1..]);
    cut(&format!("{before}string{after}"))
}

/// A map of one: a name and a map of fields.
struct Outline {
    name: String,
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Outline;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of one")
            }
            fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<Outline, M::Error> {
                let Some((Name(name), FieldMap)) = map.next_entry()? else {
                    return Err(de::Error::custom("the map is empty"));
                };
                match map.next_entry::<IgnoredAny, IgnoredAny>()? {
                    None => Ok(Outline { name: name.into_owned() }),
                    Some(_) => Err(de::Error::custom("the map has more than one entry")),
                }
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Any map.
struct FieldMap;

impl<'de> Deserialize<'de> for FieldMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = FieldMap;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of fields")
            }
            fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<FieldMap, M::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(FieldMap)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Well-formed UTF-8 JSON, one value, bounded depth, integers within +-(2^53 - 1).
fn check_json(message: &[u8]) -> Result<(), BadFrame> {
    let text = std::str::from_utf8(message).map_err(|_| BadFrame::Malformed("not UTF-8".into()))?;
    // Depth first: the parser recurses.
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > FRAME_DEPTH_MAX {
            return Err(too_deep());
        }
    }
    let checked = serde_json::from_str::<SafeIntegers>(text);
    checked.map(drop).map_err(|error| BadFrame::Malformed(format!("not JSON for v1: {}", cut(&error.to_string()))))
}

/// Any value whose integers every client language reads exactly.
struct SafeIntegers;

impl<'de> Deserialize<'de> for SafeIntegers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = SafeIntegers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E: de::Error>(self) -> Result<SafeIntegers, E> {
                Ok(SafeIntegers)
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<SafeIntegers, E> {
                Ok(SafeIntegers)
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<SafeIntegers, E> {
                Ok(SafeIntegers)
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<SafeIntegers, E> {
                Ok(SafeIntegers)
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<SafeIntegers, E> {
                if is_safe(n) { Ok(SafeIntegers) } else { Err(E::custom(UNSAFE_INTEGER)) }
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<SafeIntegers, E> {
                self.visit_i64(i64::try_from(n).unwrap_or(i64::MAX))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<SafeIntegers, A::Error> {
                while seq.next_element::<SafeIntegers>()?.is_some() {}
                Ok(SafeIntegers)
            }
            fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<SafeIntegers, M::Error> {
                while map.next_entry::<IgnoredAny, SafeIntegers>()?.is_some() {}
                Ok(SafeIntegers)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

const UNSAFE_INTEGER: &str = "an integer beyond 2^53 - 1";

fn is_safe(n: i64) -> bool {
    (-INT_ABS_MAX..=INT_ABS_MAX).contains(&n)
}

fn too_deep() -> BadFrame {
    BadFrame::Malformed(format!("nested deeper than {FRAME_DEPTH_MAX}"))
}

/// One whole msgpack value of v1's types, bounded depth, every length within the message, nothing after it.
pub(super) fn check_msgpack(message: &[u8]) -> Result<(), BadFrame> {
    let mut rest = message;
    skip_value(&mut rest, 0)?;
    if rest.is_empty() { Ok(()) } else { Err(BadFrame::Malformed(format!("{} bytes after the frame", rest.len()))) }
}

fn skip_value(rest: &mut &[u8], depth: usize) -> Result<(), BadFrame> {
    let (&first, after) = rest.split_first().ok_or_else(cut_short)?;
    *rest = after;
    match Marker::from_u8(first) {
        Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) | Marker::FixNeg(_) => Ok(()),
        Marker::U8 | Marker::I8 => take(rest, 1).map(drop),
        Marker::U16 | Marker::I16 => take(rest, 2).map(drop),
        Marker::U32 | Marker::I32 | Marker::F32 => take(rest, 4).map(drop),
        Marker::F64 => take(rest, 8).map(drop),
        Marker::U64 => check_integer(i64::try_from(take_number(rest, 8)?).unwrap_or(i64::MAX)),
        // The same 8 bytes, read as two's complement.
        Marker::I64 => check_integer(take_number(rest, 8)? as i64),
        Marker::FixStr(len) => skip_text(rest, len.into()),
        Marker::Str8 => take_number(rest, 1).and_then(|len| skip_text(rest, len)),
        Marker::Str16 => take_number(rest, 2).and_then(|len| skip_text(rest, len)),
        Marker::Str32 => take_number(rest, 4).and_then(|len| skip_text(rest, len)),
        Marker::FixArray(len) => skip_items(rest, len.into(), depth),
        Marker::Array16 => take_number(rest, 2).and_then(|len| skip_items(rest, len, depth)),
        Marker::Array32 => take_number(rest, 4).and_then(|len| skip_items(rest, len, depth)),
        Marker::FixMap(len) => skip_items(rest, 2 * u64::from(len), depth),
        Marker::Map16 => take_number(rest, 2).and_then(|len| skip_items(rest, 2 * len, depth)),
        Marker::Map32 => take_number(rest, 4).and_then(|len| skip_items(rest, 2 * len, depth)),
        other => Err(BadFrame::Malformed(format!("msgpack type {other:?} is not used by v1"))),
    }
}

fn skip_items(rest: &mut &[u8], items: u64, depth: usize) -> Result<(), BadFrame> {
    if depth >= FRAME_DEPTH_MAX {
        return Err(too_deep());
    }
    // Each item has at least one byte: a length that lies ends here, before anything is reserved for it.
    if items > rest.len() as u64 {
        return Err(cut_short());
    }
    (0..items).try_for_each(|_| skip_value(rest, depth + 1))
}

fn skip_text(rest: &mut &[u8], len: u64) -> Result<(), BadFrame> {
    let text = take(rest, len)?;
    std::str::from_utf8(text).map(drop).map_err(|_| BadFrame::Malformed("a string is not UTF-8".into()))
}

fn check_integer(n: i64) -> Result<(), BadFrame> {
    if is_safe(n) { Ok(()) } else { Err(BadFrame::Malformed(UNSAFE_INTEGER.into())) }
}

fn take_number(rest: &mut &[u8], bytes: u64) -> Result<u64, BadFrame> {
    Ok(take(rest, bytes)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

fn take<'a>(rest: &mut &'a [u8], bytes: u64) -> Result<&'a [u8], BadFrame> {
    let bytes = usize::try_from(bytes).map_err(|_| cut_short())?;
    let (taken, after) = rest.split_at_checked(bytes).ok_or_else(cut_short)?;
    *rest = after;
    Ok(taken)
}

fn cut_short() -> BadFrame {
    BadFrame::Malformed("the message ends inside a value".into())
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(REPEATED_BYTES_MAX)].to_owned()
}
