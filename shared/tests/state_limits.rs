//! Limits hold where values enter a room's state: what a rule makes beyond one is a broken invariant, told with its
//! numbers; what comes from another node is refused. A batch is full long before its entry is too large.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use sectorbus::action::{Answer, RejectCode};
use sectorbus::ids::{ActorId, Alias, Hop, PlayerId, Seq};
use sectorbus::limits::{BATCH_ENTRY_BYTES, ENTRY_BYTES_MAX, FIELDS_PER_ENTITY_MAX, INT_ABS_MAX, TEXT_BYTES_MAX};
use sectorbus::state::{ActorMarks, Answered, Draft, Fields, PlayerRecord, RoomState, SystemChange};
use sectorbus::value::{Field, Value};

fn ann() -> PlayerId {
    PlayerId::new("ann").unwrap()
}

fn text(bytes: usize) -> Option<Value> {
    Some("x".repeat(bytes).as_str().into())
}

#[test]
fn the_largest_values_and_the_fullest_entity_are_taken() {
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 1);
    let alias = draft.create(Fields::new());
    for field in 1..=FIELDS_PER_ENTITY_MAX as u8 {
        draft.set(alias, Field(field), text(TEXT_BYTES_MAX));
        draft.set_own(&ann(), Field(field), Some(Value::Int(-INT_ABS_MAX)));
    }
    // Another value of a field that is there, and one field for another.
    draft.set(alias, Field(1), Some(Value::Int(INT_ABS_MAX)));
    draft.set(alias, Field(2), None);
    draft.set(alias, Field(200), text(1));
    let entry = draft.finish();
    assert_eq!(RoomState::new().apply(&entry), Ok(()));
}

#[test]
#[should_panic(expected = "entity 1 would be beyond its limit: field 3 has 513 bytes of text: at most 512")]
fn a_text_too_long_is_a_broken_invariant() {
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 1);
    let alias = draft.create(Fields::new());
    draft.set(alias, Field::NAME, text(TEXT_BYTES_MAX + 1));
}

#[test]
#[should_panic(expected = "the own part of ann would be beyond its limit: field 9 is 9007199254740992: at most")]
fn an_integer_too_large_is_a_broken_invariant() {
    let mut state = RoomState::new();
    Draft::new(&mut state, 1).set_own(&ann(), Field::CREDITS, Some(Value::Int(INT_ABS_MAX + 1)));
}

#[test]
#[should_panic(expected = "entity 1 would be beyond its limit: 33 fields: at most 32")]
fn one_field_too_many_is_a_broken_invariant() {
    let mut state = RoomState::new();
    let full = (1..=FIELDS_PER_ENTITY_MAX as u8).map(|field| (Field(field), Value::Int(1)));
    let mut draft = Draft::new(&mut state, 1);
    let alias = draft.create(full.collect());
    draft.set(alias, Field(200), Some(Value::Int(1)));
}

#[test]
#[should_panic(expected = "entity 1 would be beyond its limit: 33 fields: at most 32")]
fn an_entity_made_with_too_many_fields_is_a_broken_invariant() {
    let mut state = RoomState::new();
    let many = (0..=FIELDS_PER_ENTITY_MAX as u8).map(|field| (Field(1 + field), Value::Int(1)));
    Draft::new(&mut state, 1).create(many.collect());
}

#[test]
fn a_record_from_elsewhere_is_refused_beyond_its_limits() {
    let fits = sectorbus::rules::new_record(&ann(), &"ü".repeat(TEXT_BYTES_MAX / 2));
    assert_eq!(fits.check_limits(), Ok(()));
    let refused = |change: &dyn Fn(&mut PlayerRecord)| {
        let mut record = fits.clone();
        change(&mut record);
        record.check_limits().unwrap_err().to_string()
    };
    let long = refused(&|record| drop(record.ship.insert(Field::NAME, text(600).unwrap())));
    assert_eq!(long, "field 3 has 600 bytes of text: at most 512");
    let rich = refused(&|record| drop(record.own.insert(Field::CREDITS, Value::Int(i64::MIN))));
    assert_eq!(rich, "field 9 is -9223372036854775808: at most 9007199254740991 either way");
    let wide = refused(&|record| record.own.extend((1..=40).map(|field| (Field(field), Value::Int(1)))));
    assert_eq!(wide, "40 fields: at most 32");
    let far = refused(&|record| record.hop = Hop(u64::MAX));
    assert_eq!(far, "hop 18446744073709551615: at most 9007199254740991");
    let many = refused(&|record| {
        record.actors = (1..=9).map(|actor| (ActorId(actor), ActorMarks::new(Seq(1), 1))).collect();
    });
    assert_eq!(many, "9 actors: at most 8");
}

