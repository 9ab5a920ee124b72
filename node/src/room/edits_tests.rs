//! Edits as an owner decides them, and what the next owner makes of them.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::command::Command;
use crate::room::owner::{Decided, Input, Owner};
use crate::room::testing::{START_MS, TestRoom, act, incarnation, player, speaker, status};
use sectorbus::action::Status;
use sectorbus::log::Present;
use sectorbus::rules::{Rules, Universe};

fn key(name: &str) -> EditKey {
    EditKey::new(name).unwrap()
}

fn credits(name: &str, delta: i64) -> Edit {
    Edit::Credits { player: player(name), delta }
}

fn request(name: &str, edits: Vec<Edit>) -> EditRequest {
    EditRequest { key: key(name), expected: None, edits }
}

fn input(request: EditRequest) -> Input {
    Input::Edit { from: incarnation("door"), request }
}

/// What became of one request, and whether it made an entry.
fn asked(room: &mut TestRoom, request: EditRequest) -> (EditOutcome, bool) {
    let Decided { entry, edited, .. } = room.decide(vec![input(request.clone())]);
    let [(to, its_key, edited)] = &edited[..] else { panic!("one answer, not {edited:?}") };
    assert_eq!((to, its_key, edited.asked), (&incarnation("door"), &request.key, request.asked()));
    (edited.outcome.clone(), entry.is_some())
}

fn held(room: &TestRoom, name: &str) -> i64 {
    held_by(room.state(), &player(name)).unwrap()
}

const NOTHING_CREATED: EditOutcome = EditOutcome::Done { created: Vec::new() };

#[test]
fn a_grant_is_made_once_and_answered_the_same_by_the_next_owner() {
    let mut room = TestRoom::with(&["ann"]);
    let before = held(&room, "ann");
    assert_eq!(asked(&mut room, request("bounty", vec![credits("ann", 500)])), (NOTHING_CREATED, true));
    assert_eq!(held(&room, "ann"), before + 500);
    room.taken_over();
    for _ in 0..2 {
        assert_eq!(asked(&mut room, request("bounty", vec![credits("ann", 500)])), (NOTHING_CREATED, false));
    }
    assert_eq!(held(&room, "ann"), before + 500);
    // Twice in one batch, by whatever ways it came.
    let twice = request("other", vec![credits("ann", 1)]);
    let Decided { edited, .. } = room.decide(vec![input(twice.clone()), input(twice)]);
    assert_eq!(edited[0], edited[1]);
    assert_eq!(held(&room, "ann"), before + 501);
}

#[test]
fn a_sleeping_player_is_paid_too_and_keeps_it() {
    let mut room = TestRoom::with(&["ann"]);
    let before = held(&room, "ann");
    room.entry(vec![Input::Command(crate::command::Command::Lost {
        speaker: speaker("ann"),
        incarnation: incarnation("n"),
        left: true,
    })]);
    assert!(room.state().system().dormant(&player("ann")).is_some());
    assert_eq!(asked(&mut room, request("k", vec![credits("ann", -before)])), (NOTHING_CREATED, true));
    assert_eq!(held(&room, "ann"), 0);
}

#[test]
fn all_is_done_or_nothing_and_a_refusal_is_remembered() {
    let mut room = TestRoom::with(&["ann", "bob"]);
    let before = room.state().public().clone();
    let (ann, bob) = (held(&room, "ann"), held(&room, "bob"));
    let pay = vec![credits("ann", 5), credits("bob", -bob - 1)];
    let why = EditRefusal::Balance { held: bob };
    assert_eq!(asked(&mut room, request("k", pay.clone())), (EditOutcome::Refused { at: 1, why }, true));
    assert_eq!((held(&room, "ann"), held(&room, "bob")), (ann, bob));
    room.entry(vec![input(request("more", vec![credits("bob", 10)]))]);
    assert_eq!(asked(&mut room, request("k", pay.clone())), (EditOutcome::Refused { at: 1, why }, false));
    assert_eq!(asked(&mut room, request("k2", pay)).0, NOTHING_CREATED);
    assert_eq!(room.state().public(), &before);
}

#[test]
fn another_version_is_a_conflict_and_makes_no_entry() {
    let mut room = TestRoom::with(&["ann"]);
    // Ann came with the first entry.
    let at = |expected| EditRequest { expected: Some(expected), ..request("k", vec![credits("ann", 1)]) };
    assert_eq!(asked(&mut room, at(7)), (EditOutcome::Conflict { version: 1 }, false));
    assert!(room.state().system().edited().is_empty());
    let other = act(speaker("ann"), 1, status(Status::Busy));
    let Decided { edited, .. } = room.decide(vec![other, input(at(1))]);
    assert_eq!(edited[0].2.outcome, EditOutcome::Conflict { version: 2 }, "the batch has made it another version");
    assert_eq!(asked(&mut room, at(2)), (NOTHING_CREATED, true));
}

