//! PROTOCOL.md is true: its examples decode in both codecs to the same frames, its tables are the code's tables,
//! its checksums add up. Uses no more of the library than a client would: the checksum here is written from the page.

#![allow(clippy::unwrap_used, reason = "helpers are not in #[test] functions")]

use std::collections::{BTreeMap, BTreeSet};

use sectorbus::action::RejectCode;
use sectorbus::limits;
use sectorbus::protocol::{
    BadFrame, ChangeBody, ClientFrame, CloseCode, Codec, ErrorCode, Fields, ServerFrame, Slot, Snapshot, Welcome,
};
use sectorbus::value::{Field, Value};

const PAGE: &str = include_str!("../PROTOCOL.md");

/// A ```json block and the ```msgpack block right after it.
struct Example {
    json: String,
    msgpack: Vec<u8>,
}

fn examples() -> Vec<Example> {
    let mut blocks = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language, text.join("\n")));
        }
    }
    assert!(blocks.len().is_multiple_of(2), "every example has both codecs");
    let pairs = blocks.chunks(2).map(|pair| {
        assert_eq!((pair[0].0, pair[1].0), ("json", "msgpack"), "{}", pair[0].1);
        Example { json: pair[0].1.clone(), msgpack: from_hex(&pair[1].1) }
    });
    pairs.collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// As the page writes it: 32 bytes a line.
fn to_hex(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    bytes.chunks(32).map(line).collect::<Vec<_>>().join("\n")
}

/// Either kind of frame, by its name.
#[derive(Debug, PartialEq)]
enum Frame {
    Client(ClientFrame),
    Server(ServerFrame),
}

impl Frame {
    fn decode(codec: Codec, message: &[u8]) -> Result<Frame, BadFrame> {
        match ClientFrame::decode(codec, message) {
            Ok(frame) => Ok(Frame::Client(frame)),
            Err(_) => ServerFrame::decode(codec, message).map(Frame::Server),
        }
    }
    fn encode(&self, codec: Codec) -> Vec<u8> {
        match self {
            Frame::Client(frame) => frame.encode(codec).to_vec(),
            Frame::Server(frame) => frame.encode(codec).to_vec(),
        }
    }
    fn name(&self) -> &'static str {
        match self {
            Frame::Client(frame) => frame.name(),
            Frame::Server(frame) => frame.name(),
        }
    }
}

#[test]
fn every_example_is_the_same_frame_in_both_codecs() {
    for example in examples() {
        let frame =
            Frame::decode(Codec::Json, example.json.as_bytes()).unwrap_or_else(|bad| panic!("{bad}\n{}", example.json));
        let written = frame.encode(Codec::Msgpack);
        let wanted = to_hex(&written);
        assert_eq!(to_hex(&example.msgpack), wanted, "\n{}\nis in msgpack\n{wanted}", example.json);
        assert_eq!(Frame::decode(Codec::Msgpack, &example.msgpack), Ok(frame), "{}", example.json);
    }
}

#[test]
fn json_examples_are_what_the_code_writes() {
    for example in examples() {
        let frame = Frame::decode(Codec::Json, example.json.as_bytes()).unwrap();
        let as_value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        assert_eq!(as_value(&frame.encode(Codec::Json)), as_value(example.json.as_bytes()));
    }
}

#[test]
fn every_frame_has_an_example_and_a_section() {
    let shown: BTreeSet<&str> =
        examples().iter().map(|example| Frame::decode(Codec::Json, example.json.as_bytes()).unwrap().name()).collect();
    let names = ClientFrame::NAMES.iter().chain(ServerFrame::NAMES).copied();
    assert_eq!(shown, names.clone().collect());
    for name in names {
        assert!(PAGE.contains(&format!("\n### {name}\n")), "no section for {name}");
    }
}

/// Asserts that the page has exactly this line.
fn assert_row(row: &str) {
    assert!(PAGE.lines().any(|line| line == row), "the page lacks this row:\n{row}");
}

