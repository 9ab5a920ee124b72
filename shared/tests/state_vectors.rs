//! `vectors/state.json` is what implementations in other languages test against; here it is held against this one.
//! The file is checked in: a change of it is a change of the protocol.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use sectorbus::action::{Answer, RejectCode};
use sectorbus::ids::{ActorId, Alias, EntryId, SectorId, Seq};
use sectorbus::protocol::{ActorMarks, Codec, EntityFields, SeqAnswer, ServerFrame, Slot, Snapshot, SnapshotReason};
use sectorbus::state::{Changes, Delta, Fields, Judged, OwnPart, Part, compose, field_hash};
use sectorbus::value::{Field, Value};
use serde::{Deserialize, Serialize};

const ABOUT: &str = "State vectors of sectorbus, format 1. Entities are keyed by alias, fields by field number, both as \
    decimal strings; values are integers or strings. field_names: of \
    the fields from number 1. field_hash: canonical is the UTF-8 text <alias>:<field>:i<decimal> \
    or <alias>:<field>:s<text>; hash = fmix32(fnv1a32(canonical)), 32-bit unsigned (FNV offset 2166136261, prime \
    16777619; fmix32: h^=h>>>16, h*=0x85ebca6b, h^=h>>>13, h*=0xc2b2ae35, h^=h>>>16, all modulo 2^32); an integer 0 has \
    hash 0, like an absent field. part_sum: the sum of all field hashes modulo 2^32. own_sum: the same over a player's \
    own fields, with alias 0. changes: per entity a map of fields (null = field removed; an entity that is not there is \
    created), or null = entity removed. apply: state with changes applied is result, with sum. compose: first then \
    second is composed; applied to a state at any version from..to of composed it gives the state at to; states has \
    them by version. snapshot: a snapshot frame of the protocol, as JSON and as MessagePack in hexadecimal, and the state \
    a client has after it. marks: what a client's actions came to by an actor's marks, as PROTOCOL.md orders it; by seq: \
    pending, already, too_old, or the answer that is kept.";

#[derive(Serialize, Deserialize)]
struct Vectors {
    about: String,
    field_names: Vec<String>,
    field_hash: Vec<HashCase>,
    part_sum: Vec<PartCase>,
    own_sum: Vec<OwnCase>,
    apply: Vec<ApplyCase>,
    compose: Vec<ComposeCase>,
    snapshot: Vec<SnapshotCase>,
    marks: Vec<MarksCase>,
}

#[derive(Serialize, Deserialize)]
struct HashCase {
    entity: Alias,
    field: Field,
    value: Value,
    canonical: String,
    hash: u32,
}

type Entities = BTreeMap<Alias, Fields>;

#[derive(Serialize, Deserialize)]
struct PartCase {
    entities: Entities,
    sum: u32,
}

#[derive(Serialize, Deserialize)]
struct OwnCase {
    fields: Fields,
    sum: u32,
}

