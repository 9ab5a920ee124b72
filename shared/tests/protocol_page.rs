//! PROTOCOL.md is true: its examples decode in both codecs to the same frames, its tables are the code's tables,
//! its checksums add up. Uses no more of the library than a client would: the checksum here is written from the page.

#![allow(clippy::unwrap_used, reason = "helpers are not in #[test] functions")]

use std::collections::{BTreeMap, BTreeSet};

use sectorbus::action::{Action, RejectCode};
use sectorbus::ids::{ActorId, EntryId, FeedId, RegionName, RoomId, SectorId, Seq};
use sectorbus::protocol::{
    Act, BadFrame, Body, Call, CallFailed, CallFailure, ChangeBody, ClientFrame, CloseCode, Codec, Consequence,
    Elsewhere, ErrorCode, ErrorFrame, Fields, Hello, Ping, RetryAfter, ServerFrame, Slot, Snapshot, Welcome,
};
use sectorbus::said::RefusalCode;
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
    blocks.retain(|(language, _)| *language != "close");
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

/// A frame's section of the page.
fn section(name: &str) -> &'static str {
    let (_, from) = PAGE.split_once(&format!("\n### {name}\n")).unwrap_or_else(|| panic!("no section for {name}"));
    let end = ["\n### ", "\n## "].iter().filter_map(|heading| from.find(heading)).min();
    &from[..end.unwrap_or(from.len())]
}

/// The names between backquotes in a text, beside its examples.
fn quoted(text: &str) -> BTreeSet<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

/// The fields that a frame's table has a row for. A row may name several: "`from`, `to`".
fn rows_of(name: &str) -> BTreeSet<&'static str> {
    let rows = section(name).lines().skip_while(|line| !line.starts_with("| field |")).skip(2);
    let cells = rows.take_while(|line| line.starts_with('|')).map(|row| row.split('|').nth(1).unwrap());
    cells.flat_map(quoted).collect()
}

/// Names of maps in a frame that are keyed by something else than field names of frames.
const KEYED_BY_OTHERS: [&str; 8] = ["own", "fields", "set", "facts", "about", "action", "feeds", "body"];

/// Every key of a map inside a frame, but those of state fields, facts and actions.
fn inner_keys(value: &serde_json::Value, keys: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                keys.insert(key.clone());
                if !KEYED_BY_OTHERS.contains(&key.as_str()) {
                    inner_keys(value, keys);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| inner_keys(item, keys)),
        _ => {}
    }
}

#[test]
fn every_field_of_an_example_is_a_row_of_its_frames_table_and_the_reverse() {
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut inner: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for example in examples() {
        let frame: serde_json::Value = serde_json::from_str(&example.json).unwrap();
        let (name, fields) = frame.as_object().unwrap().iter().next().unwrap();
        let fields = fields.as_object().unwrap();
        shown.entry(name.clone()).or_default().extend(fields.keys().cloned());
        for (key, value) in fields {
            // What is in `snapshot` of `moved` is explained with `snapshot`.
            if !KEYED_BY_OTHERS.contains(&key.as_str()) && name != "moved" {
                inner_keys(value, inner.entry(name.clone()).or_default());
            }
        }
    }
    for (name, fields) in &shown {
        let rows: BTreeSet<String> = rows_of(name).into_iter().map(str::to_owned).collect();
        assert_eq!(fields, &rows, "the examples of {name}, and the rows of its table");
    }
    let marks_and_answers = quoted(section("welcome"));
    for (name, keys) in inner {
        let explained = quoted(section(&name));
        for key in keys {
            let says = |words: &&str| words.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == key);
            let mut of_both = explained.iter().chain(&marks_and_answers);
            assert!(of_both.any(says), "{key} inside {name} is not explained");
        }
    }
}

/// Frames with every field that the code has: a field more is a compile error here, and then a row that is missing.
#[test]
fn every_field_of_the_code_is_a_row() {
    let (seq, sector) = (Seq(1), SectorId::new("1").unwrap());
    let hello = Hello {
        token: Some("t".into()),
        features: vec![],
        resume: Some("r".into()),
        ticket: Some("t".into()),
        cursor: Some(EntryId::new(1, 1)),
        sector: Some(sector.clone()),
        acked: Some(EntryId::new(1, 2)),
        actor: Some(ActorId(1)),
        first_seq: Some(seq),
        feeds: BTreeMap::from([(RoomId::Global, FeedId::START)]),
        device: Some("d".into()),
    };
    let action = Action::Move { to: sector };
    let conversation = Some("c".parse().unwrap());
    let call = Call { n: 1, service: "aria".parse().unwrap(), body: Body::Null, conversation };
    let failed = CallFailed { n: 1, code: CallFailure::TooMany, retry_after_ms: Some(1) };
    let error = ErrorFrame {
        code: ErrorCode::UnknownAction,
        detail: String::new(),
        retry: false,
        seq: Some(seq),
        n: Some(1),
        retry_after_ms: Some(1),
    };
    let elsewhere = Elsewhere {
        region: RegionName::new("us").unwrap(),
        sector: Some(SectorId::new("1").unwrap()),
        address: Some("wss://us.example.org".to_owned()),
        ticket: Some("t".into()),
    };
    let frames = [
        Frame::Client(ClientFrame::Hello(hello)),
        Frame::Client(ClientFrame::Act(Act { seq, action })),
        Frame::Client(ClientFrame::Ping(Ping { t: 1 })),
        Frame::Client(ClientFrame::Call(call)),
        Frame::Server(ServerFrame::CallFailed(failed)),
        Frame::Server(ServerFrame::RetryAfter(RetryAfter { ms: 1 })),
        Frame::Server(ServerFrame::Error(error)),
        Frame::Server(ServerFrame::Elsewhere(elsewhere)),
    ];
    // All other frames have no optional fields: what one example has is what the code has.
    for frame in frames {
        let written: serde_json::Value = serde_json::from_slice(&frame.encode(Codec::Json)).unwrap();
        let fields = written[frame.name()].as_object().unwrap();
        assert_eq!(fields.keys().map(String::as_str).collect::<BTreeSet<_>>(), rows_of(frame.name()));
    }
}