#[test]
fn entities_are_created_set_and_removed_and_what_the_room_keeps_is_not() {
    let mut room = TestRoom::with(&["ann"]);
    let ship = room.state().system().seat(&player("ann")).unwrap().alias;
    let fields = |kind: &str| Fields::from([(Field::KIND, Value::from(kind)), (Field::X, Value::Int(3))]);
    let (EditOutcome::Done { created }, true) =
        asked(&mut room, request("a", vec![Edit::Create { fields: fields("beacon") }]))
    else {
        panic!("not created")
    };
    let alias = created[0];
    let set = |alias, field, value: Option<Value>| Edit::Set { alias, fields: FieldChanges::from([(field, value)]) };
    let edits = vec![set(alias, Field::NAME, Some("old".into())), set(alias, Field::X, None)];
    assert_eq!(asked(&mut room, request("b", edits)).0, NOTHING_CREATED);
    let now = room.state().public().get(alias).unwrap();
    assert_eq!((now.get(&Field::NAME), now.get(&Field::X)), (Some(&"old".into()), None));
    let big = Value::from("x".repeat(600).as_str());
    for (n, (edit, why)) in [
        (Edit::Create { fields: fields("ship") }, EditRefusal::Kept),
        (set(alias, Field::CREDITS, Some(Value::Int(1))), EditRefusal::Kept),
        (set(alias, Field::KIND, Some("ship".into())), EditRefusal::Kept),
        (set(ship, Field::STATUS, None), EditRefusal::Kept),
        (Edit::Remove { alias: ship }, EditRefusal::Kept),
        (set(alias, Field::NAME, Some(big)), EditRefusal::Beyond),
        (set(Alias(9_999), Field::X, None), EditRefusal::NoEntity),
        (credits("cy", 1), EditRefusal::NotHere),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = asked(&mut room, request(&format!("r{n}"), vec![edit.clone()])).0;
        assert_eq!(outcome, EditOutcome::Refused { at: 0, why }, "{edit:?}");
    }
    let gone = vec![Edit::Remove { alias }, set(alias, Field::X, None)];
    let outcome = asked(&mut room, request("c", gone)).0;
    assert_eq!(outcome, EditOutcome::Refused { at: 1, why: EditRefusal::NoEntity });
    assert_eq!(asked(&mut room, request("d", vec![Edit::Remove { alias }])).0, NOTHING_CREATED);
    assert!(room.state().public().get(alias).is_none());
    let mut full = room.with_entities_max(room_len());
    let two = vec![Edit::Create { fields: fields("beacon") }; 2_000];
    let outcome = asked(&mut full, request("e", two)).0;
    assert!(matches!(outcome, EditOutcome::Refused { why: EditRefusal::Full, .. }), "{outcome:?}");
}

fn room_len() -> usize {
    TestRoom::with(&["ann"]).state().public().len()
}

#[test]
fn the_oldest_edits_are_forgotten() {
    let mut room = TestRoom::with(&["ann"]);
    for n in 0..EDITS_REMEMBERED + 3 {
        room.entry(vec![input(request(&format!("k{n}"), vec![credits("ann", 1)]))]);
    }
    let remembered = room.state().system().edited();
    assert_eq!(remembered.len(), EDITS_REMEMBERED);
}

/// What a room other than a sector makes of inputs, and of every edit of what is in it.
fn kept_by(room: &str, version: u64, inputs: Vec<Input>) {
    let rules = Arc::new(Rules::new(Universe::new(7, 20), 5_000));
    let (grace, resume_window) = (Duration::from_secs(2), Duration::from_secs(60));
    let limits = SeatLimits { entities_max: 4_096, grace, resume_window };
    let room: RoomId = room.parse().unwrap();
    let state = rules.genesis(&room);
    let mut owner = Owner::new(room, rules, limits, state);
    let mut now_ms = START_MS;
    let mut entries = Vec::new();
    for (n, input) in inputs.into_iter().enumerate() {
        entries.extend(owner.decide(now_ms, EntryId::new(5, version + n as u64), vec![input]).entry);
        let before = owner.state().clone();
        let alias = before.public().iter().next().map(|(alias, _)| alias).expect("what the room keeps");
        let beacon = Fields::from([(Field::KIND, Value::from("beacon"))]);
        for (edit, name) in [
            (Edit::Remove { alias }, "remove"),
            (Edit::Set { alias, fields: FieldChanges::from([(Field::KIND, None)]) }, "set"),
            (Edit::Create { fields: beacon }, "create"),
            (credits("ann", 1), "credits"),
        ] {
            let Decided { entry, edited, .. } =
                owner.decide(now_ms, EntryId::new(5, version + 9), vec![input_of(name, edit)]);
            let refused = EditOutcome::Refused { at: 0, why: EditRefusal::Kept };
            assert_eq!((edited[0].2.outcome.clone(), entry), (refused, None), "{name}");
        }
        assert_eq!(owner.state(), &before);
        now_ms += 20_000;
    }
    assert!(entries.len() > 1, "the room goes on");
}

fn input_of(name: &str, edit: Edit) -> Input {
    input(request(name, vec![edit]))
}

#[test]
fn a_team_and_the_counts_are_not_edited_and_go_on() {
    let role = Some("member".parse().unwrap());
    let member = Command::Member { player: player("ann"), number: 7, role };
    let sessions = vec![(incarnation("n"), sectorbus::presence::Shown::Online)];
    let present = Present { number: 8, last_seen_ms: 0, room: None, sessions };
    let seen = Command::Seen { player: player("ann"), name: Some("Ann".to_owned()), present };
    kept_by("team:red", 1, vec![Input::Command(member), Input::Command(seen)]);
    let count = |players| Input::Command(Command::Count { incarnation: incarnation("n"), players, nodes: 1 });
    kept_by("global", 1, vec![count(3), count(4)]);
}
