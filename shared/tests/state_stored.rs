//! Stored bytes: today's code still reads format 1 and writes the same bytes again; what is not a record is refused.
//! The golden files are never regenerated for a format that was released; `write_golden` makes those of a new one.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use proptest::prelude::*;
use sectorbus::action::{Answer, RejectCode, Status};
use sectorbus::ids::{
    ActorId, Alias, EditKey, EntryId, Generation, Hop, Incarnation, PlayerId, RegionName, RoomId, SectorId, Seq,
    SessionId,
};
use sectorbus::state::{
    ActorMarks, Answered, Draft, EditOutcome, EditRefusal, Edited, Entry, Fields, Jump, Outgoing, Parts, PlayerRecord,
    Post, PostName, RoomState, Seat, SessionSeat, SystemChange, Timer, TimerKind, Unreadable,
};
use sectorbus::value::{Field, Value};

fn golden_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("state_{name}_v1.hex"))
}

fn golden(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(golden_path(name)).unwrap();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn player(name: &str) -> PlayerId {
    PlayerId::new(name).unwrap()
}

fn answered(seq: u64, answer: Answer) -> Answered {
    Answered { player: player("ann"), actor: ActorId(3), seq: Seq(seq), answer }
}

fn no_warp() -> Answer {
    Answer::Reject { code: RejectCode::NoWarp, facts: BTreeMap::from([("to".to_owned(), Value::from("9"))]) }
}

fn record() -> PlayerRecord {
    let mut record = sectorbus::rules::new_record(&player("bob"), "Bob 🚀");
    let session = SessionSeat {
        generation: Generation(4),
        incarnation: "n1#1700000000000".parse::<Incarnation>().unwrap(),
        lost_ms: Some(1_700_000_000_100),
    };
    record.sessions.insert(SessionId::new("tab").unwrap(), session);
    let mut marks = ActorMarks::new(Seq(5), 1_700_000_000_000);
    marks.record(Seq(5), &Answer::Ack, 1_700_000_000_001);
    marks.record(Seq(7), &no_warp(), 1_700_000_000_002);
    record.actors.insert(ActorId(2), marks);
    record
}

/// A room with one of everything, and the entry that made it so.
fn sample() -> (RoomState, Entry) {
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 1_700_000_000_000);
    draft.system(SystemChange::Actor(player("ann"), ActorId(3), Some(ActorMarks::new(Seq(1), 1_700_000_000_000))));
    let alias = draft.create(Fields::from([(Field::KIND, "ship".into()), (Field::X, Value::Int(-12))]));
    let gone = draft.create(Fields::from([(Field::KIND, "port".into())]));
    draft.remove(gone);
    draft.set(alias, Field::LAST_SEEN, Some(Value::Int(1_700_000_000_000)));
    draft.set(alias, Field::LAST_SEEN, None);
    draft.replace_own(&player("ann"), Fields::from([(Field::CREDITS, Value::Int(1_000))]));
    draft.replace_own(&player("bob"), Fields::new());
    draft.remove_own(&player("bob"));
    draft.answer(answered(1, Answer::Ack));
    draft.answer(answered(2, no_warp()));
    let seat = Seat { alias, hop: Hop(2), asked: Status::Away, floor: Generation(1), sessions: record().sessions };
    let outgoing = Outgoing::within(Hop(3), SectorId::new("9").unwrap(), record());
    let timer = |due_ms, kind| SystemChange::Timer(Timer { due_ms, kind }, true);
    for change in [
        SystemChange::Seat(player("ann"), Some(seat)),
        SystemChange::Outgoing(player("cid"), Some(outgoing)),
        SystemChange::Incoming(player("ann"), Some(Hop(2))),
        SystemChange::Dormant(player("bob"), Some(record())),
        timer(1_700_000_002_000, TimerKind::Grace(player("ann"))),
        timer(1_700_000_060_000, TimerKind::Expire(player("ann"))),
    ] {
        draft.system(change);
    }
    let entry = draft.finish();
    (state, entry)
}

