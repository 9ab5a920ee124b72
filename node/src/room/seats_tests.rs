//! How players take and leave their seats: join, loss, link-dead, sleep, and coming back.

use sectorbus::action::{Action, Answer, RejectCode, Status};
use sectorbus::ids::{ActorId, Generation, Hop, Seq};
use sectorbus::limits::ACTORS_KEPT;
use sectorbus::value::{Field, Value};

use crate::command::{Command, Receipt};
use crate::room::owner::Input;
use crate::room::testing::*;

fn away() -> Action {
    status(Status::Away)
}

fn last_seen(ms: u64) -> Option<Value> {
    Some(Value::Int(ms as i64))
}

#[test]
fn a_lost_connection_is_link_dead_after_the_grace_with_when_it_was_lost() {
    let mut room = TestRoom::with(&["ann"]);
    room.entry(vec![act(speaker("ann"), 1, away())]);
    room.after(500).entry(vec![lost(speaker("ann"), "n")]);
    let lost_ms = room.now_ms;
    assert_eq!((room.status("ann").unwrap(), room.shown("ann", Field::LAST_SEEN)), ("away".into(), None));
    assert_eq!(room.next_timer_ms(), Some(lost_ms + GRACE_MS));
    room.after(GRACE_MS).entry(vec![Input::Tick]);
    assert_eq!(room.status("ann").unwrap(), "link_dead");
    assert_eq!(room.shown("ann", Field::LAST_SEEN), last_seen(lost_ms));
    // Back: as the player last asked to be shown, and no timer is left.
    room.entry(vec![join(speaker_at("ann", "tab", 2, 0), "m")]);
    assert_eq!((room.status("ann").unwrap(), room.shown("ann", Field::LAST_SEEN)), ("away".into(), None));
    assert_eq!(room.next_timer_ms(), None);
}

#[test]
fn who_was_connected_to_a_dead_node_is_link_dead_at_once() {
    let mut room = TestRoom::with(&["ann", "bob"]);
    room.entry(vec![join(speaker_at("bob", "phone", 2, 0), "m")]);
    room.after(100).entry(vec![Input::IncarnationsGone(vec![incarnation("n")])]);
    assert_eq!(room.status("ann").unwrap(), "link_dead");
    assert_eq!(room.shown("ann", Field::LAST_SEEN), last_seen(room.now_ms));
    assert_eq!(room.status("bob").unwrap(), "online", "another connection lives, on another node");
    assert_eq!(room.next_timer_ms(), Some(room.now_ms + WINDOW_MS), "no grace, the same resume window");
    assert!(room.receipts(vec![Input::IncarnationsGone(vec![incarnation("n")])]).is_empty(), "once");
}

#[test]
fn after_the_resume_window_a_player_sleeps_and_comes_back_as_they_were() {
    let mut room = TestRoom::new();
    let mut record = sectorbus::rules::new_record(&player("ann"), "Ann");
    record.own.insert(Field::CREDITS, Value::Int(1_234));
    let from = room.neighbour();
    room.entry(vec![take_in_record("ann", 6, record, Some(&from)), join(speaker("ann"), "n")]);
    room.entry(vec![act(speaker("ann"), 1, away())]);
    room.entry(vec![lost(speaker("ann"), "n")]);
    let lost_ms = room.now_ms;
    room.after(WINDOW_MS - 1).entry(vec![Input::Tick]);
    assert_eq!(room.status("ann").unwrap(), "link_dead");
    room.after(1).entry(vec![Input::Tick]);
    assert!(room.ship("ann").is_none());
    assert_eq!(room.state().own(&player("ann")), None);
    let asleep = room.state().system().dormant(&player("ann")).unwrap();
    assert_eq!(
        (asleep.hop, asleep.asked, asleep.last_seen_ms, asleep.sessions.len()),
        (Hop(6), Status::Away, lost_ms, 0)
    );
    let taken = Receipt::LossTaken { speaker: speaker("ann") };
    assert_eq!(room.receipts(vec![lost(speaker("ann"), "n")]), [taken], "a late word of the loss");

    room.taken_over();
    room.after(WINDOW_MS * 100).entry(vec![join(speaker_at("ann", "new", 5, 0), "m")]);
    assert!(room.state().system().dormants().is_empty());
    assert_eq!((room.status("ann").unwrap(), room.shown("ann", Field::HOP)), ("away".into(), Some(Value::Int(6))));
    assert_eq!(room.shown("ann", Field::LAST_SEEN), None);
    assert_eq!(room.state().own(&player("ann")).unwrap()[&Field::CREDITS], Value::Int(1_234));
    assert_eq!(room.next_timer_ms(), None);
    // The actor's marks slept too.
    assert_eq!(room.answer(act(speaker_at("ann", "new", 5, 0), 1, status(Status::Busy))), Answer::Ack);
    assert_eq!(room.status("ann").unwrap(), "away", "seq 1 was answered before the sleep");
}

