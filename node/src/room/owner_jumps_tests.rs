//! Jumps as an owner decides them: out through a gate, back if nobody took the player, in from another region.

use sectorbus::action::Status;
use sectorbus::beyond::Beyond;
use sectorbus::ids::Generation;
use sectorbus::state::Judged;
use sectorbus::value::{Field, Value};

use super::*;
use crate::room::testing::*;

fn beyond() -> Beyond {
    "us:3".parse().unwrap()
}

fn jump() -> Action {
    Action::Jump { to: beyond() }
}

fn gates(room: &TestRoom) -> Vec<String> {
    let entities = room.state().public().iter().map(|(_, fields)| fields);
    let gates = entities.filter(|fields| fields.get(&Field::KIND).and_then(Value::as_text) == Some("gate"));
    gates.map(|fields| fields[&Field::TO].as_text().unwrap().to_owned()).collect()
}

fn from_region(name: &str, hop: u64, record: PlayerRecord) -> Input {
    Input::TakeIn { player: player(name), hop: Hop(hop), record: Box::new(record), from: Origin::Region }
}

fn restore(hop: u64) -> Input {
    Input::Restore { player: player("ann"), hop: Hop(hop) }
}

/// Of who has jumped once.
const JUMPED: Hop = Hop(1).after_jump();

#[test]
fn a_sector_shows_the_gates_that_the_settings_have_now_with_the_next_entry() {
    let mut room = TestRoom::with(&["ann"]);
    assert_eq!(gates(&room), Vec::<String>::new());
    room.set_gates(&["us:3", "asia:1"]);
    room.entry(vec![act(speaker("ann"), 1, status(Status::Away))]);
    assert_eq!(gates(&room), ["asia:1", "us:3"]);
    // The settings count: one that is shown still leads nowhere.
    room.set_gates(&["us:3"]);
    let closed = Action::Jump { to: "asia:1".parse().unwrap() };
    let facts = BTreeMap::from([("to".to_owned(), Value::from("asia:1"))]);
    let no_gate = Answer::Reject { code: RejectCode::NoGate, facts };
    assert_eq!(room.answer(act(speaker("ann"), 2, closed)), no_gate);
    room.entry(vec![act(speaker("ann"), 3, status(Status::Busy))]);
    assert_eq!(gates(&room), ["us:3"]);
    // Nothing is amiss: an entry has its own changes only.
    room.taken_over();
    let entry = room.entry(vec![act(speaker("ann"), 4, status(Status::Away))]);
    assert_eq!(entry.public.len(), 1);
}

#[test]
fn who_jumps_is_on_the_way_with_all_they_have_and_nowhere_for_whoever_asks() {
    let mut room = TestRoom::with(&["ann"]);
    room.set_gates(&["us:3"]);
    let entry = room.entry(vec![act(speaker("ann"), 1, status(Status::Busy)), act(speaker("ann"), 2, jump())]);
    assert!(entry.answers.iter().all(|answered| answered.answer == Answer::Ack), "{:?}", entry.answers);
    let out = &room.state().system().outgoing()[&player("ann")];
    assert_eq!((out.hop, out.to.as_str(), out.region().map(RegionName::as_str)), (JUMPED, "3", Some("us")));
    assert_eq!(out.jump.as_ref().map(|jump| jump.since_ms), Some(START_MS));
    assert_eq!(out.record.actors[&ACTOR].judge(Seq(2)), Judged::Repeat(Answer::Ack));
    assert_eq!(out.record.sessions.len(), 1);
    let unknown = Receipt::Unknown { player: player("ann") };
    let asked = vec![act(speaker("ann"), 3, status(Status::Away)), join(speaker("ann"), "n")];
    assert_eq!(room.receipts(asked), [unknown.clone(), unknown]);
    // The drive cools down as after a move.
    room.entry(vec![restore(JUMPED.0), join(speaker("ann"), "n")]);
    let again = room.answer(act(speaker("ann"), 3, jump()));
    assert!(matches!(again, Answer::Reject { code: RejectCode::CoolingDown, .. }), "{again:?}");
}