/// The same room with posts, which format 1 has had since after its first release.
fn sample_with_posts() -> (RoomState, Entry) {
    let (mut state, _) = sample();
    let mut draft = Draft::new(&mut state, 1_700_000_000_500);
    for (n, to) in ["team:red", "player:ann"].into_iter().enumerate() {
        let name = PostName { entry: EntryId::new(1_700_000_000_100, 7), n: n as u32 };
        let post =
            Post { to: to.parse::<RoomId>().unwrap(), body: Bytes::from_static(b"\x01under attack"), teams_of: vec![] };
        draft.system(SystemChange::Post(name, Some(post)));
    }
    let gone = PostName { entry: EntryId::new(1_700_000_000_100, 6), n: 0 };
    draft.system(SystemChange::Post(gone, Some(Post { to: RoomId::Global, body: Bytes::new(), teams_of: vec![] })));
    draft.system(SystemChange::Post(gone, None));
    let entry = draft.finish();
    (state, entry)
}

/// The same room with a fight in it, whose timers and posts for teams came after the posts.
fn sample_with_fights() -> (RoomState, Entry) {
    let (mut state, _) = sample();
    let mut draft = Draft::new(&mut state, 1_700_000_000_700);
    let name = PostName { entry: EntryId::new(1_700_000_000_100, 9), n: 0 };
    let teams_of = vec![player("bob"), player("cid")];
    let post = Post { to: RoomId::Player(player("bob")), body: Bytes::from_static(b"\x01attack"), teams_of };
    draft.system(SystemChange::Post(name, Some(post)));
    let timer = |kind| SystemChange::Timer(Timer { due_ms: 1_700_000_010_700, kind }, true);
    draft.system(timer(TimerKind::Combat(player("ann"))));
    draft.system(timer(TimerKind::Alarmed(player("ann"))));
    let entry = draft.finish();
    (state, entry)
}

/// The same room with a player on the way to another region, which came later still.
fn sample_with_jumps() -> (RoomState, Entry) {
    let (mut state, _) = sample();
    let mut draft = Draft::new(&mut state, 1_700_000_000_800);
    let jump = Jump { region: RegionName::new("us").unwrap(), since_ms: 1_700_000_000_800 };
    let out = Outgoing { jump: Some(jump), ..Outgoing::within(Hop(5), SectorId::new("3").unwrap(), record()) };
    draft.system(SystemChange::Outgoing(player("dan"), Some(out)));
    let entry = draft.finish();
    (state, entry)
}

/// The same room without posts, with edits, which came later still.
fn sample_with_edits() -> (RoomState, Entry) {
    let (mut state, _) = sample();
    let mut draft = Draft::new(&mut state, 1_700_000_000_600);
    let outcomes = [
        EditOutcome::Done { created: vec![Alias(3), Alias(4)] },
        EditOutcome::Conflict { version: 9 },
        EditOutcome::Refused { at: 1, why: EditRefusal::Balance { held: 5 } },
        EditOutcome::Refused { at: 0, why: EditRefusal::NoEntity },
    ];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let edited =
            Edited { entry: EntryId::new(1_700_000_000_100, 8), n: n as u32, asked: u64::MAX - n as u64, outcome };
        draft.system(SystemChange::Edited(EditKey::new(&format!("bounty-{n}")).unwrap(), Some(edited)));
    }
    let entry = draft.finish();
    (state, entry)
}