#[test]
fn every_error_code_has_an_example_that_says_what_the_code_says() {
    let mut errors = BTreeMap::new();
    for example in examples() {
        if let Ok(Frame::Server(ServerFrame::Error(error))) = Frame::decode(Codec::Json, example.json.as_bytes()) {
            assert_eq!(error.retry, error.code.retry(), "{}", example.json);
            errors.insert(error.code, error);
        }
    }
    assert_eq!(errors.keys().copied().collect::<Vec<_>>(), ErrorCode::ALL);
    // What a client would have to send for it.
    for (sent, code) in [
        (r#"{"warp":{"to":"13"}}"#, ErrorCode::UnknownFrame),
        (r#"{"act":{"seq":0,"action":{"move":{"to":"13"}}}}"#, ErrorCode::InvalidField),
        (r#"{"act":{"seq":7,"action":{"warp":{"to":"13"}}}}"#, ErrorCode::UnknownAction),
    ] {
        let bad = ClientFrame::decode(Codec::Json, sent.as_bytes()).unwrap_err();
        assert_eq!(bad.consequence(), Consequence::Answer(errors[&code].clone()), "{sent}");
    }
}

#[test]
fn every_close_code_has_an_example_of_its_frame() {
    let block = PAGE.split("```close\n").nth(1).unwrap().split("```").next().unwrap();
    let lines: Vec<&str> = block.lines().collect();
    let mut shown = Vec::new();
    for pair in lines.chunks(2) {
        let (number, reason) = pair[0].split_once(' ').unwrap();
        let code = CloseCode::from_number(number.parse().unwrap()).unwrap();
        let name = reason.split_once(": ").map_or(reason, |(name, _)| name);
        assert_eq!(name, code.name());
        let payload = [&code.number().to_be_bytes()[..], reason.as_bytes()].concat();
        assert_eq!(from_hex(pair[1]), payload, "{}", pair[0]);
        shown.push(code);
    }
    assert_eq!(shown, CloseCode::ALL);
}

#[test]
fn facts_of_a_rejection_are_named_with_their_code() {
    for example in examples() {
        if let Ok(Frame::Server(ServerFrame::Reject(reject))) = Frame::decode(Codec::Json, example.json.as_bytes()) {
            let code = serde_json::to_value(reject.code).unwrap();
            let start = format!("| `{}` | ", code.as_str().unwrap());
            let row = PAGE.lines().find(|line| line.starts_with(&start)).unwrap();
            for fact in reject.facts.keys() {
                assert!(quoted(row).contains(fact.as_str()), "{fact} is not in {row}");
            }
        }
    }
}

#[test]
fn the_tables_of_codes_are_the_codes() {
    for code in ErrorCode::ALL {
        let retry = if code.retry() { "yes" } else { "no" };
        assert_row(&format!("| `{}` | {} | {retry} |", code.name(), code.meaning()));
    }
    for code in CallFailure::ALL {
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
    let all =
        vec![NoWarp, CoolingDown, TooOld, UnknownActor, TooFar, StaleSession, Already, NoTarget, NotATarget, NoGate];
    for code in &all {
        match code {
            NoWarp | CoolingDown | TooOld | UnknownActor | TooFar | StaleSession | Already | NoTarget | NotATarget => {}
            NoGate => {}
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
fn every_refusal_code_is_explained_as_the_code_does() {
    for code in RefusalCode::ALL {
        assert_row(&format!("| `{}` | {} |", code.name(), code.meaning()));
        assert_eq!(serde_json::to_value(code).unwrap(), code.name());
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
            Frame::Server(ServerFrame::Room(room)) => {
                let entities = room.entities.iter().map(|entity| (entity.entity.0, entity.fields.clone()));
                check("sum", room.sum, public_sum(&entities.collect()));
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