#[derive(Serialize, Deserialize)]
struct ApplyCase {
    what: String,
    state: Entities,
    changes: Changes,
    result: Entities,
    sum: u32,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredDelta {
    from: u64,
    to: u64,
    changes: Changes,
    sum: u32,
}

#[derive(Serialize, Deserialize)]
struct ComposeCase {
    what: String,
    first: StoredDelta,
    second: StoredDelta,
    composed: StoredDelta,
    states: BTreeMap<u64, Entities>,
}

#[derive(Serialize, Deserialize)]
struct SnapshotCase {
    what: String,
    json: serde_json::Value,
    msgpack: String,
    epoch: u64,
    version: u64,
    entities: Entities,
    sum: u32,
    own: Fields,
    own_sum: u32,
}

#[derive(Serialize, Deserialize)]
struct MarksCase {
    what: String,
    marks: ActorMarks,
    outcomes: BTreeMap<u64, Outcome>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Pending,
    Already,
    TooOld,
    Answer(Answer),
}

impl From<StoredDelta> for Delta {
    fn from(stored: StoredDelta) -> Self {
        let StoredDelta { from, to, changes, sum } = stored;
        Delta { from, to, changes, sum }
    }
}

impl From<Delta> for StoredDelta {
    fn from(delta: Delta) -> Self {
        let Delta { from, to, changes, sum } = delta;
        StoredDelta { from, to, changes, sum }
    }
}

fn part(entities: &Entities) -> Part {
    let mut part = Part::default();
    let all = |fields: &Fields| fields.iter().map(|(field, value)| (*field, Some(value.clone()))).collect();
    let set = entities.iter().map(|(alias, fields)| (*alias, sectorbus::state::EntityChange::Set(all(fields))));
    part.apply(&set.collect());
    part
}

fn entities(part: &Part) -> Entities {
    part.iter().map(|(alias, fields)| (alias, fields.clone())).collect()
}

fn own_sum(fields: &Fields) -> u32 {
    let mut own = OwnPart::default();
    fields.iter().for_each(|(field, value)| own.set(*field, Some(value.clone())));
    own.sum()
}

fn canonical(entity: Alias, field: Field, value: &Value) -> String {
    match value {
        Value::Int(n) => format!("{entity}:{}:i{n}", field.0),
        Value::Text(text) => format!("{entity}:{}:s{text}", field.0),
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/state.json")
}

fn checked_in() -> Vectors {
    serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap()
}

#[test]
fn every_field_hash_holds() {
    for case in checked_in().field_hash {
        assert_eq!(canonical(case.entity, case.field, &case.value), case.canonical);
        assert_eq!(field_hash(case.entity, case.field, &case.value), case.hash, "{}", case.canonical);
    }
}

#[test]
fn every_sum_holds() {
    let vectors = checked_in();
    for case in vectors.part_sum {
        assert_eq!(part(&case.entities).sum(), case.sum, "{:?}", case.entities);
    }
    for case in vectors.own_sum {
        assert_eq!(own_sum(&case.fields), case.sum, "{:?}", case.fields);
    }
}

#[test]
fn every_application_holds() {
    for case in checked_in().apply {
        let mut state = part(&case.state);
        state.apply(&case.changes);
        assert_eq!(entities(&state), case.result, "{}", case.what);
        assert_eq!((state.sum(), state.sum_from_scratch()), (case.sum, case.sum), "{}", case.what);
    }
}

#[test]
fn every_composition_holds() {
    for case in checked_in().compose {
        let composed: Delta = case.composed.into();
        assert_eq!(compose(&case.first.into(), &case.second.into()), composed, "{}", case.what);
        assert_eq!(case.states.keys().copied().collect::<Vec<_>>(), (composed.from..=composed.to).collect::<Vec<_>>());
        for (version, state) in &case.states {
            let mut state = part(state);
            state.apply(&composed.changes);
            assert_eq!(entities(&state), case.states[&composed.to], "{} at {version}", case.what);
            assert_eq!(state.sum(), composed.sum, "{} at {version}", case.what);
        }
    }
}

#[test]
fn every_snapshot_holds() {
    for case in checked_in().snapshot {
        for (codec, message) in
            [(Codec::Json, case.json.to_string().into_bytes()), (Codec::Msgpack, bytes(&case.msgpack))]
        {
            let Ok(ServerFrame::Snapshot(snapshot)) = ServerFrame::decode(codec, &message) else {
                panic!("{} in {codec:?}", case.what)
            };
            assert_eq!((snapshot.id.epoch, snapshot.id.version), (case.epoch, case.version));
            let shown = snapshot.entities.into_iter().map(|entity| (entity.entity, entity.fields));
            assert_eq!((shown.collect::<Entities>(), snapshot.own), (case.entities.clone(), case.own.clone()));
            assert_eq!((snapshot.sum, snapshot.own_sum), (case.sum, case.own_sum), "{}", case.what);
        }
        assert_eq!((part(&case.entities).sum(), own_sum(&case.own)), (case.sum, case.own_sum), "{}", case.what);
    }
}

/// What becomes of a pending action, in the order in which PROTOCOL.md says it.
fn outcome_of(marks: &ActorMarks, seq: u64) -> Outcome {
    if let Some(kept) = marks.answers.iter().find(|kept| kept.seq.0 == seq) {
        return Outcome::Answer(kept.answer.clone());
    }
    let high = marks.high.0;
    match seq {
        seq if seq > high => Outcome::Pending,
        seq if seq == high => Outcome::Already,
        seq if seq + 128 < high => Outcome::TooOld,
        seq if marks.bitmap >> (high - 1 - seq) & 1 == 1 => Outcome::Already,
        _ => Outcome::Pending,
    }
}

#[test]
fn every_outcome_of_marks_holds() {
    for case in checked_in().marks {
        assert!(!case.outcomes.is_empty());
        for (seq, outcome) in case.outcomes {
            assert_eq!(outcome_of(&case.marks, seq), outcome, "{}: {seq}", case.what);
        }
    }
}

#[test]
fn the_file_is_what_these_inputs_give() {
    assert_eq!(std::fs::read_to_string(path()).unwrap(), generated());
}

/// Only for a new protocol version:
/// `SECTORBUS_WRITE_GOLDEN=1 cargo test -p sectorbus --test state_vectors -- --ignored write_vectors`.
#[test]
#[ignore = "writes the vectors: only with SECTORBUS_WRITE_GOLDEN=1"]
fn write_vectors() {
    assert!(
        std::env::var_os("SECTORBUS_WRITE_GOLDEN").is_some_and(|set| set == "1"),
        "SECTORBUS_WRITE_GOLDEN=1 is not set: the vectors stay as they are"
    );
    std::fs::write(path(), generated()).unwrap();
}

fn generated() -> String {
    let vectors = Vectors {
        about: ABOUT.to_owned(),
        field_names: Field::NAMES.map(str::to_owned).into(),
        field_hash: hash_cases(),
        part_sum: ENTITIES.map(entities_of).map(|entities| PartCase { sum: part(&entities).sum(), entities }).into(),
        own_sum: OWN.map(|json| serde_json::from_str(json).unwrap()).map(own_case).into(),
        apply: APPLY.map(apply_case).into(),
        compose: COMPOSE.map(compose_case).into(),
        snapshot: SNAPSHOT.map(snapshot_case).into(),
        marks: MARKS.map(marks_case).into(),
    };
    serde_json::to_string_pretty(&vectors).unwrap() + "\n"
}

fn hash_cases() -> Vec<HashCase> {
    let int = |n: i64| Value::Int(n);
    [
        (1, 5, int(120)),
        (1, 6, int(120)),
        (2, 5, int(120)),
        (1, 5, int(0)),
        (0, 9, int(1_000)),
        (0, 9, int(-1)),
        (7, 10, int(1_700_000_000_000)),
        (7, 10, int(9_007_199_254_740_991)),
        (7, 10, int(-9_007_199_254_740_991)),
        (4_294_967_295, 255, int(1)),
        (1, 3, "".into()),
        (1, 3, "0".into()),
        (1, 4, "online".into()),
        (1, 4, "link_dead".into()),
        (12, 3, "Zoë".into()),
        (12, 3, "Zoe\u{308}".into()),
        (12, 3, "船 🚀".into()),
        (12, 3, "a:b \"c\" \\ \n".into()),
    ]
    .into_iter()
    .map(|(entity, field, value)| {
        let (entity, field) = (Alias(entity), Field(field));
        let canonical = canonical(entity, field, &value);
        HashCase { hash: field_hash(entity, field, &value), canonical, entity, field, value }
    })
    .collect()
}

fn entities_of(json: &str) -> Entities {
    serde_json::from_str(json).unwrap()
}

fn own_case(fields: Fields) -> OwnCase {
    OwnCase { sum: own_sum(&fields), fields }
}

fn apply_case([what, state, changes]: [&str; 3]) -> ApplyCase {
    let (state, changes): (_, Changes) = (entities_of(state), serde_json::from_str(changes).unwrap());
    let mut result = part(&state);
    result.apply(&changes);
    ApplyCase { what: what.to_owned(), state, changes, result: entities(&result), sum: result.sum() }
}

/// `state` is at version 10; `first` leads to 11, `second` to 12.
fn compose_case([what, state, first, second]: [&str; 4]) -> ComposeCase {
    let mut state = part(&entities_of(state));
    let mut states = BTreeMap::from([(10, entities(&state))]);
    let mut delta = |from: u64, changes: &str| {
        let changes: Changes = serde_json::from_str(changes).unwrap();
        state.apply(&changes);
        states.insert(from + 1, entities(&state));
        Delta { from, to: from + 1, changes, sum: state.sum() }
    };
    let (first, second) = (delta(10, first), delta(11, second));
    let composed = compose(&first, &second).into();
    ComposeCase { what: what.to_owned(), first: first.into(), second: second.into(), composed, states }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let pairs = hexadecimal.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn snapshot_case([what, entities, own]: [&str; 3]) -> SnapshotCase {
    let (entities, own): (Entities, Fields) = (entities_of(entities), serde_json::from_str(own).unwrap());
    let (sum, own_sum) = (part(&entities).sum(), own_sum(&own));
    let id = EntryId::new(1_763_870_400_123, 41);
    let frame = ServerFrame::Snapshot(Box::new(Snapshot {
        room: Slot::SECTOR,
        sector: SectorId::new("12").unwrap(),
        id,
        owner: "n1".to_owned(),
        sum,
        entities: entities
            .iter()
            .map(|(entity, fields)| EntityFields { entity: *entity, fields: fields.clone() })
            .collect(),
        own: own.clone(),
        own_sum,
        marks: Vec::new(),
        reason: SnapshotReason::Join,
    }));
    let json = serde_json::from_slice(&frame.encode(Codec::Json)).unwrap();
    let msgpack = frame.encode(Codec::Msgpack).iter().map(|byte| format!("{byte:02x}")).collect();
    SnapshotCase {
        what: what.to_owned(),
        json,
        msgpack,
        epoch: id.epoch,
        version: id.version,
        entities,
        sum,
        own,
        own_sum,
    }
}

/// An actor's first seq, the seqs that were answered in their order (a rejection each third one), and those asked for.
type MarksInput = (&'static str, u64, &'static [u64], &'static [u64]);

/// As a room decides it: the outcomes are its own judgement.
fn marks_case((what, first, decided, asked): MarksInput) -> MarksCase {
    let mut room = sectorbus::state::ActorMarks::new(Seq(first), 0);
    for seq in decided {
        let facts = BTreeMap::from([("to".to_owned(), Value::from("9"))]);
        let rejected = Answer::Reject { code: RejectCode::NoWarp, facts };
        let answer = if seq % 3 == 0 { rejected } else { Answer::Ack };
        room.record(Seq(*seq), &answer, 0);
    }
    let outcome = |seq: u64| match room.judge(Seq(seq)) {
        Judged::Run | Judged::TooFar => Outcome::Pending,
        Judged::Repeat(answer) => Outcome::Answer(answer),
        Judged::Already => Outcome::Already,
        Judged::TooOld => Outcome::TooOld,
    };
    let answers = room.answers().iter().map(|(seq, answer)| SeqAnswer { seq: *seq, answer: answer.clone() });
    let marks = ActorMarks {
        actor: ActorId(1_763_870_400_007),
        high: room.high(),
        bitmap: room.bitmap(),
        answers: answers.collect(),
    };
    MarksCase { what: what.to_owned(), marks, outcomes: asked.iter().map(|seq| (*seq, outcome(*seq))).collect() }
}

const SNAPSHOT: [[&str; 3]; 3] = [
    ["an empty room", "{}", "{}"],
    ["ships, a warp, and own fields", ENTITIES[3], OWN[2]],
    ["a field of a newer server, under its number", r#"{"3": {"1": "ship", "200": 7}}"#, r#"{"9": 1000, "201": "x"}"#],
];

const MARKS: [MarksInput; 5] = [
    ("nothing was decided yet", 1, &[], &[1, 2, 129, 130]),
    ("in order", 1, &[1, 2, 3], &[1, 2, 3, 4]),
    ("out of order, one skipped", 1, &[2, 5, 4, 1], &[1, 2, 3, 4, 5, 6]),
    (
        "more than the 16 answers that are kept",
        1,
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20],
        &[1, 2, 3, 4, 19, 20, 21],
    ),
    ("a jump leaves what was skipped open, and what is below the bitmap too old", 4, &[131], &[2, 3, 4, 130, 131, 132]),
];

const SHIP: &str = r#"{"3": {"1": "ship", "2": "ann", "3": "Ann", "4": "online", "5": 120, "6": 0, "11": 1}}"#;

const ENTITIES: [&str; 4] = [
    "{}",
    r#"{"4": {}}"#,
    SHIP,
    r#"{"1": {"1": "warp", "7": "12", "5": 920, "6": 480}, "2": {"1": "port", "3": "Käfer's Quay", "5": 1, "6": 999}}"#,
];

const OWN: [&str; 3] = ["{}", r#"{"9": 1000}"#, r#"{"9": -5, "10": 1700000000000}"#];

const APPLY: [[&str; 3]; 6] = [
    ["nothing changes nothing", SHIP, "{}"],
    ["a field is set and another removed", SHIP, r#"{"3": {"5": 121, "4": null, "8": 1700000000000}}"#],
    ["an entity is created", SHIP, r#"{"9": {"1": "ship", "5": -3}}"#],
    ["an entity is created without fields", SHIP, r#"{"9": {}}"#],
    ["an entity is removed, also one that is not there", SHIP, r#"{"3": null, "8": null}"#],
    ["removing an absent field changes no sum", SHIP, r#"{"3": {"8": null}}"#],
];

const COMPOSE: [[&str; 4]; 5] = [
    ["the later value of a field counts", SHIP, r#"{"3": {"5": 1, "6": 2}}"#, r#"{"3": {"5": 3}}"#],
    ["a removed field stays in the delta", SHIP, r#"{"3": {"4": "busy"}}"#, r#"{"3": {"4": null}}"#],
    ["a removed field returns", SHIP, r#"{"3": {"4": null}}"#, r#"{"3": {"4": "away"}}"#],
    ["created, then removed: the removal stays", SHIP, r#"{"9": {"1": "ship"}}"#, r#"{"9": null}"#],
    ["changed, then removed", SHIP, r#"{"3": {"5": 1}, "9": {"1": "port"}}"#, r#"{"3": null}"#],
];
