//! Mail and receipts as bytes: today's code reads and writes format 1; what is not a record is refused.
//! The golden file is never regenerated for a format that was released; `write_golden` makes that of a new one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use sectorbus::action::{Answer, RejectCode, Status};
use sectorbus::ids::{Alias, EntryId};
use sectorbus::limits::TEXT_BYTES_MAX;
use sectorbus::state::{ActorMarks, EditOutcome, FieldChanges, Fields, SessionSeat};
use sectorbus::value::{Field, Value};

use super::*;
use crate::room::edits::Edit;

fn golden_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mail_v1.hex")
}

fn ann() -> PlayerId {
    PlayerId::new("ann").unwrap()
}

fn sector(id: &str) -> SectorId {
    SectorId::new(id).unwrap()
}

fn node(text: &str) -> Incarnation {
    text.parse().unwrap()
}

fn speaker() -> Speaker {
    let session = SessionId::new("s-1").unwrap();
    Speaker { player: ann(), session, generation: Generation(1_763_870_400_007), floor: Generation(3) }
}

fn record() -> PlayerRecord {
    let mut record = sectorbus::rules::new_record(&ann(), "Ann");
    let seat = SessionSeat { generation: Generation(7), incarnation: node("n1#1763870400000"), lost_ms: Some(9) };
    record.sessions.insert(SessionId::new("s-1").unwrap(), seat);
    let mut marks = ActorMarks::new(Seq(5), 8);
    marks.record(Seq(6), &Answer::Ack, 9);
    record.actors.insert(ActorId(1_763_870_400_003), marks);
    record
}

fn answered() -> Answered {
    let facts = BTreeMap::from([("to".to_owned(), Value::from("9"))]);
    let answer = Answer::Reject { code: RejectCode::NoWarp, facts };
    Answered { player: ann(), actor: ActorId(3), seq: Seq(4), answer }
}

/// One of every kind of mail.
fn mails() -> Vec<Mail> {
    let (actor, seq) = (ActorId(1_763_870_400_003), Seq(4));
    let act = |action| Command::Act { speaker: speaker(), actor, seq, action, to_epoch: 1_763_870_400_009 };
    let incarnation = node("n1#1763870400000");
    let commands = [
        act(Action::Move { to: sector("13") }),
        act(Action::Status { status: Status::Busy }),
        Command::Join { speaker: speaker(), incarnation: incarnation.clone(), actor, first_seq: Seq(1), learn: true },
        Command::Lost { speaker: speaker(), incarnation: incarnation.clone(), left: false },
        Command::Arrive { player: ann(), hop: Hop(2), record: Box::new(record()), from: Some(sector("12")) },
        Command::Arrived { player: ann(), hop: Hop(2), room: Some(sector("13")) },
        Command::Adopt,
    ];
    let room = RoomId::Sector(sector("13"));
    let commanded = |command| Mail::Command { room: room.clone(), from: incarnation.clone(), command };
    let noticed = |notice| Mail::Notice { room: room.clone(), notice };
    let mut mails: Vec<Mail> = commands.into_iter().map(commanded).collect();
    mails.push(noticed(Notice::NotOwner { by: Some(node("n2#5")), ring: RingVersion(1_763_870_400_001) }));
    mails.push(noticed(Notice::NotOwner { by: None, ring: RingVersion(6) }));
    mails.push(noticed(Notice::WrongEpoch { epoch: 1_763_870_400_009 }));
    mails.push(noticed(Notice::Busy));
    let edits = vec![
        Edit::Credits { player: ann(), delta: -500 },
        Edit::Create { fields: Fields::from([(Field::KIND, Value::from("beacon"))]) },
        Edit::Set { alias: Alias(4), fields: FieldChanges::from([(Field::X, Some(Value::Int(7))), (Field::Y, None)]) },
        Edit::Remove { alias: Alias(5) },
    ];
    let key = EditKey::new("bounty-17").unwrap();
    mails.push(commanded(Command::Edit { request: EditRequest { key: key.clone(), expected: Some(12), edits } }));
    let outcome = EditOutcome::Done { created: vec![Alias(6)] };
    let edited = Edited { entry: EntryId::new(1_763_870_400_009, 13), n: 0, asked: 77, outcome };
    mails.push(noticed(Notice::Edited { key, edited }));
    mails.push(commanded(act(Action::Jump { to: "us:3".parse().unwrap() })));
    mails.push(commanded(Command::Land { player: ann(), hop: Hop(2), landing: Box::new(landing()) }));
    mails
}

/// What regions keep of a jump for each other.
fn landing() -> Landing {
    let ticket = |name: &str, fill| (SessionId::new(name).unwrap(), TicketHash([fill; 32]));
    Landing { sector: sector("3"), record: record(), tickets: vec![ticket("s-1", 0xab), ticket("s-2", 0)] }
}