#[test]
fn a_cancelled_jump_brings_the_player_back_once_with_a_later_hop() {
    let mut room = TestRoom::with(&["ann"]);
    room.set_gates(&["us:3"]);
    let before = room.state().own(&player("ann")).cloned();
    let (x, y) = (room.shown("ann", Field::X), room.shown("ann", Field::Y));
    room.entry(vec![act(speaker("ann"), 1, jump())]);
    for hop in [1, JUMPED.0 + 1] {
        assert!(room.receipts(vec![restore(hop)]).is_empty(), "of another jump");
    }
    room.taken_over();
    room.entry(vec![restore(JUMPED.0), restore(JUMPED.0)]);
    let system = room.state().system();
    assert!(system.outgoing().is_empty());
    assert_eq!(system.incoming().get(&player("ann")), Some(&JUMPED.next()), "`at` is to say so");
    assert_eq!(
        (system.seat(&player("ann")).unwrap().hop, room.shown("ann", Field::HOP)),
        (JUMPED.next(), Some(Value::Int(JUMPED.next().0 as i64)))
    );
    assert_eq!((room.shown("ann", Field::X), room.shown("ann", Field::Y)), (x, y));
    let credits = |own: &sectorbus::state::Fields| own[&Field::CREDITS].clone();
    assert_eq!(room.state().own(&player("ann")).map(credits), before.as_ref().map(credits));
    assert!(room.receipts(vec![restore(JUMPED.0)]).is_empty());
    // What was answered on the way out is answered the same.
    room.entry(vec![join(speaker("ann"), "n")]);
    assert_eq!(room.answer(act(speaker("ann"), 1, jump())), Answer::Ack);
    assert!(room.ship("ann").is_some());
    // Nobody connects: the player falls asleep as any other.
    let mut room = TestRoom::with(&["ann"]);
    room.set_gates(&["us:3"]);
    room.entry(vec![act(speaker("ann"), 1, jump())]);
    room.entry(vec![restore(JUMPED.0)]);
    assert_eq!(room.status("ann").as_deref(), Some("online"), "their client may be on its way back");
    room.after(GRACE_MS).entry(vec![Input::Tick]);
    assert_eq!(room.status("ann").as_deref(), Some(seats::LINK_DEAD));
    room.after(WINDOW_MS).entry(vec![Input::Tick]);
    assert_eq!(room.state().system().dormant(&player("ann")).map(|record| record.hop), Some(JUMPED.next()));
}

#[test]
fn a_move_is_not_restored() {
    let mut room = TestRoom::with(&["ann"]);
    let to = room.neighbour();
    room.entry(vec![act(speaker("ann"), 1, Action::Move { to })]);
    assert!(room.receipts(vec![restore(2)]).is_empty());
}

#[test]
fn who_comes_from_another_region_keeps_nothing_of_its_clock_and_connections_and_is_never_refused() {
    let mut other = TestRoom::with(&["ann"]);
    other.set_gates(&["us:3"]);
    other.after(5 * 3_600_000).entry(vec![act(speaker("ann"), 1, jump())]);
    let out = other.state().system().outgoing()[&player("ann")].clone();
    let room = TestRoom::new();
    let full = room.state().public().len();
    let mut room = room.with_entities_max(full);
    room.entry(vec![from_region("ann", 2, out.record.clone()), from_region("ann", 2, out.record.clone())]);
    let seat = room.state().system().seat(&player("ann")).unwrap().clone();
    assert_eq!((seat.hop, seat.sessions.len(), seat.floor), (Hop(2), 0, Generation(0)));
    let ready_at = room.state().own(&player("ann")).unwrap()[&Field::READY_AT].clone();
    assert_eq!(ready_at, Value::Int((START_MS + COOL_DOWN_MS) as i64), "by the clock of this region");
    // The marks are the same, and so are the answers.
    room.entry(vec![Input::Command(Command::Join {
        speaker: speaker_at("ann", "tab", 9, 0),
        incarnation: incarnation("n"),
        actor: ACTOR,
        first_seq: Seq(1),
        learn: false,
    })]);
    assert_eq!(room.answer(act(speaker_at("ann", "tab", 9, 0), 1, jump())), Answer::Ack);
    assert_eq!(room.status("ann").unwrap(), "online");
    assert!(room.receipts(vec![from_region("ann", 2, out.record)]).is_empty(), "once");
}

#[test]
fn whom_another_region_has_by_at_is_sent_after_themselves() {
    let mut room = TestRoom::with(&["ann"]);
    let at = |hop| Whereabouts { region: Some(beyond().region), sector: beyond().sector, hop: Hop(hop) };
    let elsewhere = |hop| Input::Elsewhere { player: player("ann"), at: at(hop) };
    assert!(room.receipts(vec![elsewhere(0)]).is_empty(), "earlier than what is here");
    let mut tied = TestRoom::with(&["ann"]);
    let here = Whereabouts { region: None, sector: SectorId::new("1").unwrap(), hop: Hop(1) };
    assert!(tied.receipts(vec![Input::Elsewhere { player: player("ann"), at: here }]).is_empty(), "it is here");
    tied.entry(vec![elsewhere(1)]);
    assert_eq!(tied.state().system().outgoing()[&player("ann")].hop, Hop(1), "under one number in one place");
    room.entry(vec![elsewhere(2)]);
    let out = &room.state().system().outgoing()[&player("ann")];
    assert_eq!((out.hop, out.region(), out.record.hop), (Hop(2), Some(&beyond().region), Hop(2)));
    assert!(room.receipts(vec![elsewhere(2)]).is_empty(), "it is on its way there");
    // A sector of this region that is called the same is another place.
    let here = Whereabouts { region: None, ..at(3) };
    room.entry(vec![Input::Elsewhere { player: player("ann"), at: here }]);
    assert_eq!(room.state().system().outgoing()[&player("ann")].region(), None);
}