#[test]
fn a_draft_is_full_long_before_an_entry_is_too_large() {
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 1);
    let fields: Fields = (1..=FIELDS_PER_ENTITY_MAX as u8).map(|n| (Field(n), text(TEXT_BYTES_MAX).unwrap())).collect();
    while !draft.is_full() {
        draft.create(fields.clone());
    }
    let bytes = draft.finish().encode().len();
    assert!(bytes > BATCH_ENTRY_BYTES - 20_000 && bytes < ENTRY_BYTES_MAX - 256 * 1024, "{bytes}");
}

#[test]
#[should_panic(expected = "bytes: at most 1048576")]
fn an_entry_beyond_its_limit_is_a_broken_invariant() {
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 1);
    for _ in 0..2_100 {
        draft.create(Fields::from([(Field::NAME, text(TEXT_BYTES_MAX).unwrap())]));
    }
    draft.finish().encode();
}

/// What a draft counted and what its entry came to, after `change` for each of 100 players with long names, each of
/// whom has an entity and own fields already.
fn counted(change: fn(&mut Draft<'_>, Alias, &PlayerId)) -> (usize, usize) {
    let players: Vec<PlayerId> =
        (0..100).map(|n| PlayerId::new(&format!("{}{n:03}", "p".repeat(61))).unwrap()).collect();
    let fields = || (1..=30).map(|n| (Field(n), Value::Int(INT_ABS_MAX))).collect::<Fields>();
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 1);
    let aliases: Vec<Alias> = players.iter().map(|_| draft.create(fields())).collect();
    players.iter().for_each(|player| draft.replace_own(player, fields()));
    let _ = draft.finish();
    let mut draft = Draft::new(&mut state, 2);
    aliases.iter().zip(&players).for_each(|(alias, player)| change(&mut draft, *alias, player));
    (draft.bytes_at_most(), draft.finish().encode().len())
}

#[test]
fn every_kind_of_change_is_counted() {
    type Change = fn(&mut Draft<'_>, Alias, &PlayerId);
    let answer = |player: &PlayerId, seq| {
        let facts = BTreeMap::from([("to".to_owned(), text(60).unwrap())]);
        let answer = Answer::Reject { code: RejectCode::NoWarp, facts };
        Answered { player: player.clone(), actor: ActorId(INT_ABS_MAX as u64), seq: Seq(seq), answer }
    };
    let kinds: [(&str, Change); 9] = [
        ("create", |draft, _, _| {
            draft.create((1..30).map(|n| (Field(n), Value::Int(-INT_ABS_MAX))).collect());
        }),
        ("set a text", |draft, alias, _| draft.set(alias, Field::NAME, text(200))),
        ("unset", |draft, alias, _| draft.set(alias, Field::NAME, None)),
        ("remove", |draft, alias, _| draft.remove(alias)),
        ("set an own field", |draft, _, player| draft.set_own(player, Field::CREDITS, Some(Value::Int(7)))),
        ("remove an own part", |draft, _, player| draft.remove_own(player)),
        ("replace an own part", |draft, _, player| {
            draft.remove_own(player);
            draft.set_own(player, Field::CREDITS, Some(Value::Int(7)));
        }),
        ("learn an actor", |draft, _, player| {
            let marks = ActorMarks::new(Seq(1), INT_ABS_MAX as u64);
            draft.system(SystemChange::Actor(player.clone(), ActorId(INT_ABS_MAX as u64), Some(marks)));
        }),
        ("incoming", |draft, _, player| draft.system(SystemChange::Incoming(player.clone(), Some(Hop(1 << 50))))),
    ];
    for (kind, change) in kinds {
        let (at_most, bytes) = counted(change);
        assert!(bytes <= at_most, "{kind}: {bytes} bytes, counted as {at_most}");
        assert!(at_most < 3 * bytes + 1_000, "{kind}: {bytes} bytes, counted as {at_most}: batches would be small");
    }
    // Answers of an actor that the same draft learned are in its marks, too.
    let mut state = RoomState::new();
    let mut draft = Draft::new(&mut state, 1);
    let marks = ActorMarks::new(Seq(1), INT_ABS_MAX as u64);
    draft.system(SystemChange::Actor(ann(), ActorId(INT_ABS_MAX as u64), Some(marks)));
    (1..=16).for_each(|seq| draft.answer(answer(&ann(), seq)));
    let at_most = draft.bytes_at_most();
    assert!(draft.finish().encode().len() <= at_most);
}