#[test]
fn who_leaves_on_purpose_sleeps_at_once() {
    let mut room = TestRoom::with(&["ann"]);
    let left = Command::Lost { speaker: speaker("ann"), incarnation: incarnation("n"), left: true };
    room.entry(vec![Input::Command(left)]);
    assert!(room.ship("ann").is_none());
    assert!(room.state().system().dormant(&player("ann")).is_some());
    assert_eq!(room.next_timer_ms(), None);
}

#[test]
fn the_last_of_several_connections_starts_the_clocks() {
    let mut room = TestRoom::with(&["ann"]);
    room.entry(vec![join(speaker_at("ann", "phone", 2, 0), "m")]);
    room.entry(vec![lost(speaker("ann"), "n")]);
    assert_eq!(room.next_timer_ms(), None);
    room.after(50).entry(vec![lost(speaker_at("ann", "phone", 2, 0), "m")]);
    let lost_ms = room.now_ms;
    room.after(GRACE_MS).entry(vec![Input::Tick]);
    assert_eq!(room.shown("ann", Field::LAST_SEEN), last_seen(lost_ms));
}

#[test]
fn an_older_generation_of_a_session_cannot_act_sit_or_be_lost() {
    let mut room = TestRoom::with(&["ann"]);
    let (old, new) = (speaker("ann"), speaker_at("ann", "tab", 2, 0));
    room.entry(vec![join(new.clone(), "m")]);
    let stale = |seq| Receipt::Stale { speaker: old.clone(), actor: ACTOR, seq: Seq(seq) };
    assert_eq!(room.receipts(vec![act(old.clone(), 1, away())]), [stale(1)]);
    assert_eq!(room.receipts(vec![join(old.clone(), "n")]), [Receipt::StaleSeat { speaker: old.clone() }]);
    assert_eq!(room.receipts(vec![lost(old.clone(), "n")]), [Receipt::LossTaken { speaker: old.clone() }]);
    assert_eq!(room.answer(act(new, 1, away())), Answer::Ack);
    // What was answered is answered the same, whoever asks.
    assert_eq!(room.answer(act(old, 1, away())), Answer::Ack);
}

#[test]
fn a_floor_shuts_out_every_session_below_it() {
    let mut room = TestRoom::with(&["ann"]);
    room.entry(vec![join(speaker_at("ann", "phone", 2, 0), "m")]);
    // The attach of a fourth device evicted the generations below 3.
    room.entry(vec![join(speaker_at("ann", "desk", 3, 3), "m")]);
    let seat = room.state().system().seat(&player("ann")).unwrap();
    assert_eq!((seat.sessions.len(), seat.floor), (1, Generation(3)));
    let evicted = speaker_at("ann", "phone", 2, 0);
    let receipts = room.receipts(vec![act(evicted.clone(), 1, away()), join(evicted.clone(), "m")]);
    let stale = Receipt::Stale { speaker: evicted.clone(), actor: ACTOR, seq: Seq(1) };
    assert_eq!(receipts, [stale, Receipt::StaleSeat { speaker: evicted }]);
    // A session that the room has not seated yet is asked to sit first.
    let unseated = speaker_at("ann", "new", 4, 3);
    assert_eq!(room.receipts(vec![act(unseated.clone(), 1, away())]), [Receipt::Unseated { speaker: unseated }]);
    assert_eq!(room.status("ann").unwrap(), "online");
}