#[test]
fn the_tables_of_codes_are_the_codes() {
    for code in ErrorCode::ALL {
        let retry = if code.retry() { "yes" } else { "no" };
        assert_row(&format!("| `{}` | {} | {retry} |", code.name(), code.meaning()));
    }
    for code in CloseCode::ALL {
        let (number, retry) = (code.number(), code.retry().name());
        assert_row(&format!("| {number} | `{}` | {} | {retry} |", code.name(), code.meaning()));
        assert_eq!(CloseCode::from_number(number), Some(code));
    }
}

/// Every code there is; the match makes a new one a compile error here.
fn reject_codes() -> Vec<RejectCode> {
    use RejectCode::*;
    let all = vec![NoWarp, CoolingDown, TooOld, UnknownActor, TooFar, StaleSession, Already];
    for code in &all {
        match code {
            NoWarp | CoolingDown | TooOld | UnknownActor | TooFar | StaleSession | Already => {}
        }
    }
    all
}

#[test]
fn every_reject_code_is_explained() {
    for code in reject_codes() {
        let name = serde_json::to_value(code).unwrap();
        let row = format!("| `{}` | ", name.as_str().unwrap());
        assert!(PAGE.lines().any(|line| line.starts_with(&row)), "{row}");
    }
}

#[test]
fn the_table_of_fields_is_the_code() {
    let rows: Vec<&str> = PAGE
        .lines()
        .skip_while(|line| !line.starts_with("| number | name | meaning | unit |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(rows.len(), Field::NAMES.len());
    for (row, number) in rows.iter().zip(1..) {
        let name = Field(number).name().unwrap();
        assert!(row.starts_with(&format!("| {number} | `{name}` | ")), "{row}");
    }
}

#[test]
fn the_table_of_limits_is_the_code() {
    let ms = |period: std::time::Duration| period.as_millis() as u64;
    let limits = [
        ("client frame", limits::FRAME_BYTES_MAX as u64),
        ("client message, all fragments", limits::MESSAGE_BYTES_MAX as u64),
        ("maps and arrays within each other", limits::FRAME_DEPTH_MAX as u64),
        ("integer, either sign", limits::INT_ABS_MAX as u64),
        ("id of a player, sector, team, session", limits::NAME_BYTES_MAX as u64),
        ("text value", limits::TEXT_BYTES_MAX as u64),
        ("token in hello", limits::TOKEN_BYTES_MAX as u64),
        ("resume token", limits::RESUME_TOKEN_BYTES_MAX as u64),
        ("device", limits::DEVICE_BYTES_MAX as u64),
        ("features in hello", limits::FEATURES_MAX as u64),
        ("time to hello", ms(limits::HELLO_WITHIN)),
        ("errors", limits::ERRORS_MAX as u64),
        ("errors are counted over", ms(limits::ERRORS_WINDOW)),
        ("time between resyncs", ms(limits::RESYNC_EVERY)),
        ("heartbeat", ms(limits::HEARTBEAT)),
        ("resume window", ms(limits::RESUME_WINDOW)),
        ("seq window", limits::DEDUPE_BITMAP_BITS),
        ("answers in marks, per actor", limits::DEDUPE_ANSWERS_KEPT as u64),
        ("actors kept per player", limits::ACTORS_KEPT as u64),
        ("sessions per player", limits::SESSIONS_PER_PLAYER_MAX as u64),
        ("entities per room", limits::ENTITIES_PER_ROOM_MAX as u64),
        ("fields per entity", limits::FIELDS_PER_ENTITY_MAX as u64),
        ("acks and the like unread", limits::CRITICAL_BACKLOG_BYTES_MAX as u64),
        ("deltas unread", limits::STATE_BACKLOG_BYTES_MAX as u64),
    ];
    for (name, value) in limits {
        let row = format!("| {name} | {value} | ");
        assert!(PAGE.lines().any(|line| line.starts_with(&row)), "the page lacks {row}");
    }
}

#[test]
fn subprotocols_and_slots_are_named() {
    for codec in Codec::ALL {
        assert!(PAGE.contains(&format!("| `{}` |", codec.subprotocol())));
        assert_eq!(Codec::from_subprotocol(codec.subprotocol()), Some(codec));
    }
    assert_eq!(Codec::from_subprotocol("sectorbus.v2.json"), None);
    assert!(PAGE.contains("`sectorbus.token.<jwt>`"));
    assert_eq!((Slot::SECTOR.0, Slot::TEAM.0, Slot::GLOBAL.0), (0, 1, 2));
}

/// The hash as the page describes it.
fn hash(canonical: &str) -> u32 {
    let mut h = canonical.bytes().fold(0x811c_9dc5_u32, |h, byte| (h ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

fn sum(alias: u32, fields: &Fields) -> u32 {
    fields.iter().fold(0, |sum, (field, value)| {
        let canonical = match value {
            Value::Int(0) => return sum,
            Value::Int(n) => format!("{alias}:{}:i{n}", field.0),
            Value::Text(text) => format!("{alias}:{}:s{text}", field.0),
        };
        sum.wrapping_add(hash(&canonical))
    })
}

fn public_sum(entities: &BTreeMap<u32, Fields>) -> u32 {
    entities.iter().fold(0, |total, (alias, fields)| total.wrapping_add(sum(*alias, fields)))
}

fn entities_of(snapshot: &Snapshot) -> BTreeMap<u32, Fields> {
    snapshot.entities.iter().map(|entity| (entity.entity.0, entity.fields.clone())).collect()
}

fn apply(fields: &mut Fields, set: &[(Field, Option<Value>)]) {
    for (field, value) in set {
        match value {
            Some(value) => fields.insert(*field, value.clone()),
            None => fields.remove(field),
        };
    }
}

#[test]
fn the_examples_sums_add_up() {
    let (mut entities, mut own, mut version) = (BTreeMap::new(), Fields::new(), 0);
    for example in examples() {
        let check = |what: &str, found: u32, wanted: u32| {
            assert_eq!(found, wanted, "{what} should be {wanted} in\n{}", example.json);
        };
        match Frame::decode(Codec::Json, example.json.as_bytes()).unwrap() {
            Frame::Server(ServerFrame::Snapshot(snapshot)) => {
                (entities, own) = (entities_of(&snapshot), snapshot.own.clone());
                version = snapshot.id.version;
                check("sum", snapshot.sum, public_sum(&entities));
                check("own_sum", snapshot.own_sum, sum(0, &own));
            }
            Frame::Server(ServerFrame::Moved(moved)) => {
                let there = &moved.snapshot;
                check("sum", there.sum, public_sum(&entities_of(there)));
                check("own_sum", there.own_sum, sum(0, &there.own));
            }
            Frame::Server(ServerFrame::Delta(delta)) => {
                assert!(delta.from <= version && version <= delta.to, "{}", example.json);
                for change in &delta.changes {
                    match &change.body {
                        ChangeBody::Set(set) => {
                            apply(entities.entry(change.entity.0).or_default(), set);
                        }
                        ChangeBody::Removed => drop(entities.remove(&change.entity.0)),
                    }
                }
                version = delta.to;
                check("sum", delta.sum, public_sum(&entities));
            }
            Frame::Server(ServerFrame::Own(change)) => {
                apply(&mut own, &change.set);
                check("sum", change.sum, sum(0, &own));
            }
            _ => {}
        }
    }
}

#[test]
fn the_pages_hashes_are_right() {
    for canonical in ["5:5:i120", "5:4:saway", "0:9:i-1"] {
        assert_row(&format!("| `{canonical}` | {} |", hash(canonical)));
    }
}

#[test]
fn welcome_names_every_field() {
    assert_eq!(Welcome::field_names(), Field::NAMES);
}