fn named(state: &RoomState) -> [(&'static str, Bytes); 4] {
    let parts = state.to_parts();
    [
        ("snapshot_public", parts.public),
        ("snapshot_own", parts.own),
        ("snapshot_system", parts.system),
        ("snapshot_dormant", parts.dormant),
    ]
}

/// Only for a new format: `SECTORBUS_WRITE_GOLDEN=1 cargo test -p sectorbus --test state_stored -- --ignored write_golden`.
#[test]
#[ignore = "writes the golden files: only with SECTORBUS_WRITE_GOLDEN=1"]
fn write_golden() {
    assert!(
        std::env::var_os("SECTORBUS_WRITE_GOLDEN").is_some_and(|set| set == "1"),
        "SECTORBUS_WRITE_GOLDEN=1 is not set: the golden files stay as they are"
    );
    let (state, entry) = sample();
    let mut files = vec![("entry", entry.encode())];
    files.extend(named(&state));
    let (state, entry) = sample_with_posts();
    files.extend([("entry_posts", entry.encode()), ("snapshot_system_posts", state.to_parts().system)]);
    let (state, entry) = sample_with_edits();
    files.extend([("entry_edits", entry.encode()), ("snapshot_system_edits", state.to_parts().system)]);
    let (state, entry) = sample_with_fights();
    files.extend([("entry_fights", entry.encode()), ("snapshot_system_fights", state.to_parts().system)]);
    let (state, entry) = sample_with_jumps();
    files.extend([("entry_jumps", entry.encode()), ("snapshot_system_jumps", state.to_parts().system)]);
    for (name, bytes) in files {
        let mut text = String::new();
        for line in bytes.chunks(32) {
            line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
            text.push('\n');
        }
        std::fs::write(golden_path(name), text).unwrap();
    }
}

#[test]
fn format_1_is_still_read_and_written() {
    let (state, entry) = sample();
    let bytes = golden("entry");
    assert_eq!(Entry::decode(&bytes), Ok(entry.clone()));
    assert_eq!(entry.encode(), bytes);

    let read = |name| Bytes::from(golden(name));
    let parts = Parts {
        public: read("snapshot_public"),
        own: read("snapshot_own"),
        system: read("snapshot_system"),
        dormant: read("snapshot_dormant"),
    };
    assert_eq!(RoomState::from_parts(&parts), Ok(state.clone()));
    assert_eq!(state.to_parts(), parts);
}

#[test]
fn posts_are_read_and_written_as_they_were_and_take_no_byte_where_there_are_none() {
    let (state, entry) = sample_with_posts();
    let bytes = golden("entry_posts");
    assert_eq!(Entry::decode(&bytes), Ok(entry.clone()));
    assert_eq!(entry.encode(), bytes);
    let parts = Parts { system: Bytes::from(golden("snapshot_system_posts")), ..state.to_parts() };
    assert_eq!(RoomState::from_parts(&parts), Ok(state.clone()));
    assert_eq!(state.to_parts(), parts);
    // A room that was stored before there were posts takes the entry that brings the first ones.
    let mut before = sample().0;
    before.apply(&entry).unwrap();
    assert_eq!(before, state);
}

#[test]
fn fights_are_read_and_written_as_they_were() {
    let (state, entry) = sample_with_fights();
    let bytes = golden("entry_fights");
    assert_eq!(Entry::decode(&bytes), Ok(entry.clone()));
    assert_eq!(entry.encode(), bytes);
    let parts = Parts { system: Bytes::from(golden("snapshot_system_fights")), ..state.to_parts() };
    assert_eq!(RoomState::from_parts(&parts), Ok(state.clone()));
    assert_eq!(state.to_parts(), parts);
    let mut before = sample().0;
    before.apply(&entry).unwrap();
    assert_eq!(before, state);
}

#[test]
fn jumps_are_read_and_written_as_they_were_and_take_no_byte_where_there_are_none() {
    let (state, entry) = sample_with_jumps();
    let bytes = golden("entry_jumps");
    assert_eq!(Entry::decode(&bytes), Ok(entry.clone()));
    assert_eq!(entry.encode(), bytes);
    let parts = Parts { system: Bytes::from(golden("snapshot_system_jumps")), ..state.to_parts() };
    assert_eq!(RoomState::from_parts(&parts), Ok(state.clone()));
    assert_eq!(state.to_parts(), parts);
    let mut before = sample().0;
    before.apply(&entry).unwrap();
    assert_eq!(before, state);
}

#[test]
fn edits_are_read_and_written_as_they_were_and_take_no_byte_where_there_are_none() {
    let (state, entry) = sample_with_edits();
    let bytes = golden("entry_edits");
    assert_eq!(Entry::decode(&bytes), Ok(entry.clone()));
    assert_eq!(entry.encode(), bytes);
    let parts = Parts { system: Bytes::from(golden("snapshot_system_edits")), ..state.to_parts() };
    assert_eq!(RoomState::from_parts(&parts), Ok(state.clone()));
    assert_eq!(state.to_parts(), parts);
    for mut before in [sample().0, sample_with_posts().0] {
        before.apply(&entry).map(|()| assert_eq!(before, state)).unwrap_or_else(|mismatch| {
            assert_eq!(mismatch.part, "system", "a room with posts is another one");
        });
        let parts = before.to_parts();
        assert_eq!(RoomState::from_parts(&parts).map(|read| read.to_parts()), Ok(parts));
    }
}

#[test]
fn unknown_formats_cut_records_and_trailing_bytes_are_refused() {
    let good = golden("entry");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Entry::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(&|bytes| bytes[0] = 7), Unreadable::Format { found: 7, known: &[1] });
    assert_eq!(with(&|bytes| bytes.extend([0xc0, 0xc0])), Unreadable::TrailingBytes { count: 2 });
    assert!(matches!(with(&|bytes| bytes[1] = 0xc0), Unreadable::Malformed(_)));
    for end in 0..good.len() {
        assert_eq!(Entry::decode(&good[..end]), Err(Unreadable::Truncated), "cut to {end}");
    }
}