/// One of every kind of receipt.
fn receipts() -> Vec<Receipt> {
    vec![
        Receipt::Answer(answered()),
        Receipt::Stale { speaker: speaker(), actor: ActorId(3), seq: Seq(4) },
        Receipt::Unseated { speaker: speaker() },
        Receipt::StaleSeat { speaker: speaker() },
        Receipt::LossTaken { speaker: speaker() },
        Receipt::Gone { player: ann(), to: sector("13"), hop: Hop(2) },
        Receipt::Unknown { player: ann() },
        Receipt::Full { player: ann() },
    ]
}

/// A line of hexadecimal digits for each mail, and one for the receipts.
fn written() -> Vec<Vec<u8>> {
    let mails = mails().iter().map(|mail| mail.encode().to_vec()).collect::<Vec<_>>();
    mails.into_iter().chain([encode_receipts(&receipts()).to_vec()]).collect()
}

fn golden() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(golden_path()).unwrap();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}

/// Only for a new format: `cargo test -p sectorbus-node --lib -- --ignored write_golden`.
#[test]
#[ignore = "overwrites the golden file"]
fn write_golden() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    std::fs::write(golden_path(), written().into_iter().map(hex).collect::<String>()).unwrap();
}

#[test]
fn format_1_of_mail_and_receipts_is_still_read_and_written() {
    let golden = golden();
    assert_eq!(golden, written());
    for (bytes, mail) in golden.iter().zip(mails()) {
        assert_eq!(Mail::decode(bytes).unwrap(), mail);
    }
    assert_eq!(decode_receipts(&golden[golden.len() - 1]).unwrap(), receipts());
}

#[test]
fn what_is_not_the_whole_record_is_refused() {
    for bytes in written() {
        let refused = |bytes: &[u8]| Mail::decode(bytes).is_err() && decode_receipts(bytes).is_err();
        for end in 0..bytes.len() {
            assert!(refused(&bytes[..end]), "cut at {end}");
        }
        assert!(refused(&[&bytes[..], &[0xc0]].concat()));
        assert!(refused(&[&[2], &bytes[1..]].concat()), "another format");
    }
    let behind = [&encode_receipts(&receipts())[..], &[1, 2, 3]].concat();
    assert!(matches!(decode_receipts(&behind), Err(BadMail::TrailingBytes { count: 3 })));
    let behind = [&mails()[0].encode()[..], &[0]].concat();
    assert!(matches!(Mail::decode(&behind), Err(BadMail::TrailingBytes { count: 1 })));
}

#[test]
fn what_comes_from_another_region_is_read_as_it_was_written_and_held_to_the_limits() {
    // The same record as in the mail that tells an owner of it, under a format byte of its own.
    let (golden, bytes) = (golden(), landing().encode());
    let mail = &golden[golden.len() - 2];
    assert!(bytes[0] == FORMAT && mail.ends_with(&bytes[1..]));
    assert_eq!(Landing::decode(&ann(), &bytes).unwrap(), landing());
    for end in 0..bytes.len() {
        assert!(Landing::decode(&ann(), &bytes[..end]).is_err(), "cut at {end}");
    }
    let mut beyond = landing();
    beyond.record.ship.insert(Field::NAME, Value::from("x".repeat(TEXT_BYTES_MAX + 1).as_str()));
    let refused = Landing::decode(&ann(), &beyond.encode()).unwrap_err().to_string();
    assert_eq!(refused, "the record of ann is beyond a limit: field 3 has 513 bytes of text: at most 512");
    let command = Command::Land { player: ann(), hop: Hop(2), landing: Box::new(beyond) };
    let mail = Mail::Command { room: RoomId::Sector(sector("3")), from: node("n1#1"), command };
    assert!(Mail::decode(&mail.encode()).is_err());
}

#[test]
fn an_arrival_beyond_the_limits_of_state_is_refused() {
    let mut record = record();
    record.ship.insert(Field::NAME, Value::from("x".repeat(TEXT_BYTES_MAX + 1).as_str()));
    let command = Command::Arrive { player: ann(), hop: Hop(2), record: Box::new(record), from: None };
    let mail = Mail::Command { room: RoomId::Sector(sector("13")), from: node("n1#1"), command };
    let refused = Mail::decode(&mail.encode()).unwrap_err().to_string();
    assert_eq!(refused, "the record of ann is beyond a limit: field 3 has 513 bytes of text: at most 512");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&[FORMAT][..], &body].concat();
        let _ = Mail::decode(&bytes);
        let _ = decode_receipts(&bytes);
    }

    #[test]
    fn damaged_mail_is_read_or_refused_without_panic(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8
    ) {
        let written = written();
        let mut bytes = written[which.index(written.len())].clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Mail::decode(&bytes);
        let _ = decode_receipts(&bytes);
    }
}