#[test]
fn a_loss_that_overtakes_its_join_wins() {
    let mut room = TestRoom::with(&["ann"]);
    let late = speaker_at("ann", "phone", 2, 0);
    room.entry(vec![lost(late.clone(), "m")]);
    assert_eq!(room.receipts(vec![join(late.clone(), "m")]), [Receipt::StaleSeat { speaker: late }]);
    let seat = room.state().system().seat(&player("ann")).unwrap();
    let live = seat.sessions.values().filter(|session| session.lost_ms.is_none()).count();
    assert_eq!((seat.sessions.len(), live), (2, 1));
}

#[test]
fn who_is_not_here_is_told_so() {
    let mut room = TestRoom::new();
    let unknown = Receipt::Unknown { player: player("ann") };
    let inputs = vec![join(speaker("ann"), "n"), lost(speaker("ann"), "n"), act(speaker("ann"), 1, away())];
    assert_eq!(room.receipts(inputs), [unknown.clone(), unknown.clone(), unknown]);
}

#[test]
fn the_least_used_actor_is_forgotten_for_the_ninth() {
    let mut room = TestRoom::with(&["ann"]);
    for actor in 1..=ACTORS_KEPT as u64 {
        let Input::Command(Command::Join { speaker, incarnation, first_seq, learn, .. }) = join(speaker("ann"), "n")
        else {
            unreachable!("a join")
        };
        let actor = ActorId(100 + actor);
        let join = Command::Join { speaker, incarnation, actor, first_seq, learn };
        room.after(10).entry(vec![Input::Command(join)]);
    }
    let known: Vec<u64> = room.state().system().actors_of(&player("ann")).keys().map(|actor| actor.0).collect();
    assert_eq!(known, (101..=108).collect::<Vec<_>>(), "the first one, of the first join, is forgotten");
    let forgotten = room.answer(act(speaker("ann"), 1, away()));
    assert_eq!(forgotten, Answer::reject(RejectCode::UnknownActor));
}

#[test]
fn a_sleeper_waits_outside_a_full_sector() {
    let mut room = TestRoom::with(&["ann"]);
    let left = Command::Lost { speaker: speaker("ann"), incarnation: incarnation("n"), left: true };
    room.entry(vec![Input::Command(left)]);
    let entities = room.state().public().len();
    let mut room = room.with_entities_max(entities);
    assert_eq!(room.receipts(vec![join(speaker("ann"), "n")]), [Receipt::Full { player: player("ann") }]);
    assert!(room.state().system().dormant(&player("ann")).is_some());
    let mut room = room.with_entities_max(entities + 1);
    room.entry(vec![join(speaker("ann"), "n")]);
    assert_eq!(room.status("ann").unwrap(), "online");
}

#[test]
fn lost_sessions_are_forgotten_however_many_come_and_go() {
    let mut room = TestRoom::with(&["ann"]);
    for generation in 2..100 {
        let speaker = speaker_at("ann", &format!("s{generation}"), generation, 0);
        room.after(1).entry(vec![join(speaker.clone(), "n")]);
        room.entry(vec![lost(speaker, "n")]);
    }
    let seat = room.state().system().seat(&player("ann")).unwrap();
    assert!(seat.sessions.len() < 12, "{} sessions are remembered", seat.sessions.len());
    room.after(WINDOW_MS).entry(vec![join(speaker_at("ann", "last", 100, 0), "n")]);
    let seat = room.state().system().seat(&player("ann")).unwrap();
    assert_eq!(seat.sessions.len(), 2, "the first, which lives, and the last");
}