#[test]
fn a_snapshot_whose_content_is_not_its_sum_is_refused() {
    let (state, _) = sample();
    let flipped = |part: fn(&mut Parts) -> &mut Bytes, from: &[u8], to: &[u8]| {
        let mut parts = state.to_parts();
        let bytes = part(&mut parts);
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        let mut changed = bytes.to_vec();
        changed[at..at + from.len()].copy_from_slice(to);
        *bytes = changed.into();
        match RoomState::from_parts(&parts) {
            Err(Unreadable::Sum { part, .. }) => part,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(flipped(|parts| &mut parts.public, b"ship", b"shop"), "public");
    assert_eq!(flipped(|parts| &mut parts.own, &[0xcd, 0x03, 0xe8], &[0xcd, 0x03, 0xe9]), "own");
    assert_eq!(flipped(|parts| &mut parts.system, b"away", b"busy"), "system");
    assert_eq!(flipped(|parts| &mut parts.dormant, b"Bob", b"Bib"), "dormant");
}

#[test]
fn a_snapshot_that_would_give_an_alias_twice_is_refused() {
    let mut parts = sample().0.to_parts();
    let one = RoomState::new().to_parts();
    assert!(RoomState::from_parts(&one).is_ok());
    parts.system = one.system;
    parts.dormant = one.dormant;
    assert!(matches!(RoomState::from_parts(&parts), Err(Unreadable::Malformed(_))));
}

#[test]
fn entries_are_small() {
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 1_700_000_000_000);
    let alias = draft.create(Fields::new());
    draft.system(SystemChange::Actor(player("ann"), ActorId(3), Some(ActorMarks::new(Seq(1), 0))));
    let _ = draft.finish();
    let mut draft = Draft::new(&mut state, 1_700_000_000_050);
    draft.set(alias, Field::STATUS, Some("busy".into()));
    draft.answer(answered(1, Answer::Ack));
    let bytes = draft.finish().encode();
    assert!(bytes.len() <= 48, "{} bytes: {bytes:02x?}", bytes.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn any_bytes_are_read_or_refused_without_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from([&[1u8][..], &body].concat());
        let _ = Entry::decode(&bytes);
        let (state, _) = sample();
        for part in 0..4 {
            let mut parts = state.to_parts();
            *[&mut parts.public, &mut parts.own, &mut parts.system, &mut parts.dormant][part] = bytes.clone();
            let _ = RoomState::from_parts(&parts);
        }
    }

    #[test]
    fn damaged_records_are_read_or_refused_without_panic(at in any::<prop::sample::Index>(), byte: u8) {
        let damage = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            Bytes::from(bytes)
        };
        let (state, entry) = sample();
        if let Ok(entry) = Entry::decode(&damage(&entry.encode())) {
            let _ = RoomState::new().apply(&entry);
        }
        for part in 0..4 {
            let mut parts = state.to_parts();
            *[&mut parts.public, &mut parts.own, &mut parts.system, &mut parts.dormant][part] =
                damage(&named(&state)[part].1);
            let _ = RoomState::from_parts(&parts);
        }
    }
}
